"""Sums of contributions as products with one sparse matrix, differentiable."""

import math
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import is_fake

__all__ = ["Router"]


class Router:
    """A constant sparse matrix R that maps coefficients, or the matrices of cells, to the entries of assembled ones.

    Args:
        starts: ``(rows + 1,)`` int32, where each row begins; None where each row has one entry.
        columns: ``(stored,)`` int32, in ascending order of contributions within each row.
        weights: ``(stored,)``; of length 0 where all of them are 1.
        width: number of columns.
    """

    def __init__(self, starts: np.ndarray | None, columns: np.ndarray, weights: np.ndarray, width: int):
        self.selects = starts is None and len(weights) == 0
        self.starts = np.arange(len(columns) + 1, dtype=np.int32) if starts is None else starts
        self.columns, self.weights, self.width = columns, weights, width

    @staticmethod
    def selecting(columns: np.ndarray, width: int) -> "Router":
        """The matrix that picks entries of a vector."""
        return Router(None, columns.astype(np.int32), np.empty(0), width)

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        """Memory of the matrix, twice: its transpose is kept too once a gradient was asked for."""
        return 2 * (self.starts.nbytes + self.columns.nbytes + self.weights.nbytes)

    @cached_property
    def transposed(self) -> "Router":
        """R transposed."""
        weights = self.weights if len(self.weights) else np.ones(len(self.columns))
        matrix = scipy.sparse.csr_array((weights, self.columns, self.starts), shape=(self.height, self.width))
        turned = scipy.sparse.csr_array(matrix.T)
        unweighted = np.empty(0) if len(self.weights) == 0 else turned.data
        router = Router(turned.indptr.astype(np.int32), turned.indices.astype(np.int32), unweighted, self.height)
        router.__dict__["transposed"] = self
        return router

    def __call__(self, x: Shaped[Tensor, "*batch width"]) -> Shaped[Tensor, "*batch height"]:
        """R x, summed in one order whatever the batch; its gradient is a product with the transpose."""
        if x.is_complex():
            return torch.complex(self(x.real), self(x.imag))
        return _Route.apply(x, self)  # pyright: ignore[reportReturnType]

    @cached_property
    def _on_devices(self) -> dict[torch.device, tuple[Tensor, Tensor, Tensor]]:
        return {}

    def on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """The row, the column and the weight of each stored entry on a device."""
        if device not in self._on_devices:
            rows = np.repeat(np.arange(self.height), np.diff(self.starts))
            weights = self.weights if len(self.weights) else np.ones(len(self.columns))
            parts = (torch.from_numpy(part).to(device) for part in (rows, self.columns.astype(np.int64), weights))
            self._on_devices[device] = tuple(parts)  # pyright: ignore[reportArgumentType]
        return self._on_devices[device]


class _Route(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, router: Router) -> Tensor:
        ctx.router = router
        if x.device.type != "cpu" or is_fake(x):
            rows, columns, weights = router.on(x.device)
            zeros = torch.zeros((*x.shape[:-1], router.height), dtype=x.dtype, device=x.device)
            return zeros.index_add(-1, rows, weights * x.index_select(-1, columns))
        from pdekit.kernels.sparse.routing import route, take  # compiled code is loaded on first use

        batch = x.shape[:-1]
        vectors = x.detach().reshape(math.prod(batch), router.width).contiguous().numpy()
        if router.selects:
            out = take(router.columns, vectors)
        else:
            out = route(router.starts, router.columns, router.weights, vectors)
        return torch.from_numpy(out).reshape(*batch, router.height)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor):
        return _Route.apply(cotangents[0], ctx.router.transposed), None
