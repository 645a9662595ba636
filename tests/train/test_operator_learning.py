"""Supervised training: the loss is in physical units, the schedule in steps, and it learns."""

import lightning.pytorch as L
import pytest
import torch
from torch.utils.data import DataLoader

from pdekit.core.errors import PdekitError
from pdekit.domain import Grid
from pdekit.nn import FNO
from pdekit.samples import FieldSpec, Samples, Schema
from pdekit.stream import Batch
from pdekit.train.metrics import measure
from pdekit.train.operator_learning import OperatorLearning
from pdekit.train.strategies import Strategy

SCHEMA = Schema(Grid((17,)), (FieldSpec("source", "input"), FieldSpec("solution", "output")))


def samples(count: int, seed: int = 0) -> Samples:
    """-u'' = f with f = sum_k c_k sin(k pi x), in closed form."""
    generator = torch.Generator().manual_seed(seed)
    coefficients = torch.randn(count, 4, generator=generator)
    k = torch.arange(1, 5)
    sines = torch.sin(torch.pi * k[:, None] * torch.linspace(0, 1, 17))
    return Samples(SCHEMA, {"source": coefficients @ sines, "solution": coefficients / (torch.pi * k) ** 2 @ sines})


def batch(count: int, seed: int = 0) -> Batch:
    return Batch(samples(count, seed), torch.arange(count))


def make(**settings) -> OperatorLearning:
    model = FNO(1, 1, dim=1, basis="sine", modes=6, width=8, layers=1)
    return OperatorLearning(model, SCHEMA, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-2), **settings)


def test_the_loss_is_taken_on_decoded_fields():
    """Oracle: the relative L2 error of the surrogate's own predictions, by hand."""
    task, one = make(), batch(6)
    task.fit_normaliser(one.samples)
    predicted = task.surrogate.predict(one.samples.inputs)["solution"]
    truth, weights = one.samples["solution"], SCHEMA.domain.quadrature()
    error = ((predicted - truth).square() @ weights.float()).sqrt() / (truth.square() @ weights.float()).sqrt()
    assert torch.isclose(task.training_step(one, 0), error.mean(), rtol=1e-5)
    assert torch.isclose(task.validation_step(one, 0), error.mean(), rtol=1e-5)


def test_training_before_the_normaliser_is_fitted_is_refused():
    with pytest.raises(PdekitError, match="not fitted"):
        make().training_step(batch(4), 0)


def fit(task: OperatorLearning, steps: int, tmp_path) -> L.Trainer:
    task.fit_normaliser(samples(64))
    trainer = L.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(task, DataLoader([batch(16, seed) for seed in range(steps)], batch_size=None))
    return trainer


@pytest.mark.filterwarnings("ignore")
def test_it_learns_to_solve(tmp_path):
    """Oracle: closed-form solutions; baseline: the mean field, whose relative error is 1."""
    task = make()
    fit(task, 150, tmp_path)
    test = samples(64, seed=999)
    assert measure(task.surrogate.predict(test.inputs), test)["solution"]["rel_l2_mean"] < 0.1


@pytest.mark.filterwarnings("ignore")
def test_the_schedule_moves_once_an_optimiser_step(tmp_path):
    task = make(schedule=lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.5**step))
    trainer = fit(task, 7, tmp_path)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-2 * 0.5**7)


def test_a_strategy_decides_what_is_compared():
    class Twice(Strategy):
        def step(self, surrogate, inputs, outputs):
            return surrogate(surrogate(inputs)), outputs

    task, one = make(strategy=Twice()), batch(4)
    task.fit_normaliser(one.samples)
    x = one.samples["source"].unsqueeze(-1)
    expected = task.loss(task.surrogate(task.surrogate(x)), one.samples["solution"].unsqueeze(-1), task.weights)
    assert torch.isclose(task.training_step(one, 0), expected)


def test_the_state_holds_weights_and_normaliser_only():
    names = set(make().state_dict())
    assert {name.split(".")[0] for name in names} == {"surrogate"}
    assert any(name.startswith("surrogate.normaliser") for name in names)
