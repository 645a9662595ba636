"""Gaussian random fields with a power of a shifted Laplacian as covariance."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.core.random import FloatArray, KeyArray
from pdekit.domain import Grid, Mesh
from pdekit.fields.base import PointSet, RandomField
from pdekit.fields.series import Basis, Box, check_basis, domain_box, sample_series, wave_numbers

__all__ = ["GaussianField"]


@dataclass(frozen=True)
class GaussianField(RandomField):
    """A Gaussian field of mean 0 and covariance ``scale^2 (-Laplacian + tau^2)^-alpha`` on a box.

    It is the sum of ``scale (|kappa|^2 + tau^2)^(-alpha/2) xi`` times the L2-orthonormal eigenfunctions of the
    Laplacian, kappa their wave numbers and xi standard normal; the constant is left out. Differences of values beyond
    ``modes`` are missing by definition: the number of modes belongs to the law, and is the same on every grid.

    Args:
        alpha: decay of the spectrum; in d dimensions above d/2 for a variance that does not grow with ``modes``.
        tau: inverse correlation length, per unit of length; positive.
        boundary: ``neumann`` (cosines), ``dirichlet`` (sines: the field is 0 on the boundary) or ``periodic``.
        modes: eigenfunctions along each axis; by default 128, and 48 in three dimensions. A periodic field uses the
            constant and modes/2 pairs of cosine and sine.
        scale: by default ``tau^(alpha - d/2)``, which keeps the variance of the same order for all tau.
        box: lower and upper end of each axis; by default the grid's own, the bounding box of a mesh, or the unit box
            for points.

    Raises:
        InputError: an argument out of range, an unknown boundary.

    Example:
        >>> from pdekit.core.random import Keys
        >>> field = GaussianField(alpha=2, tau=3)
        >>> field.sample(Keys(0, "train", range(4)).named("coefficient"), Grid((64, 64))).shape
        torch.Size([4, 64, 64])

    Source: Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021, and its
    scripts (Darcy: alpha 2, tau 3, Neumann; vorticity: alpha 2.5, tau 7, periodic).
    """

    alpha: float
    tau: float
    boundary: Basis = "neumann"
    modes: int | None = None
    scale: float | None = None
    box: Box | None = None

    def __post_init__(self):
        check_basis(self.boundary)
        for name in ("alpha", "tau", "scale"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"GaussianField {name} is {value}; expected a number greater than 0.")
        if self.modes is not None and self.modes < 2:
            raise InputError(f"GaussianField modes is {self.modes}; expected 2 or more along each axis.")

    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        box = domain_box(domain, self.box)
        return sample_series(keys, _coefficients(self, box), self.boundary, box, domain)


@lru_cache(maxsize=16)
def _coefficients(field: GaussianField, box: Box) -> FloatArray:
    dim = len(box)
    modes = field.modes or (128, 128, 48)[dim - 1]
    scale = field.tau ** (field.alpha - dim / 2) if field.scale is None else field.scale
    kappa = [wave_numbers(field.boundary, modes, high - low) for low, high in box]
    square = sum(k**2 for k in np.meshgrid(*kappa, indexing="ij", sparse=True))
    coefficients = scale * (square + field.tau**2) ** (-field.alpha / 2)
    coefficients[square == 0] = 0.0
    coefficients.flags.writeable = False
    return coefficients
