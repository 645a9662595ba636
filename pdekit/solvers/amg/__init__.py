"""Algebraic multigrid: set-up by coarsening, and the operator that applies its cycle."""
