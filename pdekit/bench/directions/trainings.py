"""What is trained before anything is measured, by the runner of ``pdekit train``."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdekit.learned.directions import DeepDirections, EnergyNorm
from pdekit.train import config_from, load, run

__all__ = ["CONTROLS", "LENGTHS", "OURS", "PUBLISHED", "QUICK", "Length", "Trained", "configuration", "train"]

OURS = "deep directions"
CONTROL = "deep directions, residual norm"
PUBLISHED = "published network and loss"
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    OURS: ("DirectionNet", {"class_path": "EnergyNorm"}),
    CONTROL: ("DirectionNet", {"class_path": "ResidualNorm", "init_args": {"steps": EnergyNorm.steps}}),
    PUBLISHED: ("ConvolutionNet", {"class_path": "ResidualNorm"}),
}
"""Network and loss by name of the row; the control replays as many steps as ours, the published loss one."""
CONTROLS = {2: (CONTROL, PUBLISHED), 3: (CONTROL,)}
"""Trained beside ours for the first seed, by dimension."""


@dataclass(frozen=True)
class Length:
    """How long and on what is trained.

    Args:
        size: unknowns along a side.
        steps: of the optimiser.
        batch: matrices a step.
        capacity: matrices held.
    """

    size: int
    steps: int
    batch: int
    capacity: int


LENGTHS = {2: Length(64, 600, 8, 256), 3: Length(32, 600, 4, 128)}
QUICK = {2: Length(10, 4, 2, 8), 3: Length(6, 4, 2, 8)}


@dataclass(frozen=True)
class Trained:
    """A method with its trained network.

    Args:
        method: as the folder of the run gives it.
        seconds: that training took, waiting for the first samples and looking at validation samples included.
        steps: of the optimiser.
        parameters: of the network.
    """

    method: DeepDirections
    seconds: float
    steps: int
    parameters: int


def configuration(name: str, dim: int, seed: int, length: Length) -> dict[str, Any]:
    """A run as plain containers, without its folder.

    Args:
        name: of the row, in ``TRAININGS``.
        dim: 2 or 3.
        seed: of samples and first weights.
        length: of the training.
    """
    network, loss = TRAININGS[name]
    return {
        "family": {"class_path": "Obstacles", "init_args": {"domain": {"shape": [length.size + 2] * dim}}},
        "stream": {
            "seed": seed, "rtol": 1e-3, "capacity": length.capacity, "reuse": [1, 4], "batch_size": length.batch
        },
        "task": {"class_path": "DirectionLearning", "init_args": {"loss": loss}},
        "model": {
            "class_path": "DeepDirections",
            "init_args": {"network": {"class_path": network, "init_args": {"dim": dim}}},
        },
        "optimizer": {"class_path": "Adam", "init_args": {"lr": 1e-3}},
        "schedule": {"class_path": "CosineAnnealingLR"},
        "trainer": {"max_steps": length.steps, "gradient_clip_val": 1.0},
        "evaluation": {"samples": 1, "rtol": 1e-8, "validation": 2 * length.batch},
    }  # fmt: skip


def train(name: str, dim: int, seed: int, lengths: Mapping[int, Length] = LENGTHS) -> Trained:
    """One training."""
    content = configuration(name, dim, seed, lengths[dim])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        report = run(config_from(content | {"out": str(out)}), say=lambda line: None)
        method = load(out / "model")
    assert isinstance(method, DeepDirections)
    return Trained(method, report.train_seconds, report.steps, report.parameters)
