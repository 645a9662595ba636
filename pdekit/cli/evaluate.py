"""``pdekit evaluate``: what a run has trained, against the solver."""

from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.parsing import new_parser, refuse_existing, trust

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    p = new_parser(
        "evaluate",
        "Solve held-out problems and compare.\n\n"
        "A surrogate is compared with the solutions: errors and seconds of both. A trained preconditioner or trained\n"
        "directions are compared with classical methods: set-up, solving, iterations, residual, and the number of\n"
        "solves after which training has paid for itself.",
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
    p.add_argument("--out", metavar="FOLDER", help="write evaluation.json and a picture here")
    p.add_argument("--overwrite", action="store_true", help="replace existing files")
    p.add_argument("--allow", action="append", default=[], metavar="MODULE", help="trust classes of this module")
    return p


def run(arguments: Namespace) -> int:
    from pdekit.core.errors import ConfigError
    from pdekit.train import Surrogate, load
    from pdekit.train.evaluation import Evaluated, evaluate

    trust(arguments.allow, *([arguments.config] if arguments.config else []))
    found = load(arguments.model, allow=arguments.allow)
    if isinstance(found, Surrogate):
        tried, picture = partial(evaluate, found), Evaluated.picture
    else:
        from pdekit.train.solver_comparison import Compared, compare

        tried = partial(compare, found, training_seconds=_training_seconds(arguments))
        picture = Compared.picture
    files = [Path(arguments.out) / name for name in ("evaluation.json", picture)] if arguments.out else []
    refuse_existing([str(path) for path in files], arguments.overwrite)
    family, method, seed, split = _problems(arguments)
    if arguments.split == split:
        raise ConfigError(f"--split {split} is what was trained on; expected another, such as test.")
    evaluated = tried(
        family,
        samples=arguments.samples,
        seed=seed if arguments.seed is None else arguments.seed,
        split=arguments.split,
        rtol=arguments.rtol,
        method=method,
    )
    print(evaluated)
    if files:
        _write(evaluated, arguments, files)
    return 0


def _training_seconds(arguments: Namespace) -> float | None:
    """From the report of the run that the folder belongs to, where it still does."""
    from pdekit.train.report import Report

    path = Path(arguments.model).parent / "report.json"
    return Report.read(path).train_seconds if path.is_file() else None


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


def _write(evaluated: Any, arguments: Namespace, files: list[Path]) -> None:
    import json

    from pdekit.core.machine import machine, versions

    report, picture = files
    report.parent.mkdir(parents=True, exist_ok=True)
    about = {"split": arguments.split, "rtol": arguments.rtol, "machine": machine(), "versions": versions()}
    partial = report.with_name(report.name + ".partial")
    partial.write_text(json.dumps(evaluated.to_json() | about, indent=1) + "\n")
    partial.replace(report)
    evaluated.draw(picture.parent)
    print(f"written to {report} and {picture}")
