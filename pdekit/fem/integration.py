"""Where forms are integrated: what cells and facets have in common."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from pdekit.fem.patch import Patch
from pdekit.fem.quantities import Function
from pdekit.fem.routing import Router

if TYPE_CHECKING:
    from pdekit.fem.space import Space

__all__ = ["Integration"]


class Integration(ABC):
    """Cells or facets to integrate over, each with the degrees of freedom of its cell."""

    @property
    @abstractmethod
    def space(self) -> "Space":
        """Whose degrees of freedom they are."""

    @property
    @abstractmethod
    def n_items(self) -> int:
        """How many cells or facets."""

    @property
    @abstractmethod
    def item_dofs(self) -> Int64[Tensor, "items k"]:
        """The degrees of freedom of the cell of each item."""

    @abstractmethod
    def patch_of(self, items: Int64[Tensor, " m"], device: torch.device, order: int | None = None) -> Patch:
        """Some items with their quadrature points."""

    def patch(self, first: int, last: int, device: torch.device, order: int | None = None) -> Patch:
        """Some consecutive items with their quadrature points."""
        return self.patch_of(torch.arange(first, last), device, order)

    def basis(self, patch: Patch, role: str) -> Function:
        """The basis functions on a patch, counted by the axis of the ``trial`` or of the ``test`` functions."""
        space = self.space
        values = patch.tabulate(space.scalar)[0]

        def counted(array: Tensor, components: int) -> Tensor:
            # axes (items, q, k, *components) to (items, q, 1, k, ...) or (items, q, k, 1, ...)
            return array.unsqueeze(2 if role == "trial" else 3)

        if not space.rank:
            return Function(counted(values, 0), 0, lambda: counted(patch.gradients(space.scalar), 1))
        d = space.components
        units = torch.eye(d, dtype=torch.float64, device=patch.device)

        def gradient() -> Tensor:
            each = patch.gradients(space.scalar)[..., None, None, :] * units[:, :, None]
            return counted(each.flatten(2, 3), 2)

        return Function(counted((values[..., None, None] * units).flatten(2, 3), 1), 1, gradient)

    @cached_property
    def _dofs32(self) -> np.ndarray:
        return np.ascontiguousarray(self.item_dofs.numpy().astype(np.int32))

    @cached_property
    def matrix_gather(self) -> Router:
        """Sums the matrices of the items, ``(items * k * k,)``, into the entries of the pattern of the space."""
        from pdekit.kernels.sparse.pattern import find_places, group  # compiled code is loaded on first use

        pattern = self.space.pattern
        places = find_places(*pattern.arrays, self._dofs32)
        return _summing(*group(places.reshape(-1), pattern.nnz), places)

    @cached_property
    def vector_gather(self) -> Router:
        """Sums the vectors of the items, ``(items * k,)``, into the degrees of freedom."""
        from pdekit.kernels.sparse.pattern import group  # compiled code is loaded on first use

        return _summing(*group(self._dofs32.reshape(-1), self.space.n_dofs), self._dofs32)


def _summing(starts: np.ndarray, order: np.ndarray, targets: np.ndarray) -> Router:
    router = Router(starts, order, np.empty(0), targets.size)
    # Each contribution has one target: the transpose needs no search.
    back = Router.selecting(targets.reshape(-1), len(starts) - 1)
    router.__dict__["transposed"], back.__dict__["transposed"] = back, router
    return router
