"""Gaussian fields by length, smoothness and variance."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from scipy.optimize import root_scalar
from scipy.special import gammaln, kv
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.core.random import FloatArray, KeyArray
from pdekit.domain import Grid, Mesh
from pdekit.fields.base import PointSet, RandomField
from pdekit.fields.series import Box, domain_box, sample_series, wave_numbers

__all__ = ["Matern", "matern_correlation"]

_FORGOTTEN = 1e-3  # the correlation at which the enlarged box may repeat itself


@dataclass(frozen=True)
class Matern(RandomField):
    """A stationary Gaussian field with the Matern covariance, without artefacts at the boundary.

    The field is a Fourier series on a box enlarged until the correlation across the added part has fallen to 1e-3,
    seen through the box itself. Its pointwise variance is ``variance`` to rounding, everywhere. Its covariance differs
    from the Matern function by at most the share of variance beyond the last mode (:meth:`truncation`; that
    share is spread over the kept modes) plus 2e-3, both relative to ``variance``.

    Args:
        length: correlation length, in units of length.
        smoothness: nu; 1/2 is the exponential covariance, and the field has derivatives below order nu.
        variance: pointwise.
        mean: added everywhere.
        modes: twice the highest wave number along each axis of the enlarged box; 1024, 256 or 64 in 1, 2 or 3
            dimensions by default. For nu = 1/2 and length 0.1 on the unit square the default leaves out 2 % of the
            variance.
        box: lower and upper end of each axis; by default the grid's own, the bounding box of a mesh, or the unit box
            for points.

    Raises:
        InputError: an argument out of range.

    Example:
        >>> from pdekit.core.random import Keys
        >>> field = Matern(length=0.2, smoothness=1.5, variance=4.0)
        >>> field.sample(Keys(0, "train", range(2)).named("coefficient"), Grid((32, 32))).shape
        torch.Size([2, 32, 32])

    Source: Whittle 1954; for the spectrum Lindgren, Rue, Lindstroem, "An explicit link between Gaussian fields and
    Gaussian Markov random fields", JRSS B 2011.
    """

    length: float
    smoothness: float
    variance: float = 1.0
    mean: float = 0.0
    modes: int | None = None
    box: Box | None = None

    def __post_init__(self):
        for name in ("length", "smoothness", "variance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"Matern {name} is {value}; expected a number greater than 0.")
        if not math.isfinite(self.mean):
            raise InputError(f"Matern mean is {self.mean}; expected a finite number.")
        if self.modes is not None and self.modes < 2:
            raise InputError(f"Matern modes is {self.modes}; expected 2 or more along each axis.")

    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        box = domain_box(domain, self.box)
        coefficients, _ = _coefficients(self, box)
        return sample_series(keys, coefficients, "periodic", _enlarged(self, box), domain).add_(self.mean)

    def truncation(self, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]) -> float:
        """The share of the variance beyond the last mode: what raising ``modes`` would refine."""
        return _coefficients(self, domain_box(domain, self.box))[1]


def matern_correlation(distance: npt.ArrayLike, length: float, smoothness: float) -> FloatArray:
    """The Matern correlation at a distance, 1 at 0.

    Example:
        >>> float(matern_correlation(0.1, 0.1, 0.5)) - 0.36788 < 1e-5
        True
    """
    x = np.maximum(math.sqrt(2 * smoothness) * np.asarray(distance) / length, 1e-8)
    logarithm = (1 - smoothness) * math.log(2) - gammaln(smoothness) + smoothness * np.log(x)
    return np.asarray(np.exp(logarithm) * kv(smoothness, x))


def _enlarged(field: Matern, box: Box) -> Box:
    """The box with its upper ends moved out."""
    excess = lambda r: matern_correlation(r, 1.0, field.smoothness) - _FORGOTTEN  # noqa: E731
    reach = root_scalar(excess, bracket=(1e-3, 100.0)).root * field.length
    return tuple((low, high + reach) for low, high in box)


@lru_cache(maxsize=16)
def _coefficients(field: Matern, box: Box) -> tuple[FloatArray, float]:
    """Standard deviations of the modes, and the share of variance beyond them."""
    dim, nu = len(box), field.smoothness
    modes = field.modes or (1024, 256, 64)[dim - 1]
    sides = [high - low for low, high in _enlarged(field, box)]
    kappa = [wave_numbers("periodic", modes, side) for side in sides]
    square = sum(k**2 for k in np.meshgrid(*kappa, indexing="ij", sparse=True))
    decay = 2 * nu / field.length**2
    logarithm = dim * math.log(2) + dim / 2 * math.log(math.pi) + gammaln(nu + dim / 2) - gammaln(nu)
    spectrum = np.exp(logarithm + nu * math.log(decay) - (nu + dim / 2) * np.log(decay + square))
    kept = float(spectrum.sum()) / math.prod(sides)
    coefficients = np.sqrt(field.variance / kept * spectrum)
    coefficients.flags.writeable = False
    return coefficients, max(0.0, 1.0 - kept)
