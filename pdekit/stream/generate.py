"""Datasets: many certified samples into a folder."""

import csv
import io
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from pdekit.core.errors import InputError, PdekitError
from pdekit.samples import Samples, Source
from pdekit.samples.hdf5 import DatasetWriter, StoredPrecision
from pdekit.stream.ledger import Rejection, Ticket
from pdekit.stream.orders import Order
from pdekit.stream.settings import check_choice, check_memories
from pdekit.stream.work import solve_in_order, split_rejected

__all__ = ["GenerateReport", "TooManyRejected", "generate"]

_PART = "part-00000.h5"


class TooManyRejected(PdekitError):
    """More samples missed their tolerance than a dataset may do without."""


@dataclass(frozen=True)
class GenerateReport:
    """What :func:`generate` did.

    Args:
        path: the folder.
        count: samples drawn.
        rejected: those that were refused, with reasons; they are missing in the file and in its index.
        seconds: wall time of everything.
        draw_seconds: wall time of drawing.
        solve_seconds: wall time of solving and checking.
        write_seconds: wall time of writing, most of it while the next ticket is solved.
        bytes: size of the dataset file.
    """

    path: Path
    count: int
    rejected: list[Rejection]
    seconds: float
    draw_seconds: float
    solve_seconds: float
    write_seconds: float
    bytes: int

    @property
    def accepted(self) -> int:
        """Samples in the file."""
        return self.count - len(self.rejected)

    def to_json(self) -> dict[str, Any]:
        """Plain containers, as in ``report.json``."""
        return {
            "count": self.count,
            "accepted": self.accepted,
            "rejected": [{"index": r.index, "attempt": r.attempt, "reason": r.reason} for r in self.rejected],
            "seconds": self.seconds,
            "draw_seconds": self.draw_seconds,
            "solve_seconds": self.solve_seconds,
            "write_seconds": self.write_seconds,
            "bytes": self.bytes,
        }

    def __str__(self) -> str:
        each = 1e3 * self.seconds / max(1, self.count)
        lines = [
            f"{self.accepted} samples in {self.path / _PART} ({self.bytes / 1e6:.4g} MB)",
            f"  {self.seconds:.3g} s, {each:.3g} ms a sample: drawing {self.draw_seconds:.3g} s, "
            f"solving {self.solve_seconds:.3g} s, writing {self.write_seconds:.3g} s (beside solving)",
        ]
        if self.rejected:
            first = self.rejected[0]
            lines.append(f"  {len(self.rejected)} rejected, the first: sample {first.index}, {first.reason}")
        return "\n".join(lines)


def generate(
    source: Source,
    out: str | Path,
    count: int,
    *,
    seed: int = 0,
    split: str = "train",
    start: int = 0,
    rtol: float = 1e-8,
    method: Any = None,
    order: Order = "drawn",
    ticket_size: int = 32,
    dtype: StoredPrecision = "float32",
    max_rejected: int | None = None,
    overwrite: bool = False,
    recipe: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> GenerateReport:
    """Draw and solve the samples start..start+count-1 and write them into a folder.

    The folder then holds ``part-00000.h5`` (read it with ``pdekit.samples.hdf5.read``), ``timings.csv`` (seconds of
    each sample), ``recipe.yaml`` if one was handed in, and, last of all, ``report.json``. The dataset file depends on
    the arguments alone, to the byte, as far as the method's arithmetic does. Nothing half-written is left behind.

    Args:
        source: makes the samples.
        out: the folder, new or empty.
        count: samples to draw.
        seed: of the inputs.
        split: ``train``, ``validation``, ``test`` or any other word: independent streams.
        start: number of the first sample.
        rtol: relative tolerance of every certificate; a sample that misses it is recorded and left out.
        method: a solver method; None lets the source choose.
        order: in which the systems of a ticket are solved: ``drawn``, or ``sorted``, neighbours one after another; the
            samples keep their places.
        ticket_size: samples drawn and solved as one batch.
        dtype: precision of the stored fields.
        max_rejected: give up when more samples than this are rejected; a tenth of ``count`` by default.
        overwrite: replace the dataset that is in the folder.
        recipe: text to keep as ``recipe.yaml``.
        progress: called with the number of samples done.

    Returns:
        Counts, rejected samples and seconds; printable.

    Raises:
        InputError: a folder that is not empty, counts that are not positive, a method with a memory, which would make
            samples depend on what was solved before.
        DiskFull: there is no room, found out before the start or while writing.
        TooManyRejected: more than ``max_rejected``.

    Example:
        >>> import tempfile
        >>> from pdekit.core.random import uniform
        >>> from pdekit.domain import Grid
        >>> from pdekit.samples import FieldSpec, Schema
        >>> schema = Schema(Grid((5,)), (FieldSpec("a", "input"), FieldSpec("square", "output")))
        >>> source = Source.from_function(
        ...     schema,
        ...     draw=lambda keys: {"a": torch.from_numpy(uniform(keys.named("a"), 5))},
        ...     solve=lambda fields, rtol: {"square": fields["a"] ** 2},
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generate(source, f"{folder}/squares", 40).accepted
        40
    """
    for name, value, least in (("count", count, 1), ("start", start, 0), ("ticket_size", ticket_size, 1)):
        if value < least:
            raise InputError(f"{name} is {value}; expected {least} or more.")
    check_choice("order", order, get_args(Order))
    check_memories("generate", method, ordered=True)
    limit = count // 10 if max_rejected is None else max_rejected
    out = Path(out)
    clock = time.perf_counter()
    metadata = {"source": source.describe(), "rtol": rtol, "ticket_size": ticket_size, "start": start, "count": count}
    if order != "drawn":
        metadata["order"] = order
    timings = io.StringIO()
    table = csv.writer(timings, lineterminator="\n")
    table.writerow(["index", "seconds"])
    rejected: list[Rejection] = []
    seconds = {"draw": 0.0, "solve": 0.0, "write": 0.0}

    def write(samples: Samples) -> None:
        begin = time.perf_counter()
        writer.append(samples)
        seconds["write"] += time.perf_counter() - begin

    with ExitStack() as stack:
        stack.enter_context(_Folder(out, overwrite))
        writer = stack.enter_context(DatasetWriter(out / _PART, source.schema, count, dtype, metadata))
        pool = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="pdekit-writer"))
        pending: Future | None = None
        for ticket in _tickets(start, count, ticket_size, rtol, method):
            begin = time.perf_counter()
            with torch.no_grad():
                inputs = source.draw(ticket.indices, seed=seed, split=split)
                drawn = time.perf_counter()
                samples = solve_in_order(source, inputs, ticket, order)
                samples, refused = split_rejected(ticket, samples)
            seconds["draw"] += drawn - begin
            seconds["solve"] += time.perf_counter() - drawn
            rejected += refused
            if len(rejected) > limit:
                raise TooManyRejected(_too_many(rejected, ticket, start, limit))
            table.writerows(_rows(samples))
            if pending is not None:
                pending.result()  # at most one ticket waits, so that memory stays bounded
            pending = pool.submit(write, samples)
            if progress is not None:
                progress(ticket.first + ticket.count - start)
        if pending is not None:
            pending.result()
    size = (out / _PART).stat().st_size
    total = time.perf_counter() - clock
    report = GenerateReport(out, count, rejected, total, seconds["draw"], seconds["solve"], seconds["write"], size)
    _place(out / "timings.csv", timings.getvalue())
    if recipe is not None:
        _place(out / "recipe.yaml", recipe)
    _place(
        out / "report.json", json.dumps({**report.to_json(), "seed": seed, "split": split, **metadata}, indent=2) + "\n"
    )
    return report


class _Folder:
    """Makes the folder, refuses one that holds something, and removes it again if it is left empty by an error."""

    def __init__(self, path: Path, overwrite: bool):
        self.path, self.overwrite = path, overwrite

    def __enter__(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; expected the name of a folder.")
        if self.path.is_dir() and any(self.path.iterdir()) and not self.overwrite:
            raise InputError(
                f"The folder {self.path} is not empty; choose another, or replace its dataset with overwrite=True "
                "(--overwrite)."
            )
        self.made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None and self.made and not any(self.path.iterdir()):
            self.path.rmdir()
        if error is None:
            for name in ("report.json", "timings.csv", "recipe.yaml"):  # those of the dataset just replaced
                (self.path / name).unlink(missing_ok=True)


def _tickets(start: int, count: int, size: int, rtol: float, method: Any):
    """Aligned runs: a sample is solved in the same company whatever ``start`` and ``count`` are, but at their ends."""
    first = start
    while first < start + count:
        last = min((first // size + 1) * size, start + count)
        yield Ticket(first, last - first, 0, rtol, method)
        first = last


def _rows(samples: Samples) -> list[tuple[int, str]]:
    if samples.identity is None or samples.certificate is None:
        return []
    pairs = zip(samples.identity.indices.tolist(), samples.certificate.seconds.tolist(), strict=True)
    return [(index, f"{seconds:.6g}") for index, seconds in pairs]


def _too_many(rejected: list[Rejection], ticket: Ticket, start: int, limit: int) -> str:
    done = ticket.first + ticket.count - start
    return (
        f"{len(rejected)} of the first {done} samples were rejected, more than the {limit} allowed; the first is "
        f"sample {rejected[0].index}: {rejected[0].reason}. Loosen rtol ({ticket.rtol:g}), choose another method, "
        "or raise max_rejected."
    )


def _place(path: Path, text: str) -> None:
    """Write a text file that is complete as soon as it has its name."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)
