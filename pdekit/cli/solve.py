"""``pdekit solve``: one problem, from arrays of one's own or drawn at random."""

import argparse
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.parsing import new_parser, read_array, refuse_existing
from pdekit.cli.progress import progress_line
from pdekit.train.catalogue import entries

__all__ = ["parser", "run"]

FAMILIES = ("darcy", "poisson")
SIDES = ("left", "right", "bottom", "top", "back", "front", "all")
ALL = -1
"""Stands for every axis of the grid."""


def parser() -> ArgumentParser:
    p = new_parser(
        "solve",
        "Solve one problem and say how well.\n\n"
        "  darcy     -div(coefficient grad u) = source\n"
        "  poisson   -laplace u = source\n\n"
        "The grid has the shape of the array given (axis 0 is x, axis 1 is y, axis 2 is z; its ends are stored) on the "
        "unit box.\nWithout an array a random problem is drawn.\n\n"
        "Sides are u = 0 unless --boundary.SIDE says otherwise, SIDE being left, right (x), bottom, top (y), back, "
        "front (z)\nor all (the rest):\n\n"
        "  --boundary.SIDE VALUE                      u = VALUE\n"
        "  --boundary.SIDE neumann VALUE              du/dn = VALUE\n"
        "  --boundary.SIDE robin VALUE COEFFICIENT    du/dn + COEFFICIENT u = VALUE\n"
        "  --boundary.SIDE periodic                   for the whole axis",
        "  pdekit solve darcy --coefficient my_field.npy --out solution.h5 --plot solution.png\n"
        "  pdekit solve darcy --resolution 128 --seed 7 --plot solution.png\n"
        "  pdekit solve poisson --source f.npy --boundary.left neumann 0 --boundary.right 1.5\n"
        "  pdekit solve darcy --boundary.left periodic --boundary.top robin 0 2.5",
    )
    p.add_argument("family", choices=FAMILIES, help="which equation")
    p.add_argument("--coefficient", metavar="FILE", help="darcy: a .npy array, positive")
    p.add_argument("--source", metavar="FILE|NUMBER", help="right-hand side: a .npy array, or for darcy a number (1)")
    p.add_argument("--resolution", type=int, default=128, help="points a side of a random problem (128)")
    p.add_argument("--dimension", type=int, default=2, choices=(1, 2, 3), help="of a random problem (2)")
    p.add_argument("--seed", type=int, default=0, help="of a random problem (0)")
    p.add_argument("--rtol", type=float, default=1e-8, help="relative residual to reach (1e-8)")
    p.add_argument(
        "--method",
        default="Auto",
        help="a name from `pdekit list methods`, or from `pdekit list preconditioners` for CG with it (Auto)",
    )
    for side in SIDES:
        p.add_argument(f"--boundary.{side}", nargs="+", metavar="WORD", help=argparse.SUPPRESS)
    p.add_argument("--out", metavar="FILE.h5", help="write inputs, solution and certificate here")
    p.add_argument("--plot", metavar="FILE.png", help="draw inputs and solution here")
    p.add_argument("--overwrite", action="store_true", help="replace existing files")
    return p


def run(arguments: Namespace) -> int:
    from pdekit.core.errors import ConfigError, PdekitError
    from pdekit.core.patience import patience
    from pdekit.solvers import NotConverged

    _check_files(arguments)
    if not arguments.rtol > 0:
        raise ConfigError(f"--rtol {arguments.rtol}: expected a number greater than 0.")
    method = _method(arguments.method)
    family, inputs = _problem(arguments)
    try:
        with patience(progress_line):
            samples = family.solve(inputs, rtol=arguments.rtol, method=method)
    except NotConverged as error:  # without its last line, which is advice for Python
        raise PdekitError(str(error).rpartition("\n")[0]) from error
    print(samples)
    certificate = samples.certificate
    print(f"  {int(certificate.iterations[0])} iterations, {float(certificate.seconds[0]):.3g} s")
    if arguments.out:
        from pdekit.samples import hdf5

        about = family.describe()
        for name in ("coefficient", "source"):
            if (given := getattr(arguments, name)) is not None and not isinstance(_number(given), float):
                about["init_args"][name] = {"file": Path(given).name}  # not the law it was never drawn from
        hdf5.write(arguments.out, samples, {"family": about}, dtype="float64")
        print(f"written to {arguments.out}")
    if arguments.plot:
        from pdekit import plot

        fields = {name: samples[name][0] for name in (*family.schema.inputs, *family.schema.outputs)}
        plot.save(plot.plot_fields(fields, family.schema.domain), arguments.plot)
        print(f"drawn in {arguments.plot}")
    return 0


def _check_files(arguments: Namespace) -> None:
    """Refuse, before any work is done, names that cannot be used.

    Raises:
        ConfigError: an empty name, an output that would replace an input, or as :func:`refuse_existing`.
    """
    from pdekit.core.errors import ConfigError

    for option in ("coefficient", "source", "out", "plot"):
        if arguments[option] == "":
            raise ConfigError(f"--{option} is empty; expected a name. (Is a variable of the shell not set?)")
    refuse_existing([arguments.out, arguments.plot], arguments.overwrite)
    inputs = [Path(name).resolve() for name in (arguments.coefficient, arguments.source) if name is not None]
    for option in ("out", "plot"):
        if arguments[option] is not None and Path(arguments[option]).resolve() in inputs:
            raise ConfigError(f"--{option} {arguments[option]} would replace an input; choose another name.")


def _problem(arguments: Namespace) -> tuple[Any, Any]:
    """The family and its one problem."""
    from pdekit.core.errors import ConfigError
    from pdekit.families import Darcy, Poisson
    from pdekit.fields import Constant, GaussianField, Threshold

    boundaries, open_axes = _boundaries(arguments)
    source: Any = None if arguments.source is None else _number(arguments.source)
    if isinstance(source, str):
        source = read_array(source)
    if arguments.family == "poisson":
        if arguments.coefficient or isinstance(source, float):
            given = f"--coefficient {arguments.coefficient}" if arguments.coefficient else f"--source {source}"
            raise ConfigError(f"poisson takes --source FILE.npy only; given was {given}. darcy takes both.")
        grid = _grid(_shape(arguments, source), open_axes)
        family = Poisson(grid, GaussianField(alpha=2, tau=3) if source is None else Constant(0.0), boundaries)
        drawn = family.draw([0], seed=arguments.seed) if source is None else family.inputs_from(source)
        return family, drawn
    coefficient = read_array(arguments.coefficient) if arguments.coefficient else None
    grid = _grid(_shape(arguments, coefficient, source), open_axes)
    law = Threshold(GaussianField(alpha=2, tau=3), low=3, high=12)
    if source is None or isinstance(source, float):
        family = Darcy(grid, law, 1.0 if source is None else source, boundaries)
        drawn = family.draw([0], seed=arguments.seed) if coefficient is None else family.inputs_from(coefficient)
        return family, drawn
    if coefficient is None:
        coefficient = Darcy(grid, law).draw([0], seed=arguments.seed)["coefficient"][0]
    family = Darcy(grid, law, Constant(0.0), boundaries)
    return family, family.inputs_from(coefficient, source)


def _shape(arguments: Namespace, *arrays: Any) -> tuple[int, ...]:
    """Of the arrays given, or of a random problem."""
    from pdekit.core.errors import ConfigError

    shapes = [tuple(array.shape) for array in arrays if hasattr(array, "shape")]
    if len(set(shapes)) > 1:
        raise ConfigError(f"--coefficient has shape {shapes[0]} and --source {shapes[1]}; expected one shape.")
    if shapes:
        return shapes[0]
    if arguments.resolution < 3:
        raise ConfigError(f"--resolution {arguments.resolution}: expected at least 3.")
    return (arguments.resolution,) * arguments.dimension


def _grid(shape: tuple[int, ...], open_axes: set[int]) -> Any:
    from pdekit.core.errors import ConfigError
    from pdekit.domain import SIDES as PAIRS
    from pdekit.domain import Grid

    for axis in sorted(open_axes):
        if axis >= len(shape):
            raise ConfigError(f"--boundary.{PAIRS[axis][0]} periodic: the grid has {len(shape)} axes only.")
    return Grid(shape, closed=tuple(not {axis, ALL} & open_axes for axis in range(len(shape))))


def _boundaries(arguments: Namespace) -> tuple[list[Any], set[int]]:
    """Conditions as given, and the axes that they make periodic."""
    from pdekit.domain import SIDES as PAIRS
    from pdekit.domain import Boundary

    found, open_axes = [], set()
    for side in SIDES:
        words = arguments[f"boundary.{side}"]
        if words == ["periodic"]:
            open_axes |= {ALL} if side == "all" else {axis for axis, pair in enumerate(PAIRS) if side in pair}
        elif words:
            found.append(Boundary(side, *_condition(side, words)))
    return found, open_axes


def _condition(side: str, words: list[str]) -> tuple[Any, float, float | None]:
    """Kind, value and coefficient from ``1.5``, ``neumann 0``, ``robin 0 2.5``, ...

    Raises:
        ConfigError: an unknown kind, or other numbers than it takes.
    """
    from pdekit.core.errors import ConfigError, did_you_mean

    forms = {"dirichlet": "dirichlet VALUE", "neumann": "neumann VALUE", "robin": "robin VALUE COEFFICIENT"}
    kind, rest = ("dirichlet", words) if isinstance(_number(words[0]), float) else (words[0], words[1:])
    if kind not in forms:
        raise ConfigError(f"--boundary.{side} {kind}: no such condition. {did_you_mean(kind, [*forms, 'periodic'])}")
    values = [value for word in rest if isinstance(value := _number(word), float)]
    most = 2 if kind == "robin" else 1
    if len(values) != len(rest) or len(values) > most or (kind == "robin" and len(values) < 2):
        raise ConfigError(f"--boundary.{side} {' '.join(words)}: expected {forms[kind]}, with numbers.")
    return kind, values[0] if values else 0.0, values[1] if kind == "robin" else None


def _number(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


def _method(name: str) -> Any:
    """A method by name, or CG with the preconditioner of that name."""
    from importlib import import_module

    from pdekit.core.errors import ConfigError, did_you_mean
    from pdekit.solvers import CG

    methods = {entry.name: entry for entry in entries("methods")}
    preconditioners = {entry.name: entry for entry in entries("preconditioners")}
    known = methods | preconditioners
    if name not in known:
        raise ConfigError(f"--method {name}: there is no such method. {did_you_mean(name, known)}")
    module, _, short = known[name].path.rpartition(".")
    made = getattr(import_module(module), short)()
    return CG(made) if name in preconditioners else made
