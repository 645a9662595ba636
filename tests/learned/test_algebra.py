"""Products and solves on graphs against dense algebra and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from solvers.sparse_problems import dense, laplacian, networks

from pdekit.learned import MatrixGraph, algebra, edge_features
from pdekit.solvers import CG, CSR, IC0, ICT, solve
from pdekit.solvers.preconditioners.factored import Factored
from pdekit.testing import check_device


def example(start=None) -> MatrixGraph:
    return MatrixGraph.of([networks(8, (2,)), CSR.from_scipy(laplacian(2))], start)


def full(graph: MatrixGraph, values: torch.Tensor) -> torch.Tensor:
    zeros = torch.zeros(graph.nodes, graph.nodes, dtype=torch.float64)
    return zeros.index_put((graph.rows, graph.cols), values)


def random(graph: MatrixGraph) -> tuple[torch.Tensor, torch.Tensor]:
    """Entries of L, positive on the diagonal, and vectors."""
    values = torch.randn(graph.edges, dtype=torch.float64)
    values[graph.diagonal] = 1 + values[graph.diagonal].abs()
    return values, torch.randn(3, 2, graph.nodes, dtype=torch.float64)


def test_products_and_solves_are_those_of_dense_algebra():
    graph = example()
    values, x = random(graph)
    L = full(graph, values)
    A = full(graph, graph.entries)
    A = A + A.T - torch.diag(A.diagonal())
    for found, matrix in [
        (algebra.lower(graph, values, x), L),
        (algebra.lower_transposed(graph, values, x), L.T),
        (algebra.factored(graph, values, x), L @ L.T),
        (algebra.symmetric(graph, graph.entries, x), A),
        (algebra.solve(graph, values, x), torch.linalg.inv(L @ L.T)),
    ]:
        torch.testing.assert_close(found, x @ matrix.T, rtol=1e-12, atol=1e-12)


FUNCTIONS = (algebra.lower, algebra.lower_transposed, algebra.factored, algebra.symmetric, algebra.solve)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_are_those_of_finite_differences(function):
    graph = example(ICT(1e-3))
    values, x = random(graph)
    values.requires_grad_(), x.requires_grad_()
    assert torch.autograd.gradcheck(lambda values, x: function(graph, values, x), (values, x[:2, :1]))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_have_gradients(function):
    graph = MatrixGraph.of(CSR.from_scipy(laplacian(2)))
    values, x = random(graph)
    arguments = values.requires_grad_(), x[0, 0].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda values, x: function(graph, values, x), arguments)


def test_gradients_of_what_is_not_asked_for_are_not_made():
    graph = example()
    values, x = random(graph)
    algebra.solve(graph, values.requires_grad_(), x).sum().backward()
    assert values.grad is not None
    assert x.grad is None


@pytest.mark.parametrize("recipe", [IC0(), ICT(1e-3)])
def test_factors_of_a_start_are_those_it_was_made_of(recipe):
    A = networks(30, (2,))
    graph, P = MatrixGraph.of(A, recipe), recipe.setup(A)
    again = Factored(A, algebra.factors(graph, graph.start), "again")
    x = torch.randn(2, 30, dtype=torch.float64)
    torch.testing.assert_close(again.matvec(x), P.matvec(x), rtol=1e-13, atol=1e-13)
    for i in range(2):
        np.testing.assert_allclose(again.lower(i).toarray(), P.lower(i).toarray(), rtol=1e-14)
    torch.testing.assert_close(algebra.solve(graph, graph.start, x.reshape(1, 60)).reshape(2, 30), P.matvec(x))


def test_a_complete_factor_solves():
    A = networks(30)
    graph, x = MatrixGraph.of(A, ICT(0.0)), torch.randn(30, dtype=torch.float64)
    np.testing.assert_allclose(algebra.solve(graph, graph.start, x).numpy(), np.linalg.solve(dense(A), x.numpy()))
    operator = Factored(A, algebra.factors(graph, graph.start), "complete")
    assert int(solve(A, x, CG(Given(operator))).iterations) == 1


class Given(IC0):
    """A set-up that is there already."""

    def __init__(self, operator):
        self.__dict__["operator"] = operator

    def setup(self, A):
        return self.operator


def on_a_device(device) -> None:
    index = torch.arange(4, device=device)
    edges = torch.arange(7, device=device)
    rows, cols = (edges + 1) // 2, edges // 2
    entries = torch.ones(7, dtype=torch.float64, device=device)
    graph = MatrixGraph(rows, cols, entries, None, 2 * index, 0 * index, 1)
    values = torch.rand(7, dtype=torch.float64, device=device).add(1).requires_grad_()
    x = torch.rand(3, 4, dtype=torch.float64, device=device, requires_grad=True)
    for function in FUNCTIONS:
        found = function(graph, values, x)
        assert found.shape == x.shape
        assert found.device == x.device
        for gradient in torch.autograd.grad(found.square().sum(), (values, x)):
            assert gradient.device == x.device
    for start in (None, entries):
        assert edge_features(replace(graph, start=start)).device == x.device


def test_on_an_accelerator():
    check_device(on_a_device)


def test_what_other_devices_compute_is_the_same(monkeypatch):
    graph = example()
    values, x = random(graph)
    expected = [function(graph, values, x) for function in FUNCTIONS]
    monkeypatch.setattr(algebra, "_compiled", lambda values: False)
    for function, there in zip(FUNCTIONS, expected, strict=True):
        torch.testing.assert_close(function(graph, values, x), there, rtol=1e-13, atol=1e-13)
