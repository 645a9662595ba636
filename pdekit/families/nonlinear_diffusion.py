"""Diffusion that depends on what diffuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary
from pdekit.families.base import MeshDomain
from pdekit.families.mesh_equations import MeshEquations, matrix, vector
from pdekit.families.mesh_family import MeshFamily
from pdekit.families.residual import Residual
from pdekit.fem import Element, Eliminated, Field, Function, Quantity, dot
from pdekit.fem.naturals import on_boundary
from pdekit.fem.surroundings import Surroundings
from pdekit.fields import RandomField
from pdekit.samples import FieldSpec, Inputs, Samples, Schema
from pdekit.solvers import CSR, Auto, Method, Solution, newton

__all__ = ["NonlinearDiffusion"]

_QUADRATURE = 4  # a k(u) grad u . grad v is no longer linear in a cell


@dataclass(frozen=True)
class NonlinearDiffusion(MeshFamily):
    """Diffusion that grows with the solution: -div(a (1 + beta u^2) grad u) = f on a mesh, in 1 to 3 dimensions.

    Heat in a material that conducts better when hot, for instance. Finite elements; Newton's method with line search,
    all samples of a batch at once. The certificate is about the nonlinear residual: its norm over that of the first
    guess, 0 with the Dirichlet values on the boundary.

    Boundary conditions: Dirichlet (u = 0 unless given), Neumann (du/dn = value) or Robin; something must fix u.

    Solutions: those of Poisson or Darcy, flattened where they are large: with a = 1 and u = 0 around,
    ``u + beta u^3 / 3`` is the potential of f (Kirchhoff). One solution for every f.

    Args:
        domain: a mesh or its recipe.
        source: f, a number or a field.
        nonlinearity: beta >= 0, one number a sample: a number, or ``Uniform(low, high)``. The equation is clearly
            nonlinear where beta u^2 is 1 or more.
        coefficient: a, a number, an Expression or a positive field.
        boundaries: conditions by name; ``all`` stands for the rest.
        element: by default P1 or Q1.

    Raises:
        InputError: nothing random, numbers out of range, nothing that fixes u, conditions or an element that do not fit
            the mesh.

    Example:
        >>> from pdekit.domain import Disk
        >>> from pdekit.fields import GaussianField, Uniform
        >>> family = NonlinearDiffusion(Disk(refinements=3), GaussianField(2, 3, scale=500.0), Uniform(1, 10))
        >>> samples = family.solve(family.draw(range(4), seed=0), rtol=1e-8)
        >>> samples["solution"].shape, bool(samples.certificate.accepted.all())
        (torch.Size([4, 145]), True)

    Source:
        Langtangen, Mardal, Introduction to Numerical Methods for Variational Problems, Springer 2019, chapter 9.
    """

    kinds: ClassVar[tuple[str, ...]] = ("dirichlet", "neumann", "robin")
    linear: ClassVar[bool] = False
    matrices: ClassVar[int] = 32  # those of its cells, of two steps

    domain: MeshDomain
    source: float | RandomField = 1.0
    nonlinearity: float | RandomField = 1.0
    coefficient: float | Expression | RandomField = 1.0
    boundaries: Sequence[Boundary] = ()
    element: Element | None = None

    def __post_init__(self):
        if isinstance(self.nonlinearity, int | float) and not self.nonlinearity >= 0:
            raise InputError(f"nonlinearity={self.nonlinearity}; expected a number that is not negative.")
        self._settle()
        if all(part.kind == "neumann" for part in self.schema.boundaries):
            raise InputError("Every boundary is neumann, so that nothing fixes u; expected a dirichlet or robin part.")

    def _data(self) -> Mapping[str, FieldSpec]:
        return {
            "source": FieldSpec("source", "input", description="right-hand side f"),
            "nonlinearity": FieldSpec("nonlinearity", "input", description="beta >= 0", shape=()),
            "coefficient": FieldSpec("coefficient", "input", description="coefficient a > 0"),
        }

    def _positive(self) -> tuple[str, ...]:
        return ("coefficient",)

    @cached_property
    def on_mesh(self) -> MeshEquations:
        """Space and conditions."""
        return MeshEquations(self._mesh, self.conditions, self.element, quadrature_order=_QUADRATURE)

    @property
    def schema(self) -> Schema:
        """The random ones among source, nonlinearity and coefficient; output ``solution``."""
        solution = FieldSpec("solution", "output", description="temperature u", shape=self._solution_shape())
        what = "-div(coefficient (1 + nonlinearity u^2) grad u) = source"
        equation = ", ".join([what, *self._given(), str(self.on_mesh.space.element)])
        return Schema(self.place, (*self._specs(), solution), self.conditions, equation)

    def missing(self, u: Shaped[Tensor, "batch dofs"], inputs: Inputs) -> Shaped[Tensor, "batch dofs"]:
        """By how much u misses the equations, tested with every basis function; Dirichlet values are not looked at."""
        space = self.on_mesh.space
        data = self._all(inputs)
        left = vector(_flux, space, u=Field(space, u), **data)
        for where, values in self._outflows.items():
            there = {"a": data["a"], "beta": data["beta"], **values}
            left = left - vector(_outflow, space.boundary(where), u=Field(space, u), **there)
        return left.expand(u.shape)

    def tangent(self, u: Shaped[Tensor, "batch dofs"], inputs: Inputs) -> CSR:
        """The derivative of :meth:`missing` with respect to u; not symmetric."""
        space = self.on_mesh.space
        data = self._all(inputs)
        data.pop("f")
        A = matrix(_tangent, space, w=Field(space, u), **data)
        for where, values in self._outflows.items():
            there = {"a": data["a"], "beta": data["beta"], **values}
            more = matrix(_outflow_tangent, space.boundary(where), w=Field(space, u), **there)
            A = CSR(A.pattern, None, A.entries - more.entries, geometry=A.geometry)
        return A

    @cached_property
    def _outflows(self) -> dict[str, dict]:
        """By part of the boundary: g and c of ``du/dn + c u = g``, as ``assemble`` takes them."""
        space, found = self.on_mesh.space, {}
        for part in self.on_mesh.natural:
            c = 0.0 if part.coefficient is None else on_boundary(space, part.where, part.coefficient, "coefficient")
            found[part.where] = {"g": on_boundary(space, part.where, part.value, "value"), "c": c}
        return found

    def _all(self, inputs: Inputs) -> dict:
        names = {"a": "coefficient", "beta": "nonlinearity", "f": "source"}
        return {short: self._coefficient(name, inputs) for short, name in names.items()}

    def _maps(self, inputs: Inputs) -> Eliminated:
        """The way between fields and unknowns."""
        n = self.on_mesh.space.n_dofs
        zero = torch.zeros(len(inputs), n, dtype=torch.float64, device=next(iter(inputs.fields.values())).device)
        A = self.tangent(zero, inputs)
        return self.on_mesh.eliminated(A, torch.zeros_like(zero))

    def _start(self, maps: Eliminated) -> Shaped[Tensor, "batch dofs"]:
        """The first guess: 0 with the Dirichlet values."""
        return maps.restore(torch.zeros_like(maps.b))

    def assembled(self, inputs: Inputs) -> tuple[CSR, Shaped[Tensor, "... dofs"]]:
        """The first Newton step as a linear system for u: the derivative at the first guess."""
        start = self._start(self._maps(inputs))
        A = self.tangent(start, inputs)
        return A, A.matvec(start) - self.missing(start, inputs)

    def residual(self, u: Shaped[Tensor, "..."], inputs: Inputs) -> Residual:
        """What u leaves of the nonlinear equation and of the boundary conditions."""
        if inputs.meshes is not None:
            return self._residual_of_each(u, inputs)
        x = self.on_mesh.flat(u)
        return self.on_mesh.parted(x, -self.missing(x, inputs), self._maps(inputs))

    def _solve_part(
        self, inputs: Inputs, guess: Samples | None, method: Method | None, rtol: float
    ) -> tuple[Tensor, Solution]:
        maps = self._maps(inputs)
        start = self._start(maps)
        # In units of what the first guess misses, so that a better one has the same goal.
        scale = torch.linalg.vector_norm(maps.reduce(self.missing(start, inputs)), dim=-1, keepdim=True)
        scale = torch.where(scale > 0, scale, 1.0)
        x0 = maps.reduce(start if guess is None else self.on_mesh.flat(guess[self.output].to(start)))

        def residual(x: Tensor) -> Tensor:
            return maps.reduce(self.missing(maps.restore(x), inputs)) / scale

        def jacobian(x: Tensor) -> CSR:
            A = self.tangent(maps.restore(x), inputs)
            A = CSR(A.pattern, None, A.entries / scale, geometry=A.geometry)
            return self.on_mesh.eliminated(A, torch.zeros_like(start)).A

        solution = newton(residual, x0, jacobian, method=method or Auto(), rtol=0.0, atol=rtol, throw=False)
        x = torch.as_tensor(solution.x)
        left = torch.linalg.vector_norm(residual(x), dim=-1)
        goal = torch.full_like(left, rtol)
        solution = replace(solution, residual=left, tolerance=goal, converged=left <= goal)
        return self.on_mesh.shaped(maps.restore(x)), solution


def _flux(v: Function, w: Surroundings) -> Quantity:
    return w.a * (1 + w.beta * w.u**2) * dot(w.u.grad, v.grad) - w.f * v.value


def _tangent(u: Function, v: Function, w: Surroundings) -> Quantity:
    at = w.w
    kept = (1 + w.beta * at**2) * dot(u.grad, v.grad)
    return w.a * (kept + 2 * w.beta * at * u.value * dot(at.grad, v.grad))


def _outflow(v: Function, w: Surroundings) -> Quantity:
    return w.a * (1 + w.beta * w.u**2) * (w.g - w.c * w.u) * v.value


def _outflow_tangent(u: Function, v: Function, w: Surroundings) -> Quantity:
    at = w.w
    return w.a * (2 * w.beta * at * (w.g - w.c * at) - w.c * (1 + w.beta * at**2)) * u.value * v.value
