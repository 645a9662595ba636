"""Steps of message passing, of which graph networks are made."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear
from torch_geometric.nn import MessagePassing

from pdekit.learned.perceptron import perceptron

__all__ = ["MessageStep"]


class MessageStep(MessagePassing):
    """New features of edges from those of their ends, then new features of nodes from the edges that arrive.

    ``e_ij <- MLP([e_ij, h_j, h_i])`` for each edge j -> i, then ``h_i <- MLP([sum_j e_ij, h_i])``, both with one hidden
    layer and ReLU. What the first layer makes of the nodes is found before it is sent along the edges, of which there
    are many more.

    Args:
        edges, nodes: features of an edge and of a node.
        hidden: width of the hidden layers.
        new_edges, new_nodes: features that come out, by default as many as go in; with ``new_nodes=0`` nodes stay as
            they are, for a last step of which only the edges are used.
        aggregation: of the edges that arrive at a node.
        residual: what comes out is added to what went in.

    Example:
        >>> step = MessageStep(edges=1, nodes=3, hidden=8)
        >>> edge_index = torch.tensor([[0, 0, 1], [0, 1, 1]])  # sources, targets
        >>> edges, nodes = step(edge_index, torch.ones(3, 1), torch.ones(2, 3))
        >>> edges.shape, nodes.shape
        (torch.Size([3, 1]), torch.Size([2, 3]))

    Source: the graph network of Battaglia et al., arXiv 1806.01261, without its global part.
    """

    def __init__(
        self,
        edges: int,
        nodes: int,
        hidden: int,
        *,
        new_edges: int | None = None,
        new_nodes: int | None = None,
        aggregation: Literal["sum", "mean"] = "sum",
        residual: bool = False,
    ):
        super().__init__(aggr=aggregation)
        new_edges = edges if new_edges is None else new_edges
        new_nodes = nodes if new_nodes is None else new_nodes
        self.sizes, self.residual = [edges, nodes, nodes], residual
        self.edge = perceptron(edges + 2 * nodes, hidden, new_edges)
        self.node = perceptron(new_edges + nodes, hidden, new_nodes) if new_nodes else None

    def forward(
        self,
        edge_index: Int[Tensor, "2 edges"],
        edges: Float[Tensor, "edges edge_features"],
        nodes: Float[Tensor, "nodes node_features"],
    ) -> tuple[Float[Tensor, "edges new_edges"], Float[Tensor, "nodes new_nodes"]]:
        """The new features of edges and nodes; ``edge_index`` holds sources and targets."""
        first: nn.Linear = self.edge[0]  # pyright: ignore[reportAssignmentType]
        of_edge, of_source, of_target = first.weight.split(self.sizes, 1)
        ends = linear(nodes, of_source, first.bias), linear(nodes, of_target)
        found = self.edge_updater(edge_index, ends=ends, edges=linear(edges, of_edge))
        edges = edges + found if self.residual else found
        if self.node is None:
            return edges, nodes
        arrived = self.propagate(edge_index, edges=edges, size=(len(nodes), len(nodes)))
        found = self.node(torch.cat([arrived, nodes], -1))
        return edges, nodes + found if self.residual else found

    def edge_update(self, edges: Tensor, ends_j: Tensor, ends_i: Tensor) -> Tensor:
        """The rest of the edge's network; j is the source and i the target, as torch_geometric names them."""
        return self.edge[1:]((edges + ends_j).add_(ends_i))

    def message(self, edges: Tensor) -> Tensor:
        """What arrives at the target."""
        return edges
