"""What the families share on a mesh: the space, the conditions, the way from fields to unknowns and back."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from pdekit.core.checks import check_shape
from pdekit.core.errors import InputError
from pdekit.domain import Boundary, Mesh
from pdekit.families.conditions import REST, with_rest
from pdekit.families.residual import Residual
from pdekit.fem import BoundarySpace, Element, Eliminated, Space, Vector, assemble, eliminate, forms, natural
from pdekit.fem.elements import first_order
from pdekit.solvers import CSR, LinearSystem

__all__ = ["MeshEquations", "matrix", "vector"]


def matrix(form: Callable, space: Space | BoundarySpace, **coefficients: Any) -> CSR:
    """What ``assemble`` makes of a form of (u, v, w)."""
    A = assemble(form, space, **coefficients)
    assert isinstance(A, CSR)
    return A


def vector(form: Callable, space: Space | BoundarySpace, **coefficients: Any) -> Shaped[Tensor, "... dofs"]:
    """What ``assemble`` makes of a form of (v, w)."""
    b = assemble(form, space, **coefficients)
    assert isinstance(b, Tensor)
    return b


class MeshEquations:
    """A finite element space with the conditions of a family: adds boundary terms, eliminates, measures residuals.

    Args:
        mesh: the mesh.
        parts: a condition for each part of its boundary, as :func:`pdekit.families.conditions.conditions` gives them.
        element: continuous; by default of first order.
        vector: whether the solution has ``dim`` components.
        complex: whether it is complex.
        components: of vectors, by Dirichlet part: which are prescribed; all of them by default.
        quadrature_order: as :class:`Space` takes it.

    Raises:
        InputError: an element that does not fit the cells or has no values at the nodes.
    """

    def __init__(
        self,
        mesh: Mesh,
        parts: Sequence[Boundary],
        element: Element | None = None,
        *,
        vector: bool = False,
        complex: bool = False,
        components: Mapping[str, Sequence[int]] | None = None,
        quadrature_order: int | None = None,
    ):
        self.complex = complex
        named, self.parts = with_rest(mesh, parts)
        scalar = element or first_order(mesh.kind)
        if scalar.degree == 0:
            raise InputError(f"The element is {scalar}; expected a continuous one such as {first_order(mesh.kind)}().")
        self.space = Space(named, Vector(scalar) if vector else scalar, quadrature_order)
        self.components = dict(components or {})
        dirichlet = [part for part in self.parts if part.kind == "dirichlet"]
        self.dirichlet = sorted(dirichlet, key=lambda part: part.where != REST)  # eliminate lets the later win
        self.natural = [part for part in self.parts if part.kind in ("neumann", "robin")]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the solution of one sample: a value, or a vector, for each node (and midpoint, for second order)."""
        return (self.space.n_points, self.space.components) if self.space.rank else (self.space.n_points,)

    @cached_property
    def weights(self) -> Float[Tensor, " dofs"]:
        """The integral of each basis function: what a constant source of 1 gives."""
        return vector(forms.load, self.space, f=1.0)

    def with_boundary_terms(
        self, A: CSR, b: Shaped[Tensor, "... dofs"], flux: object = 1.0
    ) -> tuple[CSR, Shaped[Tensor, "... dofs"]]:
        """The system with its Neumann and Robin terms; ``flux`` is the coefficient k in ``k du/dn``."""
        if not self.natural:
            return A, b
        more, load = natural(self.space, self.natural, k=flux)
        return A if more is None else A + more, b + load

    def eliminated(self, A: CSR, b: Shaped[Tensor, "... dofs"]) -> Eliminated:
        """Matrices and right-hand sides of the free degrees of freedom, and the way back."""
        batch = torch.broadcast_shapes(A.batch_shape, b.shape[:-1])
        return eliminate(self.space, A, b.expand(*batch, b.shape[-1]), self.dirichlet, components=self.components)

    def system(self, A: CSR, b: Shaped[Tensor, "... dofs"]) -> LinearSystem:
        """The system of the unknowns, Dirichlet values eliminated."""
        reduced = self.eliminated(A, b)

        def restore(x: Tensor) -> Tensor:
            return self.shaped(reduced.restore(x))

        def reduce(u: Tensor) -> Tensor:
            return reduced.reduce(u.flatten(-len(self.shape)))

        share = None if self.dirichlet or self.space.rank else self.weights.to(b.device)
        return LinearSystem(reduced.A, reduced.b, restore, reduce, share)

    def residual(
        self, u: Shaped[Tensor, "batch *shape"], A: CSR, b: Shaped[Tensor, "... dofs"], *, balance: bool = False
    ) -> Residual:
        """What u leaves of ``A u = b`` inside, and of the conditions; all tested with the basis functions.

        Args:
            u: a batch of solutions.
            A: with boundary terms, nothing eliminated.
            b: likewise.
            balance: take a constant off the source where nothing fixes u, as :meth:`LinearSystem.balanced` does.

        Raises:
            InputError: u of another shape.
        """
        x = self.flat(u)
        left, reduced = b - A.matvec(x), self.eliminated(A, b)
        if balance and not self.dirichlet and reduced.A.nullspace is not None:
            weights = self.weights.to(b.device)
            left = left - weights * (b.sum(-1, keepdim=True) / weights.sum())
        return self.parted(x, left, reduced)

    def flat(self, u: Shaped[Tensor, "..."]) -> Shaped[Tensor, "batch dofs"]:
        """Solutions as vectors of degrees of freedom.

        Raises:
            InputError: another shape.
        """
        check_shape("the field", u, self.shape)
        if u.ndim != len(self.shape) + 1:
            expected = ", ".join(("batch", *map(str, self.shape)))
            raise InputError(f"The field has shape {tuple(u.shape)}; expected ({expected}): one leading batch axis.")
        dtype = torch.complex128 if u.is_complex() else torch.float64
        return u.to(dtype).flatten(1)

    def shaped(self, x: Shaped[Tensor, "... dofs"]) -> Shaped[Tensor, "..."]:
        """The inverse of :meth:`flat`."""
        return x.unflatten(-1, self.shape)

    def parted(
        self, x: Shaped[Tensor, "batch dofs"], left: Shaped[Tensor, "batch dofs"], reduced: Eliminated
    ) -> Residual:
        """What is left of the equations, inside and by part of the boundary, where x misses its Dirichlet values."""
        fixed = torch.ones(x.shape[-1], dtype=torch.bool, device=x.device).index_fill(0, reduced.free, False)
        mismatch = torch.where(fixed, x - reduced.values, left)
        inside, boundary = torch.ones_like(fixed), {}
        for part in self.parts:
            dofs = self.space.dofs(part.where).to(x.device)
            inside[dofs] = False
            boundary[part.where] = mismatch[..., dofs]
        return Residual(self.shaped(left * inside), boundary)

    def sample_bytes(self, matrices: int, *, factors: bool) -> int:
        """What assembling and solving one sample takes at the peak, apart from what all samples share.

        Args:
            matrices: copies of its own matrix; 0 where all samples have the same.
            factors: whether its matrix may be factored, with an estimate of SuperLU's fill on uniform meshes.
        """
        n, stored, dim = self.space.n_dofs, self.space.pattern.nnz, self.space.mesh.dim
        fill = (3.0, 1.5 * math.log2(n + 1), 2.6 * n ** (1 / 3))[dim - 1] if factors and matrices else 0.0
        return int((16 if self.complex else 8) * ((matrices + 1.5 * fill) * stored + _VECTORS * n))


_VECTORS = 40
"""Vectors of a sample at the peak: iterates, directions, the field itself."""
