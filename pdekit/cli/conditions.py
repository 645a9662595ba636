"""Conditions as words of the command line: ``--boundary.inlet "x*(1-x)"``, ``--boundary.top robin 0 2.5``."""

import math
from collections.abc import Sequence
from typing import Any

__all__ = [
    "SCALAR", "VECTOR", "WAVE", "Conditions", "Forms", "condition", "number_or_expression", "split_conditions",
    "values_at",
]  # fmt: skip

Forms = dict[str, str]
"""Kinds of conditions and the words that follow ``--boundary.NAME``; in brackets what may be left out, being 0."""
SCALAR: Forms = {"dirichlet": "VALUE", "neumann": "neumann [VALUE]", "robin": "robin VALUE COEFFICIENT"}
WAVE: Forms = {**SCALAR, "impedance": "impedance [VALUE]"}
VECTOR: Forms = {"dirichlet": "VALUES", "neumann": "neumann VALUES", "pressure": "pressure VALUE"}
PREFIX = "--boundary."

Conditions = dict[str, list[str]]
"""The words after ``--boundary.NAME``, by name."""


def split_conditions(words: Sequence[str]) -> tuple[list[str], Conditions]:
    """The words without those of ``--boundary.NAME WORD ...``, and these by name.

    The names come from a mesh file, so that no parser can know them beforehand. A condition ends at the next option;
    a word may begin with a single dash: ``-x``, ``-1``.

    Raises:
        ConfigError: no name, no words, or one name twice.

    Example:
        >>> split_conditions(["poisson", "--boundary.wall", "neumann", "-1", "--rtol", "1e-6"])
        (['poisson', '--rtol', '1e-6'], {'wall': ['neumann', '-1']})
    """
    from pdekit.core.errors import ConfigError

    rest: list[str] = []
    found: Conditions = {}
    current: list[str] | None = None
    for word in words:
        if word.startswith(PREFIX):
            name, equals, value = word.removeprefix(PREFIX).partition("=")
            if not name:
                raise ConfigError(f"{word} names no part of the boundary; expected {PREFIX}NAME VALUE.")
            if name in found:
                raise ConfigError(f"{PREFIX}{name} is given twice; expected one condition each.")
            current = found[name] = [value] if equals else []
        elif word.startswith("--") or word == "-h":
            current = None
            rest.append(word)
        elif current is not None:
            current.append(word)
        else:
            rest.append(word)
    for name, given in found.items():
        if not any(word.strip() for word in given):
            raise ConfigError(f"{PREFIX}{name} has no value; expected VALUE, neumann VALUE, or another condition.")
    return rest, found


def condition(name: str, words: Sequence[str], forms: Forms, dim: int) -> tuple[Any, str]:
    """A Boundary, and its equation in words.

    Args:
        name: of the part of the boundary.
        words: such as ``1.5``, ``neumann 0 -1`` or ``robin 0 2.5``.
        forms: the kinds that the equation takes.
        dim: of the domain; VALUES are as many.

    Raises:
        ConfigError: an unknown kind, other numbers than it takes, or a word that is no number and no expression.
    """
    from pdekit.core.errors import ConfigError, did_you_mean
    from pdekit.domain import Boundary

    option = PREFIX + name
    kind, rest = _kind(words)
    if kind not in forms:
        raise ConfigError(f"{option} {kind}: no such condition here. {did_you_mean(kind, forms)}")
    placeholders = forms[kind].split()[kind != "dirichlet" :]
    if placeholders == ["[VALUE]"]:
        rest = rest or ["0"]
    vector = placeholders == ["VALUES"]
    wanted = dim if vector else len(placeholders)
    if len(rest) != wanted:
        what = f"{dim} numbers or expressions, one a component" if vector else "with numbers or expressions"
        quote = " Quote an expression that has spaces." if len(rest) > wanted else ""
        raise ConfigError(f"{option} {' '.join(words)}: expected {forms[kind]}, {what}.{quote}")
    values = [number_or_expression(option, word, dim) for word in rest]
    shown = f"({', '.join(rest)})" if vector else rest[0]
    value = _components(values) if vector else values[0]
    if kind == "pressure":
        if callable(value):
            raise ConfigError(
                f"{option} {' '.join(words)}: expected a number; pressures that vary are tractions: neumann."
            )
        return Boundary(name, "neumann", -value), f"pressure {shown}"
    coefficient = values[1] if kind == "robin" else None
    equation = {
        "dirichlet": f"u = {shown}",
        "neumann": f"traction {shown}" if vector else f"du/dn = {shown}",
        "robin": f"du/dn + {rest[-1]} u = {shown}",
        "impedance": f"du/dn - i k u = {shown}",
    }[kind]
    return Boundary(name, kind, value, coefficient), equation


def _kind(words: Sequence[str]) -> tuple[Any, list[str]]:
    """``dirichlet`` goes without saying; a first word of letters that is no coordinate is meant as a kind."""
    first = words[0]
    if first.isalpha() and first not in ("x", "y", "z", "t", "pi", "e", "inf", "nan"):
        return first, list(words[1:])
    return "dirichlet", list(words)


def number_or_expression(option: str, word: str, dim: int) -> Any:
    """A finite number, or a function of points ``(..., dim)``.

    Raises:
        ConfigError: neither; the message names the option and what in the word is not allowed.
    """
    from pdekit.core.errors import ConfigError, InputError
    from pdekit.core.expressions import Expression

    try:
        number = float(word)
    except ValueError:
        try:
            expression = Expression(word)
        except InputError as error:
            raise ConfigError(f"{option} {word}: {error}") from error
        allowed = {"x", "y", "z"} if dim == 3 else {"x", "y"} if dim == 2 else {"x"}
        for used in sorted(expression.names - allowed):
            what = "there is no time in a steady problem" if used == "t" else f"the domain has {dim} dimensions"
            raise ConfigError(f"{option} {word}: {used} is not known, {what}.") from None
        return expression
    if not math.isfinite(number):
        raise ConfigError(f"{option} {word}: expected a finite number.")
    return number


def _components(values: Sequence[Any]) -> Any:
    """Components as they are, or as one function of points, coordinates first, if any of them is one."""
    if not any(callable(value) for value in values):
        return tuple(values)

    def components(x: Any) -> tuple[Any, ...]:
        return tuple(value(x.movedim(0, -1)) if callable(value) else value for value in values)

    return components


def values_at(value: Any, points: Any) -> Any:
    """A number or an expression as values ``(...)`` at points ``(..., dim)``."""
    return value(points) if callable(value) else points.new_full(points.shape[:-1], value)
