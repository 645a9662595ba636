"""Waves of one frequency."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary
from pdekit.families.base import MeshDomain
from pdekit.families.mesh_equations import matrix, vector
from pdekit.families.mesh_family import MeshFamily
from pdekit.fem import Element, Function, Quantity, forms
from pdekit.fem.naturals import on_boundary
from pdekit.fem.surroundings import Surroundings
from pdekit.fields import RandomField
from pdekit.samples import FieldSpec, Inputs, Schema
from pdekit.solvers import CSR, Tag

__all__ = ["Helmholtz"]

_COARSEST = 4.0
"""Points a wave length below which a discrete wave has little to do with the true one."""


@dataclass(frozen=True)
class Helmholtz(MeshFamily):
    """Time-harmonic waves: -div(a grad u) - k^2 n u = f on a mesh, in 1 to 3 dimensions.

    The pressure of sound or a component of light of one frequency in a medium of refractive index sqrt(n(x)). Finite
    elements, Galerkin; the phase error grows like k (k h)^2 with elements of first order, k (k h)^4 with second.

    Boundary conditions: Dirichlet (u = 0 unless given; a reflecting wall), Neumann (du/dn = value), Robin, or impedance
    (du/dn - i k u = value: an absorbing wall, and with a value an incoming wave). With an impedance boundary the
    problem is complex and has a solution for every k; without one it is real, symmetric and indefinite, and has none
    where k^2 is an eigenvalue: near one solutions are large, and more iterations or digits are lost.

    Solutions: standing or outgoing waves of length 2 pi / (k sqrt(n)), of an amplitude of about f / k for a source of
    unit size; focused and shadowed where n varies.

    Args:
        domain: a mesh or its recipe, fine enough for the shortest wave: 10 points a wave length are usual.
        wave_number: k > 0, one number a sample: a number, or ``Uniform(low, high)``. k times the diameter of the domain
            from 5 to 100 is usual.
        index: n(x) > 0, a number, an ``Expression("where(x < 0.5, 1, 2)")``, or a field such as
            ``LogNormal(Matern(length=0.3, smoothness=1.5, variance=0.1))``.
        source: f, a number or a field.
        coefficient: a, a number, an Expression or a positive field.
        boundaries: conditions by name; ``all`` stands for the rest.
        element: by default P1 or Q1.

    Raises:
        InputError: nothing random, conditions or an element that do not fit the mesh; in solving, a mesh with fewer
            than 4 points a wave length.

    Example:
        >>> from pdekit.domain import Disk
        >>> from pdekit.fields import GaussianField, Uniform
        >>> out = Boundary("boundary", "impedance")
        >>> family = Helmholtz(Disk(refinements=4), Uniform(4.0, 8.0), source=GaussianField(2, 3), boundaries=[out])
        >>> samples = family.solve(family.draw(range(2), seed=0), rtol=1e-8)
        >>> samples["solution"].dtype, bool(samples.certificate.accepted.all())
        (torch.complex128, True)

    Source:
        Ihlenburg, Finite Element Analysis of Acoustic Scattering, Springer 1998.
    """

    kinds: ClassVar[tuple[str, ...]] = ("dirichlet", "neumann", "robin", "impedance")

    domain: MeshDomain
    wave_number: float | RandomField
    index: float | Expression | RandomField = 1.0
    source: float | RandomField = 1.0
    coefficient: float | Expression | RandomField = 1.0
    boundaries: Sequence[Boundary] = ()
    element: Element | None = None

    def __post_init__(self):
        self._settle()

    def _data(self) -> Mapping[str, FieldSpec]:
        return {
            "wave_number": FieldSpec("wave_number", "input", description="wave number k > 0", shape=()),
            "index": FieldSpec("index", "input", description="square of the refractive index n > 0"),
            "source": FieldSpec("source", "input", description="right-hand side f"),
            "coefficient": FieldSpec("coefficient", "input", description="coefficient a > 0"),
        }

    def _positive(self) -> tuple[str, ...]:
        return ("wave_number", "index", "coefficient")

    @property
    def schema(self) -> Schema:
        """The random ones among wave_number, index, source and coefficient; output ``solution``, complex or real."""
        solution = FieldSpec(
            "solution", "output", description="pressure u", shape=self._solution_shape(), complex=self.on_mesh.complex
        )
        return Schema(self.place, (*self._specs(), solution), self.conditions, self._equation())

    def _equation(self) -> str:
        what = "-div(coefficient grad u) - wave_number^2 index u = source"
        return ", ".join([what, *self._given(), str(self.on_mesh.space.element)])

    def assembled(self, inputs: Inputs) -> tuple[CSR, Shaped[Tensor, "... dofs"]]:
        """Stiffness - k^2 mass - i k boundary mass."""
        space, parts = self.on_mesh.space, self.on_mesh.parts
        a, n, f = (self._coefficient(name, inputs) for name in ("coefficient", "index", "source"))
        k = self._number("wave_number", inputs)[..., None]
        self._check_resolution(k, inputs)
        A, b = matrix(forms.diffusion, space, k=a), vector(forms.load, space, f=f)
        mass = matrix(forms.mass, space, c=n)
        A, b = self.on_mesh.with_boundary_terms(A, b, flux=a)
        entries = A.entries - k.square() * mass.entries
        tags = frozenset({Tag.SYMMETRIC, Tag.HERMITIAN})
        for part in parts:
            if part.kind == "impedance":
                on_part = space.boundary(part.where)
                entries = entries - 1j * k * matrix(forms.mass, on_part, c=a).entries
                if not isinstance(part.value, int | float | complex) or part.value != 0:
                    g = on_boundary(space, part.where, part.value, "value")
                    b = b + vector(_incoming, on_part, a=a, g=g)
                tags = frozenset({Tag.SYMMETRIC})
        if entries.is_complex():
            b = b.to(entries.dtype)
        return CSR(A.pattern, None, entries, tags=tags, geometry=A.geometry), b

    def _at_nodes(self, value: float | Expression) -> Tensor:
        points = self.on_mesh.space.mesh.points
        return value(points) if isinstance(value, Expression) else torch.tensor(value, dtype=torch.float64)

    def _check_resolution(self, k: Tensor, inputs: Inputs) -> None:
        """Refuse meshes on which the shortest wave is invisible."""
        n, a = (
            inputs[name].detach() if name in inputs.schema.inputs else self._at_nodes(getattr(self, name))
            for name in ("index", "coefficient")
        )
        slowest = (n / a).sqrt()
        waves = k.detach()[..., 0] * (slowest.amax(-1) if slowest.ndim else slowest)
        space = self.on_mesh.space
        ends = space.mesh.points[space.mesh.edges]
        longest = float(torch.linalg.vector_norm(ends[:, 0] - ends[:, 1], dim=-1).max()) / space.scalar.degree
        points = (2 * math.pi / (waves * longest)).reshape(-1)
        if bool((points < _COARSEST).any()):
            row = int(points.argmin())
            raise InputError(
                f"Sample {row} has {float(points[row]):.2g} points a wave length (k sqrt(n/a) up to "
                f"{float(waves.reshape(-1)[row]):.4g}, longest edge {longest:.3g}); expected at least {_COARSEST:g}, "
                "better 10: a finer mesh, elements of second order, or a smaller wave number."
            )


def _incoming(v: Function, w: Surroundings) -> Quantity:
    """``a g v`` on an impedance boundary."""
    return w.a * w.g * v.value
