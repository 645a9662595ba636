"""What a form finds in its last argument."""

from collections.abc import Mapping
from typing import Any

from pdekit.core.errors import InputError, did_you_mean
from pdekit.fem.patch import Patch
from pdekit.fem.quantities import Quantity

__all__ = ["Surroundings"]


class Surroundings:
    """The ``w`` of a form: ``w.x``, on boundaries ``w.n``, and the coefficients by name.

    Args:
        patch: the points.
        given: coefficients at them.
    """

    def __init__(self, patch: Patch, given: Mapping[str, Quantity]):
        self._patch, self._given = patch, given
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.asked.add(name)
        if name in self._given:
            return self._given[name]
        known = did_you_mean(name, self._given) if self._given else "None were given."
        raise InputError(
            f"The form asks for the coefficient {name!r}; expected assemble(form, space, {name}=...). {known}"
        )

    def get(self, name: str, default: Any) -> Any:
        """A coefficient, or a default where it was not given."""
        self.asked.add(name)
        return self._given.get(name, default)

    @property
    def x(self) -> Quantity:
        """The point; ``w.x[0]`` is its first coordinate."""
        return Quantity(self._patch.x[:, :, None, None], 1)

    @property
    def n(self) -> Quantity:
        """The outward unit normal."""
        if self._patch.local is None:
            raise InputError(
                "The form asks for the normal w.n inside the domain; expected assemble(form, space.boundary(name))."
            )
        return Quantity(self._patch.n[:, :, None, None], 1)
