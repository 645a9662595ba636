"""Arguments that many functions of ``pdekit.fem`` take, checked before they are used."""

from typing import Any

from pdekit.core.errors import InputError
from pdekit.domain import Boundary
from pdekit.fem.space import Space

__all__ = ["check_boundaries", "check_space"]


def check_space(space: Any) -> None:
    """Refuse what is no space, such as its mesh."""
    if not isinstance(space, Space):
        raise InputError(f"space is a {type(space).__name__}; expected a Space.")


def check_boundaries(boundaries: Any, kind: str) -> None:
    """Refuse what is no list of conditions."""
    expected = f"expected a list [Boundary(name, {kind!r}, value), ...]"
    if not isinstance(boundaries, list | tuple):
        given = "one Boundary" if isinstance(boundaries, Boundary) else repr(boundaries)
        raise InputError(f"boundaries is {given}; {expected}.")
    for boundary in boundaries:
        if not isinstance(boundary, Boundary):
            raise InputError(f"boundaries holds {boundary!r}; {expected}.")
