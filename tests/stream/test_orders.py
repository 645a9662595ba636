"""Orders of solving: nearest neighbours, Hilbert curves, and samples that keep their places whatever the order."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
import scipy.fft
import torch
from stream.test_stream import SMALL, digest
from stream.toys import Toy

from pdekit.core import InputError
from pdekit.domain import Boundary, Grid, Star
from pdekit.families import Darcy, Helmholtz
from pdekit.fields import GaussianField, LogNormal, Threshold, Uniform
from pdekit.samples import FieldSpec, Inputs, Schema
from pdekit.samples.hdf5 import read
from pdekit.stream import Stream, generate, greedy, hilbert, low_frequencies, solving_order
from pdekit.stream.orders import _hilbert_index

NOISE = GaussianField(alpha=2, tau=3)


def points(count: int, axes: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, axes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def length(keys, order) -> float:
    return float(keys[order].diff(dim=0).norm(dim=1).sum())


def nearest(keys: np.ndarray, start: int) -> list[int]:
    """The definition, one pair after the other."""
    left, order = set(range(len(keys))) - {start}, [start]
    while left:
        order.append(min(left, key=lambda row: float(np.linalg.norm(keys[row] - keys[order[-1]]))))
        left.remove(order[-1])
    return order


@pytest.mark.parametrize(("count", "axes", "start"), [(1, 3, 0), (2, 1, 1), (40, 5, 7), (120, 60, 0)])
def test_greedy_goes_to_the_nearest(count, axes, start):
    keys = points(count, axes)
    assert greedy(keys, start).tolist() == nearest(keys.numpy(), start)


def test_equal_keys_are_visited_once():
    assert sorted(greedy(torch.ones(6, 2)).tolist()) == list(range(6))
    assert sorted(hilbert(torch.ones(400, 2)).tolist()) == list(range(400))


def test_nothing_to_order():
    assert greedy(torch.empty(0, 3)).tolist() == []
    assert hilbert(torch.empty(0, 3)).tolist() == []


@pytest.mark.parametrize("start", [-1, 4])
def test_a_start_outside_is_refused(start):
    with pytest.raises(InputError, match=rf"start is {start} with 4 keys"):
        greedy(points(4, 2), start)


@pytest.mark.parametrize(("axes", "bits"), [(1, 4), (2, 1), (2, 4), (3, 3), (5, 1)])
def test_a_hilbert_curve_meets_every_cell_and_goes_to_neighbours_only(axes, bits):
    cells = torch.tensor(list(itertools.product(range(2**bits), repeat=axes)))
    index = _hilbert_index(cells, bits)
    assert sorted(index.tolist()) == list(range(len(cells)))
    steps = cells[index.argsort()].diff(dim=0).abs().sum(dim=1)
    assert steps.tolist() == [1] * (len(cells) - 1)


@pytest.mark.parametrize(("count", "axes"), [(20, 2), (700, 1), (700, 3), (300, 500)])
def test_hilbert_is_nearly_as_short_as_greedy(count, axes):
    """Oracle: the greedy order of all, and the drawn one."""
    keys = points(count, axes) * 0.5 ** torch.arange(axes)
    order = hilbert(keys)
    assert sorted(order.tolist()) == list(range(count))
    assert length(keys, order) < 1.35 * length(keys, greedy(keys))
    assert length(keys, order) < 0.5 * length(keys, torch.arange(count))


@pytest.mark.parametrize("shape", [(30,), (16, 9), (6, 20, 13)])
def test_low_frequencies_are_those_of_the_cosine_transform(shape):
    """Oracle: SciPy's orthonormal DCT-II."""
    fields = points(3, int(np.prod(shape))).reshape(3, *shape)
    kept = (slice(None), *(slice(12) for _ in shape))
    expected = scipy.fft.dctn(fields.numpy(), axes=range(1, 1 + len(shape)), norm="ortho")[kept]
    assert np.allclose(low_frequencies(fields), expected.reshape(3, -1), atol=1e-12)
    with pytest.raises(InputError, match="modes=0"):
        low_frequencies(fields, 0)


def test_every_input_counts_by_its_spread():
    """Oracle: a field scaled by a million, or shifted, changes no neighbour; a constant one does not count."""
    numbers = (FieldSpec(name, "input", shape=()) for name in "ab")
    schema = Schema(Grid((9,)), (*numbers, FieldSpec("k", "input")))
    fields = {"a": points(50, 1)[:, 0], "b": points(50, 1, 1)[:, 0], "k": torch.ones(50, 9, dtype=torch.float64)}
    order = solving_order(Inputs(schema, fields))
    expected = greedy(torch.stack([fields[name] / fields[name].std(correction=0) for name in "ab"], dim=1))
    assert torch.equal(order, expected)
    other = {**fields, "a": 1e6 * fields["a"] + 5e5}
    assert torch.equal(solving_order(Inputs(schema, other)), order)
    same = {name: torch.ones_like(values) for name, values in fields.items()}
    assert solving_order(Inputs(schema, same)).tolist() == list(range(50))


def test_complex_inputs_count_with_both_parts():
    schema = Schema(Grid((9,)), (FieldSpec("a", "input", shape=(), complex=True),))
    a = torch.complex(*points(30, 2).unbind(1))
    with_parts = Schema(Grid((9,)), (FieldSpec("a", "input", shape=(2,)),))
    expected = solving_order(Inputs(with_parts, {"a": torch.view_as_real(a)}))
    assert torch.equal(solving_order(Inputs(schema, {"a": a})), expected)


def test_samples_with_a_mesh_each_are_ordered_by_their_numbers():
    star = Star(rings=(3, 6))
    edge = [Boundary("boundary", "impedance")]
    waves = Helmholtz(star, Uniform(0.5, 1), LogNormal(GaussianField(alpha=2, tau=3, modes=8)), boundaries=edge)
    inputs = waves.draw(range(6), seed=0)
    numbers = [n for n in inputs.schema.inputs if inputs.schema.field(n).shape == ()]
    expected = greedy(torch.stack([inputs[n] / inputs[n].std(correction=0) for n in numbers], 1)) if numbers else None
    order = solving_order(inputs)
    assert torch.equal(order, torch.arange(6) if expected is None else expected)
    assert solving_order(Darcy(star, LogNormal(NOISE)).draw(range(3), seed=0)).tolist() == [0, 1, 2]


@dataclass
class Certified(Toy):
    """Counts as many iterations for a sample as its number, and remembers the tickets as they came."""

    tickets: list[list[int]] = field(default_factory=list)

    def solve(self, inputs, *, rtol, method=None, guess=None, memory=None, throw=True):
        samples = super().solve(inputs, rtol=rtol, method=method, throw=throw)
        samples.certificate.iterations.copy_(inputs.identity.indices)
        self.tickets.append(inputs.identity.indices.tolist())
        return samples


@pytest.mark.parametrize("schedule", ["async", "lockstep"])
def test_the_order_changes_no_sample_and_no_place(schedule):
    """Oracle: the stream in drawn order, bit for bit."""
    bad = {"missing": frozenset({3, 41}), "broken": frozenset({17})}
    settings = {**SMALL, "schedule": schedule, "engine": "inline"}
    sources = {order: Certified(**bad) for order in ("drawn", "sorted")}
    found = {}
    for order, source in sources.items():
        with Stream(source, **settings, order=order) as stream:
            batches = [stream.next_batch() for _ in range(30)]
            found[order] = [digest(batch) for batch in batches]
            reasons = [(r.index, r.reason) for r in stream.ledger.rejected]
        assert {index for index, _ in reasons} == {3, 17, 41}
        for batch in batches:
            assert torch.equal(batch.samples.certificate.iterations, batch.indices)
    assert found["sorted"] == found["drawn"]
    assert sources["drawn"].tickets[0] == list(range(8))
    for ticket in sources["sorted"].tickets:
        inputs = Toy().draw(range(min(ticket), min(ticket) + 8), seed=5)
        assert ticket == (min(ticket) + solving_order(inputs)).tolist()
    assert sources["sorted"].tickets[0] != list(range(8))


def test_datasets_keep_their_order(tmp_path):
    family = Darcy(Grid((17, 17)), coefficient=Threshold(NOISE, low=3, high=12))
    for order in ("drawn", "sorted"):
        generate(family, tmp_path / order, 24, ticket_size=16, order=order, dtype="float64")
    drawn, ordered = read(tmp_path / "drawn"), read(tmp_path / "sorted")
    assert torch.equal(drawn.identity.indices, ordered.identity.indices)
    assert torch.equal(drawn["coefficient"], ordered["coefficient"])
    assert torch.allclose(drawn["solution"], ordered["solution"], rtol=0, atol=1e-9)


def test_an_unknown_order_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"order='sort' is unknown. Did you mean sorted"):
        Stream(Toy(), **SMALL, order="sort")
    with pytest.raises(InputError, match=r"order='sort' is unknown"):
        generate(Toy(), tmp_path / "x", 4, order="sort")


def test_a_stream_in_another_order_is_another_stream():
    with Stream(Toy(), **SMALL, order="sorted") as stream:
        state = stream.state_dict()
    with Stream(Toy(), **SMALL) as stream, pytest.raises(InputError, match="order was 'sorted' and is 'drawn'"):
        stream.load_state_dict(state)
