"""A small network that corrects incomplete factors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from pdekit.learned.features import edge_features
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.perceptron import perceptron

__all__ = ["LeanNet"]

_WIDTH, _HIDDEN, _ROW = 8, 16, 4
"""Channels of an edge; width of the passes' networks; channels that are summed by row, the others being by column."""


class LeanNet(nn.Module):
    """A correction of each entry of an incomplete factor, from 1,274 weights.

    Each entry carries 8 channels, made of its :func:`~pdekit.learned.features.edge_features`. Twice they are updated
    from sums over the entry's row and column: a node is told 4 channels summed over its row and 4 over its column, and
    an entry those of both its nodes. Before any training the correction is 0.

    On the CPU :meth:`compiled` does the same in one compiled kernel.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR, IC0
        >>> A = CSR.from_scipy(scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(5, 5)))
        >>> network = LeanNet()
        >>> sum(weight.numel() for weight in network.parameters())
        1274
        >>> network(MatrixGraph.of(A, IC0())).abs().max().item()
        0.0

    Source:
        A lean form of the corrected factors of Trifonov et al., arXiv 2405.15557.
    """

    def __init__(self):
        super().__init__()
        self.arguments: dict[str, Any] = {}
        self.encoder = perceptron(5, _WIDTH, _WIDTH)
        self.passes = nn.ModuleList(_Pass() for _ in range(2))
        self.decoder = perceptron(_WIDTH, _WIDTH, 1, silent=True)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, graph: MatrixGraph) -> Float[Tensor, " edges"]:
        """The correction of each entry, in units of the largest entry of its matrix's factor."""
        edges = self.encoder(edge_features(graph))
        for step in self.passes:
            edges = edges + step(edges, graph)
        return self.scale * self.decoder(edges)[:, 0]

    def compiled(self) -> Callable[..., np.ndarray]:
        """The network as one kernel, for the columns of one factor on the CPU.

        Returns:
            A function of ``indptr, indices, lower, entries, space``: the columns of L with the diagonal first, the
            entries of the matrix at the same places, and a dictionary of the calling thread for what is used again.
            It gives the correction of each entry, float64, in the units of L.
        """
        from pdekit.kernels.learned.lean import BLOCK, corrections  # compiled code is loaded on first use

        weights = self._packed()

        def corrections_of(
            indptr: np.ndarray, indices: np.ndarray, lower: np.ndarray, entries: np.ndarray, space: dict
        ) -> np.ndarray:
            sizes = len(indptr) - 1, len(indices)
            if space.get("sizes") != sizes:
                space["sizes"] = sizes
                space["edges"] = np.empty((-(-sizes[1] // BLOCK), _WIDTH, BLOCK), np.float32)
                space["nodes"] = np.empty((sizes[0], _WIDTH), np.float32)
                space["blocks"] = np.zeros((3 * _WIDTH + _HIDDEN, BLOCK), np.float32)
            out = np.empty(sizes[1])
            scratch = space["edges"], space["nodes"], space["blocks"]
            corrections(indptr, indices, lower, entries, weights, *scratch, out)
            return out

        return corrections_of

    def _packed(self) -> np.ndarray:
        """The weights as the kernel takes them: float32, layer after layer, inputs filled up to a multiple of 4."""
        ends: list[list[Any]] = [[network[0], network[2]] for network in (self.encoder, self.decoder)]
        flat = []
        for layer in [*ends[0], *(each for step in self.passes for each in (step.first, step.last)), *ends[1]]:
            flat += [pad(layer.weight, (0, -layer.in_features % 4)).flatten(), layer.bias]
        return torch.cat([*flat, self.scale[None]]).detach().cpu().numpy()


class _Pass(nn.Module):
    """What is added to the channels of each entry."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3 * _WIDTH, _HIDDEN)
        self.last = nn.Linear(_HIDDEN, _WIDTH)

    def forward(self, edges: Float[Tensor, "edges 8"], graph: MatrixGraph) -> Float[Tensor, "edges 8"]:
        zeros = edges.new_zeros(graph.nodes, _ROW)
        by_row, by_col = edges.split(_ROW, 1)
        nodes = torch.cat([zeros.index_add(0, graph.rows, by_row), zeros.index_add(0, graph.cols, by_col)], 1)
        # What the first layer makes of the nodes is found before it is sent along the edges, of which there are more.
        of_edge, of_row, of_col = self.first.weight.split(_WIDTH, 1)
        hidden = linear(edges, of_edge, self.first.bias)
        hidden = hidden + linear(nodes, of_row).index_select(0, graph.rows)
        return self.last((hidden + linear(nodes, of_col).index_select(0, graph.cols)).relu())
