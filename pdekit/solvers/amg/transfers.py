"""What matrices of one pattern share: the levels of a hierarchy, their patterns, and where every number goes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse

from pdekit.kernels.sparse import amg_cycle as at
from pdekit.kernels.sparse.aggregation import smooth
from pdekit.kernels.sparse.galerkin import galerkin_pattern, multiply
from pdekit.kernels.sparse.interpolation import weigh
from pdekit.solvers.amg.coarsen import Aggregates, Splitting, aggregate, split

__all__ = ["Level", "Settings", "Transfers", "build"]

_MAX_LEVELS = 25
_DENSE = 500
"""Unknowns of a last level that cannot be coarsened up to which it is factored."""


class Settings(NamedTuple):
    """How to coarsen, resolved from the recipe and the matrix."""

    aggregation: bool
    strength: float
    degree: int
    """of Chebyshev smoothing; 0 for Gauss-Seidel"""
    coarse_size: int


class Level(NamedTuple):
    """Sizes for reports."""

    unknowns: int
    entries: int


@dataclass(frozen=True)
class Transfers:
    """A hierarchy without its numbers, as `pdekit.kernels.sparse.amg_cycle` takes it."""

    table: np.ndarray
    index: np.ndarray
    recipe: np.ndarray
    fixed: np.ndarray
    values_size: int
    work_size: int
    row_size: int
    levels: tuple[Level, ...]
    first: Splitting | Aggregates | None
    """How the first level was coarsened; None where there is no other"""

    @property
    def operator_complexity(self) -> float:
        """Entries of all levels over those of the first."""
        return sum(level.entries for level in self.levels) / max(self.levels[0].entries, 1)

    @property
    def grid_complexity(self) -> float:
        """Unknowns of all levels over those of the first."""
        return sum(level.unknowns for level in self.levels) / max(self.levels[0].unknowns, 1)

    def refresh(self, entries: np.ndarray, values: np.ndarray) -> bool:
        """Compute the numbers for a matrix; says whether all diagonals are positive."""
        return at.refresh(self.table, self.index, self.recipe, self.fixed, entries, values, np.empty(self.row_size))


class _Arrays:
    """Parts joined into one array, with the place where each begins."""

    def __init__(self, dtype):
        self.parts, self.size, self.dtype = [], 0, dtype

    def add(self, part: np.ndarray) -> int:
        place, self.size = self.size, self.size + len(part)
        self.parts.append(part)
        return place

    def joined(self) -> np.ndarray:
        if self.size >= 2**31:
            raise MemoryError(f"AMG would keep {self.size:,} places; kernels count up to 2,147,483,647.")
        return np.concatenate([np.zeros(0, self.dtype), *self.parts]).astype(self.dtype, copy=False)


def build(
    indptr: np.ndarray,
    indices: np.ndarray,
    entries: np.ndarray,
    settings: Settings,
    near: np.ndarray | None,
    nodes: np.ndarray | None,
) -> Transfers:
    """Coarsen a matrix level by level.

    Args:
        indptr, indices: the pattern, int32, with all of the diagonal stored.
        entries: ``(nnz,)`` of the matrix that decides.
        settings: how.
        near: ``(n, k)`` near null space, for aggregation; None for constants.
        nodes: ``(n,)`` int32, which node each unknown belongs to; None where each is one.
    """
    index, recipe, fixed = _Arrays(np.int32), _Arrays(np.int32), _Arrays(np.float64)
    rows: list[np.ndarray] = []
    levels: list[Level] = []
    first: Splitting | Aggregates | None = None
    values_size = work_size = row_size = 0
    while True:
        n, nnz = len(indptr) - 1, len(indices)
        levels.append(Level(n, nnz))
        t = np.zeros(at.COLUMNS, dtype=np.int64)
        rows.append(t)
        t[at.N], t[at.NNZ], t[at.DEGREE] = n, nnz, settings.degree
        t[at.A_PTR], t[at.A_IND] = index.add(indptr), index.add(indices)
        t[at.A_DIAG] = index.add(np.flatnonzero(np.repeat(np.arange(n), np.diff(indptr)) == indices).astype(np.int32))
        t[at.D_INV], t[at.BOUND] = values_size, values_size + n
        values_size += n + 1
        if len(rows) > 1:
            t[at.A_VAL] = values_size
            values_size += nnz
            t[at.B], t[at.X] = work_size, work_size + n
            work_size += 2 * n
        step = None
        if n > settings.coarse_size and len(rows) < _MAX_LEVELS:
            matrix = scipy.sparse.csr_array((entries, indices, indptr), shape=(n, n))
            step = (
                aggregate(matrix, settings.strength, near, nodes)
                if settings.aggregation
                else split(matrix, settings.strength)
            )
        if step is None:
            if n <= max(settings.coarse_size, _DENSE):
                t[at.DENSE], t[at.FACTOR] = 1, values_size
                values_size += n * n
            break
        first = first or step
        if isinstance(step, Aggregates):
            p_ptr, p_ind = step.indptr, step.indices
            t[at.AGGREGATED] = 1
            t[at.T_PTR], t[at.T_SLOT], t[at.T_HOME] = (recipe.add(part) for part in (step.t_ptr, step.slot, step.home))
            t[at.T_VAL] = fixed.add(step.values)
            weights = np.empty(len(p_ind))
            smooth(indptr, indices, step.t_ptr, step.slot, step.home, step.values, entries, at.DAMPING, p_ptr, weights)
            m, near, nodes = len(step.nodes), step.near, step.nodes
        else:
            mask, pattern = step
            p_ptr, p_ind = pattern.indptr, pattern.indices
            t[at.ROLE], t[at.SHARED], t[at.SHARED_ENTRY], t[at.SHARED_WEIGHT] = (
                recipe.add(part) for part in (pattern.role, pattern.shared, pattern.shared_entry, pattern.shared_weight)
            )
            weights = np.empty(len(p_ind))
            weigh(indptr, pattern.role, p_ptr, pattern.shared, pattern.shared_entry, pattern.shared_weight,
                  entries, weights)  # fmt: skip
            m = int(mask.sum())
        t[at.WEIGHTS], t[at.P_PTR], t[at.P_IND] = len(p_ind), index.add(p_ptr), index.add(p_ind)
        t[at.P_VAL] = values_size
        values_size += len(p_ind)
        product = galerkin_pattern(indptr, indices, p_ptr, p_ind, m)
        t[at.SLOT], t[at.WIDTH], t[at.PLACE] = (
            recipe.add(part) for part in (product.slot, product.width, product.place)
        )
        row_size = max(row_size, int(product.width.max(initial=1)))
        below = np.empty(len(product.indices))
        multiply(indptr, indices, p_ptr, product.slot, product.width, product.place, entries, weights,
                 np.empty(row_size), below)  # fmt: skip
        indptr, indices, entries = product.indptr, product.indices, below
    for t in rows:
        t[at.SCRATCH] = work_size
    if settings.degree:
        work_size += 2 * levels[0].unknowns
    table = np.concatenate(rows).astype(np.int32)
    return Transfers(
        table, index.joined(), recipe.joined(), fixed.joined(), values_size, work_size, max(row_size, 1),
        tuple(levels), first,
    )  # fmt: skip
