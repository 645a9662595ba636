"""Networks inside preconditioners against what needs no training, all at equal true residual."""

from pdekit.bench.harness import Benchmark, Session
from pdekit.bench.learned import diffusion, levels, meshes, sparse_inverse

__all__ = ["BENCHMARK"]

MODULES = (diffusion, levels, meshes, sparse_inverse)
"""The parts, each with ``CLAIMS``, ``NOTES`` and ``measure(session, seed)``."""


def measure(session: Session) -> None:
    for seed in range(session.seeds):
        for module in MODULES:
            module.measure(session, seed)


BENCHMARK = Benchmark(
    "learned",
    claims=tuple(claim for module in MODULES for claim in module.CLAIMS),
    measure=measure,
    notes=tuple(note for module in MODULES for note in module.NOTES),
)
