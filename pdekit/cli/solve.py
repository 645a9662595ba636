"""``pdekit solve``: one problem, on a mesh or a grid, from files and formulas of one's own or drawn at random."""

import re
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.conditions import split_conditions
from pdekit.cli.parsing import new_parser, refuse_existing
from pdekit.cli.problems import EQUATIONS, OPTIONS, Problem
from pdekit.cli.progress import progress_line
from pdekit.train.catalogue import entries

__all__ = ["parse", "parser", "run"]

REPAIRS = ("drop_orphans", "merge_duplicates", "reorient", "straighten")


DESCRIPTION = """Solve one problem and say how well.

{equations}

With --mesh the domain comes from a file, which also names the parts of its boundary (physical groups of Gmsh). What is
not given is 0 (--source) or 1 (--coefficient and other material). Without --mesh, poisson and darcy are solved on a
grid on the unit box: with the shape of the array given (axis 0 is x, axis 1 is y, axis 2 is z; its ends are stored),
whose sides are left, right (x), bottom, top (y), back, front (z); without an array a random problem is drawn.

  --boundary.NAME VALUE                      u = VALUE
  --boundary.NAME neumann VALUE              du/dn = VALUE
  --boundary.NAME robin VALUE COEFFICIENT    du/dn + COEFFICIENT u = VALUE
  --boundary.NAME periodic                   for the whole axis of a grid

NAME is a part of the boundary, or all for every part without a condition of its own; these have u = 0 otherwise. Where
parts of a mesh that prescribe u meet, the one given later holds, and any over all and over u = 0 elsewhere. A
VALUE is a number or an expression of x, y, z in quotes: + - * / **, sin, cos, tan, exp, log, sqrt, abs, sinh, cosh,
tanh, minimum(a, b), maximum(a, b), where(x < 0.5, a, b), pi, e.

helmholtz also has impedance [VALUE], du/dn - i wavenumber u = VALUE: waves go out. In elasticity a displacement and a
traction (neumann) take one VALUE for each component, pressure VALUE pushes inward, and parts without a condition are
free."""
EXAMPLES = """  pdekit solve poisson --mesh part.msh --boundary.wall 0 --boundary.inlet "x*(1-x)" --out part.vtu
  pdekit solve elasticity --mesh bracket.msh --boundary.holes 0 0 --boundary.load neumann 0 -1e6 --young 210e9
  pdekit solve helmholtz --mesh room.msh --wavenumber 20 --source "exp(-100*(x**2+y**2))" --boundary.all impedance
  pdekit solve darcy --coefficient my_field.npy --out solution.h5 --plot solution.png
  pdekit solve darcy --resolution 128 --seed 7 --plot solution.png
  pdekit solve poisson --source f.npy --boundary.left neumann 0 --boundary.right 1.5
  pdekit solve darcy --boundary.left periodic --boundary.top robin 0 2.5
  pdekit solve darcy --resolution 64 --preconditioner runs/precondition_darcy/model"""


def parser() -> ArgumentParser:
    equations = "\n".join(f"  {name:20} {equation.text}" for name, equation in EQUATIONS.items())
    p = new_parser("solve", DESCRIPTION.format(equations=equations), EXAMPLES)
    p.usage = "pdekit solve FAMILY [--mesh FILE] [--boundary.NAME VALUE ...] [options]"
    p.add_argument("family", choices=tuple(EQUATIONS), metavar="FAMILY", help="which of these equations")
    p.add_argument("--mesh", metavar="FILE", help="solve on this mesh: Gmsh (.msh), .vtu, .inp, .mesh, .su2, ...")
    p.add_argument("--refine", type=int, default=0, metavar="N", help="refine the mesh N times before solving (0)")
    p.add_argument(
        "--repair",
        nargs="+",
        choices=REPAIRS,
        default=[],
        metavar="WORD",
        help=f"of a faulty mesh: {', '.join(REPAIRS)}",
    )
    p.add_argument("--element", choices=("P1", "P2", "Q1", "Q2"), help="on a mesh; P1 or Q1, as the cells are")
    for name, option in OPTIONS.items():
        takers = ", ".join(key for key, equation in EQUATIONS.items() if name in equation.options)
        takers = "" if name == "source" else f"{takers}: "
        p.add_argument(
            f"--{name}", nargs="+" if option.many else None, metavar=option.metavar, help=takers + option.help
        )
    p.add_argument("--resolution", type=int, metavar="POINTS", help="points a side of a grid without an array (128)")
    p.add_argument("--dimension", type=int, choices=(1, 2, 3), help="of a grid without an array (2)")
    p.add_argument("--seed", type=int, metavar="NUMBER", help="of a random problem on a grid (0)")
    p.add_argument("--rtol", type=float, metavar="NUMBER", default=1e-8, help="relative residual to reach (1e-8)")
    p.add_argument(
        "--method",
        default="Auto",
        metavar="NAME",
        help="a name from `pdekit list methods`, or from `pdekit list preconditioners` for CG with it (GMRES where "
        "the matrix is not symmetric) (Auto)",
    )
    p.add_argument(
        "--preconditioner",
        metavar="FOLDER",
        help="instead of --method: CG with a preconditioner trained on the family, or trained directions (the model/ "
        "folder of a run)",
    )
    p.add_argument(
        "--out", metavar="FILE", help="write here: .h5 with the certificate, or from a mesh .vtu for ParaView"
    )
    p.add_argument("--plot", metavar="FILE.png", help="draw inputs and solution here")
    p.add_argument("--overwrite", action="store_true", help="replace existing files")
    return p


def parse(words: Sequence[str]) -> Namespace:
    """Options of the command; those of the boundary by the names that follow their dot."""
    rest, conditions = split_conditions(words)
    # A word such as -x is a value: the space keeps the parser from taking it for an option.
    shielded = [f" {word}" if word[:1] == "-" and word[:2] != "--" and word != "-h" else word for word in rest]
    arguments = parser().parse_args(shielded)
    for name in OPTIONS:
        if isinstance(arguments[name], str):
            arguments[name] = [arguments[name]]
    arguments["conditions"] = list(conditions.items())
    return arguments


def run(arguments: Namespace) -> int:
    from pdekit.core.errors import ConfigError, InputError, PdekitError
    from pdekit.core.patience import patience
    from pdekit.solvers import NotConverged

    _check_files(arguments)
    _check_options(arguments)
    if not 0 < arguments.rtol < 1:
        raise ConfigError(f"--rtol {arguments.rtol}: expected a number greater than 0 and below 1.")
    equation = EQUATIONS[arguments.family]
    chosen = arguments.preconditioner is None
    method = _method(arguments.method, symmetric=equation.symmetric) if chosen else None
    problem = _problem(arguments)
    if method is None:
        method = _trained(arguments, problem.family)
    if arguments.out:
        problem.check_writable(arguments.out)
    began = time.perf_counter()
    try:
        with patience(progress_line, "solving; kernels that are compiled first, once per machine, take a while ..."):
            samples = problem.family.solve(problem.inputs, rtol=arguments.rtol, method=method)
    except NotConverged as error:  # without its last line, which is advice for Python
        raise PdekitError(re.sub(r"\brtol=", "--rtol ", str(error).rpartition("\n")[0])) from error
    except InputError as error:
        if equation.symmetric or arguments.method == "Auto" or "symmetric" not in str(error):
            raise
        raise ConfigError(
            f"--method {arguments.method} needs symmetric matrices, which those of {arguments.family} are not; "
            "expected Auto, Direct, GMRES, BiCGStab or ILU0."
        ) from error
    iterations = int(samples.certificate.iterations[0])
    for line in (*problem.report(samples), f"  {iterations} iterations, {time.perf_counter() - began:.3g} s"):
        print(line)
    for note in problem.notes(samples):
        print(f"  note: {note}")
    if arguments.out:
        problem.write(samples, arguments.out)
        print(f"written to {arguments.out}")
    if arguments.plot:
        from pdekit import plot

        plot.save(problem.picture(samples), arguments.plot)
        print(f"drawn in {arguments.plot}")
    return 0


def _problem(arguments: Namespace) -> Problem:
    return import_module(f"pdekit.cli.solve_{'mesh' if arguments.mesh else 'grid'}").problem(arguments)


def _check_options(arguments: Namespace) -> None:
    """Refuse options of other equations, or of the other kind of domain.

    Raises:
        ConfigError: there is one.
    """
    from pdekit.core.errors import ConfigError

    name = arguments.family
    taken = EQUATIONS[name].options
    for option in OPTIONS:
        if arguments[option] is not None and option not in taken:
            takers = [key for key, equation in EQUATIONS.items() if option in equation.options]
            raise ConfigError(
                f"--{option} is for {', '.join(takers)}; {name} takes {', '.join(f'--{key}' for key in taken)}."
            )
    if arguments.mesh:
        for option in ("resolution", "dimension", "seed"):
            if arguments[option] is not None:
                raise ConfigError(f"--{option} is for problems on a grid; --mesh says what the domain is.")
        return
    for option in ("refine", "repair", "element"):
        if arguments[option]:
            raise ConfigError(f"--{option} needs a mesh; expected --mesh FILE beside it.")


def _check_files(arguments: Namespace) -> None:
    """Refuse, before any work is done, names that cannot be used.

    Raises:
        ConfigError: an empty name, an ending that cannot be written, an output that would replace an input, or as
            :func:`refuse_existing`.
    """
    from pdekit.core.errors import ConfigError
    from pdekit.plot.panels import picture_endings

    for option in ("coefficient", "source", "mesh", "out", "plot"):
        if arguments[option] in ("", [""]):
            raise ConfigError(f"--{option} is empty; expected a name. (Is a variable of the shell not set?)")
    refuse_existing([arguments.out, arguments.plot], arguments.overwrite)
    words = [arguments.mesh, *(arguments.coefficient or []), *(arguments.source or [])]
    inputs = [Path(word).resolve() for word in words if word is not None]
    for option in ("out", "plot"):
        if arguments[option] is not None and Path(arguments[option]).resolve() in inputs:
            raise ConfigError(f"--{option} {arguments[option]} would replace an input; choose another name.")
    endings = (".h5", ".vtu") if arguments.mesh is not None else (".h5",)
    if arguments.out is not None and Path(arguments.out).suffix not in endings:
        also = "" if arguments.mesh is not None else " (.vtu is for meshes)"
        raise ConfigError(f"--out {arguments.out}: expected a name that ends with {' or '.join(endings)}{also}.")
    if arguments.plot is not None and Path(arguments.plot).suffix.lstrip(".") not in picture_endings():
        raise ConfigError(f"--plot {arguments.plot}: expected a name that ends with .png, .pdf or .svg.")


def _trained(arguments: Namespace, family: Any) -> Any:
    """The method that a folder holds a part of.

    Raises:
        ConfigError: --method beside it, or a folder of something else.
        InputError: no such folder, or one trained on another family.
    """
    from pdekit.core.errors import ConfigError
    from pdekit.learned.base import LearnedPreconditioner
    from pdekit.solvers import CG, Method
    from pdekit.train.loading import load

    folder = arguments.preconditioner
    if arguments.method != "Auto":
        raise ConfigError(f"--method {arguments.method} and --preconditioner exclude each other; expected one of them.")
    found = load(folder)
    if not isinstance(found, LearnedPreconditioner | Method):
        raise ConfigError(
            f"--preconditioner {folder} holds a {type(found).__name__}; expected a preconditioner or directions, as a "
            "run with task PreconditionerLearning or DirectionLearning leaves. `pdekit evaluate` takes surrogates."
        )
    if (trained_on := getattr(found, "trained_on", None)) is not None:
        trained_on.check_family(type(found).__name__, type(family).__name__)
    return found if isinstance(found, Method) else CG(preconditioner=found)


def _method(name: str, *, symmetric: bool) -> Any:
    """A method by name, or CG (GMRES for matrices that are not symmetric) with the preconditioner of that name."""
    from pdekit.core.errors import ConfigError, did_you_mean
    from pdekit.solvers import CG, GMRES

    methods = {entry.name: entry for entry in entries("methods")}
    preconditioners = {entry.name: entry for entry in entries("preconditioners")}
    known = methods | preconditioners
    if name not in known:
        raise ConfigError(f"--method {name}: there is no such method. {did_you_mean(name, known)}")
    if needed := [argument for argument, _, default in known[name].arguments if default is None]:
        raise ConfigError(f"--method {name}: it needs {', '.join(needed)}, which can be given in Python or YAML only.")
    module, _, short = known[name].path.rpartition(".")
    made = getattr(import_module(module), short)()
    if name not in preconditioners:
        return made
    return CG(preconditioner=made) if symmetric else GMRES(preconditioner=made)
