"""What ``pdekit solve`` can solve: the equations, their options, and what a problem offers once it is made."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdekit.cli.conditions import SCALAR, VECTOR, WAVE, Forms

__all__ = ["EQUATIONS", "OPTIONS", "Equation", "Option", "Problem", "array_of", "field_of", "is_array", "only_word"]


@dataclass(frozen=True)
class Equation:
    """One family as the command line knows it.

    Args:
        text: the equation.
        options: of :data:`OPTIONS` that it takes.
        forms: of the conditions that it takes.
        symmetric: whether CG can solve it: its matrices are symmetric and definite.
        on_grids: whether it can be solved without a mesh.
        balances: whether a constant is taken off a source that does not balance the fluxes.
        rest: the condition where none is given.
    """

    text: str
    options: tuple[str, ...]
    forms: Forms = field(default_factory=lambda: SCALAR)
    symmetric: bool = True
    on_grids: bool = False
    balances: bool = False
    rest: str = "u = 0"


@dataclass(frozen=True)
class Option:
    """An option of some equations.

    Args:
        help: what it means, with its unit and default.
        metavar: what its value is called.
        many: whether it takes one a component.
    """

    help: str
    metavar: str = "VALUE"
    many: bool = False


EQUATIONS = {
    "poisson": Equation("-laplace u = source", ("source",), on_grids=True, balances=True),
    "darcy": Equation(
        "-div(coefficient grad u) = source", ("source", "coefficient"), on_grids=True, balances=True
    ),
    "helmholtz": Equation(
        "-div(coefficient grad u) - wavenumber^2 index u = source",
        ("source", "coefficient", "wavenumber", "index"), forms=WAVE, symmetric=False,
    ),
    "advection-diffusion": Equation(
        "-div(coefficient grad u) + velocity . grad u + reaction u = source",
        ("source", "coefficient", "velocity", "reaction", "max_peclet"), symmetric=False,
    ),
    "nonlinear-diffusion": Equation(
        "-div(coefficient (1 + nonlinearity u^2) grad u) = source",
        ("source", "coefficient", "nonlinearity"), symmetric=False,
    ),
    "elasticity": Equation(
        "-div sigma(u) = source, a displacement; plane strain in 2-D",
        ("source", "young", "poisson"), forms=VECTOR, rest="traction 0",
    ),
}  # fmt: skip
FIELD = "a number, an expression of x, y, z, or a .npy array"
MATERIAL = "a number, an expression (on a mesh taken at quadrature points: jumps stay sharp), or a .npy array at nodes"
OPTIONS = {
    "source": Option(f"right-hand side: {FIELD} at the nodes; in elasticity a number a component (0)", many=True),
    "coefficient": Option(f"{MATERIAL}, an array for darcy also in the cells; positive (1)"),
    "wavenumber": Option("2 pi / the wave length", "NUMBER"),
    "index": Option(f"square of the refractive index: {MATERIAL} (1)"),
    "velocity": Option("a number or an expression a component", many=True),
    "reaction": Option("not negative (0)", "NUMBER"),
    "max_peclet": Option("largest Peclet number of a cell that is accepted (1)", "NUMBER"),
    "nonlinearity": Option("not negative (1)", "NUMBER"),
    "young": Option(f"Young's modulus, in Pa if tractions are: {MATERIAL} (1)"),
    "poisson": Option("Poisson's ratio (0.3)", "NUMBER"),
}


class Problem(ABC):
    """One problem, ready to be solved.

    Args:
        family: that it belongs to.
        inputs: a batch of one.
        given: what its inputs were made from, by their names, as :func:`field_of` says it.
        equation: which it is.
    """

    def __init__(self, family: Any, inputs: Any, given: dict[str, Any], equation: Equation):
        self.equation = equation
        self.family = family
        self.inputs = inputs
        self.given = given

    def check_writable(self, path: str) -> None:
        """Refuse, before anything is solved, a problem that a file of this kind cannot describe.

        Raises:
            InputError: a condition that is more than numbers and an expression.
        """
        if path.endswith(".h5"):
            self.family.schema.to_json()

    def report(self, samples: Any) -> list[str]:
        """Lines on the domain, the conditions and the solution."""
        return [str(samples)]

    def notes(self, samples: Any) -> list[str]:
        """What was done to the problem that the user should know."""
        kinds = {boundary.kind for boundary in self.family.schema.boundaries}
        if (
            "source" not in self.family.schema.inputs
            or not self.equation.balances
            or not kinds <= {"neumann", "periodic"}
        ):
            return []
        note = "no part of the boundary fixes u, which gets the mean 0"
        surplus, source = self.surplus(samples), samples["source"][0]
        size = max(abs(surplus), float(source.abs().max()))
        if abs(surplus) <= 1e-12 * size:
            return [note]
        note += f"; the source acts without the constant {surplus:.4g}, so that it balances the fluxes"
        gone = float((source - surplus).abs().max()) <= 1e-12 * size
        return [note + (": nothing is left of it. Fix u somewhere to see its effect" if gone else "")]

    @abstractmethod
    def surplus(self, samples: Any) -> float:
        """The mean over the domain of the source and the fluxes through the boundary."""

    def write(self, samples: Any, path: str) -> None:
        """Write to an HDF5 file, with how the problem was made."""
        from pdekit.samples import hdf5

        about = self.family.describe()
        about["init_args"] |= self.given  # not the law they were never drawn from
        hdf5.write(path, samples, {"family": about}, dtype="float64")

    @abstractmethod
    def picture(self, samples: Any) -> Any:
        """A figure of inputs and solution."""


def only_word(option: str, words: list[str]) -> str:
    """The word of an option that may take several for vectors only.

    Raises:
        ConfigError: more than one.
    """
    from pdekit.core.errors import ConfigError

    if len(words) > 1:
        raise ConfigError(f"{option} {' '.join(words)}: expected one value. Quote an expression that has spaces.")
    return words[0].strip()


def is_array(word: str) -> bool:
    """Whether a word names a file; a number never does, even if there is a file of that name."""
    try:
        float(word)
    except ValueError:
        return word.endswith(".npy") or Path(word).is_file()
    return False


def array_of(word: str) -> tuple[Any, dict[str, str]]:
    """The values in a NumPy file, and its name.

    Raises:
        ConfigError: the file cannot be read.
    """
    from pdekit.cli.parsing import read_array

    return read_array(word), {"file": Path(word).name}


def field_of(option: str, word: str, points: Any) -> tuple[Any, Any]:
    """A number, an expression or a NumPy file as values, and what it was: the number, or its text, or the file's name.

    Args:
        option: for messages.
        word: of the command line.
        points: ``(..., dim)`` where an expression is evaluated.

    Raises:
        ConfigError: neither of the three.
    """
    from pdekit.cli.conditions import number_or_expression, values_at

    if is_array(word):
        return array_of(word)
    value = number_or_expression(option, word, points.shape[-1])
    return values_at(value, points), {"expression": word} if callable(value) else value
