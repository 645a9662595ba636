"""A training run as one configuration file: what its keys are, and what they become."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pdekit.core.errors import ConfigError
from pdekit.samples import Source
from pdekit.solvers import Method
from pdekit.stream import Stream
from pdekit.train.build import Names, build, did_you_mean_key, shorten
from pdekit.train.yamlfile import override, read_yaml

__all__ = ["Evaluation", "ModelFactory", "RunConfig", "TrainerSettings", "config_from", "load_config"]

ModelFactory = Callable[[int, int], nn.Module]
OptimizerFactory = Callable[[Iterable], torch.optim.Optimizer]
ScheduleFactory = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


@dataclass(frozen=True)
class TrainerSettings:
    """How long and where to train; names and meanings are those of Lightning's Trainer.

    Args:
        max_steps: optimiser steps in all, resumed parts included.
        gradient_clip_val: largest norm of the gradient; None for no limit.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        log_every_n_steps: between rows of the logs.
        checkpoint_every_n_steps: between checkpoints; a killed run resumes from the last one.
        validate_every_n_steps: between looks at the validation samples.
    """

    max_steps: int = 1500
    gradient_clip_val: float | None = 1.0
    accelerator: str = "auto"
    log_every_n_steps: int = 25
    checkpoint_every_n_steps: int = 250
    validate_every_n_steps: int = 250

    def __post_init__(self):
        for key in ("max_steps", "log_every_n_steps", "checkpoint_every_n_steps", "validate_every_n_steps"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} is {getattr(self, key)}; expected at least 1.")
        if self.gradient_clip_val is not None and not self.gradient_clip_val > 0:
            raise ConfigError(
                f"gradient_clip_val is {self.gradient_clip_val}; expected a number above 0, or null for no limit."
            )


@dataclass(frozen=True)
class Evaluation:
    """The held-out problems that a surrogate is measured on.

    Args:
        samples: how many.
        rtol: relative tolerance of their solutions.
        split: which stream of samples; anything but the one trained on.
        validation: samples of the split ``validation`` whose loss is logged while training; 0 for none.
    """

    samples: int = 200
    rtol: float = 1e-10
    split: str = "test"
    validation: int = 32

    def __post_init__(self):
        if self.samples < 1 or self.validation < 0:
            raise ConfigError(
                f"samples is {self.samples} and validation {self.validation}; expected at least 1 and at least 0."
            )
        if not 0 < self.rtol < 1:
            raise ConfigError(f"rtol is {self.rtol}; expected a number between 0 and 1.")


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run is made of, as objects.

    Args:
        family: makes the samples.
        solver: solves them; None lets the family choose.
        stream: arguments of :class:`pdekit.stream.Stream` beside source and method.
        task: makes the :class:`pdekit.train.Task` of this configuration.
        model: makes what the task trains; of a network, from its numbers of input and output channels.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning-rate schedule (a step an optimiser step) from the optimiser; None for none.
        trainer: how long and where.
        evaluation: held-out problems.
        out: the run folder.
        resolved: plain containers with every default filled in; written to ``config.yaml``, they repeat the run.
    """

    family: Source
    solver: Method | None
    stream: dict[str, Any]
    task: Callable[["RunConfig"], Any]
    model: Callable[..., Any]
    optimizer: OptimizerFactory
    schedule: ScheduleFactory | None
    trainer: TrainerSettings
    evaluation: Evaluation
    out: Path
    resolved: dict[str, Any]

    @property
    def seed(self) -> int:
        """Of the stream; the network's first weights follow it."""
        return int(self.stream.get("seed", 0))


DEFAULTS: dict[str, Any] = {
    "solver": None,
    "stream": {},
    "task": {"class_path": "OperatorLearning"},
    "optimizer": {"class_path": "AdamW", "init_args": {"lr": 2e-3}},
    "schedule": None,
    "trainer": {},
    "evaluation": {},
}
KEYS = ("family", "solver", "stream", "task", "model", "optimizer", "schedule", "trainer", "evaluation", "out")


def load_config(path: str | Path, overrides: Sequence[tuple[str, Any]] = (), *, allow: Sequence[str] = ()) -> RunConfig:
    """Read a run's configuration file.

    Args:
        path: YAML; see ``configs/quickstart.yaml``.
        overrides: ``(key, value)`` pairs such as ``("trainer.max_steps", 200)`` that replace what the file says.
        allow: modules beside pdekit and torch.optim whose classes may be named.

    Raises:
        ConfigError: anything that cannot be understood; the message names the key and the names that are known.
    """
    content = deepcopy(DEFAULTS) | read_yaml(path)
    for key, value in overrides:
        if key.partition(".")[0] not in KEYS:
            raise ConfigError(f"--{key}: a run has no key {key.partition('.')[0]!r}. {_hint(key.partition('.')[0])}")
        override(content, key, value)
    return config_from(content, allow=allow)


def config_from(content: Mapping[str, Any], *, allow: Sequence[str] = ()) -> RunConfig:
    """Make a run's objects from plain containers; see :func:`load_config`.

    Raises:
        ConfigError: anything that cannot be understood.
    """
    for key in content:
        if key not in KEYS:
            raise ConfigError(f"{key}: a run has no key {key!r}. {_hint(str(key))}")
    for key in ("family", "model", "out"):
        if content.get(key) is None:
            raise ConfigError(f"The key {key!r} is missing; expected at least family, model and out.")
    given = DEFAULTS | {key: value for key, value in content.items() if value is not None}
    names, resolved = Names(tuple(allow)), {}

    def make(key: str, annotation: Any) -> Any:
        if given[key] is None:
            resolved[key] = None
            return None
        made, resolved[key] = build(key, annotation, names.check(given[key], annotation, key))
        return made

    family = make("family", Source)
    solver = make("solver", Method)
    stream, resolved["stream"] = _arguments(names, "stream", Stream, given["stream"], skip=("source", "method"))
    task, arguments, resolved["task"] = _task(names, given["task"])
    trainer = make("trainer", TrainerSettings)
    checked_model = _checked_model(names, given["model"], task.model_type, family)
    _, resolved["model"] = build("model", task.model_type, checked_model)
    optimizer = make("optimizer", OptimizerFactory)
    schedule = None
    if given["schedule"] is not None:
        checked = names.check(given["schedule"], ScheduleFactory, "schedule")
        _fill_steps(checked, trainer.max_steps, resolved["optimizer"])
        schedule, resolved["schedule"] = build("schedule", ScheduleFactory, checked)
    _try_out(optimizer, schedule)
    evaluation = make("evaluation", Evaluation)
    if not isinstance(given["out"], str) or not given["out"]:
        raise ConfigError(f"out is {given['out']!r}; expected the name of a folder, such as runs/quickstart.")
    resolved["out"] = given["out"]
    if evaluation.split == stream.get("split", "train"):
        raise ConfigError(f"evaluation.split is {evaluation.split!r}, the split that is trained on; expected another.")
    ordered = {key: shorten(resolved[key]) for key in KEYS if resolved.get(key) is not None}
    model = partial(_model, task.model_type, checked_model)
    task = partial(task.of_run, arguments=arguments)
    return RunConfig(
        family, solver, stream, task, model, optimizer, schedule, trainer, evaluation, Path(given["out"]), ordered
    )


def _arguments(
    names: Names, key: str, target: Callable[..., Any], given: Any, *, skip: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of ``target`` made one by one, and all of them as plain containers."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{key} is {given!r}; expected a mapping of arguments.")
    checked = names.check_arguments(given, target, key, skip=skip)
    made: dict[str, Any] = {}
    resolved: dict[str, Any] = {}
    for name, parameter in inspect.signature(target).parameters.items():
        if name in checked:
            made[name], resolved[name] = _build_argument(key, name, parameter.annotation, checked[name])
        elif name not in skip and isinstance(parameter.default, str | int | float | tuple | list | None):
            default = parameter.default
            resolved[name] = list(default) if isinstance(default, tuple) else default
    return made, resolved


def _build_argument(key: str, name: str, annotation: Any, value: Any) -> tuple[Any, Any]:
    try:
        return build(name, annotation, value)
    except ConfigError as error:
        raise ConfigError(f"{key}.{error}") from error


def _task(names: Names, given: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The class, its arguments made one by one, and both as plain containers."""
    from pdekit.train.task import Task  # it loads lightning

    checked = names.check(given, Callable[..., Task], "task")
    module, _, name = checked["class_path"].rpartition(".")
    cls = getattr(import_module(module), name)
    made, resolved = _arguments(names, "task", cls, checked["init_args"], skip=cls.supplied)
    return cls, made, {"class_path": checked["class_path"], "init_args": resolved}


def _checked_model(names: Names, given: Any, annotation: Any, family: Source) -> Any:
    """The model's arguments, with the family's dimension where it takes one."""
    checked = names.check(given, annotation, "model")
    module, _, name = checked["class_path"].rpartition(".")
    if "dim" in inspect.signature(getattr(import_module(module), name)).parameters:
        dim = family.schema.one_domain.dim
        if checked["init_args"].setdefault("dim", dim) != dim:
            raise ConfigError(f"model.dim is {checked['init_args']['dim']}, but the family has {dim} dimensions.")
    return checked


def _model(annotation: Any, checked: Any, *given: Any) -> Any:
    """The model, made anew with all that is inside it: a network nested in a recipe has other weights each time."""
    return build("model", annotation, checked)[0](*given)


def _fill_steps(schedule: dict[str, Any], steps: int, optimizer: Mapping[str, Any]) -> None:
    """A schedule that wants to know its length or its peak is told those of the run."""
    module, _, name = schedule["class_path"].rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters
    arguments = schedule["init_args"]
    if "epochs" not in arguments:
        for key in ("total_steps", "T_max"):
            if key in parameters:
                arguments.setdefault(key, steps)
    if "max_lr" in parameters:
        arguments.setdefault("max_lr", optimizer["init_args"]["lr"])


def _try_out(optimizer: OptimizerFactory, schedule: ScheduleFactory | None) -> None:
    """Make both once for a single parameter: what they refuse is better known before samples are solved."""
    key = "optimizer"
    try:
        made = optimizer([nn.Parameter(torch.zeros(2, 2))])
        if schedule is not None:
            key = "schedule"
            schedule(made)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{key}: {error}") from error


def _hint(key: str) -> str:
    return did_you_mean_key(key, dict.fromkeys(KEYS))
