"""Transport by a flow, with diffusion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary
from pdekit.families.base import MeshDomain
from pdekit.families.mesh_equations import matrix, vector
from pdekit.families.mesh_family import MeshFamily
from pdekit.fem import Element, forms
from pdekit.fields import RandomField
from pdekit.samples import FieldSpec, Inputs, Schema
from pdekit.solvers import CSR

__all__ = ["AdvectionDiffusion"]


@dataclass(frozen=True)
class AdvectionDiffusion(MeshFamily):
    """A dissolved substance, or heat, in a flow: -div(a grad u) + velocity . grad u + c u = f on a mesh, 1-D to 3-D.

    Finite elements, Galerkin: second order (third with elements of second order) as long as the mesh resolves the
    layers of the solution, which is so where the Peclet number of every cell, ``|velocity| h / (2 a)`` with h its
    longest edge, is at most about 1; beyond that solutions oscillate from node to node. Problems above ``max_peclet``
    are therefore refused. The matrices are not symmetric.

    Boundary conditions: Dirichlet (u = 0 unless given), Neumann (du/dn = value; with 0 the flow carries u out), Robin.

    Solutions: the source smeared along the flow; layers of thickness ``a / |velocity|`` where the flow meets a
    Dirichlet boundary downstream.

    Args:
        domain: a mesh or its recipe.
        velocity: the flow: a number, or an expression of x, y, z, for each axis, such as ``("1 - y**2", 0.0)``; or a
            function of points, coordinates first. It should be free of divergence.
        source: f, a number or a field.
        coefficient: a, a number, an Expression or a positive field.
        speed: multiplies the velocity, one number a sample: a number, or ``Uniform(low, high)``.
        reaction: c >= 0.
        boundaries: conditions by name; ``all`` stands for the rest.
        element: by default P1 or Q1.
        max_peclet: largest Peclet number of a cell that is solved.

    Raises:
        InputError: nothing random, a velocity that does not fit, conditions or an element that do not fit the mesh; in
            solving, a sample whose Peclet number is too large.

    Example:
        >>> from pdekit.domain import Rectangle
        >>> from pdekit.fields import GaussianField, Uniform
        >>> outflow = Boundary("right", "neumann", 0.0)
        >>> flow = AdvectionDiffusion(
        ...     Rectangle(cells=24), ("y*(1-y)", 0.0), GaussianField(2, 3), 0.1, Uniform(5, 15), boundaries=[outflow]
        ... )
        >>> inputs = flow.draw(range(2), seed=0)
        >>> flow.solve(inputs, rtol=1e-8)["solution"].shape, bool((flow.peclet(inputs) < 1).all())
        (torch.Size([2, 625]), True)

    Source:
        Elman, Silvester, Wathen, Finite Elements and Fast Iterative Solvers, 2nd ed., Oxford 2014, chapter 6.
    """

    kinds: ClassVar[tuple[str, ...]] = ("dirichlet", "neumann", "robin")

    domain: MeshDomain
    velocity: Sequence[float | str] | Callable[[Tensor], Any]
    source: float | RandomField = 1.0
    coefficient: float | Expression | RandomField = 1.0
    speed: float | RandomField = 1.0
    reaction: float = 0.0
    boundaries: Sequence[Boundary] = ()
    element: Element | None = None
    max_peclet: float = 1.0

    def __post_init__(self):
        if not callable(self.velocity):
            dim = self._example.dim
            if isinstance(self.velocity, str | float | int) or len(self.velocity) != dim:
                raise InputError(f"velocity={self.velocity!r}; expected {dim} numbers or expressions, one an axis.")
            parts = tuple(self.velocity)
            object.__setattr__(self, "velocity", parts)
            for part in parts:
                if isinstance(part, str):
                    Expression(part)
        if not self.reaction >= 0:
            raise InputError(f"reaction={self.reaction}; expected a number that is not negative.")
        self._settle()

    def _data(self) -> Mapping[str, FieldSpec]:
        return {
            "source": FieldSpec("source", "input", description="right-hand side f"),
            "coefficient": FieldSpec("coefficient", "input", description="diffusivity a > 0"),
            "speed": FieldSpec("speed", "input", description="factor of the velocity", shape=()),
        }

    def _positive(self) -> tuple[str, ...]:
        return ("coefficient",)

    @property
    def schema(self) -> Schema:
        """The random ones among source, coefficient and speed; output ``solution``."""
        solution = FieldSpec("solution", "output", description="concentration u", shape=self._solution_shape())
        flow = self.velocity if isinstance(self.velocity, tuple) else getattr(self.velocity, "__qualname__", "function")
        what = "-div(coefficient grad u) + speed velocity . grad u + reaction u = source"
        equation = ", ".join([what, f"velocity = {flow}", f"reaction = {self.reaction:g}", *self._given()])
        specs = (*self._specs(), solution)
        return Schema(self.place, specs, self.conditions, f"{equation}, {self.on_mesh.space.element}")

    def flow(self, x: Float[Tensor, "dim points"]) -> Any:
        """The velocity at points, coordinates first, without the factor ``speed``."""
        if callable(self.velocity):
            return self.velocity(x)
        return tuple(Expression(part)(x.T) if isinstance(part, str) else float(part) for part in self.velocity)

    def assembled(self, inputs: Inputs) -> tuple[CSR, Shaped[Tensor, "... dofs"]]:
        """Stiffness + speed times advection + reaction."""
        a, f = self._coefficient("coefficient", inputs), self._coefficient("source", inputs)
        speed = self._number("speed", inputs)
        worst = self.peclet(inputs)
        if bool((worst > self.max_peclet).any()):
            row = int(worst.argmax())
            raise InputError(
                f"Sample {row} has the Peclet number {float(worst[row]):.3g} in its worst cell, above max_peclet="
                f"{self.max_peclet:g}: Galerkin solutions oscillate there. Expected a mesh that is "
                f"{float(worst[row]) / self.max_peclet:.2g} times finer, more diffusion, a slower flow, or a larger "
                "max_peclet where layers do not matter."
            )
        space = self.on_mesh.space
        A, b = matrix(forms.diffusion, space, k=a), vector(forms.load, space, f=f)
        carried = self._advection.entries.to(A.device)
        entries = A.entries + speed[..., None] * carried
        if self.reaction:
            entries = entries + self.reaction * matrix(forms.mass, space).entries.to(A.device)
        A = CSR(A.pattern, None, entries, tags=frozenset(), geometry=A.geometry)
        return self.on_mesh.with_boundary_terms(A, b, flux=a)

    @cached_property
    def _advection(self) -> CSR:
        return matrix(forms.advection, self.on_mesh.space, velocity=self.flow)

    def peclet(self, inputs: Inputs) -> Float[Tensor, " batch"]:
        """The largest Peclet number of a cell, ``|velocity| h / (2 a)`` with h its longest edge, of each sample."""
        mesh = self.on_mesh.space.mesh
        ends = mesh.points[mesh.edges]
        length = torch.linalg.vector_norm(ends[:, 0] - ends[:, 1], dim=-1)[mesh.cell_edges].amax(1)
        middle = mesh.points[mesh.cells].mean(1)
        parts = self.flow(middle.T)
        parts = parts if isinstance(parts, tuple | list) else tuple(parts)
        size = sum(torch.as_tensor(part, dtype=torch.float64).expand(mesh.n_cells).square() for part in parts)
        rate = torch.as_tensor(size).sqrt() * length / 2
        if isinstance(self.coefficient, RandomField):
            a = inputs["coefficient"].detach()[..., mesh.cells.to(inputs["coefficient"].device)].mean(-1)
        elif isinstance(self.coefficient, Expression):
            a = self.coefficient(middle)[None]
        else:
            a = torch.tensor([[self.coefficient]], dtype=torch.float64)
        speed = self._number("speed", inputs).detach()
        return (speed.abs() * (rate.to(a.device) / a).amax(-1)).expand(len(inputs))
