"""Argument checks whose messages name the culprit and its index."""

from collections.abc import Callable
from math import inf
from numbers import Integral, Real
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.errors import InputError

__all__ = [
    "as_numbers",
    "as_real",
    "check_finite",
    "check_limit",
    "check_number",
    "check_positive",
    "check_shape",
    "check_tolerances",
    "first_index",
    "is_fake",
]


def first_index(mask: Shaped[Tensor, "..."]) -> tuple[int, ...]:
    """The index of the first True entry of ``mask``, in row-major order."""
    return tuple(int(i) for i in torch.nonzero(mask)[0])


def is_fake(x: Tensor) -> bool:
    """Whether a tensor has a shape but no numbers (as in `pdekit.testing.check_device`)."""
    from torch._subclasses.fake_tensor import FakeTensor

    return isinstance(x, FakeTensor)


def as_numbers(name: str, values: Any) -> Shaped[Tensor, "..."]:
    """A tensor of real or complex numbers from a tensor, an array or nested sequences.

    Args:
        name: what they are called in the message.
        values: of any numeric type.

    Raises:
        InputError: they are no numbers.
    """
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = f"{type(values).__name__} of type {values.dtype}" if hasattr(values, "dtype") else type(values).__name__
        raise InputError(f"{name} is a {kind}; expected a tensor or an array of real numbers.") from error


def as_real(name: str, values: Any) -> Shaped[Tensor, "..."]:
    """A tensor of real numbers from a tensor, an array or nested sequences.

    Args:
        name: what they are called in the message.
        values: of any numeric type.

    Raises:
        InputError: they are no numbers, or complex.
    """
    tensor = as_numbers(name, values)
    if tensor.is_complex():
        raise InputError(f"{name} is complex; expected real entries.")
    return tensor


def check_finite(
    name: str, values: Shaped[Tensor, "..."], place: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
) -> None:
    """Refuse NaN and infinite entries.

    Args:
        name: what the tensor is called in the message.
        values: any shape.
        place: from the index of an entry to the index that the message shows; by default the same.

    Raises:
        InputError: names the first bad entry, its index, and how many there are.

    Example:
        >>> check_finite("coefficient", torch.tensor([1.0, float("nan")]))
        Traceback (most recent call last):
        ...
        pdekit.core.errors.InputError: coefficient[1] is nan (1 of 2 entries are not finite); expected finite numbers.
    """
    if _all_between(values, -torch.inf, torch.inf):
        return
    finite = torch.isfinite(values)
    if bool(finite.all()):
        return
    where = first_index(~finite)
    count = int((~finite).sum())
    shown = where if place is None else place(where)
    raise InputError(
        f"{name}{_brackets(shown)} is {values[where].item()} ({count} of {values.numel()} entries are not finite); "
        "expected finite numbers."
    )


def check_positive(name: str, values: Shaped[Tensor, "..."]) -> None:
    """Refuse entries that are not finite or not greater than zero.

    Args:
        name: what the tensor is called in the message.
        values: any shape.

    Raises:
        InputError: names the first bad entry, its index, and how many there are.
    """
    if _all_between(values, 0, torch.inf):
        return
    check_finite(name, values)
    bad = values <= 0
    where = first_index(bad)
    raise InputError(
        f"{name}{_brackets(where)} is {values[where].item()} ({int(bad.sum())} of {values.numel()} entries are not "
        "positive); expected numbers greater than 0, or the problem is not elliptic."
    )


def check_shape(name: str, values: Shaped[Tensor, "..."], expected: tuple[int, ...]) -> None:
    """Refuse a tensor whose trailing shape is not ``expected``; leading batch axes are free.

    Args:
        name: what the tensor is called in the message.
        values: ``(*batch, *expected)``.
        expected: the trailing shape.

    Raises:
        InputError: names the shape given and the one expected.
    """
    given = tuple(values.shape)
    if len(given) < len(expected) or given[len(given) - len(expected) :] != tuple(expected):
        raise InputError(
            f"{name} has shape {given}; expected (*batch, {', '.join(map(str, expected))})."
            + _transposed_hint(given, tuple(expected))
        )


def _brackets(index: tuple[int, ...]) -> str:
    return str(list(index)) if index else ""


def check_limit(owner: str, name: str, value: Any) -> None:
    """Refuse limits that are no whole numbers of at least 1.

    Args:
        owner: what has the limit, in the message.
        name: of the limit.
        value: of the limit.

    Raises:
        InputError: names the owner, the limit and its value.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputError(f"{owner} has {name}={value!r}; expected a whole number.")
    if value < 1:
        raise InputError(f"{owner} has {name}={value}; expected at least 1.")


def check_number(owner: str, name: str, value: Any) -> None:
    """Refuse what is no real number.

    Args:
        owner: what has the argument, in the message.
        name: of the argument.
        value: of the argument.

    Raises:
        InputError: names the owner, the argument and its value.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{owner} has {name}={value!r}; expected a number.")


def check_tolerances(rtol: Any, atol: Any) -> None:
    """Refuse what is no pair of tolerances.

    Args:
        rtol: relative, below 1: with 1, 0 would pass for a solution.
        atol: absolute.

    Raises:
        InputError: no numbers, negative ones, both 0, or a relative one of 1 or more.
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not isinstance(value, Real) or isinstance(value, bool):
            raise InputError(f"{name}={value!r}; expected a number such as 1e-8.")
    if not (0 <= rtol < inf and 0 <= atol < inf and rtol + atol > 0):
        raise InputError(f"rtol={rtol!r}, atol={atol!r}; expected finite numbers of at least 0, one of them greater.")
    if rtol >= 1:
        raise InputError(f"rtol={rtol!r}; expected a number below 1: with this, x = 0 would count as a solution.")


def _all_between(values: Tensor, low: float, high: float) -> bool:
    """Whether all entries lie strictly inside (low, high), in one pass; NaN does not. Complex: both parts."""
    if values.numel() == 0:
        return True
    if values.is_complex():
        values = torch.view_as_real(values.detach().resolve_conj())
    if values.dtype == torch.bool:
        return False
    least, largest = torch.aminmax(values.detach())
    return bool((least > low) & (largest < high))


def _transposed_hint(given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    tail = given[len(given) - len(expected) :]
    if tail != expected and sorted(tail) == sorted(expected):
        return " The axes seem to be swapped: axis 0 is x, axis 1 is y, axis 2 is z."
    if len(given) == len(expected) + 1 and given[: len(expected)] == expected and given[-1] == 1:
        return " Drop the trailing axis of length 1."
    return ""
