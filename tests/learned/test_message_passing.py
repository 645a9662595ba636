"""Steps of message passing against the loops that they stand for."""

import numpy as np
import pytest
import torch

from pdekit.learned.message_passing import MessageStep
from pdekit.learned.perceptron import perceptron


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("residual", [True, False])
def test_a_step_is_its_definition(aggregation, residual):
    """e_ij <- MLP([e_ij, h_j, h_i]), then h_i <- MLP([sum or mean of e_ij, h_i]); node 3 receives nothing."""
    step = MessageStep(2, 3, 5, aggregation=aggregation, residual=residual)
    sources, targets = torch.tensor([0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 0, 2])
    edges, nodes = torch.randn(5, 2), torch.randn(4, 3)
    new_edges, new_nodes = step(torch.stack([sources, targets]), edges, nodes)
    for k, (j, i) in enumerate(zip(sources, targets, strict=True)):
        expected = step.edge(torch.cat([edges[k], nodes[j], nodes[i]])) + residual * edges[k]
        np.testing.assert_allclose(new_edges[k].detach(), expected.detach(), rtol=1e-5, atol=1e-6)
    for i in range(4):
        arriving = new_edges[targets == i]
        found = arriving.sum(0) / (max(len(arriving), 1) if aggregation == "mean" else 1)
        expected = step.node(torch.cat([found, nodes[i]])) + residual * nodes[i]
        np.testing.assert_allclose(new_nodes[i].detach(), expected.detach(), rtol=1e-5, atol=1e-6)


def test_a_last_step_leaves_nodes_alone():
    step, nodes = MessageStep(1, 2, 3, new_nodes=0), torch.randn(2, 2)
    edges, same = step(torch.tensor([[0], [1]]), torch.ones(1, 1), nodes)
    assert same is nodes
    assert edges.shape == (1, 1)
    assert step.node is None


def test_silent_networks_give_zero():
    assert not perceptron(3, 4, 2, silent=True)(torch.randn(5, 3)).any()
    assert perceptron(3, 4, 2)(torch.randn(5, 3)).any()
