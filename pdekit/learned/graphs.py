"""Symmetric matrices as graphs, for networks that learn from their entries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.pattern import Pattern
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.coarse_space import CoarseSpace, coarse_space
from pdekit.solvers.preconditioners.factored import Factored, batch_index, check_diagonal

if TYPE_CHECKING:
    import torch_geometric.data

__all__ = ["MatrixGraph"]


@dataclass(frozen=True, eq=False)
class MatrixGraph:
    """The lower triangles of symmetric matrices as one graph, made by :meth:`of`.

    A node is an unknown, counted through all matrices; an edge leads from j to i for each stored entry (i, j) with
    j <= i. So the edges of a factor L are these edges, loops are its diagonal, and a message along an edge moves as in
    a forward substitution; against it, as in a backward one. Edges come by row, by column within a row, so that the
    loop is the last of its row and the edges of one matrix lie together.

    Args:
        rows: ``(edges,)`` int64, i of each entry.
        cols: ``(edges,)`` int64, j of each entry.
        entries: ``(edges,)`` float64, a_ij; 0 where only the start has an entry.
        start: ``(edges,)`` float64, l_ij of a classical factor with L L^T close to the matrix (0 where only the matrix
            has an entry); None for no start.
        diagonal: ``(nodes,)`` int64, the number of each loop.
        owner: ``(nodes,)`` int64, which matrix an unknown belongs to, in order.
        count: the number of matrices.
        points: ``(nodes, dim)``, where the unknowns are; None where the matrices do not tell.
        component: ``(nodes,)`` int64, of a vector field, which an unknown is; None where the matrices do not tell.
        matrices: the matrices themselves, wherever the rest is.

    Example:
        >>> import scipy.sparse
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[4.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 4.0]]))
        >>> graph = MatrixGraph.of(A)
        >>> list(zip(graph.rows.tolist(), graph.cols.tolist(), graph.entries.tolist()))
        [(0, 0, 4.0), (1, 0, -1.0), (1, 1, 4.0), (2, 1, -1.0), (2, 2, 4.0)]
        >>> MatrixGraph.of([A, A]).owner.tolist()
        [0, 0, 0, 1, 1, 1]
    """

    rows: Int[Tensor, " edges"]
    cols: Int[Tensor, " edges"]
    entries: Float[Tensor, " edges"]
    start: Float[Tensor, " edges"] | None
    diagonal: Int[Tensor, " nodes"]
    owner: Int[Tensor, " nodes"]
    count: int
    points: Float[Tensor, "nodes dim"] | None = None
    component: Int[Tensor, " nodes"] | None = None
    matrices: tuple[CSR, ...] = field(default=(), repr=False)

    @staticmethod
    def of(A: CSR | Sequence[CSR], start: Preconditioner | None = None) -> "MatrixGraph":
        """The graph of a batch of matrices, or of several batches of any sizes.

        Args:
            A: real, symmetric, with positive diagonals.
            start: a recipe whose set-up gives factors L L^T in the order of the unknowns: ``IC0()``, ``ICT()``. Where
                its pattern is another than the matrix's, edges are those of both.

        Raises:
            InputError: a matrix that is not such, with what takes it; an empty row, with its number; geometries of
                different dimension; a recipe that gives no factor in the order of the unknowns.
        """
        batches = [A] if isinstance(A, LinearOperator) else list(A)
        graphs = [graph for batch in batches for graph in _apart(batch, start)]
        if not graphs:
            raise InputError("There are no matrices to make a graph of; expected a CSR or several.")
        return MatrixGraph.join(graphs)

    @staticmethod
    def join(graphs: "Sequence[MatrixGraph]") -> "MatrixGraph":
        """Several graphs as one, their matrices counted on.

        Raises:
            InputError: geometries of different dimension, or geometry or a start in some only.
        """
        if len(graphs) == 1:
            return graphs[0]
        _check_alike(graphs)
        nodes, edges, matrices = (
            [0, *accumulate(getattr(graph, kind) for graph in graphs)] for kind in ("nodes", "edges", "count")
        )

        def joined(name: str, counted_from: Sequence[int] = ()) -> Tensor:
            first = counted_from or [0] * len(graphs)
            return torch.cat([getattr(graph, name) + k for graph, k in zip(graphs, first, strict=False)])

        told = {name: joined(name) for name in _OPTIONAL if getattr(graphs[0], name) is not None}
        return MatrixGraph(
            joined("rows", nodes), joined("cols", nodes), joined("entries"), told.pop("start", None),
            joined("diagonal", edges), joined("owner", matrices), matrices[-1],
            matrices=tuple(A for graph in graphs for A in graph.matrices), **told,
        )  # fmt: skip

    @property
    def nodes(self) -> int:
        """Unknowns of all matrices."""
        return len(self.owner)

    @property
    def edges(self) -> int:
        """Entries of all lower triangles."""
        return len(self.rows)

    @property
    def device(self) -> torch.device:
        return self.rows.device

    @cached_property
    def node_starts(self) -> list[int]:
        """The first unknown of each matrix, and their number at the end."""
        return [0, *accumulate(torch.bincount(self.owner, minlength=self.count).tolist())]

    @cached_property
    def edge_starts(self) -> list[int]:
        """The first edge of each matrix, and their number at the end."""
        return [0, *(self.diagonal[torch.tensor(self.node_starts[1:]) - 1] + 1).tolist()]

    @cached_property
    def pattern(self) -> Pattern:
        """Of the lower triangle of all matrices as the blocks of one, for compiled products and solves."""
        return Pattern(torch.cat([self.diagonal.new_zeros(1), self.diagonal + 1]), self.cols)

    def to(self, device: torch.device | str) -> "MatrixGraph":
        """The same graph on another device."""
        if torch.device(device) == self.device:
            return self
        moved = {
            each.name: value.to(device)
            for each in fields(self)
            if isinstance(value := getattr(self, each.name), Tensor)
        }
        return replace(self, **moved)

    @cached_property
    def coarse(self) -> CoarseSpace:
        """The coarse spaces of the matrices as one, for vectors through all of them: of `coarse_space(A)` of each."""
        if not self.matrices:
            raise InputError(
                "The graph knows no matrices to make coarse spaces of; expected one made by MatrixGraph.of."
            )
        return CoarseSpace.join([coarse_space(A) for A in self.matrices])

    def data(self) -> "torch_geometric.data.Data":
        """The graph as torch_geometric takes it.

        Returns:
            ``edge_index`` (2, edges) holds the sources j and targets i of the forward direction, loops included;
            ``edge_index.flip(0)`` are the same edges in the backward direction. ``entries`` and ``start`` go with the
            edges; ``batch`` is the owner and ``pos`` are the points of the nodes.
        """
        from torch_geometric.data import Data

        return Data(
            edge_index=torch.stack([self.cols, self.rows]), entries=self.entries, start=self.start, pos=self.points,
            component=self.component, batch=self.owner, num_nodes=self.nodes,
        )  # fmt: skip


def _apart(A: CSR, start: Preconditioner | None) -> list[MatrixGraph]:
    """The graph of each matrix of a batch."""
    _check_matrix(A)
    places, pattern, diagonal = _lower(A.pattern)
    lower = A.entries.detach().reshape(math.prod(A.batch_shape), A.pattern.nnz).index_select(-1, places)
    _check_diagonal(A, diagonal, lower)
    points, component = A.geometry or (None, None)
    factors = _factors(A, start) if start is not None else [None] * len(lower)
    graphs = []
    for place, entries, factor in zip(np.ndindex(*A.batch_shape), lower, factors, strict=True):
        matrices = (A[place] if place else A,)
        one = MatrixGraph(
            pattern.rows, pattern.indices, entries, None, diagonal, torch.zeros_like(diagonal), 1, points, component,
            matrices,
        )  # fmt: skip
        one.__dict__["pattern"] = pattern
        graphs.append(one if factor is None else _with_start(one, factor))
    return graphs


def _lower(pattern: Pattern) -> tuple[Tensor, Pattern, Tensor]:
    """Which entries lie in the lower triangle, its pattern, and its diagonal: found once for all matrices."""
    known = pattern.__dict__.get("_lower")
    if known is None:
        places = torch.nonzero(pattern.indices <= pattern.rows)[:, 0]
        stored = torch.bincount(pattern.rows[places], minlength=pattern.n)
        lower = Pattern(torch.cat([stored.new_zeros(1), stored.cumsum(0)]), pattern.indices[places])
        known = pattern.__dict__["_lower"] = places, lower, lower.diagonal[0]
    return known


def _factors(A: CSR, start: Preconditioner) -> list[tuple[np.ndarray, ...]]:
    operator = start.setup(A)
    if not (isinstance(operator, Factored) and Tag.SYMMETRIC in operator.tags):
        raise InputError(f"start={start} gives no factor L L^T ({operator.name}); expected IC0() or ICT().")
    factors = [operator.factors(i) for i in range(math.prod(A.batch_shape))]
    for indptr, indices, _ in factors:
        if not np.array_equal(indices[indptr[:-1]], np.arange(A.shape[0])):
            raise InputError(
                f"start={start} takes the unknowns in an order of its own, so that its factor is not lower triangular; "
                'expected ordering="natural".'
            )
    return factors


def _with_start(graph: MatrixGraph, factor: tuple[np.ndarray, ...]) -> MatrixGraph:
    """The graph of one matrix with a factor of it, on the edges of both."""
    from pdekit.kernels.sparse.product import transposition  # compiled code is loaded on first use

    indptr, indices, values = factor
    root = 1 / np.sqrt(values[indptr[:-1]])
    scaled = values * np.repeat(root, np.diff(indptr))
    scaled[indptr[:-1]] = root
    turned, places = graph.pattern.transposed  # the columns of L lie as the rows of the factor
    if all(map(np.array_equal, turned.arrays, (indptr, indices))):
        start = torch.empty_like(graph.entries).index_copy_(0, places, torch.from_numpy(scaled))
        return _on(graph, graph.pattern, graph.entries, start)
    starts, columns, order = transposition(indptr, indices)
    filled = Pattern(torch.from_numpy(starts), torch.from_numpy(columns))
    n, ours, theirs = filled.n, graph.rows * filled.n + graph.cols, filled.rows * filled.n + filled.indices
    both = torch.unique(torch.cat([ours, theirs]))
    entries, start = torch.zeros(2, len(both), dtype=torch.float64)
    entries[torch.searchsorted(both, ours)] = graph.entries
    start[torch.searchsorted(both, theirs)] = torch.from_numpy(scaled[order])
    stored = torch.bincount(both // n, minlength=n).cumsum(0)
    return _on(graph, Pattern(torch.cat([stored.new_zeros(1), stored]), both % n), entries, start)


def _on(graph: MatrixGraph, pattern: Pattern, entries: Tensor, start: Tensor) -> MatrixGraph:
    """The graph of one matrix on another pattern."""
    diagonal = pattern.diagonal[0]
    one = replace(graph, rows=pattern.rows, cols=pattern.indices, entries=entries, start=start, diagonal=diagonal)
    one.__dict__["pattern"] = pattern
    return one


def _check_matrix(A: CSR) -> None:
    if not isinstance(A, CSR):
        raise InputError(f"A graph is made of stored entries, of a CSR; it was given {getattr(A, 'name', A)!r}.")
    if A.dtype.is_complex:
        raise InputError(f"A graph is made of real symmetric matrices; {A.name} is complex. Use ILU0() with GMRES.")
    if Tag.SYMMETRIC not in A.tags:
        raise InputError(
            f"A graph is made of symmetric matrices, for factors L L^T; {A.name} does not equal its transpose. Use "
            "ILU0(), with GMRES or BiCGStab."
        )
    if bool((empty := A.pattern.indptr.diff() == 0).any()):
        raise InputError(
            f"Row {int(torch.nonzero(empty)[0])} of {A.name} is empty, which makes it singular; expected a positive "
            "definite matrix. Leave out the unknowns that have no equation."
        )


def _check_diagonal(A: CSR, diagonal: Int[Tensor, " stored"], lower: Float[Tensor, "matrices edges"]) -> None:
    check_diagonal("A learned factor", A)
    if bool((bad := ~(lower[:, diagonal] > 0)).any()):
        i, row = (int(k) for k in torch.nonzero(bad)[0])
        raise InputError(
            f"Row {row}{batch_index(A, i)} has {float(lower[i, diagonal[row]]):.4g} on the diagonal; expected a "
            "positive number, as in every positive definite matrix. MINRES takes indefinite ones."
        )


def _check_alike(graphs: Sequence[MatrixGraph]) -> None:
    for name, what in _OPTIONAL.items():
        missing = [i for i, graph in enumerate(graphs) if getattr(graph, name) is None]
        if 0 < len(missing) < len(graphs):
            raise InputError(
                f"Graph {missing[0]} comes without {what} and others with; expected all or none of them to."
            )
    dims = [None if graph.points is None else graph.points.shape[-1] for graph in graphs]
    if len(set(dims)) > 1:
        other = next(i for i, dim in enumerate(dims) if dim != dims[0])
        raise InputError(
            f"Graph 0 has points in {dims[0]} dimensions and graph {other} in {dims[other]}; expected one dimension "
            "in a graph."
        )


_OPTIONAL = {"start": "a start", "points": "geometry", "component": "components"}
"""Attributes that graphs may lack, and how messages name them."""
