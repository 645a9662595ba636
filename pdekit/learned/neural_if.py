"""NeuralIF: a graph network that sweeps forwards and backwards, as factorisations do."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.transforms import LocalDegreeProfile
from torch_geometric.utils import scatter

from pdekit.core.checks import check_limit
from pdekit.learned.from_jacobi import FactorFromJacobi
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.message_passing import MessageStep
from pdekit.learned.scaling import beside_diagonal, bounded, roots, scaled_entries

__all__ = ["NeuralIF", "NeuralIFNetwork"]

_FEATURES = 7


class NeuralIFNetwork(nn.Module):
    """Blocks of two steps of message passing: one along the edges of the lower triangle, one against them.

    The first takes the mean of what arrives at an unknown, the second the sum. Edges carry one number, at first the
    entry of the matrix scaled to a unit diagonal, which later blocks are told again. Unknowns start with seven numbers
    of their rows, see :func:`row_features`. The last layer of edges starts at 0.

    Args:
        blocks: of two steps, each with weights of its own.
        width: latent features of unknowns, and of hidden layers.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR
        >>> graph = MatrixGraph.of(CSR.from_scipy(scipy.sparse.csr_array([[4.0, -2.0], [-2.0, 5.0]])))
        >>> NeuralIFNetwork()(graph)
        tensor([0., 0., 0.], grad_fn=...)
    """

    def __init__(self, blocks: int = 3, width: int = 8):
        super().__init__()
        check_limit("NeuralIFNetwork", "blocks", blocks)
        check_limit("NeuralIFNetwork", "width", width)
        self.arguments: dict[str, Any] = {"blocks": blocks, "width": width}
        self.forwards, self.backwards = nn.ModuleList(), nn.ModuleList()
        for block in range(blocks):
            edges, nodes = (2, width) if block else (1, _FEATURES)
            self.forwards.append(MessageStep(edges, nodes, width, new_edges=1, new_nodes=width, aggregation="mean"))
            self.backwards.append(MessageStep(1, width, width, new_nodes=width if block + 1 < blocks else 0))
        last: nn.Linear = self.backwards[-1].edge[-1]  # pyright: ignore
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, graph: MatrixGraph) -> Float[Tensor, " edges"]:
        """A number for each edge, loops included."""
        along = torch.stack([graph.cols, graph.rows])
        against = along.flip(0)
        entries = scaled_entries(graph).float().unsqueeze(1)
        edges, nodes = entries, row_features(graph)
        for block, (forwards, backwards) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            edges = torch.cat([edges, entries], 1) if block else edges
            edges, nodes = forwards(along, edges, nodes)
            edges, nodes = backwards(against, edges, nodes)
        return edges[:, 0]


def row_features(graph: MatrixGraph) -> Float[Tensor, "nodes 7"]:
    """Seven numbers of each row, float32.

    They are the degree of the unknown; least, largest, mean and standard deviation of its neighbours' degrees; and the
    shares ``a_ii / (a_ii + sum_j |a_ij|)`` and ``a_ii / (a_ii + max_j |a_ij|)`` of the diagonal, j not i.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR
        >>> graph = MatrixGraph.of(CSR.from_scipy(scipy.sparse.csr_array([[4.0, -4.0], [-4.0, 12.0]])))
        >>> row_features(graph)
        tensor([[1.0000, 1.0000, 1.0000, 1.0000, 0.0000, 0.5000, 0.5000],
                [1.0000, 1.0000, 1.0000, 1.0000, 0.0000, 0.7500, 0.7500]])
    """
    beside = beside_diagonal(graph)
    ends = torch.stack([graph.rows, graph.cols]).index_select(1, beside)
    rows = torch.cat([ends[0], ends[1]])
    profile = LocalDegreeProfile()(Data(edge_index=torch.cat([ends, ends.flip(0)], 1), num_nodes=graph.nodes)).x
    sizes = graph.entries.index_select(0, beside).abs().repeat(2)
    diagonal = graph.entries.index_select(0, graph.diagonal)
    dominance = diagonal / (diagonal + scatter(sizes, rows, dim_size=graph.nodes))
    decay = diagonal / (diagonal + scatter(sizes, rows, dim_size=graph.nodes, reduce="max"))
    return torch.cat([profile, torch.stack([dominance, decay], 1)], 1).float()  # pyright: ignore


@dataclass(frozen=True, eq=False)
class NeuralIF(FactorFromJacobi):
    """The factor of Häusner et al. (2024): ``M = L L^T`` on the pattern of the matrix, its diagonal an exponential.

    ``l_ij = sqrt(a_ii) tanh(out_ij)`` below the diagonal and ``l_ii = sqrt(a_ii exp(out_ii))`` on it (the exponent
    between -8 and 8), so that the factor follows any scaling of the matrix and is positive definite with any weights.
    Untrained, it is Jacobi. The published network is also told the right-hand side; here a preconditioner serves all.

    Args:
        network: as trained.
        coarse, probes, trained_on: see :class:`FromJacobi`.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CG, solve
        >>> A = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(9, 9))
        >>> solve(A, torch.ones(9, dtype=torch.float64), CG(NeuralIF())).method
        'CG, NeuralIF, 17 entries, fill 1.0, alpha 0 preconditioner'

    Source:
        Häusner, Öktem, Sjölund, "Neural incomplete factorization", TMLR 2024. Scaling by the diagonal and
        the bounds are ours, as is the search for alpha.
    """

    network: nn.Module = field(default_factory=NeuralIFNetwork, repr=False)

    def from_output(self, graph: MatrixGraph, output: Float[Tensor, " edges"]) -> Float[Tensor, " edges"]:
        """The entries of L, float64."""
        diagonal = torch.exp(bounded(output.index_select(0, graph.diagonal), 8.0) / 2)
        scaled = bounded(output, 1.0).index_copy(0, graph.diagonal, diagonal)
        return scaled * roots(graph).index_select(0, graph.rows)
