"""``pdekit evaluate``: a trained surrogate against the solver."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.parsing import new_parser, refuse_existing, trust

__all__ = ["parser", "run"]


LABELS = {
    "rel_l2": "relative L2",
    "rel_l1": "relative L1",
    "rel_h1": "relative H1",
    "boundary": "boundary",
}


def parser() -> ArgumentParser:
    p = new_parser(
        "evaluate",
        "Solve held-out problems and compare a surrogate with the solutions: errors and seconds of both.",
        "  pdekit evaluate runs/quickstart/model\n"
        "  pdekit evaluate runs/quickstart/model --resolution 128 --samples 50 --out runs/quickstart/at128",
    )
    p.add_argument("model", metavar="FOLDER", help="the model/ folder of a run")
    p.add_argument("--resolution", type=int, help="points a side; those trained on if left out")
    p.add_argument("--samples", type=int, default=200, help="held-out problems (200)")
    p.add_argument("--seed", type=int, help="of the problems; that of the run if left out")
    p.add_argument("--split", default="test", help="stream of samples; anything but the one trained on (test)")
    p.add_argument("--rtol", type=float, default=1e-10, help="relative residual of the solutions (1e-10)")
    p.add_argument("--config", metavar="FILE", help="the run's config.yaml; the one beside the model if left out")
    p.add_argument("--out", metavar="FOLDER", help="write evaluation.json and prediction.png here")
    p.add_argument("--overwrite", action="store_true", help="replace existing files")
    p.add_argument("--allow", action="append", default=[], metavar="MODULE", help="trust classes of this module")
    return p


def run(arguments: Namespace) -> int:
    from pdekit.core.errors import ConfigError
    from pdekit.train import load
    from pdekit.train.evaluation import evaluate

    files = [Path(arguments.out) / name for name in ("evaluation.json", "prediction.png")] if arguments.out else []
    refuse_existing([str(path) for path in files], arguments.overwrite)
    trust(arguments.allow, *([arguments.config] if arguments.config else []))
    surrogate = load(arguments.model, allow=arguments.allow)
    family, method, seed, split = _problems(arguments)
    if arguments.split == split:
        raise ConfigError(f"--split {split} is what the surrogate was trained on; expected another, such as test.")
    evaluated = evaluate(
        surrogate,
        family,
        samples=arguments.samples,
        seed=seed if arguments.seed is None else arguments.seed,
        split=arguments.split,
        rtol=arguments.rtol,
        method=method,
    )
    print(_table(evaluated, family))
    if files:
        _write(evaluated, arguments, files)
    return 0


def _problems(arguments: Namespace) -> tuple[Any, Any, int, str]:
    """The run's family at the resolution asked for, its solver, its seed and the split it was trained on."""
    from pdekit.core.errors import ConfigError
    from pdekit.domain import Grid
    from pdekit.samples import Source
    from pdekit.solvers import Method
    from pdekit.train.build import Names, build
    from pdekit.train.yamlfile import override, read_yaml

    beside = Path(arguments.model) / "config.yaml"
    path = Path(arguments.config) if arguments.config else beside
    if not path.is_file():
        raise ConfigError(f"{path} is missing; it says which problems to solve. Expected --config RUN/config.yaml.")
    content, names = read_yaml(path), Names(tuple(arguments.allow))
    if "family" not in content:
        raise ConfigError(f"{path} has no key 'family'; expected the config.yaml of a run.")
    family = build("family", Source, names.check(content["family"], Source, "family"))[0]
    if arguments.resolution is not None:
        if not isinstance(family.schema.domain, Grid):
            raise ConfigError(
                "--resolution is for families on a grid; this one lives on a mesh, as fine as its recipe says."
            )
        override(content, "family.domain.shape", [arguments.resolution] * family.schema.domain.dim)
        family = build("family", Source, names.check(content["family"], Source, "family"))[0]
    solver = content.get("solver")
    method = None if solver is None else build("solver", Method, names.check(solver, Method, "solver"))[0]
    stream = content.get("stream", {})
    return family, method, int(stream.get("seed", 0)), str(stream.get("split", "train"))


def _table(evaluated: Any, family: Any) -> str:
    count = len(evaluated.truth)
    shape = " x ".join(map(str, family.schema.domain.shape))
    lines = [f"{count} held-out samples on {shape} points; solutions: {evaluated.truth.certificate}"]
    lines.append(f"  {'':24} {'mean':>9} {'median':>9} {'95 %':>9} {'largest':>9}")
    for name, figures in evaluated.metrics.items():
        for key, label in LABELS.items():
            values = " ".join(f"{figures[f'{key}_{kind}']:9.4f}" for kind in ("mean", "median", "p95", "max"))
            lines.append(f"  {f'{name}, {label}':24} {values}")
    solver, surrogate = evaluated.solver_seconds / count, evaluated.surrogate_seconds / count
    ratio = solver / surrogate
    faster = f"{ratio:.1f} times faster" if ratio >= 1 else f"{1 / ratio:.1f} times slower"
    lines.append(
        f"  a sample: solver {1e3 * solver:.2f} ms, surrogate {1e3 * surrogate:.2f} ms ({faster}, less accurate)"
    )
    return "\n".join(lines)


def _write(evaluated: Any, arguments: Namespace, files: list[Path]) -> None:
    import json

    from pdekit import plot
    from pdekit.core.machine import machine, versions

    report, picture = files
    report.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "samples": len(evaluated.truth),
        "resolution": list(evaluated.truth.schema.domain.shape),
        "split": arguments.split,
        "rtol": arguments.rtol,
        "metrics": evaluated.metrics,
        "solver_seconds": evaluated.solver_seconds,
        "surrogate_seconds": evaluated.surrogate_seconds,
        "machine": machine(),
        "versions": versions(),
    }
    partial = report.with_name(report.name + ".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(report)
    truth = evaluated.truth[:3]
    plot.save(plot.prediction_figure(truth.inputs, truth, evaluated.prediction[:3]), picture)
    print(f"written to {report} and {picture}")
