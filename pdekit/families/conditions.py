"""The condition on each part of the boundary of a family's domain."""

from collections.abc import Sequence

import torch

from pdekit.core.errors import InputError
from pdekit.domain import Boundary, Grid, Mesh, resolve_boundaries

__all__ = ["REST", "conditions", "with_rest"]

REST = "(rest)"
"""The facets of a mesh that no condition names."""


def conditions(domain: Grid | Mesh, boundaries: Sequence[Boundary]) -> tuple[Boundary, ...]:
    """One condition for each part of the boundary: those given, otherwise homogeneous Dirichlet.

    Args:
        domain: a grid, whose sides are the parts, or a mesh with named boundaries.
        boundaries: conditions by name; ``all`` stands for whatever no other names.

    Returns:
        On a grid one per side (periodic on open axes). On a mesh those given, without ``all``, and last one named
        ``all`` for the facets that are left, if there are any.

    Raises:
        InputError: an unknown name (the message lists the names) or one given twice, parts of a mesh that overlap, a
            periodic condition on a mesh or on a closed axis.

    Example:
        >>> from pdekit.domain import Annulus
        >>> [b.where + " " + b.kind for b in conditions(Annulus().mesh(), [Boundary("inner", "neumann", 1.0)])]
        ['inner neumann', 'all dirichlet']
    """
    if isinstance(domain, Grid):
        return tuple(resolve_boundaries(domain, boundaries).values())
    rest = Boundary("all", "dirichlet")
    owner = torch.full((len(domain.facets),), -1, dtype=torch.int64)
    named: list[Boundary] = []
    for boundary in boundaries:
        if boundary.kind == "periodic":
            raise InputError(f"The boundary {boundary.where!r} of a mesh is periodic; only the axes of a Grid can be.")
        facets = domain.boundary(boundary.where)
        if boundary.where in [b.where for b in named]:
            raise InputError(f"The boundary {boundary.where!r} is given twice; expected one condition each.")
        if boundary.where == "all":
            rest = boundary
            named.append(boundary)
            continue
        taken = owner[facets] >= 0
        if bool(taken.any()):
            other = named[int(owner[facets[taken][0]])].where
            raise InputError(
                f"The boundaries {other!r} and {boundary.where!r} share {int(taken.sum())} facets, such as facet "
                f"{int(facets[taken][0])}; expected parts that do not overlap. 'all' stands for whatever is left."
            )
        owner[facets] = len(named)
        named.append(boundary)
    given = tuple(boundary for boundary in named if boundary.where != "all")
    return (*given, rest) if bool((owner[domain.boundary("all")] < 0).any()) else given


def with_rest(mesh: Mesh, parts: Sequence[Boundary]) -> tuple[Mesh, tuple[Boundary, ...]]:
    """The mesh with its unnamed facets named :data:`REST`, and the conditions of :func:`conditions` by these names."""
    if not parts or parts[-1].where != "all" or len(parts) == 1:
        return mesh, tuple(parts)
    left = torch.ones(len(mesh.facets), dtype=torch.bool)
    for boundary in parts[:-1]:
        left[mesh.boundary(boundary.where)] = False
    everything = mesh.boundary("all")
    named = mesh.with_names({**mesh.boundaries, REST: everything[left[everything]]})
    rest = parts[-1]
    return named, (*parts[:-1], Boundary(REST, rest.kind, rest.value, rest.coefficient))
