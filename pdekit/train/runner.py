"""From a configuration to a run folder: train, evaluate, report."""

import contextlib
import logging
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from pdekit.core.errors import ConfigError, InputError
from pdekit.core.machine import machine, versions
from pdekit.core.patience import patience
from pdekit.stream import Stream
from pdekit.train.checkpoint import Checkpoints, latest_checkpoint
from pdekit.train.config import RunConfig
from pdekit.train.data import StreamData
from pdekit.train.error_report import ErrorReport
from pdekit.train.monitor import StreamMonitor, verdict
from pdekit.train.report import Report
from pdekit.train.task import Task
from pdekit.train.yamlfile import read_yaml, to_yaml

__all__ = ["run"]

CHANGEABLE = {
    "trainer.max_steps", "trainer.accelerator", "trainer.log_every_n_steps", "trainer.checkpoint_every_n_steps",
    "trainer.validate_every_n_steps", "evaluation.validation",
    "stream.engine", "stream.workers", "evaluation.samples", "evaluation.rtol", "evaluation.split", "out",
}  # fmt: skip
"""Keys that a resumed run may change."""


def run(
    config: RunConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Report:
    """Train what a configuration describes, measure it on held-out samples, and leave everything in a folder.

    The folder gets ``config.yaml`` (repeats the run), ``logs/`` (TensorBoard and CSV), ``batches.csv``,
    ``checkpoints/``, ``model/`` (for :func:`pdekit.load`), ``report.json`` and a picture.

    Args:
        config: from :func:`pdekit.train.load_config`.
        resume: go on from the last checkpoint in the folder.
        overwrite: delete what is in the folder first.
        say: shows a line of progress.

    Returns:
        The figures that ``report.json`` holds.

    Raises:
        ConfigError: the folder is in use and neither flag is set, or it holds a run with another configuration.
        InputError: what should be trained does not fit the family.
    """
    out = config.out
    stream = _stream(config)
    with torch.random.fork_rng():
        config.task(config)  # once for nothing: what it refuses is better known before the folder is made
    checkpoint = _prepare_folder(config, resume, overwrite, say)
    if checkpoint is not None and (finished := _finished(out, config)) is not None:
        say(f"{out} is finished at step {finished.steps}; nothing to resume.")
        say(str(finished))
        return finished
    seconds: dict[str, float] = {}
    with _phase("compile", seconds):
        _warm_up(config, say)
    with _quiet(), torch.random.fork_rng():
        torch.manual_seed(config.seed)
        try:
            task = config.task(config)
            trained = _train(config, task, stream, checkpoint, seconds, say)
        finally:
            stream.close()
    task.save(out / "model")
    (out / "model" / "config.yaml").write_text(to_yaml(config.resolved))
    with _phase("evaluate", seconds):
        say(f"evaluating on {config.evaluation.samples} held-out samples ...")
        measured = task.measure(config)
    report = measured.report(trained | _figures(task, seconds))
    measured.draw(out)
    report.save(out / "report.json")
    say(str(report))
    say(f"run folder: {out} (model/, report.json, {measured.picture}, logs/)")
    return report


def _train(
    config: RunConfig,
    task: Task,
    stream: Stream,
    checkpoint: Path | None,
    seconds: dict[str, float],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Make all steps; the figures of the stream."""
    import lightning.pytorch as L
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    from pdekit.train.batches_log import BatchesLog

    out, settings = config.out, config.trainer
    data = StreamData(stream, validation=config.evaluation.validation, validation_rtol=config.evaluation.rtol)
    with _phase("first_fill", seconds):
        if checkpoint is None:
            say("filling the buffer ...")
        first = data.first_fill() if checkpoint is None else None
    if first is not None:
        task.begin(first)
    trainer = L.Trainer(
        max_steps=settings.max_steps,
        accelerator=settings.accelerator,
        devices=1,
        gradient_clip_val=settings.gradient_clip_val,
        log_every_n_steps=settings.log_every_n_steps,
        val_check_interval=settings.validate_every_n_steps,
        check_val_every_n_epoch=None,
        limit_val_batches=None if data.validation else 0,
        logger=[TensorBoardLogger(out, name="logs", version=""), CSVLogger(out, name="logs", version="")],
        callbacks=[
            ErrorReport(stream),
            StreamMonitor(stream),
            BatchesLog(out / "batches.csv"),
            Checkpoints(out / "checkpoints", every=settings.checkpoint_every_n_steps),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=out,
    )
    _keep_old_metrics(out / "logs" / "metrics.csv")
    before = stream.statistics()
    say(
        f"training for {settings.max_steps} steps"
        + ("" if checkpoint is None else f", from {checkpoint.name}")
        + " ..."
    )
    with _phase("train", seconds), _interruptible():
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        task.conclude(data)
    now = stream.statistics()
    return {
        "steps": trainer.global_step,
        "samples_solved": now.inserts,
        "samples_seen": now.seen,
        "samples_drawn": now.gets,
        "reuse": now.uses,
        "rejected": now.rejected,
        "iterations": now.iterations,
        "solve_seconds": now.solve_seconds,
        "train_seconds": now.seconds,
        "verdict": verdict(before, now),
    }


def _keep_old_metrics(path: Path) -> None:
    """Lightning's CSV logger deletes what an interrupted run has written; rename it instead."""
    if path.is_file():
        part = 1
        while (kept := path.with_name(f"metrics-part-{part}.csv")).exists():
            part += 1
        path.rename(kept)


def _stream(config: RunConfig) -> Stream:
    try:
        return Stream(config.family, method=config.solver, **config.stream)
    except InputError as error:
        raise ConfigError(f"stream: {error}") from error


def _figures(task: Task, seconds: dict[str, float]) -> dict[str, Any]:
    """The figures of a report that no stream knows."""
    return {
        "seconds": {phase: round(value, 2) for phase, value in seconds.items()},
        "parameters": sum(p.numel() for p in task.network.parameters()),
        "machine": machine(),
        "versions": versions(),
    }


def _prepare_folder(config: RunConfig, resume: bool, overwrite: bool, say: Callable[[str], None]) -> Path | None:
    """Make the folder ready and write ``config.yaml``; the checkpoint to go on from, if there is one."""
    out = config.out
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other; expected one of them.")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; expected the name of a folder.")
    used = out.is_dir() and any(out.iterdir())
    if used and not (resume or overwrite):
        raise ConfigError(
            f"{out} is in use. Pass --resume to go on with the run in it, --overwrite to delete it and start again, "
            "or --out FOLDER to leave it alone."
        )
    if used and not (out / "config.yaml").is_file():
        raise ConfigError(f"{out} is no run folder (it has no config.yaml), so nothing in it was touched. Pass another "
                          "--out.")  # fmt: skip
    checkpoint = None
    if used and overwrite:
        shutil.rmtree(out)
    elif used:
        _check_same(read_yaml(out / "config.yaml"), config.resolved, out)
        checkpoint = latest_checkpoint(out / "checkpoints")
        if checkpoint is None:
            say(f"{out} has no checkpoint yet; starting from the beginning.")
    elif resume:
        say(f"{out} has nothing to resume; starting from the beginning.")
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "config.yaml.partial"
    partial.write_text(to_yaml(config.resolved))
    partial.replace(out / "config.yaml")
    return checkpoint


def _check_same(old: dict[str, Any], new: dict[str, Any], out: Path) -> None:
    before, after = _flat(old), _flat(new)
    for key in sorted({*before, *after} - CHANGEABLE):
        if before.get(key) != after.get(key):
            raise ConfigError(
                f"{out} holds a run with {key} = {before.get(key)!r}, the configuration says {after.get(key)!r}. "
                f"A resumed run may change only {', '.join(sorted(CHANGEABLE))}. Pass --overwrite to start again, or "
                "another --out."
            )


def _flat(content: Any, path: str = "") -> dict[str, Any]:
    if isinstance(content, dict):
        return {k: v for key, item in content.items() for k, v in _flat(item, f"{path}.{key}" if path else key).items()}
    return {path.replace(".init_args", ""): content}


def _finished(out: Path, config: RunConfig) -> Report | None:
    """The report of a run that has already made all its steps."""
    if not (out / "report.json").is_file() or not (out / "model").is_dir():
        return None
    report = Report.read(out / "report.json")
    return report if report.steps >= config.trainer.max_steps else None


def _warm_up(config: RunConfig, say: Callable[[str], None]) -> None:
    """Compile what the solver needs, apart from the training that would otherwise seem to hang."""
    with patience(say):
        inputs = config.family.draw([0], seed=config.seed, split=config.evaluation.split)
        config.family.solve(inputs, rtol=1e-2, method=config.solver, throw=False)


@contextlib.contextmanager
def _phase(name: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning answers Ctrl-C by leaving the process, deaf to further ones; here it stays a KeyboardInterrupt."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if main:
            signal.signal(signal.SIGINT, handler)
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's notices about hardware, tips, and habits that a stream does not share; restored after."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


NOISE = (
    r".*does not have many workers.*",
    r".*is smaller than the logging interval.*",
    r".*Experiment logs directory .* exists and is not empty.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*You have overridden `transfer_batch_to_device`.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
)
