"""The lean network against dense NumPy, and its kernel against the network."""

import numpy as np
import pytest
import torch
from learned.systems import batched, lognormal, randomised
from solvers.sparse_problems import networks

from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.lean import LeanNet
from pdekit.solvers import IC0, ICT


def textbook(network: LeanNet, A: np.ndarray, L: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The corrections of one matrix, ``(n, n)``, in float64."""
    weights = {name: weight.detach().double().numpy() for name, weight in network.named_parameters()}

    def layers(x: np.ndarray, name: str, ends: tuple[str, str] = ("0", "2")) -> np.ndarray:
        first, last = (f"{name}.{end}" for end in ends)
        hidden = np.maximum(x @ weights[f"{first}.weight"].T + weights[f"{first}.bias"], 0)
        return hidden @ weights[f"{last}.weight"].T + weights[f"{last}.bias"]

    n, s, root = len(A), np.abs(L).max(), np.diag(L)
    everywhere = np.ones((n, n))
    features = [L / s, root[:, None] / s * everywhere, root[None] / s * everywhere, A / s**2, np.eye(n)]
    edges = layers(np.stack(features, -1), "encoder") * stored[..., None]
    for step in range(2):
        nodes = np.concatenate([edges[..., :4].sum(1), edges[..., 4:].sum(0)], -1)
        ends = [np.broadcast_to(nodes[:, None], edges.shape), np.broadcast_to(nodes[None], edges.shape)]
        told = np.concatenate([edges, *ends], -1)
        edges = (edges + layers(told, f"passes.{step}", ("first", "last"))) * stored[..., None]
    return weights["scale"] * layers(edges, "decoder")[..., 0] * stored


@pytest.mark.parametrize("start", [IC0(), IC0(relaxation=0.9), ICT(threshold=1e-3), None])
def test_the_network_equals_dense_algebra(start):
    A, network = networks(batch=(2,)), randomised(LeanNet())
    graph = MatrixGraph.of(A, start)
    found = network(graph).detach().numpy()
    dense_A, dense_L, stored, values = np.zeros((4, 60, 60))
    places = graph.rows.numpy(), graph.cols.numpy()
    roots = torch.zeros_like(graph.entries).index_copy(0, graph.diagonal, graph.entries[graph.diagonal].sqrt())
    dense_A[places], stored[places], values[places] = graph.entries.numpy(), 1, found
    dense_L[places] = (roots if start is None else graph.start).numpy()
    for block in (slice(0, 30), slice(30, 60)):
        one = tuple(part[block, block] for part in (dense_A, dense_L, stored))
        expected = textbook(network, *one)
        np.testing.assert_allclose(values[block, block], expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("A", "start"), [(lognormal(24)[0], IC0()), (networks(n=200), ICT()), (networks(n=3), IC0())])
def test_the_kernel_equals_the_network(A, start):
    network = randomised(LeanNet())
    graph = MatrixGraph.of(A, start)
    turned, order = graph.pattern.transposed
    expected = (network(graph)[order].double() * graph.start.abs().max()).detach().numpy()
    columns = [values[order].numpy() for values in (graph.start, graph.entries)]
    space: dict = {}
    found = network.compiled()(*turned.arrays, *columns, space)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    again = network.compiled()(*turned.arrays, *columns, space)  # with the same scratch
    np.testing.assert_array_equal(found, again)


def test_corrections_do_not_depend_on_units_nor_on_company():
    network, matrices = randomised(LeanNet()), lognormal(6, count=2)
    apart = torch.cat([network(MatrixGraph.of(A, IC0())) for A in matrices])
    together = network(MatrixGraph.of(batched(matrices) * torch.tensor([1.0, 1e6]).double(), IC0()))
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_it_starts_at_the_classical_factor():
    network = LeanNet()
    assert not network(MatrixGraph.of(networks(), IC0())).any()
    assert sum(weight.numel() for weight in network.parameters()) == 1274
