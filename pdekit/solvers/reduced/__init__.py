"""Reduced bases: proper orthogonal decomposition, empirical interpolation, certified reduced models, first guesses."""
