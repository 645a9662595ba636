"""Checks of what an experience is loaded from."""

import sys
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from pdekit.core.errors import InputError

__all__ = ["checked", "each", "instance", "number", "optional", "whole"]

Check = Callable[[Any], bool]


def checked(what: str, state: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
    """The entries of a state.

    Args:
        what: it is the state of, in the message.
        state: to be checked.
        checks: of each entry, by name.

    Raises:
        InputError: it has other entries, or one of them is not what it should be.

    Example:
        >>> checked("a walk", {"steps": 3}, {"steps": whole()})
        {'steps': 3}
        >>> checked("a walk", {"steps": -3}, {"steps": whole()})
        Traceback (most recent call last):
        ...
        pdekit.core.errors.InputError: The state of a walk has steps=-3; expected what state_dict() gave.
    """
    if not isinstance(state, Mapping):
        raise InputError(f"The state of {what} is {state!r}; expected what state_dict() gave.")
    if set(state) != set(checks):
        given = ", ".join(map(str, state)) or "none"
        raise InputError(f"The state of {what} has the entries {given}; expected {', '.join(checks)}.")
    for name, check in checks.items():
        if not check(state[name]):
            raise InputError(f"The state of {what} has {name}={state[name]!r}; expected what state_dict() gave.")
    return dict(state)


def whole(least: int = 0) -> Check:
    """A whole number of at least this."""
    return lambda value: isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def number(least: float = 0.0, most: float = sys.float_info.max) -> Check:
    """A real number between these, which NaN is not."""
    return lambda value: isinstance(value, Real) and not isinstance(value, bool) and least <= float(value) <= most


def instance(*kinds: type) -> Check:
    """Of one of these types."""
    return lambda value: isinstance(value, kinds)


def optional(check: Check) -> Check:
    """None, or what passes."""
    return lambda value: value is None or check(value)


def each(check: Check, count: int | None = None) -> Check:
    """A list of what passes, so many where a count is given."""

    def passes(value: Any) -> bool:
        listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        return listed and count in (None, len(value)) and all(check(entry) for entry in value)

    return passes
