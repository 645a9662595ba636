"""What the coarse spaces of matrices on one pattern share: aggregates, patterns, and where every number goes."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse
import torch

from pdekit.core.errors import InputError
from pdekit.kernels.sparse.aggregation import smooth
from pdekit.kernels.sparse.galerkin import Galerkin, Product, galerkin_pattern, multiply, product_pattern
from pdekit.kernels.sparse.incomplete import cholesky_with_threshold, upper_triangle
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.pattern import Pattern
from pdekit.solvers.preconditioners.aggregates import aggregates
from pdekit.solvers.preconditioners.factored import batch_index

__all__ = ["Plan", "plan_for"]

_DAMPING = 2 * 0.66
"""Of the step of Jacobi, which divides by the sums of sizes in rows: twice the diagonal for diffusion, and more where a
step of 0.66 over the diagonal may be too long."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A coarse space without its numbers.

    Args:
        tentative: ``(n, m)``, columns over aggregates.
        product: the pattern of A times these, where they are smoothed; None where they are not.
        starts, columns: ``(n + 1,)`` and int32, the pattern of Z.
        galerkin: the pattern of Z^T A Z.
        triangle: of the factor of that: ``indptr`` and ``indices`` in the places of ``order``, and which entry of
            Z^T A Z each of its entries is.
        order: in which the coarse unknowns are eliminated.
    """

    tentative: scipy.sparse.csr_array
    product: Product | None
    starts: np.ndarray
    columns: np.ndarray
    galerkin: Galerkin
    triangle: tuple[np.ndarray, np.ndarray, np.ndarray]
    order: np.ndarray

    @property
    def size(self) -> int:
        """Columns of Z."""
        return len(self.order)

    def basis(self, A: CSR, a: np.ndarray) -> np.ndarray:
        """The entries of Z of one matrix with entries ``a``."""
        if self.product is None:
            return self.tentative.data
        z = np.empty(len(self.columns))
        smooth(
            *A.pattern.arrays, self.tentative.indptr, self.product.slot, self.product.home, self.tentative.data, a,
            _DAMPING, self.starts, z,
        )  # fmt: skip
        return z

    def factor(self, A: CSR, i: int, a: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The complete factor of Z^T A Z of matrix i, as `pdekit.kernels.sparse.triangular` describes it.

        Raises:
            InputError: it is not positive definite.
        """
        _, indices, slot, width, place = self.galerkin
        coarse, row = np.empty(len(indices)), np.empty(int(width.max(initial=0)))
        multiply(*A.pattern.arrays, self.starts, slot, width, place, a, z, row, coarse)
        indptr, indices, source = self.triangle
        starts, columns, values, where, pivot = cholesky_with_threshold(indptr, indices, coarse[source], 0.0, 0.0, -1)
        if where >= 0:
            raise InputError(
                f"The coarse matrix Z^T A Z{batch_index(A, i)} has a pivot that is not positive ({pivot:.1e} of its "
                "diagonal entry), so the matrix is not positive definite. MINRES, GMRES and Direct() take it."
            )
        return starts, self.order[columns], values


def plan_for(A: CSR, aggregate: int, smoothed: bool) -> Plan:
    """The plan for matrices of this pattern, geometry and (near) null space, which is kept with the pattern.

    Args:
        A: real and symmetric, with all of the diagonal stored.
        aggregate: unknowns of each component that make one, about.
        smoothed: take a step of damped Jacobi on the columns.
    """
    told = [A.near_nullspace, *(A.geometry or (None, None)), A.nullspace]
    known = A.pattern.__dict__.setdefault("_coarse_plans", {})
    found = known.get((aggregate, smoothed))
    if found is None or not all(_same(one, other) for one, other in zip(found[0], told, strict=True)):
        found = known[aggregate, smoothed] = told, _plan(A, aggregate, smoothed)
    return found[1]


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or torch.equal(one, other)


def _plan(A: CSR, aggregate: int, smoothed: bool) -> Plan:
    (indptr, indices), tentative, product = A.pattern.arrays, aggregates(A, aggregate), None
    if A.nullspace is not None:
        tentative = _without(tentative, A.nullspace.detach().cpu().numpy())
    tentative.indptr, tentative.indices = (part.astype(np.int32) for part in (tentative.indptr, tentative.indices))
    starts, columns, m = tentative.indptr, tentative.indices, int(tentative.shape[1])  # pyright: ignore
    if smoothed:
        product = product_pattern(indptr, indices, starts, columns, m)
        starts, columns = np.concatenate([[0], np.cumsum(product.width)]).astype(np.int32), product.columns
    galerkin = galerkin_pattern(indptr, indices, starts, columns, m)
    pattern = Pattern(torch.from_numpy(galerkin.indptr), torch.from_numpy(galerkin.indices))
    order = pattern.cuthill_mckee
    triangle = upper_triangle(galerkin.indptr, galerkin.indices, order)
    return Plan(tentative, product, starts, columns, galerkin, triangle, order)


def _without(columns: scipy.sparse.csr_array, nullspace: np.ndarray) -> scipy.sparse.csr_array:
    """The columns less as many as the null space has, chosen so that no vector of it is left in their span."""
    order = scipy.linalg.qr((columns.T @ nullspace).T, mode="r", pivoting=True)[-1]
    return columns[:, np.sort(order[nullspace.shape[1] :])]
