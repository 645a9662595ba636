"""Dirichlet values taken out of the equations, symmetrically."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from pdekit.core.errors import InputError, did_you_mean
from pdekit.domain import Boundary
from pdekit.fem.arguments import check_boundaries, check_space
from pdekit.fem.conditions import ELSEWHERE, boundary_values
from pdekit.fem.nullspace import find_nullspace
from pdekit.fem.routing import Router
from pdekit.fem.space import Space
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.pattern import Pattern

__all__ = ["Eliminated", "eliminate"]


class Eliminated:
    """The equations of the free degrees of freedom; unpacks as ``A, b, restore = eliminate(...)``.

    Args:
        A: their matrices.
        b: their right-hand sides ``(*batch, free)``.
        free: ``(free,)``, the numbers of the free degrees of freedom.
        values: ``(*batch, n_dofs)``, the prescribed values, 0 elsewhere.
    """

    def __init__(
        self, A: CSR, b: Shaped[Tensor, "*batch n"], free: Int64[Tensor, " n"], values: Shaped[Tensor, "*own dofs"]
    ):
        self.A, self.b, self.free, self.values = A, b, free, values

    def __iter__(self) -> Iterator[Any]:
        return iter((self.A, self.b, self.restore))

    def __len__(self) -> int:
        return 3

    def __repr__(self) -> str:
        return f"Eliminated({len(self.free):,} free of {self.values.shape[-1]:,} degrees of freedom)"

    def restore(self, x: Shaped[Tensor, "*batch n"]) -> Shaped[Tensor, "*whole dofs"]:
        """All degrees of freedom from the free ones: the prescribed values filled in."""
        if not isinstance(x, Tensor):
            raise InputError(f"restore was given a {type(x).__name__}; expected a tensor (*batch, {len(self.free)}).")
        if x.shape[-1:] != self.free.shape:
            raise InputError(f"restore was given the shape {tuple(x.shape)}; expected (*batch, {len(self.free)}).")
        batch = torch.broadcast_shapes(x.shape[:-1], self.values.shape[:-1])
        kind = torch.promote_types(x.dtype, self.values.dtype)
        whole = self.values.to(kind).expand(*batch, self.values.shape[-1])
        return whole.index_copy(-1, self.free, x.to(kind).expand(*batch, len(self.free)))

    def reduce(self, u: Shaped[Tensor, "*batch dofs"]) -> Shaped[Tensor, "*batch n"]:
        """The free ones of all degrees of freedom: a first guess, or an error at the unknowns."""
        if not isinstance(u, Tensor) or u.shape[-1:] != self.values.shape[-1:]:
            given = f"the shape {tuple(u.shape)}" if isinstance(u, Tensor) else f"a {type(u).__name__}"
            raise InputError(f"reduce was given {given}; expected (*batch, {self.values.shape[-1]}).")
        return u.index_select(-1, self.free)


class _Maps(NamedTuple):
    """Which entries are kept where the fixed degrees of freedom are left out."""

    free: Tensor
    pattern: Pattern
    kept: Router
    diagonal: Router
    elsewhere: dict[torch.device, Pattern]

    def pattern_on(self, device: torch.device) -> Pattern:
        """The pattern on a device, one object for all matrices."""
        if device == self.pattern.device:
            return self.pattern
        return self.elsewhere.setdefault(device, self.pattern.to(device))

    @property
    def nbytes(self) -> int:
        return 8 * len(self.free) + 40 * self.pattern.nnz


def eliminate(
    space: Space,
    A: CSR,
    b: Shaped[Tensor, "*batch dofs"],
    boundaries: Sequence[Boundary],
    *,
    components: Mapping[str, Sequence[int]] | None = None,
) -> Eliminated:
    """Prescribe values on parts of the boundary: ``A_ff x = b_f - A_fc g`` for the free degrees of freedom f.

    Symmetric matrices stay symmetric. Where parts meet the later condition wins, and any part over ``all``. Gradients
    flow to the entries of A, to b, and to the prescribed values. The reduced matrices carry the points of their
    unknowns, and for vector fields the rigid-body modes.

    If nothing is prescribed on some connected part of the mesh, constants (for vector fields rigid-body motions) may be
    in the null space. That is tested, and the null space attached to the matrix, so that ``solve`` checks b and returns
    the solution that is orthogonal to it.

    Args:
        space: whose degrees of freedom A and b belong to.
        A: matrices of order ``n_dofs``, from :func:`assemble`.
        b: ``(*batch, n_dofs)``.
        boundaries: Dirichlet conditions. A value is a number; a tensor over the degrees of freedom
            ``space.dofs(where)``, ``(*batch, m)``; for vector fields also ``(dim,)``; or a function of points,
            coordinates first (``lambda x: x[1]``).
        components: which components of a vector field are prescribed on a part, by its name; all if it is not named.

    Returns:
        :class:`Eliminated`, which unpacks to the reduced A and b and the way back; it also has ``reduce``, ``free`` and
        ``values``.

    Raises:
        InputError: another kind of condition, an unknown or repeated part (the message lists the names), values that do
            not fit or are not finite, no free degree of freedom, a row of zeros, a singular matrix that is not
            symmetric.

    Example:
        >>> from pdekit.domain import Interval
        >>> from pdekit.fem import P1, assemble, forms
        >>> from pdekit.solvers import Direct, solve
        >>> space = Space(Interval(cells=4).mesh(), P1())
        >>> A, b = assemble(forms.diffusion, space, k=1.0), assemble(forms.load, space, f=0.0)
        >>> ends = [Boundary("left", "dirichlet", 0.0), Boundary("right", "dirichlet", lambda x: 2 * x[0])]
        >>> A, b, restore = eliminate(space, A, b, ends)
        >>> restore(solve(A, b, Direct()).x)
        tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000], dtype=torch.float64)
    """
    _check_system(space, A, b)
    check_boundaries(boundaries, "dirichlet")
    if not isinstance(components or {}, Mapping):
        raise InputError(f"components is {components!r}; expected numbers by boundary, such as {{'left': [0]}}.")
    fixed, values = _prescribed(space, boundaries, components or {}, b.device)
    _check_batches({"A": A.batch_shape, "b": b.shape[:-1], "the values of the boundaries": values.shape[:-1]})
    maps = _maps(space, fixed)
    kind = torch.promote_types(torch.promote_types(A.dtype, b.dtype), values.dtype)
    right = b.to(kind)
    if bool(fixed.any()) and (values.requires_grad or bool((values != 0).any())):
        right = right - A.matvec(values.to(A.dtype) if not values.is_complex() else values)
    right = right.index_select(-1, maps.free.to(b.device))
    entries = maps.kept(A.entries) if bool(fixed.any()) else A.entries
    free = maps.free.to(A.device)
    near = A.near_nullspace
    carried: dict[str, Any] = {
        "tags": A._tags,
        "near_nullspace": None if near is None else near[free],
        "geometry": None if A.geometry is None else A.geometry[free],
    }
    reduced = CSR(maps.pattern_on(A.device), None, entries, **carried)
    _check_rows(space, reduced, maps.diagonal(A.entries.detach()), maps.free)
    nullspace = find_nullspace(space, reduced, maps.free)
    if nullspace is not None:
        reduced = CSR(reduced.pattern, None, entries, nullspace=nullspace, **carried)
    return Eliminated(reduced, right, free, values)


def _check_system(space: Space, A: CSR, b: Tensor) -> None:
    check_space(space)
    if not isinstance(A, CSR) or A.shape[0] != space.n_dofs or A.pattern is not space.pattern_on(A.device):
        given = A.name if isinstance(A, CSR) else type(A).__name__
        raise InputError(f"A is a {given}; expected a matrix assembled on {space!r}.")
    if not isinstance(b, Tensor) or b.shape[-1:] != (space.n_dofs,):
        given = f"the shape {tuple(b.shape)}" if isinstance(b, Tensor) else type(b).__name__
        raise InputError(f"b has {given}; expected (*batch, {space.n_dofs}), one entry for each degree of freedom.")


def _check_batches(shapes: dict[str, Sequence[int]]) -> None:
    try:
        torch.broadcast_shapes(*shapes.values())
    except RuntimeError:
        given = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise InputError(f"The batches do not fit each other: {given}; expected shapes that broadcast.") from None


def _prescribed(
    space: Space, boundaries: Sequence[Boundary], components: Mapping[str, Sequence[int]], device: torch.device
) -> tuple[Bool[Tensor, " dofs"], Shaped[Tensor, "*batch dofs"]]:
    """Which degrees of freedom are prescribed, and all of their values."""
    fixed = torch.zeros(space.n_dofs, dtype=torch.bool)
    values = torch.zeros(space.n_dofs, dtype=torch.float64, device=device)
    named: set[str] = set()
    for boundary in boundaries:
        if boundary.kind != "dirichlet":
            terms = "A_boundary, b_boundary = fem.natural(space, [...]) gives its terms, to be added to A and b before"
            hint = ELSEWHERE.get(boundary.kind, terms)
            raise InputError(f"The boundary {boundary.where!r} is {boundary.kind}; eliminate takes dirichlet: {hint}.")
        if boundary.where in named:
            raise InputError(f"The boundary {boundary.where!r} is given twice; expected one condition a part.")
        named.add(boundary.where)
    for name in components:
        if name not in named:
            raise InputError(
                f"components names the boundary {name!r}, which has no condition. {did_you_mean(name, named)}"
            )
    for boundary in sorted(boundaries, key=lambda boundary: boundary.where != "all"):
        dofs = space.dofs(boundary.where)
        given = boundary_values(space, boundary.where, boundary.value, dofs, device)
        chosen = _chosen(space, boundary.where, components.get(boundary.where), dofs)
        dofs, given = dofs[chosen], given[..., chosen.to(device)]
        fixed[dofs] = True
        batch = torch.broadcast_shapes(values.shape[:-1], given.shape[:-1])
        kind = torch.promote_types(values.dtype, given.dtype)
        wide = values.to(kind).expand(*batch, space.n_dofs)
        values = wide.index_copy(-1, dofs.to(device), given.to(kind).expand(*batch, len(dofs)))
    if bool(fixed.all()):
        raise InputError(
            f"All {space.n_dofs} degrees of freedom of {space.name} are prescribed: nothing is left to solve for. "
            "Refine the mesh, or prescribe a part of the boundary only."
        )
    return fixed, values


def _chosen(space: Space, name: str, components: Sequence[int] | None, dofs: Tensor) -> Bool[Tensor, " m"]:
    if components is None:
        return torch.ones(len(dofs), dtype=torch.bool)
    known = range(space.components)
    if not isinstance(components, list | tuple | set | range) or not all(
        isinstance(c, int) and c in known for c in components
    ):
        raise InputError(
            f"components[{name!r}] is {components!r}; expected numbers from 0 to {space.components - 1}, such as [0]."
        )
    return torch.isin(dofs % space.components, torch.tensor(list(components), dtype=torch.int64))


def _maps(space: Space, fixed: Bool[Tensor, " dofs"]) -> _Maps:
    key = ("free", np.packbits(fixed.numpy()).tobytes())
    return space.cache.get(key, lambda: _find_maps(space.pattern, ~fixed), lambda maps: maps.nbytes)


def _find_maps(pattern: Pattern, free: Bool[Tensor, " dofs"]) -> _Maps:
    numbers = torch.nonzero(free)[:, 0]
    places = torch.full((pattern.n,), -1)
    places[pattern.diagonal[1]] = pattern.diagonal[0]
    diagonal = Router.selecting(places[numbers].numpy(), pattern.nnz)
    if len(numbers) == len(free):
        return _Maps(numbers, pattern, Router.selecting(np.arange(pattern.nnz), pattern.nnz), diagonal, {})
    kept = torch.nonzero(free[pattern.rows] & free[pattern.indices])[:, 0]
    new = torch.cumsum(free, 0) - 1
    counts = torch.bincount(new[pattern.rows[kept]], minlength=len(numbers))
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)])
    router = Router.selecting(kept.numpy(), pattern.nnz)
    return _Maps(numbers, Pattern(indptr, new[pattern.indices[kept]]), router, diagonal, {})


def _check_rows(space: Space, A: CSR, diagonal: Shaped[Tensor, "*batch n"], free: Int64[Tensor, " n"]) -> None:
    """Refuse rows without any entry but zeros."""
    suspects = diagonal == 0
    if not bool(suspects.any()):
        return
    batched = suspects.ndim > 1
    for batch_index in torch.unique(torch.nonzero(suspects)[:, :-1], dim=0).tolist() if batched else [[]]:
        rows = torch.nonzero(suspects[tuple(batch_index)])[:, 0].tolist()
        matrix = A.to_scipy(tuple(batch_index))
        for row in rows:
            if not np.any(matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]):
                dof = int(free[row])
                where = ", ".join(f"{v:.4g}" for v in space.dof_points[dof].tolist())
                of = f" of A{batch_index}" if batch_index else ""
                raise InputError(
                    f"The row{of} of the degree of freedom {dof} at ({where}) holds only zeros ({len(rows)} rows "
                    "without a diagonal in all): no equation determines it. "
                    "The coefficient vanishes on all cells around it."
                )
