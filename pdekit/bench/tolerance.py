"""How exactly training samples have to be solved: the quickstart with labels of several tolerances."""

import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

from pdekit.bench.harness import Benchmark, Claim, Session
from pdekit.train import config_from, run
from pdekit.train.report import SurrogateReport

__all__ = ["BENCHMARK", "SIDES", "train"]

QUICKSTART: dict[str, Any] = {
    "family": {
        "class_path": "Darcy",
        "init_args": {
            "domain": {"shape": [64, 64]},
            "coefficient": {
                "class_path": "Threshold",
                "init_args": {
                    "field": {"class_path": "GaussianField", "init_args": {"alpha": 2, "tau": 3}},
                    "low": 3,
                    "high": 12,
                },
            },
        },
    },
    "solver": {"class_path": "Auto"},
    "stream": {"policy": "reservoir", "capacity": 2048, "reuse": [1, 4], "schedule": "lockstep", "batch_size": 16},
    "task": {"class_path": "OperatorLearning", "init_args": {"loss": {"class_path": "RelativeL2"}}},
    "model": {"class_path": "FNO", "init_args": {"basis": "sine", "modes": 20, "width": 32, "layers": 4}},
    "optimizer": {"class_path": "AdamW", "init_args": {"lr": 1e-2, "weight_decay": 1e-4}},
    "schedule": {"class_path": "OneCycleLR", "init_args": {"pct_start": 0.1}},
    "trainer": {"max_steps": 1800, "gradient_clip_val": 1.0},
    "evaluation": {"samples": 200, "rtol": 1e-10, "validation": 0},
}
"""``configs/quickstart.yaml`` in lockstep, so that every side sees the same problems in the same batches."""
REFERENCE = "1e-8"
SIDES: dict[str, Any] = {
    "controller": {"class_path": "LabelTolerance"},
    REFERENCE: 1e-8,
    "1e-5": 1e-5,
    "1e-4": 1e-4,
    "1e-3": 1e-3,
}


def measure(session: Session) -> None:
    for seed in range(session.seeds):
        rows = {}
        for side in SIDES:
            session.say(f"training with labels of tolerance {side}, seed {seed} ...")
            rows[side] = train(side, seed, quick=session.quick)
            session.row(seed=seed, labels=side, **rows[side])
        ours, exact = rows["controller"], rows[REFERENCE]
        session.record("tolerance.saved", 1 - ours["iterations"] / exact["iterations"], seed=seed)
        session.record("tolerance.error", ours["test_rel_l2"] / exact["test_rel_l2"], seed=seed)


def train(side: str, seed: int, *, quick: bool = False) -> dict[str, Any]:
    """One training with labels of one of ``SIDES``: what it cost, and its error on accurate solutions."""
    content = deepcopy(QUICKSTART)
    content["stream"] |= {"rtol": SIDES[side], "seed": seed}
    if quick:
        content["family"]["init_args"]["domain"]["shape"] = [17, 17]
        content["model"]["init_args"] |= {"modes": 6, "width": 8}
        content["trainer"]["max_steps"] = 40
        content["stream"]["capacity"] = 128
        content["evaluation"]["samples"] = 16
    with tempfile.TemporaryDirectory() as folder:
        report = run(config_from(content | {"out": str(Path(folder) / "run")}), say=lambda line: None)
    assert isinstance(report, SurrogateReport)
    return {
        "samples": report.samples_solved,
        "iterations": report.iterations,
        "solver_seconds": report.solve_seconds,
        "training_seconds": report.train_seconds,
        "test_rel_l2": report.test_rel_l2,
    }


BENCHMARK = Benchmark(
    "tolerance",
    claims=(
        Claim("tolerance.saved", ">=", 0.3, "solver iterations saved by the controller, against labels of 1e-8"),
        Claim(
            "tolerance.error",
            "<=",
            1.02,
            "test error with the controller over that with labels of 1e-8; 1.02 lies within the scatter of seeds",
        ),
    ),
    measure=measure,
    notes=(
        "The quickstart (Darcy, 64 x 64 points, 1,800 steps of batch 16) in lockstep: every side trains on the same "
        "problems in the same batches, solved by multigrid to its own tolerance.",
        "controller: LabelTolerance with its defaults. Iterations and solver seconds are sums over all training "
        "samples; solver seconds include drawing; training seconds are wall time with solver and trainer side by side.",
        "test_rel_l2: mean relative L2 error on 200 problems solved to 1e-10, the same for all sides of a seed.",
    ),
)
