"""Bodies that bend under loads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from pdekit.core.checks import check_finite
from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary, Mesh
from pdekit.families.base import MeshDomain
from pdekit.families.mesh_equations import MeshEquations, matrix, vector
from pdekit.families.mesh_family import MeshFamily
from pdekit.fem import P0, Element, Field, Function, Quantity, Space, forms, inner, natural, sym
from pdekit.fem.surroundings import Surroundings
from pdekit.fields import RandomField
from pdekit.samples import FieldSpec, Inputs, Samples, Schema
from pdekit.solvers import CSR

__all__ = ["Elasticity"]


@dataclass(frozen=True)
class Elasticity(MeshFamily):
    """Small deformations of an elastic body: -div sigma(u) = f on a mesh, plane strain in 2-D, or 3-D.

    ``sigma = lam div(u) I + 2 mu sym(grad u)``, with Lame's ``lam = E nu / ((1 + nu) (1 - 2 nu))`` and
    ``mu = E / (2 (1 + nu))`` of Young's modulus E(x) and Poisson's ratio nu. The displacement u has ``dim`` components
    at each node. Elements of first order lock (are far too stiff) as nu nears 1/2; elements of second order hardly do.

    Boundary conditions: Dirichlet (u = value), or Neumann, the traction: a tuple is the force per area, a number p the
    force p n along the normal (negative: pressure). Parts without a condition are free: no traction. ``components``
    frees some components of a Dirichlet part: a roller. A body that can still move as a whole has a solution only if
    forces and moments balance.

    Solutions: smooth, largest far from where the body is held, with stresses that grow without bound where a clamped
    part of the boundary ends and at reentrant corners.

    Args:
        domain: a mesh or its recipe.
        young: Young's modulus E > 0, a number, an Expression or a positive field; of order 1 in scaled units (only
            E / load matters).
        poisson: Poisson's ratio nu, above -1 and below 1/2; 0.2 to 0.4 for metals, rock and many polymers.
        body_force: f, one number an axis, such as a weight (0, -1); None for none.
        load: multiplies body force and tractions, one number a sample: a number, or ``Uniform(low, high)``.
        boundaries: conditions by name; ``all`` stands for the rest, which is free otherwise.
        components: by Dirichlet boundary, which components are prescribed there; all by default.
        element: of each component, by default P1 or Q1.

    Raises:
        InputError: nothing random, no load at all (force, traction or displacement), numbers
            out of range, conditions or an element that do not fit the mesh.

    Example:
        >>> from pdekit.domain import Rectangle
        >>> from pdekit.fields import GaussianField, LogNormal
        >>> beam = Rectangle(cells=(16, 4), box=((0.0, 4.0), (0.0, 1.0)))
        >>> held = Boundary("left", "dirichlet")
        >>> family = Elasticity(beam, LogNormal(GaussianField(2, 3)), body_force=(0.0, -1.0), boundaries=[held])
        >>> samples = family.solve(family.draw(range(2), seed=0), rtol=1e-8)
        >>> samples["displacement"].shape, family.von_mises(samples).shape
        (torch.Size([2, 85, 2]), torch.Size([2, 128]))

    Source:
        Braess, Finite Elements, 3rd ed., Cambridge 2007, chapter VI.
    """

    kinds: ClassVar[tuple[str, ...]] = ("dirichlet", "neumann")
    vector: ClassVar[bool] = True
    definite: ClassVar[bool] = True

    domain: MeshDomain
    young: float | Expression | RandomField
    poisson: float = 0.3
    body_force: Sequence[float] | None = None
    load: float | RandomField = 1.0
    boundaries: Sequence[Boundary] = ()
    components: Mapping[str, Sequence[int]] = field(default_factory=dict)
    element: Element | None = None

    def __post_init__(self):
        if not -1 < self.poisson < 0.5:
            raise InputError(f"poisson={self.poisson}; expected a ratio above -1 and below 0.5 (0.5: incompressible).")
        if self.body_force is not None:
            if not isinstance(self.body_force, Sequence) or not all(
                isinstance(f, int | float) for f in self.body_force
            ):
                raise InputError(
                    f"body_force={self.body_force}; expected numbers, one an axis, such as (0, -1). For a random "
                    "factor of all loads give load=Uniform(low, high)."
                )
            object.__setattr__(self, "body_force", tuple(float(f) for f in self.body_force))
            check_finite("body_force", torch.tensor(self.body_force, dtype=torch.float64))
            if isinstance(self._example, Mesh) and len(self.body_force) != self._example.dim:
                raise InputError(f"body_force={self.body_force}; expected {self._example.dim} numbers, one an axis.")
        if not any(part.where == "all" for part in self.boundaries):
            object.__setattr__(self, "boundaries", (*self.boundaries, Boundary("all", "neumann", 0.0)))
        self._settle()
        if not any(self.body_force or ()) and all(_is_zero(part.value) for part in self.boundaries):
            raise InputError(
                "Nothing loads the body: there is no body_force, and tractions and displacements are 0; expected "
                "a body force, or a boundary with a traction or a displacement."
            )

    def _data(self) -> Mapping[str, FieldSpec]:
        return {
            "young": FieldSpec("young", "input", description="Young's modulus E > 0"),
            "load": FieldSpec("load", "input", description="factor of body force and tractions", shape=()),
        }

    def _positive(self) -> tuple[str, ...]:
        return ("young",)

    @cached_property
    def on_mesh(self) -> MeshEquations:
        """Space and conditions."""
        return MeshEquations(self._mesh, self.conditions, self.element, vector=True, components=self.components)

    @property
    def schema(self) -> Schema:
        """The random ones among young and load; output ``displacement``, ``(batch, nodes, dim)``."""
        first = self.element is None or self.element.degree == 1
        shape = (None, self._example.dim) if first else self.on_mesh.shape
        solution = FieldSpec("displacement", "output", description="displacement u", shape=shape)
        force = f"load {self._force.tolist()}"
        equation = ", ".join([f"-div sigma(u) = {force}", f"poisson = {self.poisson:g}", *self._given()])
        specs = (*self._specs(), solution)
        return Schema(self.place, specs, self.conditions, f"{equation}, {self.on_mesh.space.scalar}")

    @property
    def _force(self) -> Float[Tensor, " dim"]:
        return torch.tensor(self.body_force or (0.0,) * self._example.dim, dtype=torch.float64)

    @property
    def _lame(self) -> tuple[float, float]:
        """Lame's parameters for E = 1."""
        nu = self.poisson
        return nu / ((1 + nu) * (1 - 2 * nu)), 1 / (2 * (1 + nu))

    def assembled(self, inputs: Inputs) -> tuple[CSR, Shaped[Tensor, "... dofs"]]:
        """Stiffness; body force and tractions."""
        space = self.on_mesh.space
        lam, mu = self._lame
        A = matrix(_stiffness, space, young=self._coefficient("young", inputs), lam=lam, mu=mu)
        b = vector(forms.load, space, f=self._force)
        for part in self.on_mesh.natural:
            b = b + self._traction(part)
        if isinstance(self.load, RandomField):
            load = self._input("load", inputs)
            return A, load[:, None] * b.to(load.device)
        return A, self.load * b.to(A.device)

    def _traction(self, part: Boundary) -> Float[Tensor, "*batch dofs"]:
        space, value = self.on_mesh.space, part.value
        if isinstance(value, int | float):
            return vector(_pressure, space.boundary(part.where), p=float(value))
        return natural(space, [part])[1]

    def von_mises(self, samples: Samples) -> Float[Tensor, "batch cells"]:
        """The von Mises stress of each cell, from the means of the strain and of Young's modulus over the cell.

        ``sqrt(3/2 s : s)`` of the deviator s of the stress, with the stress across the plane in 2-D: what tells whether
        a metal yields.
        """
        space, mesh = self.on_mesh.space, self.on_mesh.space.mesh
        dim, (lam, mu) = mesh.dim, self._lame
        u = Field(space, samples["displacement"].to(torch.float64).flatten(1))
        cells = Space(mesh, P0(), space.quadrature_order)
        strain = torch.zeros(len(samples), mesh.n_cells, 3, 3, dtype=torch.float64)
        for i in range(dim):
            for j in range(i, dim):
                unit = torch.zeros(dim, dim, dtype=torch.float64)
                unit[i, j] = 1.0
                strain[..., i, j] = strain[..., j, i] = vector(_strain, cells, u=u, unit=unit) / mesh.volumes
        if isinstance(self.young, RandomField):
            young = samples["young"].to(torch.float64)[:, mesh.cells].mean(-1)
        elif isinstance(self.young, Expression):
            young = self.young(mesh.points[mesh.cells].mean(1))
        else:
            young = torch.tensor(float(self.young), dtype=torch.float64)
        stress = 2 * mu * strain + lam * torch.diag_embed(
            strain.diagonal(0, -2, -1).sum(-1, keepdim=True).expand(-1, -1, 3)
        )
        deviator = stress - torch.diag_embed(stress.diagonal(0, -2, -1).mean(-1, keepdim=True).expand(-1, -1, 3))
        return young * (1.5 * deviator.square().sum((-2, -1))).sqrt()


def _is_zero(value: Any) -> bool:
    """Whether a boundary value is known to be 0 everywhere."""
    return not any(value) if isinstance(value, tuple) else isinstance(value, int | float) and value == 0


def _stiffness(u: Function, v: Function, w: Surroundings) -> Quantity:
    return w.young * forms.elasticity(u, v, w)


def _pressure(v: Function, w: Surroundings) -> Quantity:
    return w.p * inner(w.n, v.value)


def _strain(v: Function, w: Surroundings) -> Quantity:
    return inner(w.unit, sym(w.u.grad)) * v.value
