"""Benchmarks: one a file, each printing claims that hold or do not; run with ``pdekit bench NAME``."""

__all__ = ["BENCHMARKS"]

BENCHMARKS = {
    "generation": "pdekit.bench.generation",
    "multigrid": "pdekit.bench.multigrid",
    "fem": "pdekit.bench.fem",
    "recycling": "pdekit.bench.recycling",
    "relax": "pdekit.bench.relax",
    "auto": "pdekit.bench.auto",
    "directions": "pdekit.bench.directions",
    "learned": "pdekit.bench.learned",
    "tolerance": "pdekit.bench.tolerance",
    "fno-step": "pdekit.bench.fno_step",
}
"""Names on the command line and the modules that define them as ``BENCHMARK``."""
