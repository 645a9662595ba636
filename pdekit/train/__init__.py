"""Training on streams: Lightning modules, data, callbacks, run folders, surrogates; imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdekit.train.batches_log import BatchesLog
    from pdekit.train.channels import Channels
    from pdekit.train.checkpoint import Checkpoints, latest_checkpoint, read_checkpoint
    from pdekit.train.config import RunConfig, config_from, load_config
    from pdekit.train.data import StreamData
    from pdekit.train.direction_learning import DirectionLearning
    from pdekit.train.error_report import ErrorReport
    from pdekit.train.loading import load
    from pdekit.train.losses import Loss, RelativeL2
    from pdekit.train.monitor import StreamMonitor
    from pdekit.train.normaliser import Normaliser
    from pdekit.train.operator_learning import OperatorLearning
    from pdekit.train.preconditioner_learning import PreconditionerLearning
    from pdekit.train.runner import run
    from pdekit.train.strategies import OneStep, Strategy
    from pdekit.train.surrogate import Surrogate
    from pdekit.train.task import Task

_HOMES = {
    "Strategy": "strategies",
    "OneStep": "strategies",
    "Loss": "losses",
    "Channels": "channels",
    "BatchesLog": "batches_log",
    "Checkpoints": "checkpoint",
    "ErrorReport": "error_report",
    "Normaliser": "normaliser",
    "OperatorLearning": "operator_learning",
    "PreconditionerLearning": "preconditioner_learning",
    "DirectionLearning": "direction_learning",
    "RelativeL2": "losses",
    "RunConfig": "config",
    "StreamData": "data",
    "StreamMonitor": "monitor",
    "Surrogate": "surrogate",
    "Task": "task",
    "config_from": "config",
    "latest_checkpoint": "checkpoint",
    "load": "loading",
    "load_config": "config",
    "read_checkpoint": "checkpoint",
    "run": "runner",
}

__all__ = [
    "BatchesLog",
    "Channels",
    "Checkpoints",
    "DirectionLearning",
    "ErrorReport",
    "Loss",
    "Normaliser",
    "OneStep",
    "OperatorLearning",
    "PreconditionerLearning",
    "RelativeL2",
    "RunConfig",
    "Strategy",
    "StreamData",
    "StreamMonitor",
    "Surrogate",
    "Task",
    "config_from",
    "latest_checkpoint",
    "load",
    "load_config",
    "read_checkpoint",
    "run",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"pdekit.train.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pdekit.train' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
