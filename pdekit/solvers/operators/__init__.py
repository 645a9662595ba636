"""Matrices by what they do to vectors; the names of use are in pdekit.solvers."""
