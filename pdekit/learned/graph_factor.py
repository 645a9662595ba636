"""The learned factor of Li et al.: a graph network whose output is a factor with a fixed diagonal."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.checks import check_limit
from pdekit.learned.from_jacobi import FactorFromJacobi
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.message_passing import MessageStep
from pdekit.learned.perceptron import perceptron
from pdekit.learned.scaling import beside_diagonal, bounded, lengths, roots, row_sums, scaled_entries

__all__ = ["GraphFactor", "GraphFactorNetwork"]


class GraphFactorNetwork(nn.Module):
    """Encoder, message passing and decoder: a number for each entry beside the diagonal, and 0 on it.

    An edge leads from every unknown to every other that its row stores, in both directions. It starts with the entry of
    the matrix scaled to a unit diagonal and with the distance of its ends (over the mean of the matrix; 0 where the
    matrix does not tell), an unknown with the sum of its row and the number of its component: the sum tells what
    Dirichlet flags and the mass tell. The last layer starts at 0.

    Args:
        width: latent features of edges and unknowns.
        steps: of message passing, each with weights of its own.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR
        >>> network = GraphFactorNetwork(steps=2)
        >>> graph = MatrixGraph.of(CSR.from_scipy(scipy.sparse.csr_array([[4.0, -2.0], [-2.0, 5.0]])))
        >>> network(graph)
        tensor([0., 0., 0.], grad_fn=...)
    """

    def __init__(self, width: int = 16, steps: int = 5):
        super().__init__()
        check_limit("GraphFactorNetwork", "width", width)
        check_limit("GraphFactorNetwork", "steps", steps)
        self.arguments: dict[str, Any] = {"width": width, "steps": steps}
        self.edge_encoder = nn.Sequential(perceptron(2, width, width), nn.LayerNorm(width))
        self.node_encoder = nn.Sequential(perceptron(2, width, width), nn.LayerNorm(width))
        new_nodes = [width] * (steps - 1) + [0]
        self.steps = nn.ModuleList(MessageStep(width, width, width, new_nodes=new) for new in new_nodes)
        self.decoder = perceptron(width, width, 1, silent=True)

    def forward(self, graph: MatrixGraph) -> Float[Tensor, " edges"]:
        """For each edge that is no loop the mean of what its two directions give, for a loop 0."""
        beside = beside_diagonal(graph)
        ends = torch.stack([graph.cols, graph.rows]).index_select(1, beside)
        edge_index = torch.cat([ends, ends.flip(0)], 1)
        features = torch.stack([scaled_entries(graph), lengths(graph)], 1).index_select(0, beside).float()
        component = torch.zeros_like(graph.owner) if graph.component is None else graph.component
        edges = self.edge_encoder(features).repeat(2, 1)
        nodes = self.node_encoder(torch.stack([row_sums(graph), component], 1).float())
        for step in self.steps:
            edges, nodes = step(edge_index, edges, nodes)
        found = self.decoder(edges)[:, 0].unflatten(0, (2, -1)).mean(0)
        return found.new_zeros(graph.edges).index_copy(0, beside, found)


@dataclass(frozen=True, eq=False)
class GraphFactor(FactorFromJacobi):
    """The factor of Li et al. (2023): ``M = L L^T`` on the pattern of the matrix, with ``l_ii = sqrt(a_ii)``.

    The network gives what lies below the diagonal, ``l_ij = sqrt(a_ii) tanh(out_ij)``, so that the factor follows any
    scaling of the matrix and is positive definite with any weights. Untrained, it is Jacobi. The published networks
    also guess the solution, from the current field; here a preconditioner serves all right-hand sides.

    Args:
        network: as trained.
        coarse, probes, trained_on: see :class:`FromJacobi`.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CG, solve
        >>> A = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(9, 9))
        >>> solve(A, torch.ones(9, dtype=torch.float64), CG(GraphFactor())).method
        'CG, GraphFactor, 17 entries, fill 1.0, alpha 0 preconditioner'

    Source:
        Li, Chen, Du, Matusik, "Learning preconditioners for conjugate gradient PDE solvers", ICML 2023.
        Scaling by the diagonal and the bound are ours, as is the search for alpha.
    """

    network: nn.Module = field(default_factory=GraphFactorNetwork, repr=False)

    def from_output(self, graph: MatrixGraph, output: Float[Tensor, " edges"]) -> Float[Tensor, " edges"]:
        """The entries of L, float64."""
        scaled = bounded(output, 1.0).index_fill(0, graph.diagonal, 1.0)
        return scaled * roots(graph).index_select(0, graph.rows)
