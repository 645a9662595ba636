"""What every benchmark shares: claims, rows, the machine they were measured on, and the JSON they are kept in."""

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any, Literal

from pdekit.core.errors import InputError, MissingPeer, did_you_mean
from pdekit.core.machine import machine, versions

__all__ = ["Benchmark", "Claim", "Peer", "Session", "run", "write_json"]

Sense = Literal["<=", ">="]


@dataclass(frozen=True)
class Claim:
    """A figure with a bound; whether it holds is computed here and nowhere else.

    Args:
        id: ``benchmark.figure``.
        sense: ``<=`` (at most) or ``>=`` (at least).
        bound: fractions, ratios or plain quantities, never percent.
        what: one line for readers.
    """

    id: str
    sense: Sense
    bound: float
    what: str

    def worst(self, values: Sequence[float]) -> float:
        """The least favourable of several numbers; NaN where one of them is."""
        if any(math.isnan(value) for value in values):
            return math.nan
        return max(values) if self.sense == "<=" else min(values)

    def holds(self, value: float) -> bool:
        """Whether a value keeps the bound; NaN does not."""
        return value <= self.bound if self.sense == "<=" else value >= self.bound


@dataclass(frozen=True)
class Peer:
    """A package that is measured beside pdekit; imported inside functions only.

    Args:
        module: its import name.
        package: what to install.
    """

    module: str
    package: str


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Args:
        name: on the command line.
        claims: every bounded figure that it measures.
        measure: fills a :class:`Session`.
        peers: packages it needs beside pdekit.
        notes: what a reader must know to judge the figures: what is counted, how the peers were tuned.
    """

    name: str
    claims: tuple[Claim, ...]
    measure: "Callable[[Session], None]"
    peers: tuple[Peer, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Session:
    """One run of a benchmark: it is asked what to measure and told what was found.

    Args:
        benchmark: what runs.
        quick: a smaller version, to see that everything works.
        seeds: how often the whole is repeated with other random problems.
        only: claim ids to measure; all if empty.
        say: shows a line of progress.
        curves: for pictures beside the tables: by name of the picture, sequences of numbers by name of the curve.

    Example:
        >>> bench = Benchmark("demo", (Claim("demo.ratio", ">=", 2.0, "times faster"),), lambda session: None)
        >>> session = Session(bench, say=lambda line: None)
        >>> session.record("demo.ratio", 3.0, seed=0)
        >>> session.record("demo.ratio", 2.5, seed=0)             # one id over several numbers is their worst case
        >>> session.results()[0]["value"], session.results()[0]["holds"]
        (2.5, True)
    """

    benchmark: Benchmark
    quick: bool = False
    seeds: int = 1
    only: tuple[str, ...] = ()
    say: Callable[[str], None] = print
    rows: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def __post_init__(self):
        known = [claim.id for claim in self.benchmark.claims]
        for name in self.only:
            if name not in known:
                raise InputError(f"The benchmark {self.benchmark.name!r} has no claim {name!r}. "
                                 f"{did_you_mean(name, known)}")  # fmt: skip

    def wants(self, *ids: str) -> bool:
        """Whether any of these claims is asked for."""
        return not self.only or any(name in self.only for name in ids)

    def row(self, **columns: Any) -> None:
        """One line of the table of measurements: plain numbers and strings by column name."""
        self.rows.append(columns)
        self.say("  ".join(f"{key} {_short(value)}" for key, value in columns.items()))

    def record(self, claim: str, value: float, *, seed: int) -> None:
        """A number measured for a claim; several for one seed count as their worst."""
        known = [c.id for c in self.benchmark.claims]
        if claim not in known:
            raise InputError(f"The benchmark {self.benchmark.name!r} declares no claim {claim!r}. "
                             f"{did_you_mean(claim, known)}")  # fmt: skip
        self.values.setdefault(claim, {}).setdefault(seed, []).append(float(value))

    def results(self) -> list[dict[str, Any]]:
        """Every measured claim: id, value (median over seeds of the worst), sense, bound, holds, values per seed."""
        found = []
        for claim in self.benchmark.claims:
            if claim.id not in self.values:
                continue
            per_seed = [claim.worst(values) for _, values in sorted(self.values[claim.id].items())]
            value = math.nan if any(map(math.isnan, per_seed)) else statistics.median(per_seed)
            found.append({
                "id": claim.id, "value": value, "sense": claim.sense, "bound": claim.bound,
                "holds": claim.holds(value), "what": claim.what, "per_seed": per_seed,
            })  # fmt: skip
        return found

    def report(self, seconds: float) -> dict[str, Any]:
        """Everything that goes into the JSON file."""
        return {
            "benchmark": self.benchmark.name,
            "quick": self.quick,
            "seeds": self.seeds,
            "seconds": round(seconds, 1),
            "machine": machine(),
            "versions": versions(peer.package.split("=")[0].split(">")[0] for peer in self.benchmark.peers),
            "notes": list(self.benchmark.notes),
            "claims": self.results(),
            "rows": self.rows,
        } | ({"curves": self.curves} if self.curves else {})


def run(
    benchmark: Benchmark,
    *,
    quick: bool = False,
    seeds: int = 1,
    only: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run a benchmark.

    Args:
        benchmark: what to run.
        quick: a smaller version, to see that everything works; its figures are no evidence.
        seeds: how often the whole is repeated with other random problems.
        only: claim ids to measure; all if empty.
        say: shows a line of progress.

    Returns:
        machine, versions, rows and claims as plain containers, ready for JSON.

    Raises:
        MissingPeer: a package of the benchmark is not installed; the message holds the install line.
        InputError: an unknown claim id, or no seeds.
    """
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: expected at least 1.")
    session = Session(benchmark, quick, seeds, tuple(only), say)
    missing = [peer for peer in benchmark.peers if util.find_spec(peer.module) is None]
    if missing:
        raise MissingPeer(
            f"The benchmark {benchmark.name!r} compares with {', '.join(p.module for p in missing)}, which is not "
            f"installed. Install it with:  pip install {' '.join(repr(p.package) for p in missing)}"
            '  (or all peers: pip install "pdekit[bench]")'
        )
    start = time.perf_counter()
    benchmark.measure(session)
    return session.report(time.perf_counter() - start)


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """Write a report under its final name only once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(_plain(report), indent=1, allow_nan=False) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Containers that strict JSON can hold: NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
