"""The learned sparse approximate inverse: two products with sparse matrices, on any device."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.checks import check_limit, check_number
from pdekit.core.errors import InputError
from pdekit.learned.algebra import lower, lower_transposed
from pdekit.learned.blocks import BlockGraph
from pdekit.learned.from_jacobi import FromJacobi
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.message_passing import MessageStep
from pdekit.learned.perceptron import perceptron
from pdekit.learned.scaling import bounded, roots, row_sums, scaled_entries
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR

__all__ = ["SparseInverse", "SparseInverseNetwork"]


class SparseInverseNetwork(nn.Module):
    """Encoder, residual message passing and decoder, between the points that the unknowns lie at.

    An edge leads from each point to each, itself included, that the matrix connects it with, and starts with the block
    of its entries, scaled to a unit diagonal; a point with the sums of its rows and with which of its components are
    unknowns. The last layer starts at 0.

    Args:
        components: of the vector field; 1 for scalar fields, and for matrices of any kind without geometry.
        width: latent features of edges and points, and of hidden layers.
        steps: of message passing, each with weights of its own.

    Example:
        >>> import scipy.sparse
        >>> graph = MatrixGraph.of(CSR.from_scipy(scipy.sparse.csr_array([[4.0, -2.0], [-2.0, 5.0]])))
        >>> SparseInverseNetwork()(graph).shape
        torch.Size([3, 2])
        >>> sum(weight.numel() for weight in SparseInverseNetwork(components=3).parameters())
        17169
    """

    def __init__(self, components: int = 1, width: int = 24, steps: int = 4):
        super().__init__()
        for name, value in (("components", components), ("width", width), ("steps", steps)):
            check_limit("SparseInverseNetwork", name, value)
        self.arguments: dict[str, Any] = {"components": components, "width": width, "steps": steps}
        self.components = components
        self.edge_encoder = perceptron(components**2, width, width)
        self.node_encoder = perceptron(2 * components, width, width)
        new_nodes = [width] * (steps - 1) + [0]
        self.steps = nn.ModuleList(MessageStep(width, width, width, new_nodes=new, residual=True) for new in new_nodes)
        self.decoder = perceptron(width, width, components**2, silent=True)

    def forward(self, graph: MatrixGraph) -> Float[Tensor, "edges 2"]:
        """For each edge of the graph the numbers of (i, j) and (j, i)."""
        blocks = BlockGraph.of(graph, self.components)
        edges = self.edge_encoder(blocks.scatter(scaled_entries(graph)).float())
        sums, present = row_sums(graph), torch.ones_like(graph.entries[: graph.nodes])
        nodes = torch.cat([blocks.by_component(sums), blocks.by_component(present)], 1).float()
        nodes = self.node_encoder(nodes)
        for step in self.steps:
            edges, nodes = step(blocks.edge_index, edges, nodes)
        return blocks.gather(self.decoder(edges))


@dataclass(frozen=True, eq=False)
class SparseInverse(FromJacobi):
    """The sparse inverse of Yang et al. (2025): ``M^-1 = G G^T + shift I``, for real symmetric :class:`CSR` matrices.

    G is a general matrix on the pattern of A. To apply it takes two products with sparse matrices and no triangular
    solve, which suits accelerators; vector fields are learned in blocks. All is meant of the matrix scaled to a unit
    diagonal: with D the diagonal of A and ``f`` what the network gives, each entry bounded by 10,
    ``G = D^-1/2 (I + f)``, and ``shift D^-1`` is added, so that the inverse follows any scaling of the matrix and is
    positive definite with any weights. Untrained, it is Jacobi.

    Args:
        network: as trained.
        shift: positive; what G misses is preconditioned by so much of Jacobi.
        coarse, probes, trained_on: see :class:`FromJacobi`.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CG, solve
        >>> A = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(9, 9))
        >>> solve(A, torch.ones(9, dtype=torch.float64), CG(SparseInverse())).method
        'CG, SparseInverse, 25 entries, alpha 0 preconditioner'

    Source:
        Yang et al., "Learning sparse approximate inverse preconditioners for conjugate gradient solvers on GPUs",
        NeurIPS 2025, arXiv 2510.27517. Scaling by the diagonal, the start at Jacobi, the bound and the search for alpha
        are ours.
    """

    network: nn.Module = field(default_factory=SparseInverseNetwork, repr=False)
    shift: float = 1e-3

    def __post_init__(self):
        super().__post_init__()
        check_number("SparseInverse", "shift", self.shift)
        if not 0 < self.shift < inf:
            raise InputError(f"SparseInverse has shift={self.shift}; expected a positive number, such as 0.001.")

    def graph(self, A: CSR | Sequence[CSR]) -> MatrixGraph:
        """The matrices as :meth:`values` takes them.

        Raises:
            InputError: fields of more components than the network's blocks hold.
        """
        graph, size = super().graph(A), getattr(self.network, "components", 1)
        if size > 1 and graph.component is not None and (found := int(graph.component.max()) + 1) > size:
            raise InputError(
                f"The unknowns have {found} components and the network's blocks hold {size}; expected a network for as "
                f"many, SparseInverseNetwork(components={found})."
            )
        return graph

    def from_output(self, graph: MatrixGraph, output: Float[Tensor, "edges 2"]) -> Float[Tensor, "edges 2"]:
        """The entries (i, j) and (j, i) of G for each edge, float64; the second of a loop is 0."""
        there, back = bounded(output, 10.0).unbind(1)
        root = roots(graph)
        there = there.index_add(0, graph.diagonal, torch.ones_like(root)) / root.index_select(0, graph.rows)
        back = back.index_fill(0, graph.diagonal, 0.0) / root.index_select(0, graph.cols)
        return torch.stack([there, back], 1)

    def fine(
        self, graph: MatrixGraph, values: Float[Tensor, "edges 2"], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """(G G^T + shift D^-1) r."""
        there, back = (part.contiguous() for part in values.unbind(1))
        half = lower_transposed(graph, there, r) + lower(graph, back, r)
        whole = lower(graph, there, half) + lower_transposed(graph, back, half)
        return whole + self.shift * r / graph.entries.index_select(0, graph.diagonal)

    def accepted(self, A: LinearOperator) -> CSR:
        """The operator, if it is one for this recipe; on any device.

        Raises:
            InputError: it is no CSR, or stores an entry (i, j) without (j, i).
        """
        if not isinstance(A, CSR):
            raise InputError(
                f"SparseInverse learns from stored entries and needs a CSR; it was given {A.name}. Use Multigrid() for "
                "a Stencil, or pass the matrix as a CSR (CSR.from_scipy)."
            )
        if A.pattern.transposed[0] is not A.pattern:
            raise InputError(
                f"SparseInverse gives numbers to the stored entries, and {A.name} stores some (i, j) without (j, i); "
                "expected a symmetric pattern. Drop stored zeros (SciPy: eliminate_zeros())."
            )
        return A

    def operator(self, A: CSR, graph: MatrixGraph, values: Float[Tensor, "edges 2"], end: str) -> LinearOperator:
        """The products with G^T and G."""
        there, back = values.reshape(*A.batch_shape, -1, 2).unbind(-1)
        places = torch.nonzero(A.indices <= A.rows)[:, 0]
        # Loops come twice, and what (i, j) says of them stays.
        entries = torch.zeros_like(A.entries).index_copy(-1, A.pattern.transposed[1][places], back)
        factor = CSR(A.pattern, None, entries.index_copy(-1, places, there), tags=frozenset())
        name = f"SparseInverse, {A.pattern.nnz:,} entries, {end}"
        return _Products(factor, self.shift / A.diagonal(), name)


class _Products(LinearOperator):
    """G G^T and a diagonal."""

    def __init__(self, factor: CSR, shift: Float[Tensor, "*batch n"], name: str):
        self.factor, self.turned, self.shift, self._name = factor, factor.transpose(), shift, name

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, int]:
        return self.factor.shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.factor.batch_shape

    @property
    def dtype(self) -> torch.dtype:
        return self.factor.dtype

    @property
    def device(self) -> torch.device:
        return self.factor.device

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE})

    def __getitem__(self, place: tuple[int, ...]) -> "_Products":
        """Of one matrix of the batch."""
        return _Products(self.factor[place], self.shift[place], self._name)

    def matvec(self, x: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        return self.factor.matvec(self.turned.matvec(x)) + self.shift * x

    def __repr__(self) -> str:
        return self.name
