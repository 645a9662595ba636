"""What a saved state may hold: it comes from a file, and a bound that rests on a wrong number is a false one."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Inexact, Int
from torch import Tensor

from pdekit.core.checks import check_finite, check_number
from pdekit.core.errors import InputError

__all__ = ["bound_in", "check_state", "indices_in", "numbers_in"]


def check_state(owner: str, state: Any, names: Sequence[str]) -> None:
    """Refuse what is no state of an object.

    Args:
        owner: the name of its class, for the message.
        state: what was given.
        names: what its state holds.

    Raises:
        InputError: names what was given and what was expected.
    """
    if not isinstance(state, Mapping) or set(state) != set(names):
        given = ", ".join(sorted(map(str, state))) if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise InputError(f"The state holds {given or 'nothing'}; expected {', '.join(names)}, as of a {owner}.")


def numbers_in(
    owner: str, state: Mapping[str, Any], name: str, shape: tuple[int | str, ...], *kinds: torch.dtype
) -> Inexact[Tensor, "..."]:
    """A copy of a tensor of finite numbers.

    Args:
        owner: the name of the class, for the message.
        state: that holds it.
        name: under which it does.
        shape: lengths of the axes; the name of one that may have any from 1 on.
        kinds: types it may have; by default float64 and complex128.

    Raises:
        InputError: names what the state holds and what was expected.

    Example:
        >>> numbers_in("POD", {"basis": torch.eye(2).double()}, "basis", ("size", 2)).shape
        torch.Size([2, 2])
    """
    value, kinds = state[name], kinds or (torch.float64, torch.complex128)
    fits = isinstance(value, Tensor) and value.layout == torch.strided and value.dtype in kinds
    if not fits or not _of_shape(value, shape):
        expected = " or ".join(str(kind).removeprefix("torch.") for kind in kinds)
        lengths = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        raise InputError(f"{_told(owner, name, value)}; expected a tensor of shape ({lengths}), {expected}.")
    check_finite(f"{name} in the state of a {owner}", value)
    return value.detach().clone()


def indices_in(
    owner: str, state: Mapping[str, Any], name: str, count: int | str, below: int | None = None, *, once: bool = False
) -> Int[Tensor, " count"]:
    """A copy of a list of whole numbers of at least 0.

    Args:
        owner: the name of the class, for the message.
        state: that holds it.
        name: under which it does.
        count: how many; the name of a number that may be any.
        below: what they are less than.
        once: whether none may come twice.

    Raises:
        InputError: names what the state holds and what was expected.
    """
    value = state[name]
    if not isinstance(value, Tensor) or value.dtype != torch.int64 or not _of_shape(value, (count,)):
        raise InputError(f"{_told(owner, name, value)}; expected a tensor of shape ({count},), int64.")
    low, high = (int(v) for v in torch.aminmax(value))
    if low < 0 or (below is not None and high >= below):
        most = "" if below is None else f" to {below - 1}"
        raise InputError(f"{name} in the state of a {owner} runs from {low} to {high}; expected numbers from 0{most}.")
    if once and len(value.unique()) < len(value):
        raise InputError(f"{name} in the state of a {owner} names one twice; expected different ones.")
    return value.clone()


def bound_in(owner: str, state: Mapping[str, Any], name: str) -> float:
    """A bound of something that is not negative; infinity is one.

    Raises:
        InputError: no number, a negative one, or NaN.
    """
    check_number(f"The state of a {owner}", name, state[name])
    if not state[name] >= 0:
        raise InputError(f"The state of a {owner} has {name}={state[name]!r}; expected a number of at least 0.")
    return float(state[name])


def _of_shape(value: Tensor, shape: tuple[int | str, ...]) -> bool:
    given = tuple(value.shape)
    return len(given) == len(shape) and all(
        length == wanted if isinstance(wanted, int) else length > 0 for length, wanted in zip(given, shape, strict=True)
    )


def _told(owner: str, name: str, value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"{name} in the state of a {owner} is a {type(value).__name__}"
    kind = str(value.dtype).removeprefix("torch.")
    return f"{name} in the state of a {owner} has shape {tuple(value.shape)}, {kind}"
