"""Training preconditioners: what the loss is taken of, what validation counts, and which weights are kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from train.solver_problems import DARCY, batch, preconditioning

import pdekit as pk
from pdekit.core.errors import InputError
from pdekit.domain import Star
from pdekit.families import Darcy, Elasticity
from pdekit.learned.base import TrainedOn
from pdekit.learned.corrected import CorrectedFactor
from pdekit.samples import FieldSpec, Schema, Source
from pdekit.solvers import CG, IC0, solve
from pdekit.train.systems import stored, systems_of


def dense(samples):
    """The matrices of some samples as one dense block matrix."""
    (A,) = stored(systems_of(DARCY, samples.inputs))
    return torch.block_diag(*(torch.from_numpy(A.to_scipy((i,)).toarray()) for i in range(len(samples))))


def test_vectors_are_solutions_of_random_right_hand_sides():
    """Oracle: dense algebra."""
    task, samples = preconditioning(right_hand_sides=4), batch(DARCY).samples
    graph, x, b = task.problems(DARCY, samples.inputs, samples)
    A = dense(samples)
    assert graph.count == 3
    assert x.shape == b.shape == (4, len(A))
    np.testing.assert_allclose(b, x @ A, rtol=1e-10, atol=1e-8)
    assert float(b.mean()) == pytest.approx(0, abs=0.1)
    assert float(b.std()) == pytest.approx(1, abs=0.1)


def test_or_the_solutions_of_the_samples():
    """Oracle: the family's restriction to the unknowns; float32 has rounded the samples."""
    task, one = preconditioning(right_hand_sides=0), batch(DARCY)
    _, x, _ = task.problems(DARCY, one.samples.inputs, one.samples)
    inner = one.samples["solution"][:, 1:-1, 1:-1]
    assert torch.equal(x, inner.double().reshape(1, -1))


def test_meshes_of_their_own_make_one_graph():
    family = Darcy(Star(rings=(2, 5)), DARCY.coefficient)
    samples = family.solve(family.draw(range(3), seed=0), rtol=1e-8)
    for right_hand_sides in (0, 2):
        task = preconditioning(family, CorrectedFactor(start=IC0(shift="auto")), right_hand_sides=right_hand_sides)
        graph, x, b = task.problems(family, samples.inputs, samples)
        assert graph.count == 3
        assert x.shape == b.shape == (max(right_hand_sides, 1), graph.nodes)


def test_a_matrix_shared_by_all_samples_has_many_vectors():
    family = pk.families.Poisson(pk.Grid((9, 9)), pk.fields.GaussianField(alpha=2, tau=3))
    samples = family.solve(family.draw(range(5), seed=0), rtol=1e-8)
    task = preconditioning(family, right_hand_sides=0)
    graph, x, _ = task.problems(family, samples.inputs, samples)
    assert graph.count == 1
    assert x.shape == (5, 49)


def test_the_loss_of_a_step_reaches_the_weights():
    """Oracle: without a correction the loss is that of the classical factor, by dense algebra."""
    task, one = preconditioning(right_hand_sides=2), batch(DARCY)
    torch.manual_seed(1)
    loss = task.training_step(one, 0)
    loss.backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in task.network.parameters())
    assert any(bool((weight.grad != 0).any()) for weight in task.network.parameters())
    torch.manual_seed(1)
    _, x, b = task.problems(DARCY, one.samples.inputs, one.samples)
    (A,) = stored(systems_of(DARCY, one.samples.inputs))
    factor = IC0().setup(A)
    lower = torch.block_diag(*(torch.from_numpy(factor.lower(i).toarray()) for i in range(3)))
    missed, size = ((v.unflatten(-1, (3, -1))).square().sum(-1) for v in (x @ (lower @ lower.T) - b, b))
    assert loss.item() == pytest.approx(float((missed / size).mean()), rel=1e-6)


def test_iterations_are_those_of_solve():
    task, one = preconditioning(rtol=1e-7), batch(DARCY)
    (system,) = systems_of(DARCY, one.samples.inputs)
    expected = solve(stored([system])[0], system.rhs, CG(IC0()), rtol=1e-7).iterations
    assert task.iterations(one.samples, task.recipe).tolist() == expected.tolist()
    assert preconditioning(max_iterations=2).iterations(one.samples, task.recipe).tolist() == [3, 3, 3]


def test_matrices_of_a_grid_are_taken_as_they_are():
    """Oracle: the same matrix in compressed rows."""
    system = DARCY.system(DARCY.draw([0], seed=0))
    found = [solve(A, system.rhs, CG(CorrectedFactor()), rtol=1e-12) for A in (system.operator, *stored([system]))]
    assert found[0].iterations.tolist() == found[1].iterations.tolist()
    assert torch.allclose(found[0].x, found[1].x, rtol=1e-9)


def test_the_weights_with_fewest_iterations_are_kept():
    task = preconditioning()
    weights = task.network.encoder[0].weight
    assert task.trained.network is task.network  # nothing was counted yet
    for iterations, value in ((20.0, 1.0), (30.0, 2.0), (19.0, 3.0), (19.5, 4.0)):
        with torch.no_grad():
            weights.fill_(value)
        task._keep(torch.tensor(iterations, dtype=torch.float64))
    assert bool((task.trained.network.encoder[0].weight == 3.0).all())
    assert bool((task.network.encoder[0].weight == 4.0).all())
    again = preconditioning()
    again.load_state_dict(task.state_dict())
    assert bool((again.trained.network.encoder[0].weight == 3.0).all())
    assert float(again.best_iterations) == 19.0


def test_what_it_was_trained_on_is_kept():
    assert preconditioning().recipe.trained_on == TrainedOn("Darcy", 2, 1)
    beam = Elasticity(pk.shapes.Rectangle(cells=2), young=DARCY.coefficient, body_force=(0.0, -1.0))
    assert preconditioning(beam).recipe.trained_on == TrainedOn("Elasticity", 2, 2)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"right_hand_sides": -1}, "right_hand_sides=-1; expected 0 or more"),
        ({"right_hand_sides": 0, "sizes": [9, 13]}, "at least 1 beside sizes"),
        ({"sizes": []}, "sizes is empty"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"rtol": 2.0}, "rtol"),
    ],
)
def test_settings_that_cannot_be(settings, expected):
    with pytest.raises(InputError, match=expected):
        preconditioning(**settings)


def test_a_source_without_matrices():
    schema = Schema(pk.Grid((5,)), (FieldSpec("a", "input"), FieldSpec("u", "output")))
    with pytest.raises(InputError, match="expected a family such as Darcy"):
        preconditioning(Source.from_function(schema, lambda keys: {}, lambda fields, rtol: {}))


@pytest.mark.slow
def test_it_learns_to_need_fewer_iterations():
    """Baseline: the classical factor that training starts from, on problems never seen, over three seeds."""
    family = replace(DARCY, domain=pk.Grid((33, 33)))
    test = batch(family, 8, seed=99).samples
    for seed in range(3):
        torch.manual_seed(seed)
        task = preconditioning(family, right_hand_sides=3)
        optimizer = task.optimizer(task.network.parameters())
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
        for _ in range(150):
            optimizer.zero_grad()
            task.training_step(batch(family, 4, seed=seed), 0).backward()
            torch.nn.utils.clip_grad_norm_(task.network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        learned = task.iterations(test, task.recipe).mean()
        classical = preconditioning(family).iterations(test, CorrectedFactor()).mean()
        assert learned <= 0.75 * classical
