"""Sequences of systems: recycled spaces, deflation, kept hierarchies and the order of solving, against their peers."""

from pdekit.bench.harness import Benchmark, Session
from pdekit.bench.recycling import deflation, hierarchies, orders, published, sequences

__all__ = ["BENCHMARK"]

MODULES = (published, sequences, orders, deflation, hierarchies)
"""The parts, each with ``CLAIMS``, ``NOTES`` and ``measure(session, seed)``."""


def measure(session: Session) -> None:
    for seed in range(session.seeds):
        for module in MODULES:
            module.measure(session, seed)


BENCHMARK = Benchmark(
    "recycling",
    claims=tuple(claim for module in MODULES for claim in module.CLAIMS),
    measure=measure,
    notes=tuple(note for module in MODULES for note in module.NOTES),
)
