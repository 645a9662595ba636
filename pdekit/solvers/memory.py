"""What a method carries from one solve to the next."""

from abc import ABC, abstractmethod
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["Memory", "memories"]


class Memory(ABC):
    """Something learnt from earlier systems: a recycled space, a hierarchy, the experience of a choice.

    Methods and preconditioners are frozen recipes. What outlives a solve is an object of its own, handed to the recipe
    by whoever wants it to outlive the solve; without one, a method forgets everything when the call ends, and its
    answers depend on the systems of that call alone. A memory serves one thread at a time.

    Its ``repr`` names the arguments it was made with, not what it holds, so that equal recipes have equal descriptions.
    """

    @abstractmethod
    def reset(self) -> None:
        """Forget everything."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All it holds, as plain containers and tensors that ``torch.load(weights_only=True)`` reads."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            InputError: the state is not one of such a memory.
        """


def memories(recipe: Any) -> tuple[Memory, ...]:
    """Every memory that a method or preconditioner was given, each once, in the order of the fields.

    Example:
        >>> from pdekit.solvers import CG, IC0
        >>> memories(CG(IC0()))
        ()
    """
    found: dict[int, Memory] = {}
    _collect(recipe, found)
    return tuple(found.values())


def _collect(value: Any, found: dict[int, Memory]) -> None:
    if isinstance(value, Memory):
        found.setdefault(id(value), value)
    elif isinstance(value, list | tuple):
        for entry in value:
            _collect(entry, found)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            _collect(getattr(value, field.name), found)
