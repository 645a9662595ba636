"""Training search directions: errors to begin with, the network's weights, what is refused."""

import pytest
import torch
from train.solver_problems import DARCY, OBSTACLES, adam, batch, directing

import pdekit as pk
from pdekit.core.errors import InputError
from pdekit.families import Darcy
from pdekit.learned.directions import DeepDirections, DirectionLoss, DirectionNet
from pdekit.solvers import solve
from pdekit.train.direction_learning import DirectionLearning


class Seen(DirectionLoss):
    """Notes what it is given."""

    def __call__(self, network, A, error):
        object.__setattr__(self, "given", (A, error))
        return error.sum()

    def left(self, error, r, p, q):
        raise NotImplementedError


def test_errors_are_solutions_of_random_right_hand_sides():
    """Oracle: the product with the matrix."""
    loss = Seen()
    one = batch(OBSTACLES)
    directing(loss=loss, right_hand_sides=3).training_step(one, 0)
    A, error = loss.given
    assert error.shape == (3, 3, 16 * 16)
    assert A.dtype == error.dtype == torch.float32
    b = A.matvec(error)
    assert float(b.mean()) == pytest.approx(0, abs=0.1)
    assert float(b.std()) == pytest.approx(1, abs=0.1)
    exact = OBSTACLES.system(one.samples.inputs.to(torch.float64)).operator
    assert torch.allclose(A.diagonal().double(), exact.diagonal(), rtol=1e-6)


def test_or_the_solutions_of_the_samples():
    loss, one = Seen(), batch(OBSTACLES)
    directing(loss=loss, right_hand_sides=0).training_step(one, 0)
    inner = one.samples["solution"][:, 1:-1, 1:-1]
    assert torch.equal(loss.given[1], inner.reshape(1, 3, -1))


def test_a_step_reaches_the_weights():
    task = directing()
    task.training_step(batch(OBSTACLES), 0).backward()
    assert any(bool((weight.grad != 0).any()) for weight in task.network.parameters())


def test_iterations_are_those_of_solve():
    task, one = directing(rtol=1e-6), batch(OBSTACLES)
    system = OBSTACLES.system(one.samples.inputs.to(torch.float64))
    expected = solve(system.operator, system.rhs, task.recipe, rtol=1e-6).iterations
    assert task.iterations(one.samples, task.recipe).tolist() == expected.tolist()


def test_a_family_on_a_mesh_is_refused():
    family = Darcy(pk.shapes.Rectangle(cells=3), DARCY.coefficient)
    with pytest.raises(InputError, match="expected a family on a Grid"):
        directing(family).training_step(batch(family), 0)


@pytest.mark.slow
def test_it_learns_to_need_fewer_iterations():
    """Baseline: the untrained network, a plain multigrid cycle, around obstacles never seen, over three seeds."""
    family = pk.families.Obstacles(pk.Grid((34, 34)))
    test = batch(family, 8, seed=99).samples
    for seed in range(3):
        torch.manual_seed(seed)
        recipe = DeepDirections(DirectionNet(2))
        task = DirectionLearning(recipe, family, optimizer=adam(2e-3))
        before = task.iterations(test, task.recipe).mean()
        optimizer = task.optimizer(task.network.parameters())
        for step in range(60):
            optimizer.zero_grad()
            task.training_step(batch(family, 4, seed=10 * seed + step % 8), 0).backward()
            torch.nn.utils.clip_grad_norm_(task.network.parameters(), 1.0)
            optimizer.step()
        assert task.iterations(test, task.recipe).mean() <= 0.7 * before
