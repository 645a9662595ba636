"""The V-cycles of a batch of matrices as an operator."""

import threading
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.kernels.sparse.amg_cycle import cycle
from pdekit.kernels.sparse.interpolation import poorly_covered
from pdekit.kernels.sparse.pcg import MULTIGRID, KernelPreconditioner
from pdekit.kernels.threads import for_each_sample
from pdekit.solvers.amg.transfers import Settings, Transfers, build
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR

__all__ = ["Hierarchy"]

_POOR = 0.002
"""A matrix whose part of poorly covered fine unknowns is larger gets a hierarchy of its own."""


class Hierarchy(LinearOperator):
    """A symmetric V-cycle for each matrix of a batch; print it for its levels.

    Args:
        A: the matrices, with the whole diagonal stored.
        settings: how to coarsen.
        reuse: whether matrices share transfers where the rule allows it.
    """

    def __init__(self, A: CSR, settings: Settings, reuse: bool):
        self._A, self.settings = A, settings
        self._indptr, self._indices = A.pattern.arrays
        self._entries = A.entries.detach().cpu().reshape(-1, A.pattern.nnz).contiguous().numpy()
        self._near = None if A.near_nullspace is None else A.near_nullspace.detach().cpu().numpy()
        self._nodes = _nodes(A)
        self._own: dict[int, Transfers] = {}
        self._lock = threading.Lock()
        count = len(self._entries)
        self.shared: Transfers | None = None
        """What matrices share, made of their representative."""
        self.foreign = np.ones(count, dtype=bool)
        """Which matrices do not share."""
        if reuse and count:
            self.shared = self._coarsen(self._representative())
            self.foreign = self._foreign(self.shared)

    def _representative(self) -> np.ndarray:
        if len(self._entries) == 1:
            return self._entries[0]
        diagonal = self._entries[:, self._A.pattern.diagonal[0].cpu().numpy()]
        scale = np.abs(diagonal).mean(axis=1)
        return (self._entries / np.where(scale > 0, scale, 1.0)[:, None]).mean(axis=0)

    def _coarsen(self, entries: np.ndarray) -> Transfers:
        return build(self._indptr, self._indices, entries, self.settings, self._near, self._nodes)

    def _foreign(self, shared: Transfers) -> np.ndarray:
        """Whether each matrix breaks the rule of reuse, judged by its numbers and the shared patterns alone."""
        found = np.zeros(len(self._entries), dtype=bool)
        if len(found) > 1 and shared.coarse is not None and shared.role is not None:
            fine = max(int((~shared.coarse).sum()), 1)
            coarse, role = shared.coarse, shared.role

            def one(i: int, _: dict) -> None:
                poor = poorly_covered(self._indptr, self._indices, coarse, role, self._entries[i])
                found[i] = poor > _POOR * fine

            for_each_sample(one, len(found), None)
        return found

    def transfers(self, index: int) -> Transfers:
        """What the numbers of one matrix, counted through the batch, are computed with."""
        if self.shared is not None and not self.foreign[index]:
            return self.shared
        with self._lock:
            if index not in self._own:
                self._own[index] = self._coarsen(self._entries[index])
            return self._own[index]

    def kernel(self, index: int, space: dict) -> KernelPreconditioner | None:
        """The cycle of one matrix for the fused kernel, its numbers in memory kept in a thread's ``space``.

        None where the matrix has a diagonal entry that is not positive.
        """
        if space.get("matrix") != index:
            transfers = self.transfers(index)
            if space.get("transfers") is not transfers:
                space.update(transfers=transfers, values=np.empty(transfers.values_size))
                space["work"] = np.empty(transfers.work_size)
            space["sound"] = transfers.refresh(self._entries[index], space["values"])
            space["matrix"] = index
        if not space["sound"]:
            return None
        transfers = space["transfers"]
        return KernelPreconditioner(MULTIGRID, transfers.table, transfers.index, space["values"], space["work"])

    @property
    def shape(self) -> tuple[int, int]:
        return self._A.shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._A.batch_shape

    @property
    def dtype(self) -> torch.dtype:
        return self._A.dtype

    @property
    def device(self) -> torch.device:
        return self._A.device

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE})

    @property
    def name(self) -> str:
        kind = "smoothed aggregation" if self.settings.aggregation else "classical"
        smoother = f"Chebyshev of degree {self.settings.degree}" if self.settings.degree else "Gauss-Seidel"
        count = len(self.foreign)
        alone = int(self.foreign.sum())
        sharing = "" if count == 1 else f"; {count - alone} of {count} matrices share transfers"
        first = self.shared or (self.transfers(0) if count else None)
        levels = "no matrix" if first is None else f"{len(first.levels)} levels"
        return f"AMG ({kind}, {levels}, {smoother}{sharing})"

    def __str__(self) -> str:
        lines = [self.name]
        first = self.shared or (self.transfers(0) if len(self.foreign) else None)
        if first is None:
            return self.name
        count, alone = len(self.foreign), int(self.foreign.sum())
        if count > 1 and self.shared is not None:
            lines.append(f"  representative         mean of the {count} matrices, each scaled by its diagonal")
            lines.append(f"  hierarchy of its own   {alone} of {count} matrices")
        lines.append(f"  operator complexity    {first.operator_complexity:.2f}")
        lines.append(f"  grid complexity        {first.grid_complexity:.2f}")
        lines.append("  level   unknowns      entries")
        lines += [f"  {i:5d}{level.unknowns:11,}{level.entries:13,}" for i, level in enumerate(first.levels)]
        return "\n".join(lines)

    __repr__ = __str__

    def matvec(self, x: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        return _Apply.apply(x, self)  # pyright: ignore[reportReturnType]

    @cached_property
    def _numbers(self) -> list[np.ndarray]:
        """Of every matrix, for cycles outside the fused kernel."""
        numbers = [np.empty(0)] * len(self._entries)

        def one(i: int, _: dict) -> None:
            transfers = self.transfers(i)
            numbers[i] = np.empty(transfers.values_size)
            if not transfers.refresh(self._entries[i], numbers[i]):
                raise InputError(
                    f"Matrix {i} has a diagonal entry that is not positive, so it is not positive definite and AMG "
                    "cannot smooth it. Use MINRES, GMRES or Direct()."
                )

        for_each_sample(one, len(numbers), None)
        return numbers

    @torch.no_grad()
    def cycle(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """The V-cycle without a gradient."""
        batch, n = torch.broadcast_shapes(x.shape[:-1], self.batch_shape), self.shape[0]
        owner = torch.arange(len(self._entries)).reshape(self.batch_shape).expand(batch).reshape(-1).tolist()
        rows = x.detach().expand(*batch, n).reshape(-1, n).contiguous().numpy()
        out, numbers = np.empty_like(rows), self._numbers

        def one(i: int, space: dict) -> None:
            transfers = self.transfers(owner[i])
            if space.get("transfers") is not transfers:
                space.update(transfers=transfers, work=np.empty(transfers.work_size))
            cycle(transfers.table, transfers.index, numbers[owner[i]], space["work"], rows[i], out[i])

        for_each_sample(one, len(rows), None if rows.size > 20_000 else 1)
        return torch.from_numpy(out).reshape(*batch, n)


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, operator: Hierarchy) -> Tensor:
        ctx.operator, ctx.shape = operator, x.shape
        return operator.cycle(x)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor):
        return ctx.operator.matvec(cotangents[0]).sum_to_size(ctx.shape), None


def _nodes(A: CSR) -> np.ndarray | None:
    """Which node each unknown belongs to: those at one place, one after the other, make one; None for scalar fields."""
    if A.geometry is None or not bool(A.geometry.component.any()):
        return None
    points = A.geometry.points.detach().cpu().numpy()
    new = np.ones(len(points), dtype=bool)
    new[1:] = (points[1:] != points[:-1]).any(axis=1)
    return (np.cumsum(new) - 1).astype(np.int32)
