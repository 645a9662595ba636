"""Incomplete Cholesky factors that a network corrects."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.errors import InputError
from pdekit.learned.base import LearnedFactor
from pdekit.learned.features import largest, start_values
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.lean import LeanNet
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.factored import Factored, upper_triangle
from pdekit.solvers.preconditioners.ic0 import IC0
from pdekit.solvers.preconditioners.ict import ICT
from pdekit.solvers.preconditioners.two_level import TwoLevel

__all__ = ["CorrectedFactor", "corrected"]

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class CorrectedFactor(LearnedFactor):
    """An incomplete Cholesky factor corrected by a network: ``L = L0 + alpha s f``, for :class:`CSR` on the CPU.

    L0 is a classical factor, s its largest entry, and f what the network gives for each of its entries. Before any
    training f is 0, so that training starts from the classical factor. A diagonal entry never falls below a tenth of
    that of L0, so that L L^T is positive definite for any weights.

    Args:
        network: gives f; a :class:`LeanNet` by default.
        start: of the classical factor: :class:`IC0` (also with relaxation) or :class:`ICT`, in the natural order.
        coarse, probes, trained_on: see :class:`~pdekit.learned.base.LearnedPreconditioner`.

    Raises:
        InputError: a start that gives no factor in the order of the unknowns, or a network that is none.

    Example:
        >>> import scipy.sparse
        >>> A = scipy.sparse.diags_array([-1.0, -1.0, 4.0, -1.0, -1.0], offsets=[-3, -1, 0, 1, 3], shape=(9, 9))
        >>> print(CorrectedFactor().setup(CSR.from_scipy(A)))
        corrected IC(0), 23 entries, fill 1.0, alpha 0

    Source:
        Trifonov et al., arXiv 2405.15557 (L0 + alpha f and the loss); the search for alpha, the bound on the diagonal
        and the coarse space are ours.
    """

    network: nn.Module = field(default_factory=LeanNet, repr=False)
    start: Preconditioner = field(default_factory=IC0)

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.start, IC0 | ICT):
            raise InputError(
                f"CorrectedFactor has start={self.start!r}; expected IC0(), IC0(relaxation=0.97) or ICT()."
            )
        if getattr(self.start, "ordering", "natural") != "natural":
            raise InputError(
                f"CorrectedFactor has start={self.start}, which takes the unknowns in an order of its own, so that its "
                'factor is not lower triangular; expected ordering="natural".'
            )

    @property
    def classical(self) -> Preconditioner:
        """The start, with the coarse space where there is one."""
        return self.start if self.coarse is None else TwoLevel(self.start, form=self.coarse)

    def graph(self, A: CSR | Sequence[CSR]) -> MatrixGraph:
        """The matrices and their classical factors."""
        return MatrixGraph.of(A, self.start)

    def values(self, graph: MatrixGraph) -> Float[Tensor, " edges"]:
        """The entries of L with alpha = 1, float64, differentiable with respect to the weights."""
        return corrected(graph, self._correction(graph))

    def bind(self, A: CSR) -> Callable[[Sequence[float], str], Factored]:
        """Factor each matrix and let the network correct the factors.

        Raises:
            InputError: a pivot of the classical factor that is not positive.
        """
        start: Any = self.start.setup(A)
        columns = self._columns(A, start)

        def operator(alphas: Sequence[float], end: str) -> Factored:
            factors = [one.factor(alpha) for one, alpha in zip(columns, alphas, strict=True)]
            return Factored(A, factors, f"corrected {start.name}, {end}")

        return operator

    def _correction(self, graph: MatrixGraph) -> Float[Tensor, " edges"]:
        """s f of each entry; 0 where wild weights make f infinite or NaN."""
        owner = graph.owner.index_select(0, graph.rows)
        finite = torch.nan_to_num(self.network(graph).to(torch.float64), 0.0, 0.0, 0.0)
        return largest(graph).index_select(0, owner) * finite

    def _columns(self, A: CSR, start: Factored) -> "list[_Columns]":
        """The classical factors and their corrections, by one kernel where the network has it."""
        compiled = getattr(self.network, "compiled", None)
        if compiled is None:
            graph = MatrixGraph.of(A, _Made(start))
            correction = self._correction(graph.to(self.device)).cpu()
            return [_Columns._make(each) for each in _by_columns(graph, start_values(graph), correction)]
        if isinstance(self.start, IC0):
            sources = _on_pattern(A, start)
        else:
            graph = MatrixGraph.of(A, _Made(start))
            sources = _by_columns(graph, start_values(graph), graph.entries)
        infer = compiled()

        def one(i: int, space: dict) -> _Columns:
            indptr, indices, lower, entries = sources[i]
            return _Columns(indptr, indices, lower, infer(indptr, indices, lower, entries, space))

        return _each(one, A)


def corrected(graph: MatrixGraph, correction: Float[Tensor, " edges"]) -> Float[Tensor, " edges"]:
    """Factors plus corrections, with a positive diagonal.

    A diagonal entry l that is to grow grows; one that is to shrink by c becomes ``l (0.1 + 0.9 exp(-c / (0.9 l)))``,
    which is l - c for small c and never below a tenth of l.

    Args:
        graph: with a start, L0.
        correction: of each entry.

    Returns:
        float64, differentiable in the correction.
    """
    start = start_values(graph)
    root, step = (part.index_select(0, graph.diagonal) for part in (start, correction))
    shrunk = root * (0.1 + 0.9 * torch.exp(step.clamp(max=0) / (0.9 * root)))
    return (start + correction).index_copy(0, graph.diagonal, torch.where(step < 0, shrunk, root + step))


class _Columns(NamedTuple):
    """One classical factor by columns, the diagonal first in each, and its correction."""

    indptr: np.ndarray
    indices: np.ndarray
    lower: np.ndarray
    correction: np.ndarray

    def factor(self, alpha: float) -> tuple[np.ndarray, ...]:
        """With alpha times the correction, as compiled triangular solves take it."""
        from pdekit.kernels.learned.lean import corrected as corrected_columns

        values = np.empty_like(self.lower)
        corrected_columns(self.indptr, self.lower, self.correction, alpha, values)
        return self.indptr, self.indices, values


class _Made(Preconditioner):
    """A recipe that has been set up."""

    def __init__(self, operator: Factored):
        self.operator = operator

    def setup(self, A: LinearOperator) -> Factored:
        return self.operator


def _each(one: Callable[[int, dict], _T], A: CSR) -> list[_T]:
    """one(i, dictionary of the thread) for each matrix of a batch, spread over threads where it pays."""
    from pdekit.kernels.threads import for_each_sample

    count = math.prod(A.batch_shape)
    found: list[Any] = [None] * count

    def keep(i: int, space: dict) -> None:
        found[i] = one(i, space)

    for_each_sample(keep, count, None if count * A.pattern.nnz > _SMALL else 1)
    return found


def _on_pattern(A: CSR, start: Factored) -> list[tuple[np.ndarray, ...]]:
    """Of each matrix the columns of a factor without fill, and the entries of the matrix there."""
    from pdekit.kernels.learned.lean import lower_columns  # compiled code is loaded on first use

    indptr, indices, entries_of = upper_triangle(A)

    def one(i: int, space: dict) -> tuple[np.ndarray, ...]:
        lower = np.empty(len(indices))
        lower_columns(indptr, start.factors(i)[2], lower)
        return indptr, indices, lower, entries_of(i)

    return _each(one, A)


def _by_columns(graph: MatrixGraph, *values: Float[Tensor, " edges"]) -> list[tuple[np.ndarray, ...]]:
    """Of each matrix of a graph on the CPU the columns of its pattern, the diagonal first, and the values there."""
    turned, order = graph.pattern.transposed
    (indptr, indices), by_column = turned.arrays, [each[order].numpy() for each in values]
    nodes, edges = graph.node_starts, graph.edge_starts
    return [
        (indptr[n : m + 1] - np.int32(e), indices[e:f] - np.int32(n), *(each[e:f] for each in by_column))
        for n, m, e, f in zip(nodes[:-1], nodes[1:], edges[:-1], edges[1:], strict=True)
    ]


_SMALL = 20_000
"""Entries below which starting threads does not pay."""
