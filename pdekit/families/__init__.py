"""Families of problems, one PDE a file."""

from pdekit.families.advection_diffusion import AdvectionDiffusion
from pdekit.families.base import Family
from pdekit.families.darcy import Darcy
from pdekit.families.elasticity import Elasticity
from pdekit.families.helmholtz import Helmholtz
from pdekit.families.inverse_made import InverseMade
from pdekit.families.mesh_family import MeshFamily
from pdekit.families.nonlinear_diffusion import NonlinearDiffusion
from pdekit.families.obstacles import Obstacles
from pdekit.families.poisson import Poisson
from pdekit.families.residual import Residual
from pdekit.families.source_law import Shift

__all__ = [
    "AdvectionDiffusion",
    "Darcy",
    "Elasticity",
    "Family",
    "Helmholtz",
    "InverseMade",
    "MeshFamily",
    "NonlinearDiffusion",
    "Obstacles",
    "Poisson",
    "Residual",
    "Shift",
]
