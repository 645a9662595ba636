"""The published network that corrects incomplete factors."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.learned.features import largest, start_values
from pdekit.learned.graphs import MatrixGraph

__all__ = ["PublishedCorrection"]

_WIDTH, _ROUNDS = 16, 5


class PublishedCorrection(nn.Module):
    """A correction of each entry of an incomplete factor, from 1,170 weights, as published.

    A network makes 16 channels of each entry, relative to the largest. Five times, with the same weights, a number at
    each node becomes the first channel of the sum over its row of entries times the numbers at their columns, and the
    channels of each entry are made anew of themselves and of the numbers at its ends. What a last network gives is
    multiplied by a trainable number that starts at 0, so that before any training the correction is 0.

    Example:
        >>> sum(weight.numel() for weight in PublishedCorrection().parameters())
        1170

    Source:
        Trifonov et al., "Learning from linear algebra: a graph neural network approach to preconditioner design for
        conjugate gradient solvers" (PreCorrector), arXiv 2405.15557, section 3.
    """

    def __init__(self):
        super().__init__()
        self.arguments: dict[str, Any] = {}
        self.encoder = _two_layers(1, _WIDTH)
        self.round = _two_layers(_WIDTH + 2, _WIDTH)
        self.decoder = _two_layers(_WIDTH, 1)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, graph: MatrixGraph) -> Float[Tensor, " edges"]:
        """The correction of each entry, in units of the largest entry of its matrix's factor."""
        owner = graph.owner.index_select(0, graph.rows)
        relative = start_values(graph) / largest(graph).index_select(0, owner)
        edges = self.encoder(relative.float()[:, None])
        nodes = edges.new_ones(graph.nodes)
        for _ in range(_ROUNDS):
            sent = edges[:, 0] * nodes.index_select(0, graph.cols)
            nodes = edges.new_zeros(graph.nodes).index_add(0, graph.rows, sent)
            ends = [nodes.index_select(0, end)[:, None] for end in (graph.rows, graph.cols)]
            edges = self.round(torch.cat([edges, *ends], 1))
        return self.scale * self.decoder(edges)[:, 0]


def _two_layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, outputs))
