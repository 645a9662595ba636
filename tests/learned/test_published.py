"""The published network against dense NumPy."""

import numpy as np
import torch
from learned.systems import randomised
from solvers.sparse_problems import networks

from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.published import PublishedCorrection
from pdekit.solvers import IC0


def textbook(network: PublishedCorrection, L: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The corrections of one factor, ``(n, n)``: reference/solvers.md 2.2 a."""
    weights = {name: weight.detach().double().numpy() for name, weight in network.named_parameters()}

    def layers(x: np.ndarray, name: str) -> np.ndarray:
        hidden = np.maximum(x @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"], 0)
        return hidden @ weights[f"{name}.2.weight"].T + weights[f"{name}.2.bias"]

    edges, nodes = layers((L / np.abs(L).max())[..., None], "encoder") * stored[..., None], np.ones(len(L))
    for _ in range(5):
        nodes = edges[..., 0] @ nodes
        ends = [np.broadcast_to(nodes[each], (*L.shape, 1)) for each in (np.s_[:, None, None], np.s_[None, :, None])]
        edges = layers(np.concatenate([edges, *ends], -1), "round") * stored[..., None]
    return weights["scale"] * layers(edges, "decoder")[..., 0] * stored


def test_the_network_equals_dense_algebra():
    network, graph = randomised(PublishedCorrection(), size=0.2), MatrixGraph.of(networks(batch=(2,)), IC0())
    L, stored, found = np.zeros((3, 60, 60))
    places = graph.rows.numpy(), graph.cols.numpy()
    L[places], stored[places], found[places] = graph.start.numpy(), 1, network(graph).detach().numpy()
    for block in (slice(0, 30), slice(30, 60)):
        expected = textbook(network, L[block, block], stored[block, block])
        np.testing.assert_allclose(found[block, block], expected, atol=1e-5 * np.abs(expected).max())


def test_it_starts_at_the_classical_factor_and_can_leave_it():
    network, graph = PublishedCorrection(), MatrixGraph.of(networks(), IC0())
    correction = network(graph)
    assert not correction.any()
    assert sum(weight.numel() for weight in network.parameters()) == 1170
    correction.sum().backward()
    assert network.scale.grad != 0
    assert torch.isfinite(network.scale.grad)
