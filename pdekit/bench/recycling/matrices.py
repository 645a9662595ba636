"""The three matrices of a published data set: as its code makes them, as it meant to, and of the equation it names."""

import numpy as np
import scipy.sparse
from jaxtyping import Float
from torch import Tensor

from pdekit.core.random import Keys
from pdekit.domain import Grid
from pdekit.fields import GaussianField
from pdekit.solvers import LinearSystem, diffusion

__all__ = ["KINDS", "coefficients", "corrected", "darcy", "published"]

KINDS = ("published", "L diag(a)", "Darcy")


def coefficients(side: int, count: int, seed: int) -> Float[Tensor, "count points points"]:
    """a = exp(g) with g a periodic Gaussian field: ``(count, side + 2, side + 2)``, the outer ring included.

    Args:
        side: cells along a side.
        count: how many.
        seed: of the draw.
    """
    field = GaussianField(alpha=2.5, tau=7, boundary="periodic")
    return field.sample(
        Keys(seed, "recycling", range(count)).named("g"), Grid((side + 2, side + 2), closed=False)
    ).exp()


def corrected(a: Float[Tensor, "points points"]) -> scipy.sparse.csr_array:
    """L diag(a), with L the 5-point Laplacian times h^2 on the cells inside the ring: -Laplace (a u)."""
    side = a.shape[0] - 2
    eye, next_one = scipy.sparse.eye_array(side), scipy.sparse.eye_array(side, k=1)
    line = 2 * eye - next_one - next_one.T
    laplacian = scipy.sparse.kron(line, eye) + scipy.sparse.kron(eye, line)
    scale = scipy.sparse.diags_array(a[1:-1, 1:-1].ravel().numpy())
    return scipy.sparse.csr_array(laplacian @ scale)


def published(a: Float[Tensor, "points points"]) -> scipy.sparse.csr_array:
    """The matrix that the published code makes: L diag(a) with one off-diagonal slipped by two places.

    Row k of the cells inside, in row-major order, should have ``-a[k - side]`` in the column ``k - side``. There is
    ``-a[k - side - 2]``: at the left end of a row that is a value of the row before, for the first two cells of
    the second row one of the ring around.
    """
    side = a.shape[0] - 2
    matrix = corrected(a).tocoo()
    rows, columns = matrix.coords
    above = columns == rows - side
    slipped = np.concatenate([a.ravel()[side + 1 : side + 3].numpy(), a[1:-1, 1:-1].ravel().numpy()[:-2]])
    entries = np.where(above, -slipped[columns], matrix.data)
    return scipy.sparse.coo_array((entries, (rows, columns)), shape=matrix.shape).tocsr()


def darcy(a: Float[Tensor, "*batch points points"]) -> LinearSystem:
    """-div(a grad u) = 1 with u = 0 on the ring: fluxes by the arithmetic mean of the two values at a face."""
    return diffusion(Grid(tuple(a.shape[-2:])), a, 1.0, mean="arithmetic")
