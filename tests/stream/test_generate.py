"""Datasets from a source of functions; the oracle is the source itself, sample by sample."""

import csv
import json
import os

import pytest
import torch

import pdekit.samples.writer as writer_module
from pdekit.core import InputError
from pdekit.core.random import uniform
from pdekit.domain import Grid
from pdekit.samples import FieldSpec, Schema, Source
from pdekit.samples.hdf5 import DiskFull, read, read_metadata
from pdekit.stream import TooManyRejected, generate

SCHEMA = Schema(Grid((4, 3)), (FieldSpec("a", "input"), FieldSpec("root", "output")))
WRONG = {7, 33}


def make_source(wrong: set[int] = frozenset()) -> Source:
    """Square roots; the samples of the numbers in ``wrong`` miss every tolerance."""

    def draw(keys):
        a = torch.from_numpy(uniform(keys.named("a"), 12)).reshape(-1, 4, 3) + 1
        a[:, 0, 0] = torch.tensor([float(index) for index in keys.indices])
        return {"a": a}

    def residual(fields):
        missed = torch.tensor([int(index) in wrong for index in fields["a"][:, 0, 0]], dtype=torch.float64)
        return missed + (fields["root"] ** 2 - fields["a"]).abs().flatten(1).amax(1) * 1e-3

    return Source.from_function(SCHEMA, draw, lambda fields, rtol: {"root": fields["a"].sqrt()}, residual)


def test_what_is_in_the_folder(tmp_path):
    out, done = tmp_path / "data" / "roots", []
    source = make_source(WRONG)
    report = generate(source, out, 50, seed=3, split="test", ticket_size=16, recipe="family: x\n", progress=done.append)
    assert sorted(os.listdir(out)) == ["part-00000.h5", "recipe.yaml", "report.json", "timings.csv"]
    assert done == [16, 32, 48, 50]
    assert (report.count, report.accepted, [r.index for r in report.rejected]) == (50, 48, sorted(WRONG))
    assert "48 samples in" in str(report)
    assert "2 rejected, the first: sample 7, residual 1.00e+00 above the tolerance 1.00e-08" in str(report)

    samples = read(out)
    kept = [k for k in range(50) if k not in WRONG]
    assert samples.identity.indices.tolist() == kept
    assert (samples.identity.seed, samples.identity.split) == (3, "test")
    expected = source.solve(source.draw(kept, seed=3, split="test"), rtol=1e-8)
    for name in ("a", "root"):
        assert torch.equal(samples[name], expected[name].to(torch.float32))
    assert torch.equal(samples.certificate.value, expected.certificate.value)
    assert bool(samples.certificate.accepted.all())

    rows = list(csv.DictReader((out / "timings.csv").open()))
    assert [int(row["index"]) for row in rows] == kept
    assert all(float(row["seconds"]) > 0 for row in rows)
    stored = json.loads((out / "report.json").read_text())
    assert stored["rejected"][1] == {"index": 33, "attempt": 0, "reason": report.rejected[1].reason}
    assert (stored["accepted"], stored["seed"], stored["rtol"]) == (48, 3, 1e-8)
    assert read_metadata(out / "part-00000.h5")["source"] == source.describe()
    assert (out / "recipe.yaml").read_text() == "family: x\n"


def test_same_bytes_twice_and_tickets_do_not_matter(tmp_path):
    generate(make_source(), tmp_path / "a", 40, ticket_size=16)
    generate(make_source(), tmp_path / "b", 40, ticket_size=16)
    assert (tmp_path / "a/part-00000.h5").read_bytes() == (tmp_path / "b/part-00000.h5").read_bytes()
    generate(make_source(), tmp_path / "c", 10, start=25, ticket_size=16, dtype="float64")
    part = read(tmp_path / "c")
    assert part.identity.indices.tolist() == list(range(25, 35))
    assert torch.equal(part["a"].float(), read(tmp_path / "a")["a"][25:35])


def test_tickets_are_aligned(tmp_path):
    seen = []

    class Watched(type(make_source())):
        def draw(self, indices, **how):
            seen.append(list(indices))
            return super().draw(indices, **how)

    source = make_source()
    source.__class__ = Watched
    generate(source, tmp_path / "a", 10, start=5, ticket_size=4)
    assert seen == [[5, 6, 7], [8, 9, 10, 11], [12, 13, 14]]


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    generate(make_source(), tmp_path / "a", 4, recipe="old")
    (tmp_path / "a/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty; choose another, .* \(--overwrite\)"):
        generate(make_source(), tmp_path / "a", 6)
    assert len(read(tmp_path / "a")) == 4
    generate(make_source(), tmp_path / "a", 6, overwrite=True)
    assert len(read(tmp_path / "a")) == 6
    assert sorted(os.listdir(tmp_path / "a")) == ["notes.txt", "part-00000.h5", "report.json", "timings.csv"]
    with pytest.raises(InputError, match="is a file"):
        generate(make_source(), tmp_path / "a/notes.txt", 6)


def test_an_unreachable_tolerance_stops_early_and_leaves_nothing(tmp_path):
    solved = []
    source = make_source(set(range(100)))
    message = "32 of the first 32 samples were rejected, more than the 10 allowed; the first is sample 0: residual"
    with pytest.raises(TooManyRejected, match=message):
        generate(source, tmp_path / "a", 100, progress=solved.append)
    assert solved == []
    assert os.listdir(tmp_path) == []
    report = generate(source, tmp_path / "a", 100, max_rejected=100)
    assert (report.accepted, len(read(tmp_path / "a"))) == (0, 0)


def test_a_failing_overwrite_keeps_the_old_dataset(tmp_path):
    generate(make_source(), tmp_path / "a", 4)
    before = {name: (tmp_path / "a" / name).read_bytes() for name in os.listdir(tmp_path / "a")}
    with pytest.raises(TooManyRejected):
        generate(make_source({0, 1, 2}), tmp_path / "a", 8, overwrite=True)
    assert {name: (tmp_path / "a" / name).read_bytes() for name in os.listdir(tmp_path / "a")} == before


def test_errors_of_source_and_disk_come_through_and_leave_nothing(tmp_path, monkeypatch):
    def explode(fields, rtol):
        raise FloatingPointError("sample 3 exploded")

    broken = Source.from_function(SCHEMA, lambda keys: {"a": torch.ones(len(keys.indices), 4, 3)}, explode)
    with pytest.raises(FloatingPointError, match="sample 3 exploded"):
        generate(broken, tmp_path / "a", 4)
    assert os.listdir(tmp_path) == []

    usage = writer_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(writer_module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DiskFull, match=r"part-00000.h5: 4 samples need .* 1 kB are free"):
        generate(make_source(), tmp_path / "a", 4)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_while_writing(tmp_path, monkeypatch):
    """The second ticket meets a full disk: the error comes from the writing thread, and nothing is left."""
    room = [100_000]

    def limited(self, content):
        room[0] -= len(content)
        if room[0] < 0:
            self._error = OSError(28, "No space left on device")
            return len(content)
        return self.file.write(content)

    monkeypatch.setattr(writer_module._Disk, "write", limited)
    schema = SCHEMA.with_domain(Grid((64, 64)))
    draw = lambda keys: {"a": torch.from_numpy(uniform(keys.named("a"), 4096)).reshape(-1, 64, 64)}  # noqa: E731
    source = Source.from_function(schema, draw, lambda fields, rtol: {"root": fields["a"].sqrt()})
    with pytest.raises(DiskFull, match=r"64 samples need 2.16 MB"):
        generate(source, tmp_path / "a", 64, ticket_size=4)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("how", "message"), [({"count": 0}, "count is 0"), ({"count": 1, "start": -1}, "start is -1")])
def test_refusals(tmp_path, how, message):
    with pytest.raises(InputError, match=message):
        generate(make_source(), tmp_path / "a", **how)
