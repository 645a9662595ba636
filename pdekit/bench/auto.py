"""What Auto picks, by its table and learning, beside what it could have picked."""

from pdekit.bench import auto_learning, auto_table
from pdekit.bench.harness import Benchmark, Session

__all__ = ["BENCHMARK"]

MODULES = (auto_table, auto_learning)


def measure(session: Session) -> None:
    for seed in range(session.seeds):
        for module in MODULES:
            module.measure(session, seed)


BENCHMARK = Benchmark(
    "auto",
    claims=tuple(claim for module in MODULES for claim in module.CLAIMS),
    measure=measure,
    notes=tuple(note for module in MODULES for note in module.NOTES),
)
