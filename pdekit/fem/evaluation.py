"""Forms evaluated on cells or facets: the matrices and vectors of each item."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.errors import InputError, did_you_mean
from pdekit.fem.coefficients import Coefficient
from pdekit.fem.integration import Integration
from pdekit.fem.patch import Patch
from pdekit.fem.quantities import Function, Quantity, integrate
from pdekit.fem.surroundings import Surroundings

__all__ = ["SEED", "Form", "agree", "check_used"]

SEED = 20240229
"""Of the random coefficients on which forms are tried."""
_TRIED = 16
_ROUNDING = 1e-9
_KINDS = ("scalar", "vector", "matrix")


@dataclass(frozen=True)
class Form:
    """A function of (u, v, w) or of (v, w).

    Args:
        function: what the user wrote.
        bilinear: whether it takes u.
    """

    function: Callable
    bilinear: bool

    @staticmethod
    def of(function: Any) -> "Form":
        """Find by its parameters what a form makes.

        Raises:
            InputError: no function, or one with another number of parameters.
        """
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            raise InputError(
                f"form is {function!r}; expected a function of (u, v, w) or (v, w), such as fem.forms.diffusion."
            ) from None
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        needed = [p for p in positional if p.default is p.empty]
        if len(needed) not in (2, 3):
            names = ", ".join(p.name for p in needed)
            raise InputError(
                f"The form {_name(function)} takes ({names}); expected (u, v, w) for a matrix or (v, w) for a vector, "
                "with coefficients found in w."
            )
        return Form(function, len(needed) == 3)

    @property
    def name(self) -> str:
        return _name(self.function)

    @property
    def remembered(self) -> bool:
        """Whether equal calls mean equal forms: what a nested function refers to can change between calls."""
        plain = inspect.unwrap(self.function)
        return inspect.isfunction(plain) and plain.__closure__ is None

    def columns(self, domain: Integration) -> int:
        """Trial functions of an item: 1 for a vector."""
        return domain.item_dofs.shape[1] if self.bilinear else 1

    def points(self, domain: Integration, given: Mapping[str, Coefficient], device: torch.device) -> int:
        """At how many points of an item the integrand differs: 1, or those of the quadrature rule."""
        patch = domain.patch(0, 1, device)
        integrand, _ = self.integrand(domain, patch, {name: c.on(patch) for name, c in given.items()})
        return integrand.shape[-3]

    def integrand(
        self, domain: Integration, patch: Patch, given: Mapping[str, Quantity]
    ) -> tuple[Shaped[Tensor, "*axes q i j"], set[str]]:
        """What is integrated, ``(*batch, m, q, i, j)``, and the names of the coefficients asked for.

        Raises:
            InputError: the form gives no scalar, or one that does not depend on u or v.
        """
        w = Surroundings(patch, given)
        v = domain.basis(patch, "test")
        try:
            result = self.function(domain.basis(patch, "trial"), v, w) if self.bilinear else self.function(v, w)
        except (InputError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            raise InputError(f"The form {self.name} failed with {type(error).__name__}: {error}.") from error
        return self._checked(result, domain.item_dofs.shape[1], self.columns(domain)), w.asked

    def on(
        self, domain: Integration, patch: Patch, given: Mapping[str, Quantity]
    ) -> tuple[Shaped[Tensor, "*batch m i j"], set[str]]:
        """The matrices (or columns) of the items of a patch, and the names of the coefficients asked for."""
        integrand, asked = self.integrand(domain, patch, given)
        local = integrate(integrand, patch.dx)
        return local.expand(*local.shape[:-3], len(patch), *local.shape[-2:]), asked

    def _checked(self, result: Any, k: int, columns: int) -> Tensor:
        if isinstance(result, Quantity) and result.rank:
            raise InputError(
                f"The form {self.name} gives a {_KINDS[result.rank]} at every point; expected a scalar: dot(u.grad, "
                "v.grad) rather than u.grad * v.grad, inner(...) for matrices and for values of vector fields."
            )
        if not isinstance(result, Quantity) or result.array.ndim < 4:
            given = f"the number {result}" if isinstance(result, int | float) else f"a {type(result).__name__}"
            raise InputError(
                f"The form {self.name} gives {given}; expected products with u and v (or v) at every point."
            )
        for what, found, expected in (("v", result.array.shape[-2], k), ("u", result.array.shape[-1], columns)):
            if found != expected:
                raise InputError(
                    f"The form {self.name} does not depend on {what}; expected a sum of products that each hold {what}."
                )
        array = result.array
        return array if array.is_complex() else array.to(torch.float64)

    def is_affine(self, domain: Integration, coefficients: list[Coefficient], device: torch.device) -> bool:
        """Whether the form is affine in the values of all tensor coefficients jointly, on some items.

        It is also checked that the form is linear in u and in v.
        """
        at, one, two = self._trials(domain, coefficients, device)
        base = self.check_linear(domain, coefficients, device)
        if not one:
            return True
        mixed = {name: _combined(0.75, one[name], -1.5, two[name]) for name in one}
        zero = at({name: c.full(0.0) for name, c in one.items()}, self)
        return agree(at(mixed, self), zero, [0.75 * (base - zero), -1.5 * (at(two, self) - zero)])

    def _trials(self, domain: Integration, coefficients: list[Coefficient], device: torch.device):
        """The form on some items by coefficients, and two sets of random ones."""
        patch = domain.patch_of(torch.linspace(0, domain.n_items - 1, min(_TRIED, domain.n_items)).long(), device)
        generator = torch.Generator().manual_seed(SEED)

        def at(chosen: Mapping[str, Coefficient], form: Form) -> Tensor:
            given = {c.name: chosen.get(c.name, c).on(patch) for c in coefficients}
            return form.on(domain, patch, given)[0].detach()

        variables = [c for c in coefficients if c.values is not None]
        one, two = ({c.name: c.random(generator) for c in variables} for _ in range(2))
        return at, one, two

    def check_linear(self, domain: Integration, coefficients: list[Coefficient], device: torch.device) -> Tensor:
        """Matrices of some items for random coefficients.

        Raises:
            InputError: the form is not linear in u or in v.
        """
        at, one, _ = self._trials(domain, coefficients, device)
        base, generator = at(one, self), torch.Generator().manual_seed(SEED + 2)
        mix = _mixing(domain.item_dofs.shape[1], generator, device)
        for name, turned, axis in (("u", _turned_trial(self, mix), -1), ("v", _turned_test(self, mix), -2)):
            if name == "v" or self.bilinear:
                expected = torch.movedim(torch.movedim(base, axis, -1) @ mix.to(base.dtype), -1, axis)
                self._check_linear(name, base, expected, at(one, Form(turned, self.bilinear)))
        return base

    def _check_linear(self, name: str, base: Tensor, expected: Tensor, found: Tensor) -> None:
        # By item, as the magnitudes of the coefficients differ by many orders. NaN, of a root of a random number, is
        # never larger.
        scale = base.abs().amax((-2, -1), keepdim=True)
        rounding = _ROUNDING * scale + 1e-14 * scale.nan_to_num(0.0, 0.0).max()
        if bool(((found - expected).abs() > rounding).any()):
            raise InputError(
                f"The form {self.name} is not linear in {name}; expected a sum of products that each hold {name} "
                "once. A nonlinear problem has the previous iterate as a coefficient: fem.Field(space, values)."
            )


def agree(found: Tensor, offset: Tensor, parts: list[Tensor]) -> bool:
    """Whether matrices of items ``(m, i, j)`` are a sum but for rounding, item by item: large ones hide no others."""
    missed, scale = found - offset, offset.abs()
    for part in parts:
        missed, scale = missed - part, scale + part.abs()
    return bool((missed.abs().amax((-2, -1)) <= _ROUNDING * scale.amax((-2, -1))).all())


def _mixing(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Coefficients ``(functions, sums)`` of sums of basis functions, which tell |u| from u: of one none is above 0."""
    mix = 2 * torch.rand(count, count, generator=generator, dtype=torch.float64) - 1
    mix[:, 0] = -mix[:, 0].abs()
    return mix.to(device)


def _turned_trial(form: Form, mix: Tensor) -> Callable:
    return lambda u, v, w: form.function(_turned(u, mix, 2), v, w)


def _turned_test(form: Form, mix: Tensor) -> Callable:
    if form.bilinear:
        return lambda u, v, w: form.function(u, _turned(v, mix, 1), w)
    return lambda v, w: form.function(_turned(v, mix, 1), w)


def _turned(f: Function, mix: Tensor, axis: int) -> Function:
    """Other functions of the span of the basis, counted by the same axis after that of the points."""

    def turned(array: Tensor, rank: int) -> Tensor:
        place = array.ndim - rank - 3 + axis
        return torch.movedim(torch.movedim(array, place, -1) @ mix.to(array.dtype), -1, place)

    return Function(turned(f.array, f.rank), f.rank, lambda: turned(f.grad.array, f.rank + 1))


def _combined(a: float, x: Coefficient, b: float, y: Coefficient) -> Coefficient:
    assert x.values is not None
    assert y.values is not None
    return x.with_values(a * x.values + b * y.values)


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def check_used(form: Form, coefficients: list[Coefficient], asked: set[str]) -> None:
    """Refuse a coefficient that the form did not ask for."""
    for c in coefficients:
        if c.name not in asked:
            known = did_you_mean(c.name, asked) if asked else "It asks for none."
            raise InputError(f"The form {form.name} does not use the coefficient {c.name!r}. {known}")
