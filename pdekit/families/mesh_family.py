"""Families that live on meshes alone."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import check_finite, check_positive
from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Grid
from pdekit.families.base import Family
from pdekit.families.mesh_equations import MeshEquations
from pdekit.families.residual import Residual
from pdekit.fem import nodal, uniform
from pdekit.fields import Constant, RandomField, Uniform
from pdekit.samples import FieldSpec, Inputs
from pdekit.solvers import CSR, LinearSystem

__all__ = ["MeshFamily", "Positive"]


@dataclass(frozen=True)
class Positive:
    """An expression as a coefficient of forms, which refuses values that are not positive.

    Args:
        name: of the coefficient, for messages.
        expression: of x, y, z.
    """

    name: str
    expression: Expression

    def __call__(self, x: Shaped[Tensor, "dim points"]) -> Shaped[Tensor, " points"]:
        """Values at points, coordinates first."""
        values = self.expression(x.T)
        wrong = ~(values > 0)
        if bool(wrong.any()):
            first = int(torch.nonzero(wrong)[0])
            place = ", ".join(f"{c:.4g}" for c in x[:, first].tolist())
            raise InputError(
                f"The {self.name} {self.expression} is {float(values[first]):.4g} at ({place}); expected numbers "
                "greater than 0, or the problem is not elliptic."
            )
        return values


class MeshFamily(Family):
    """A linear family on a mesh: a subclass assembles, conditions and residuals follow.

    A frozen dataclass with ``domain``, ``boundaries`` and ``element`` among its fields. Data that may be random are
    fields whose value is a number or a random field; the random ones become inputs. Where the equation needs positive
    values an :class:`Expression` of x, y, z may be given too, evaluated at the quadrature points, so that a jump
    between cells stays sharp.
    """

    kinds: ClassVar[tuple[str, ...]] = ("dirichlet", "neumann", "robin")
    """Of conditions that the equation takes."""
    vector: ClassVar[bool] = False

    @abstractmethod
    def assembled(self, inputs: Inputs) -> tuple[CSR, Shaped[Tensor, "... dofs"]]:
        """Matrices and right-hand sides of a batch with their boundary terms, nothing eliminated."""

    @cached_property
    def on_mesh(self) -> MeshEquations:
        """Space and conditions."""
        is_complex = any(part.kind == "impedance" for part in self.conditions)
        element = getattr(self, "element", None)
        return MeshEquations(self._mesh, self.conditions, element, vector=self.vector, complex=is_complex)

    def equations(self, inputs: Inputs) -> LinearSystem:
        """The finite element equations of a batch."""
        return self.on_mesh.system(*self.assembled(inputs))

    def residual(self, u: Shaped[Tensor, "batch *shape"], inputs: Inputs) -> Residual:
        """What u leaves of the equation and of the boundary conditions."""
        if inputs.meshes is not None:
            return self._residual_of_each(u, inputs)
        return self.on_mesh.residual(u, *self.assembled(inputs))

    def random_fields(self) -> Mapping[str, RandomField]:
        """The random ones among the data."""
        return {name: value for name in self._data() if isinstance(value := getattr(self, name), RandomField)}

    def _data(self) -> Mapping[str, FieldSpec]:
        """What may be a number or random, and what it is as an input; by default the inputs of the schema."""
        return {spec.name: spec for spec in self.schema.fields if spec.role == "input"}

    def _settle(self) -> None:
        """Check what all of these families have in common, in ``__post_init__``."""
        name = type(self).__name__
        object.__setattr__(self, "boundaries", tuple(getattr(self, "boundaries", ())))
        if isinstance(self.domain, Grid):
            raise InputError(
                f"{name} lives on meshes; expected a Mesh, or a recipe such as Rectangle(cells=64), in place of "
                f"Grid({self.domain.shape})."
            )
        for part in self.conditions:
            if part.kind not in self.kinds:
                raise InputError(f"The boundary {part.where!r} is {part.kind}; {name} takes {', '.join(self.kinds)}.")
        for key, spec in self._data().items():
            value = getattr(self, key)
            if isinstance(value, Expression) and key in self._positive() and spec.shape is None:
                continue
            if isinstance(value, bool) or not isinstance(value, RandomField | int | float):
                raise InputError(f"{name}'s {key} is a {type(value).__name__}; expected a number or a random field.")
            if not isinstance(value, RandomField):
                (check_positive if key in self._positive() else check_finite)(
                    key, torch.tensor(value, dtype=torch.float64)
                )
            if spec.shape == () and isinstance(value, RandomField) and not isinstance(value, Uniform | Constant):
                raise InputError(
                    f"{name}'s {key} is one number a sample, and a {type(value).__name__} is a field; expected "
                    "Uniform(low, high), Constant(value) or a number."
                )
        if not self.random_fields():
            raise InputError(
                f"Nothing of this {name} is random; expected a random field as one of {', '.join(self._data())}. "
                "Constant(value) makes an input of which you give the values yourself."
            )
        self._check_element(element=None)
        _ = self.on_mesh.space.reference

    def _specs(self) -> tuple[FieldSpec, ...]:
        """Of the inputs."""
        return tuple(spec for name, spec in self._data().items() if isinstance(getattr(self, name), RandomField))

    def _given(self) -> list[str]:
        """What is not random, in words."""
        data = {name: getattr(self, name) for name in self._data()}
        return [
            f"{name} = {value if isinstance(value, Expression) else format(value, 'g')}"
            for name, value in data.items()
            if not isinstance(value, RandomField)
        ]

    def _coefficient(self, name: str, inputs: Inputs) -> Any:
        """An input, or the number that stands in its place, as ``assemble`` takes it."""
        value = getattr(self, name)
        if isinstance(value, Expression):
            return Positive(name, value)
        if not isinstance(value, RandomField):
            return float(value)
        values = self._input(name, inputs)
        return uniform(values) if self._data()[name].shape == () else nodal(values)

    def _number(self, name: str, inputs: Inputs) -> Shaped[Tensor, "*batch"]:
        """A number, or one a sample where it is random; in float64, as a certificate is about the numbers given."""
        value = getattr(self, name)
        if isinstance(value, RandomField):
            return self._input(name, inputs).to(torch.float64)
        return torch.tensor(value, dtype=torch.float64)

    def _input(self, name: str, inputs: Inputs) -> Tensor:
        """An input, checked anew: a random field may draw what the equation cannot take."""
        values = inputs[name]
        (check_positive if name in self._positive() else check_finite)(name, values)
        return values

    def inputs_from(self, fields: Mapping[str, Any]) -> Inputs:
        """Inputs of the user's own.

        Args:
            fields: tensors, arrays or lists by name, each with or without a leading batch axis: ``(batch, nodes)``, or
                ``(batch,)`` for numbers.

        Raises:
            InputError: a name that is no input, one that is missing, another shape, NaN or infinite entries, entries
                that are not positive where the equation needs it.
        """
        expected = [name for name in self._data() if name in self.schema.inputs]
        if sorted(fields) != sorted(expected):
            raise InputError(f"The fields given are {', '.join(fields) or 'none'}; expected {', '.join(expected)}.")
        return self._own_fields(fields, positive=self._positive())

    def _positive(self) -> tuple[str, ...]:
        return ()
