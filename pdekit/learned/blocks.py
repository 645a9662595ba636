"""Graphs of vector fields by points: the components at a point are one node, and an edge carries a dense block."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.scaling import beside_diagonal

__all__ = ["BlockGraph"]


@dataclass(frozen=True, eq=False)
class BlockGraph:
    """The whole matrices of a graph, both triangles, in blocks of ``components x components``.

    Unknowns that follow each other with rising components at the same point of the same matrix are one node; those that
    were eliminated leave their places in the blocks empty. Blocks of scalar fields are single entries.

    Args:
        edge_index: ``(2, blocks)``, the sources and targets of the blocks, as nodes.
        node: ``(unknowns,)``, the node of each unknown.
        slot: ``(unknowns,)``, its component.
        nodes, components: their numbers.
        block: ``(2, edges)``, the block that the entries (i, j) and (j, i) of an edge of the matrix lie in.
        place: ``(2, edges)``, their places in these blocks, row by row.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR
        >>> from pdekit.solvers.operators.csr import Points
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[4.0, 1, 1], [1, 5, 0], [1, 0, 6]]))
        >>> A.geometry = Points(torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([0, 1, 1]))
        >>> graph = MatrixGraph.of(A)
        >>> blocks = BlockGraph.of(graph, 2)
        >>> blocks.edge_index.tolist()
        [[0, 1, 0, 1], [0, 0, 1, 1]]
        >>> blocks.scatter(graph.entries).float()
        tensor([[4., 1., 1., 5.],
                [0., 1., 0., 0.],
                [0., 0., 1., 0.],
                [0., 0., 0., 6.]])
    """

    edge_index: Int[Tensor, "2 blocks"]
    node: Int[Tensor, " unknowns"]
    slot: Int[Tensor, " unknowns"]
    nodes: int
    components: int
    block: Int[Tensor, "2 edges"]
    place: Int[Tensor, "2 edges"]

    @staticmethod
    def of(graph: MatrixGraph, components: int) -> "BlockGraph":
        """The blocks of a graph whose unknowns have this many components."""
        if components == 1:
            return _of_scalars(graph)
        component = torch.zeros_like(graph.owner) if graph.component is None else graph.component
        goes_on = (component.diff() > 0) & (graph.owner.diff() == 0)
        if graph.points is not None:
            goes_on &= (graph.points.diff(dim=0) == 0).all(-1)
        node = torch.cat([graph.owner.new_zeros(1), (~goes_on).cumsum(0)])
        nodes = int(node[-1]) + 1
        target = torch.stack([graph.rows, graph.cols])
        source = target.flip(0)
        keys, block = torch.unique(node[target] * nodes + node[source], return_inverse=True)
        edge_index = torch.stack([keys % nodes, keys // nodes])
        place = component[target] * components + component[source]
        return BlockGraph(edge_index, node, component, nodes, components, block, place)

    def scatter(self, entries: Float[Tensor, " edges"]) -> Float[Tensor, "blocks block"]:
        """The blocks of the symmetric matrices with these entries in their lower triangles."""
        size = self.components**2
        flat = entries.new_zeros(self.edge_index.shape[1] * size)
        return flat.index_put((self.block * size + self.place,), entries.expand_as(self.block)).view(-1, size)

    def gather(self, blocks: Float[Tensor, "blocks block"]) -> Float[Tensor, "edges 2"]:
        """The entries (i, j) and (j, i) of each edge; the second of a loop is that of the first."""
        return blocks.flatten()[self.block * self.components**2 + self.place].T

    def by_component(self, values: Float[Tensor, " unknowns"]) -> Float[Tensor, "nodes components"]:
        """Numbers of unknowns as those of nodes, 0 for components that were eliminated."""
        flat = values.new_zeros(self.nodes * self.components)
        return flat.index_copy(0, self.node * self.components + self.slot, values).view(-1, self.components)


def _of_scalars(graph: MatrixGraph) -> BlockGraph:
    """Without looking for blocks, so that no accelerator has to wait: the edges, and those beside the diagonal back."""
    beside = beside_diagonal(graph)
    forwards = torch.stack([graph.cols, graph.rows])
    edge_index = torch.cat([forwards, forwards.flip(0).index_select(1, beside)], 1)
    numbers = torch.arange(edge_index.shape[1], device=graph.device)
    there = numbers[: graph.edges]
    back = there.index_copy(0, beside, numbers[graph.edges :])
    zeros = torch.zeros_like(graph.owner)
    everyone = torch.arange(graph.nodes, device=graph.device)
    places = torch.zeros_like(there).expand(2, -1)
    return BlockGraph(edge_index, everyone, zeros, graph.nodes, 1, torch.stack([there, back]), places)
