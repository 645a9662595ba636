"""Deep directions as a method: answers in float64 whatever the network, counted fall-backs, folders, refusals."""

import re

import numpy as np
import pytest
import torch
from learned.directions.lattices import around_obstacles
from learned.directions.networks_to_test import Broken, randomised

from pdekit.core import InputError
from pdekit.domain import Grid
from pdekit.learned import files
from pdekit.learned.base import TrainedOn
from pdekit.learned.directions import ConvolutionNet, DeepDirections, DirectionNet
from pdekit.solvers import CSR, Auto, NotConverged, Reason, Stencil, diffusion, solve
from pdekit.solvers.krylov.cg import conjugate_gradients

NETWORKS = {
    "linear": lambda dim: DirectionNet(dim),
    "published": lambda dim: ConvolutionNet(dim, width=4),
}


def counted(solution):
    """Fall-backs and steps, as the solution tells them."""
    found = re.search(r"(\d+) of (\d+) steps along the residual itself", solution.method)
    assert found, solution.method
    return int(found[1]), int(found[2])


def dense_solution(A, b):
    return np.stack([np.linalg.solve(A.to_scipy((i,)).toarray(), b[i].numpy()) for i in range(len(b))])


@pytest.mark.parametrize("shape", [(20, 17), (8, 7, 9)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("medium", [False, True], ids=["one coefficient", "a medium"])
def test_solutions_to_many_digits(shape, medium):
    A, b = around_obstacles(shape, 3, medium=medium)
    solution = solve(A, b, DeepDirections(DirectionNet(len(shape))), rtol=1e-12)
    expected = dense_solution(A, b)
    np.testing.assert_allclose(solution.x, expected, rtol=0, atol=1e-9 * abs(expected).max())
    assert solution.x.dtype == torch.float64
    refused, steps = counted(solution)
    assert refused == 0
    assert steps == int(solution.iterations.sum())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_random_weights_still_give_the_answer(name, seed):
    torch.manual_seed(seed)
    A, b = around_obstacles((20, 17), 2, seed=seed)
    solution = solve(A, b, DeepDirections(randomised(NETWORKS[name](2))), rtol=1e-10)
    expected = dense_solution(A, b)
    np.testing.assert_allclose(solution.x, expected, rtol=0, atol=1e-7 * abs(expected).max())
    refused, steps = counted(solution)
    assert 0 < refused <= steps


@pytest.mark.parametrize("how", ["nothing", "not a number", "across the residual", "far too large"])
def test_without_any_proposal_it_is_conjugate_gradients(how):
    A, b = around_obstacles((20, 17), 2)
    solution = solve(A, b, DeepDirections(Broken(how)), rtol=1e-8)
    oracle = conjugate_gradients(A, None, b, None, 1e-8 * torch.linalg.vector_norm(b, dim=-1), 1000)
    assert bool(((solution.iterations - oracle.iterations).abs() <= 1).all())
    refused, steps = counted(solution)
    assert refused == steps == int(solution.iterations.sum())


def test_a_direction_may_point_the_other_way():
    A, b = around_obstacles((20, 17), 2)
    forth, back = (solve(A, b, DeepDirections(Broken(how)), rtol=1e-8) for how in ("residual", "backwards"))
    assert torch.equal(forth.iterations, back.iterations)
    assert counted(back)[0] == 0


def test_a_limit_that_is_too_low_is_told():
    A, b = around_obstacles((20, 17), 1)
    with pytest.raises(NotConverged) as caught:
        solve(A, b, DeepDirections(DirectionNet(2), max_iterations=2), rtol=1e-10)
    assert caught.value.solution.reason[0] is Reason.MAX_ITERATIONS


def test_batches_broadcast_and_columns_are_frozen():
    A, b = around_obstacles((12, 9), 2)
    method = DeepDirections(DirectionNet(2))
    many = torch.stack((b, torch.zeros_like(b), 1e-9 * b))
    solution = solve(A, many, method, rtol=1e-9)
    assert solution.x.shape == (3, 2, 108)
    assert (solution.x[1] == 0).all()
    torch.testing.assert_close(solution.x[2], 1e-9 * solution.x[0], rtol=1e-6, atol=1e-20)
    for i in range(2):
        alone = solve(A[i], b[i], method, rtol=1e-9)
        assert int(alone.iterations) == int(solution.iterations[0, i])
    again = solve(A, b, method, rtol=1e-9, x0=solution.x[0])
    assert (again.iterations == 0).all()


def test_matrices_of_strange_size():
    A, b = around_obstacles((12, 9), 2)
    tiny = A.with_values([1e-200 * values for values in A.values])
    found = solve(tiny, b, DeepDirections(DirectionNet(2)), rtol=1e-9).x
    torch.testing.assert_close(1e-200 * found, solve(A, b, rtol=1e-11).x, rtol=1e-6, atol=1e-9)


def test_gradients_flow_through_the_solution():
    # Oracle: finite differences.
    coefficient = torch.rand(5, 4, dtype=torch.float64) + 0.5
    method = DeepDirections(DirectionNet(2))

    def energy(a):
        system = diffusion(Grid((5, 4)), a, 1.0)
        return (solve(system.operator, system.rhs, method, rtol=1e-13).x * system.rhs).sum()

    assert torch.autograd.gradcheck(energy, coefficient.requires_grad_(), eps=1e-5, atol=1e-6, fast_mode=True)


def test_an_arm_of_auto():
    A, b = around_obstacles((12, 9), 2)
    method = Auto(learn=True, arms=[DeepDirections(DirectionNet(2)), DeepDirections(DirectionNet(2, hidden=4))])
    for _ in range(8):
        assert bool(solve(A, b, method, rtol=1e-8).converged.all())
    report = str(method.experience)
    assert report.count("DeepDirections") >= 2, report


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_and_loaded(tmp_path, name):
    A, b = around_obstacles((12, 9), 2)
    network = NETWORKS[name](2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    method = DeepDirections(network, memory=3, max_iterations=77, trained_on=TrainedOn("Obstacles", 2))
    method.save(tmp_path / "model")
    same = files.load(tmp_path / "model")
    assert (same.memory, same.max_iterations, same.trained_on) == (3, 77, TrainedOn("Obstacles", 2))
    assert torch.equal(solve(A, b, same).x, solve(A, b, method).x)
    assert same.network.arguments == network.arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda A: DeepDirections(torch.nn.Linear(1, 1)), "expected a network that gives directions"),
        (lambda A: DeepDirections(DirectionNet(2), memory=0), "DeepDirections.*memory"),
        (lambda A: DeepDirections(DirectionNet(2), max_iterations=0), "DeepDirections.*max_iterations"),
        (lambda A: DeepDirections(DirectionNet(3)).prepare(A), "lattices of 3 dimensions.*given was 5-point"),
        (lambda A: DeepDirections(DirectionNet(2)).prepare(CSR.from_scipy(A.to_scipy((0,)))), "needs a Stencil"),
        (
            lambda A: DeepDirections(DirectionNet(2)).prepare(
                Stencil([torch.ones(5, 4).double(), torch.ones(4, 5).double()], periodic=[True, False])
            ),
            "between walls.*periodic",
        ),
        (lambda A: DeepDirections(DirectionNet(2).to("meta")).prepare(A), "network is on meta and the matrix on cpu"),
    ],
)
def test_refusals(make, message):
    A, _ = around_obstacles((4, 4))
    with pytest.raises(InputError, match=message):
        make(A)
