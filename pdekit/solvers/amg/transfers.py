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
    routes: np.ndarray
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
        return at.refresh(self.table, self.index, self.routes, self.fixed, entries, values, np.empty(self.row_size))


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


class _Sizes:
    """Places handed out in memory that is not there yet."""

    def __init__(self):
        self.total = 0

    def take(self, size: int) -> int:
        place, self.total = self.total, self.total + size
        return place


class _Builder:
    """The tables of a hierarchy in the making."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.index, self.routes, self.fixed = _Arrays(np.int32), _Arrays(np.int32), _Arrays(np.float64)
        self.values, self.work = _Sizes(), _Sizes()
        self.rows: list[np.ndarray] = []
        self.row_size = 1

    def add_level(self, matrix: scipy.sparse.csr_array) -> None:
        n, nnz = len(matrix.indptr) - 1, len(matrix.indices)
        t = np.zeros(at.COLUMNS, dtype=np.int64)
        self.rows.append(t)
        t[at.N], t[at.NNZ], t[at.DEGREE] = n, nnz, self.settings.degree
        t[at.A_PTR], t[at.A_IND] = self.index.add(matrix.indptr), self.index.add(matrix.indices)
        rows = np.repeat(np.arange(n), np.diff(matrix.indptr))
        t[at.A_DIAG] = self.index.add(np.flatnonzero(rows == matrix.indices).astype(np.int32))
        t[at.D_INV], t[at.BOUND] = self.values.take(n), self.values.take(1)
        if len(self.rows) > 1:  # the matrix and the vectors of the first level are the caller's
            t[at.A_VAL], t[at.B], t[at.X] = self.values.take(nnz), self.work.take(n), self.work.take(n)

    def end(self) -> None:
        """The last level is factored, or smoothed if it is too large."""
        t = self.rows[-1]
        n = int(t[at.N])
        if n <= max(self.settings.coarse_size, _DENSE):
            t[at.DENSE], t[at.FACTOR] = 1, self.values.take(n * n)
        scratch = self.work.take(2 * int(self.rows[0][at.N]) if self.settings.degree else 0)
        for t in self.rows:
            t[at.SCRATCH] = scratch

    def add_transfer(self, matrix: scipy.sparse.csr_array, step: Splitting | Aggregates) -> scipy.sparse.csr_array:
        """Interpolation from the next level, and that level's matrix."""
        t, add = self.rows[-1], self.routes.add
        if isinstance(step, Aggregates):
            p_ptr, p_ind, m = step.indptr, step.indices, len(step.nodes)
            t[at.AGGREGATED], t[at.T_VAL] = 1, self.fixed.add(step.values)
            t[at.T_PTR], t[at.T_SLOT], t[at.T_HOME] = add(step.t_ptr), add(step.slot), add(step.home)
            weights = np.empty(len(p_ind))
            smooth(
                matrix.indptr, matrix.indices, step.t_ptr, step.slot, step.home, step.values, matrix.data, at.DAMPING,
                p_ptr, weights,
            )  # fmt: skip
        else:
            p_ptr, p_ind, *parts = step.pattern
            m, weights = int(step.coarse.sum()), np.empty(len(p_ind))
            t[at.ROLE], t[at.SHARED], t[at.SHARED_ENTRY], t[at.SHARED_WEIGHT] = (add(part) for part in parts)
            weigh(matrix.indptr, parts[0], p_ptr, *parts[1:], matrix.data, weights)
        t[at.P_PTR], t[at.P_IND] = self.index.add(p_ptr), self.index.add(p_ind)
        t[at.WEIGHTS], t[at.P_VAL] = len(p_ind), self.values.take(len(p_ind))
        indptr, indices, *parts = galerkin_pattern(matrix.indptr, matrix.indices, p_ptr, p_ind, m)
        t[at.SLOT], t[at.WIDTH], t[at.PLACE] = (add(part) for part in parts)
        self.row_size = max(self.row_size, int(parts[1].max(initial=1)))
        entries = np.empty(len(indices))
        multiply(matrix.indptr, matrix.indices, p_ptr, *parts, matrix.data, weights, np.empty(self.row_size), entries)
        return scipy.sparse.csr_array((entries, indices, indptr), shape=(m, m))


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
    n = len(indptr) - 1
    matrix = scipy.sparse.csr_array((entries, indices, indptr), shape=(n, n))
    made, levels, first = _Builder(settings), list[Level](), None
    while True:
        made.add_level(matrix)
        n = len(matrix.indptr) - 1
        levels.append(Level(n, len(matrix.indices)))
        step = None
        if n > settings.coarse_size and len(levels) < _MAX_LEVELS:
            if settings.aggregation:
                step = aggregate(matrix, settings.strength, near, nodes)
            else:
                step = split(matrix, settings.strength)
        if step is None:
            made.end()
            break
        first = first or step
        matrix = made.add_transfer(matrix, step)
        if isinstance(step, Aggregates):
            near, nodes = step.near, step.nodes
    table = np.concatenate(made.rows).astype(np.int32)
    return Transfers(
        table, made.index.joined(), made.routes.joined(), made.fixed.joined(), made.values.total, made.work.total,
        made.row_size, tuple(levels), first,
    )  # fmt: skip
