"""The data module: validation set, step budget, closing."""

import threading

import pytest
import torch
from stream.toys import Toy
from train.toy_training import Linear, make_stream, trainer

from pdekit.core import InputError
from pdekit.stream import Batch, Stream, held_out
from pdekit.train.data import StreamData


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pdekit-worker")]


def test_the_validation_set_is_the_sources_at_the_tighter_tolerance():
    """Oracle: drawing and solving the split outside the data module."""
    stream = make_stream()
    data = StreamData(stream, validation=15, validation_rtol=1e-9)
    data.setup("fit")
    batches = list(data.val_dataloader())
    assert [len(batch) for batch in batches] == [6, 6, 3]
    assert len(data.val_dataloader()) == 3
    inputs = stream.source.draw(range(15), seed=5, split="validation")
    joined = torch.cat([batch.samples["coefficient"] for batch in batches])
    assert torch.equal(joined, inputs["coefficient"].float())
    assert float(batches[0].samples.certificate.tolerance[0]) == 1e-9
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(15))


def test_the_validation_set_is_solved_once():
    stream = make_stream()
    data = StreamData(stream, validation=4)
    data.setup("fit")
    data.setup("fit")
    assert len(stream.source.solved) == 4


def test_held_out_joins_tickets_in_order():
    samples = held_out(Toy(), 21, seed=1, split="test", rtol=1e-8, ticket_size=8)
    assert samples.identity.indices.tolist() == list(range(21))
    assert samples["solution"].dtype == torch.float64


def test_training_ends_after_the_last_step_and_closes_the_stream(tmp_path):
    data = StreamData(make_stream(), validation=0)
    run = trainer(tmp_path, 7, limit_val_batches=0)
    run.fit(Linear(), datamodule=data)
    assert run.global_step == 7
    assert data.stream.batches == 7
    assert not workers()


def test_gradient_accumulation_draws_as_many_batches(tmp_path):
    data = StreamData(make_stream(), validation=0)
    run = trainer(tmp_path, 5, limit_val_batches=0, accumulate_grad_batches=3)
    run.fit(Linear(), datamodule=data)
    assert (run.global_step, data.stream.batches) == (5, 15)


def test_a_spent_budget_ends_training(tmp_path):
    data = StreamData(make_stream(budget=60), validation=0)
    run = trainer(tmp_path, 10_000, limit_val_batches=0)
    run.fit(Linear(), datamodule=data)
    assert run.global_step < 100
    assert data.stream.policy.population == 0


def test_a_failing_training_closes_the_stream(tmp_path):
    class Failing(Linear):
        def training_step(self, batch, batch_idx):
            raise ArithmeticError("no")

    data = StreamData(make_stream(), validation=0)
    with pytest.raises(ArithmeticError, match="no"):
        trainer(tmp_path, 7, limit_val_batches=0).fit(Failing(), datamodule=data)
    assert not workers()


def test_first_fill_is_available_before_the_first_step():
    data = StreamData(make_stream(), validation=0)
    with data.stream:
        assert len(data.first_fill()) == 30


def test_a_batch_moves_to_a_device():
    with make_stream() as stream:
        batch = stream.next_batch().to("meta")
    assert isinstance(batch, Batch)
    assert batch.samples["solution"].device.type == "meta"
    assert len(batch) == 6


def test_no_last_step_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"max_steps=-1.*a stream has no epochs"):
        trainer(tmp_path, -1, limit_val_batches=0).fit(Linear(), datamodule=StreamData(make_stream(), validation=0))


def test_negative_validation_is_refused():
    with pytest.raises(InputError, match="validation=-1"):
        StreamData(Stream(Toy()), validation=-1)
