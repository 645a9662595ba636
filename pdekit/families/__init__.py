"""Families of problems, one PDE a file."""

from pdekit.families.base import Family
from pdekit.families.darcy import Darcy
from pdekit.families.poisson import Poisson
from pdekit.families.residual import Residual

__all__ = ["Darcy", "Family", "Poisson", "Residual"]
