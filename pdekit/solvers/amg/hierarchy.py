"""The V-cycles of a batch of matrices as an operator."""

import math
import threading
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.kernels.sparse.aggregation import poorly_aggregated
from pdekit.kernels.sparse.amg_cycle import cycle
from pdekit.kernels.sparse.interpolation import poorly_covered
from pdekit.kernels.sparse.pcg import MULTIGRID, KernelPreconditioner
from pdekit.kernels.threads import for_each_sample
from pdekit.solvers.amg.coarsen import Splitting
from pdekit.solvers.amg.tensor_cycle import TensorCycle
from pdekit.solvers.amg.transfers import Settings, Transfers, build
from pdekit.solvers.operators.applied import applied
from pdekit.solvers.operators.base import LinearOperator, Tag, owners
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.recycling.kept import KeptTransfers, Structure

__all__ = ["Hierarchy", "near_nullspace", "nodes_of"]

_POOR = 0.03, 0.01
"""A matrix with a larger part of poorly covered or aggregated unknowns gets a hierarchy of its own
(docs/decisions/0010)."""

_POOR_KEPT = 0.1, 0.05
"""The same for transfers of earlier calls, whose speed is measured."""

_KEPT = 4
"""Matrices in a batch up to which each may keep a hierarchy of its own."""

_SMALL = 20_000
"""Numbers in all vectors up to which starting threads does not pay."""


class Hierarchy(LinearOperator):
    """A symmetric V-cycle for each matrix of a batch; print it for its levels.

    Args:
        A: the matrices, with the whole diagonal stored.
        settings: how to coarsen.
        reuse: whether matrices share transfers where the rule allows it.
        kept: transfers of an earlier matrix, and the place for those made here.
    """

    def __init__(self, A: CSR, settings: Settings, reuse: bool, kept: KeptTransfers | None = None):
        self._A, self.settings, self._kept = A, settings, kept
        self._indptr, self._indices = A.pattern.arrays
        self._diagonal = A.pattern.diagonal[0].cpu().numpy()
        self._entries = A.entries.detach().cpu().reshape(math.prod(A.batch_shape), A.pattern.nnz).contiguous().numpy()
        self._structure = Structure(self._indptr, self._indices, settings, near_nullspace(A), nodes_of(A))
        self._own: dict[int, Transfers] = {}
        self._lock = threading.Lock()
        count = len(self._entries)
        self.representative: np.ndarray | None = None
        """``(nnz,)`` entries of the matrix that decides for all; None where one of an earlier call has decided."""
        self.shared: Transfers | None = None
        """What matrices share, made of their representative."""
        self.foreign = np.ones(count, dtype=bool)
        """Which matrices do not share."""
        self.patience = math.inf
        """Iterations for each factor of e after which matrices are set up anew that share transfers kept."""
        if kept is not None and count:
            self._recall(kept)
        if reuse and count and self.shared is None:
            self.representative = self._representative()
            self.shared = self._coarsen(self.representative)
            self.foreign = np.zeros(1, dtype=bool) if count == 1 else self._foreign(self.shared, _POOR)
            if kept is not None:
                kept.keep(self._structure, self.representative, self.shared)

    @property
    def recalled(self) -> bool:
        """Whether the shared transfers were made for matrices of an earlier call."""
        return self.shared is not None and self.representative is None

    def _recall(self, kept: KeptTransfers) -> None:
        transfers = kept.recall(self._structure)
        if transfers is not None and 2 * (foreign := self._foreign(transfers, _POOR_KEPT)).sum() <= len(foreign):
            self.shared, self.foreign, self.patience = transfers, foreign, kept.patience

    def took(self, steps: float, fell: float) -> bool:
        """Tell those who keep the transfers how fast they were.

        Args:
            steps: iterations of a system; infinity where one broke down.
            fell: logarithm of the factor by which its residual fell.

        Returns:
            Whether transfers of an earlier call are given up.
        """
        given_up = self._kept is not None and self._kept.took(self.shared, steps, fell)
        return given_up and self.recalled

    def anew(self) -> "Hierarchy":
        """For the same matrices, without the transfers that were given up."""
        return Hierarchy(self._A, self.settings, True, self._kept)

    def _representative(self) -> np.ndarray:
        if len(self._entries) == 1:
            return self._entries[0]
        total = np.zeros(self._entries.shape[1])
        for entries in self._entries:  # one by one: in this order on any machine, without a copy of all
            total += entries / max(float(np.abs(entries[self._diagonal]).mean()), np.finfo(np.float64).tiny)
        return total / len(self._entries)

    def _coarsen(self, entries: np.ndarray) -> Transfers:
        _, _, _, near, nodes = self._structure
        return build(self._indptr, self._indices, entries, self.settings, near, nodes)

    def _foreign(self, shared: Transfers, most: tuple[float, float]) -> np.ndarray:
        """Whether each matrix breaks the rule of reuse, judged by its numbers and the shared patterns alone."""
        found, first = np.zeros(len(self._entries), dtype=bool), shared.first
        if first is None:
            return found

        def one(i: int, _: dict) -> None:
            if isinstance(first, Splitting):
                role, entries = first.pattern.role, self._entries[i]
                poor = poorly_covered(self._indptr, self._indices, first.coarse, role, entries)
                found[i] = poor > most[0] * max(int((~first.coarse).sum()), 1)
            else:
                theta, group = self.settings.strength, first.group
                poor = poorly_aggregated(self._indptr, self._indices, self._diagonal, group, theta, self._entries[i])
                found[i] = poor > most[1] * len(group)

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

    def shares(self, index: int) -> bool:
        """Whether a matrix uses transfers made for all of several, or for an earlier one."""
        several = len(self._entries) > 1 or self.recalled
        return self.shared is not None and several and not bool(self.foreign[index])

    def kernel(self, index: int | None, space: dict, *, own: bool = False) -> KernelPreconditioner | None:
        """The cycle of one matrix for the fused kernel, its numbers in memory kept in a thread's ``space``.

        Args:
            index: counted through the batch; None for the representative.
            space: a dict that a thread passes with each of its calls.
            own: coarsen the matrix for itself, even where it shares. Such a hierarchy is not kept: hundreds of them
                would not fit into memory.

        Returns:
            None where the matrix has a diagonal entry that is not positive.
        """
        if space.get("matrix") != (index, own):
            if index is None:
                assert self.representative is not None
                assert self.shared is not None
                entries, transfers = self.representative, self.shared
            else:
                entries = self._entries[index]
                keep = not own and (len(self._entries) <= _KEPT or not self.foreign[index])
                transfers = self.transfers(index) if keep else self._coarsen(entries)
            if space.get("transfers") is not transfers:
                space.update(transfers=transfers, values=np.empty(transfers.values_size))
                space["work"] = np.empty(transfers.work_size)
            space["sound"] = transfers.refresh(entries, space["values"])
            space["matrix"] = (index, own)
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
        if self.recalled:
            sharing = "; transfers kept" if count == 1 else f"; {count - alone} of {count} matrices take transfers kept"
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
            made = f"mean of the {count} matrices, each scaled by its diagonal"
            lines.append(f"  representative         {'of an earlier call' if self.recalled else made}")
            lines.append(f"  hierarchy of its own   {alone} of {count} matrices")
        lines.append(f"  operator complexity    {first.operator_complexity:.2f}")
        lines.append(f"  grid complexity        {first.grid_complexity:.2f}")
        lines.append("  level   unknowns      entries")
        lines += [f"  {i:5d}{level.unknowns:11,}{level.entries:13,}" for i, level in enumerate(first.levels)]
        return "\n".join(lines)

    __repr__ = __str__

    def matvec(self, x: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        return applied(self, self.cycle, x)

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

    @cached_property
    def _tensor_cycles(self) -> list[tuple[list[int], TensorCycle]]:
        """For each transfers the matrices that use them and their cycles."""
        members: dict[int, list[int]] = {}
        for i in range(len(self._entries)):
            members.setdefault(id(self.transfers(i)), []).append(i)
        cycles = []
        for mine in members.values():
            numbers = [self._numbers[i] for i in mine]
            cycles.append((mine, TensorCycle(self.transfers(mine[0]), self._entries[mine], numbers, self.device)))
        return cycles

    @torch.no_grad()
    def cycle(self, x: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        """The V-cycle without a gradient."""
        batch, n = torch.broadcast_shapes(x.shape[:-1], self.batch_shape), self.shape[0]
        owner = owners(self.batch_shape, batch)
        rows = x.detach().expand(*batch, n).reshape(-1, n)
        apply = self._apply_kernels if self.device.type == "cpu" else self._apply_tensors
        return apply(rows, owner).reshape(*batch, n)

    def _apply_kernels(self, x: Tensor, owner: Tensor) -> Tensor:
        rows, numbers, places = x.contiguous().numpy(), self._numbers, owner.tolist()
        out = np.empty_like(rows)

        def one(i: int, space: dict) -> None:
            k = places[i]
            transfers = self.transfers(k)
            if space.get("transfers") is not transfers:
                space.update(transfers=transfers, work=np.empty(transfers.work_size))
            cycle(transfers.table, transfers.index, self._entries[k], numbers[k], space["work"], rows[i], out[i])

        for_each_sample(one, len(rows), None if rows.size > _SMALL else 1)
        return torch.from_numpy(out)

    def _apply_tensors(self, x: Tensor, owner: Tensor) -> Tensor:
        out = torch.empty_like(x)
        for matrices, cycles in self._tensor_cycles:
            places = torch.full((len(self._entries),), -1)
            places[matrices] = torch.arange(len(matrices))
            chosen = torch.nonzero(places[owner] >= 0)[:, 0]
            here = chosen.to(x.device)
            out[here] = cycles.apply(x[here], places[owner][chosen].to(x.device))
        return out


def near_nullspace(A: CSR) -> np.ndarray | None:
    """As given; otherwise a constant for each component of a vector field, or None, which stands for one constant."""
    if A.near_nullspace is not None:
        return A.near_nullspace.detach().cpu().numpy()
    if A.geometry is None or not bool(A.geometry.component.any()):
        return None
    component = A.geometry.component.detach().cpu().numpy()
    return np.equal.outer(component, np.unique(component)).astype(np.float64)


def nodes_of(A: CSR) -> np.ndarray | None:
    """Which node each unknown belongs to: those at one place, one after the other, make one; None for scalar fields."""
    if A.geometry is None or not bool(A.geometry.component.any()):
        return None
    points = A.geometry.points.detach().cpu().numpy()
    new = np.ones(len(points), dtype=bool)
    new[1:] = (points[1:] != points[:-1]).any(axis=1)
    return (np.cumsum(new) - 1).astype(np.int32)
