"""Named parts of a mesh: numbers of facets or cells by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain.mesh_checks import listing

__all__ = ["check_names", "facets_where"]


def check_names(kind: str, given: Mapping[str, Any], count: int, what: str) -> Mapping[str, Tensor]:
    """Named numbers, sorted and distinct; refuses numbers that do not exist and names that mean something else.

    Args:
        kind: ``boundary`` or ``region``, for messages.
        given: numbers by name.
        count: of the facets or cells.
        what: ``facet`` or ``cell``, for messages.
    """
    plural = "boundaries" if kind == "boundary" else "regions"
    if not isinstance(given, Mapping):
        raise InputError(f"{plural} is a {type(given).__name__}; expected {what} numbers by name, {{name: numbers}}.")
    out = {}
    for name, numbers in given.items():
        try:
            array = np.asarray(numbers)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"The {kind} {name!r} is no array of {what} numbers: {error}.") from error
        if array.size == 0:
            array = array.astype(np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise InputError(f"The {kind} {name!r} is {array.dtype} of shape {array.shape}; expected {what} numbers.")
        if not isinstance(name, str) or not name:
            raise InputError(f"A {kind} is named {name!r}; expected a word.")
        if not name.isprintable():
            raise InputError(f"A {kind} is named {name!r}; expected a word without line ends and control characters.")
        if name == "all":
            raise InputError(f'A {kind} cannot be named "all": that word stands for the whole of it.')
        bad = array[(array < 0) | (array >= count)]
        if len(bad):
            raise InputError(
                f"The {kind} {name!r} names the {what}s {listing(bad)}, which do not exist; expected numbers from 0 to "
                f"{count - 1}."
            )
        out[name] = torch.from_numpy(np.unique(array).astype(np.int64))
    return MappingProxyType(out)


def facets_where(
    points: Tensor, facets: Tensor, candidates: Tensor, name: str, where: Callable[[Tensor], Tensor]
) -> Int64[Tensor, " m"]:
    """Those of some facets whose vertices and midpoint are all where a function of the points says.

    Args:
        points: ``(nodes, dim)``.
        facets: ``(facets, k)`` nodes of all facets.
        candidates: numbers of the facets to choose from.
        name: of the boundary that is wanted, for messages.
        where: of points, coordinates first ``(dim, m)``, true or false for each.

    Raises:
        InputError: an answer of another shape, or no facet for which it is true.
    """
    if not callable(where):
        raise InputError(
            f"where is a {type(where).__name__} for the boundary {name!r}; expected a function of points, such as "
            "lambda x: x[0] < 1e-9. Facet numbers go to with_names."
        )
    corners = points[facets[candidates]]
    inside = torch.ones(len(candidates), dtype=torch.bool)
    for place in (corners.mean(dim=1), *corners.unbind(dim=1)):
        try:
            mask = torch.as_tensor(where(place if isinstance(where, Expression) else place.T))
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"The function of the boundary {name!r} failed with {type(error).__name__}: {error}. It gets "
                "coordinates first: x[0] is the first coordinate of every point."
            ) from error
        if isinstance(where, Expression):  # which are numbers: where(x < 0.5, 1, 0)
            mask = mask != 0
        if mask.dtype != torch.bool:
            raise InputError(
                f"where answered with {mask.dtype} for the boundary {name!r}; expected true or false for each point. "
                "Did you mean a comparison, == or <?"
            )
        if mask.shape != inside.shape:
            raise InputError(
                f"where answered with the shape {tuple(mask.shape)} for {len(place)} points; expected ({len(place)},). "
                "It gets coordinates first: x[0] is the first coordinate of every point."
            )
        inside &= mask
    if not inside.any():
        raise InputError(
            f"No boundary facet lies where the boundary {name!r} is wanted. Compare coordinates with a tolerance "
            f"(the boundary reaches from {corners.amin((0, 1)).tolist()} to {corners.amax((0, 1)).tolist()})."
        )
    return candidates[inside]
