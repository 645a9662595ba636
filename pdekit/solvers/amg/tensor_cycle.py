"""The V-cycle of the kernels as tensor operations, for any device."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pdekit.kernels.sparse import amg_cycle as at
from pdekit.solvers.amg.transfers import Transfers

__all__ = ["TensorCycle"]


class _Sparse(NamedTuple):
    rows: Tensor
    columns: Tensor
    entries: Tensor


class _Level(NamedTuple):
    matrix: _Sparse
    inverse: Tensor
    bound: Tensor
    transfer: _Sparse  # without entries on the last level


class TensorCycle:
    """V-cycles with Chebyshev smoothing for matrices that share transfers.

    Args:
        transfers: what they share.
        entries: ``(matrices, nnz)``.
        numbers: of each matrix, as `Transfers.refresh` computed them.
        device: where to apply them.
    """

    def __init__(
        self, transfers: Transfers, entries: Float[np.ndarray, "matrices nnz"], numbers: Sequence[np.ndarray],
        device: torch.device,
    ):  # fmt: skip
        table = transfers.table.reshape(-1, at.COLUMNS).astype(np.int64)
        stacked = np.stack(list(numbers))

        def values(start, size) -> Tensor:
            return torch.from_numpy(stacked[:, start : start + size]).to(device)

        def sparse(rows_at, columns_at, stored: Tensor) -> _Sparse:
            indptr = transfers.index[rows_at : rows_at + n + 1].astype(np.int64)
            rows = torch.from_numpy(np.repeat(np.arange(n), np.diff(indptr)))
            columns = torch.from_numpy(transfers.index[columns_at : columns_at + stored.shape[-1]].astype(np.int64))
            return _Sparse(rows.to(device), columns.to(device), stored)

        self.degree = int(table[0, at.DEGREE])
        self.levels = list[_Level]()
        for depth, t in enumerate(table):
            n, nnz = int(t[at.N]), int(t[at.NNZ])
            own = torch.from_numpy(np.ascontiguousarray(entries)).to(device) if depth == 0 else values(t[at.A_VAL], nnz)
            weights = values(t[at.P_VAL], int(t[at.WEIGHTS]))
            transfer = (
                sparse(t[at.P_PTR], t[at.P_IND], weights)
                if depth + 1 < len(table)
                else _Sparse(own.new_zeros(0), own.new_zeros(0), weights)
            )
            matrix = sparse(t[at.A_PTR], t[at.A_IND], own)
            self.levels.append(_Level(matrix, values(t[at.D_INV], n), values(t[at.BOUND], 1), transfer))
        t = table[-1]
        self.factor = self.free = None
        if t[at.DENSE]:
            n = int(t[at.N])
            factor = values(t[at.FACTOR], n * n).reshape(-1, n, n)
            inverse = factor.diagonal(dim1=-2, dim2=-1)
            self.free = inverse > 0  # the others are left at 0
            self.factor = factor.tril(-1) + torch.diag_embed(torch.where(self.free, 1 / inverse, 1.0))

    def apply(self, x: Float[Tensor, "rows n"], owner: Int[Tensor, " rows"]) -> Float[Tensor, "rows n"]:
        """The cycle of matrix ``owner[i]`` on ``x[i]``."""
        one = len(self.levels[0].inverse) == 1

        def mine(values: Tensor) -> Tensor:
            return values if one else values.index_select(0, owner)

        known: list[tuple[Tensor, Tensor]] = []
        b = x
        for level in self.levels[:-1]:
            z, rest = self._smooth(level, mine, torch.zeros_like(b), b)
            known.append((z, b))
            rows, columns, weights = level.transfer
            coarse = b.new_zeros(len(b), self.levels[len(known)].inverse.shape[-1])
            b = coarse.index_add(-1, columns, mine(weights) * rest.index_select(-1, rows))
        z = self._last(mine, b)
        for level, (fine, b) in zip(reversed(self.levels[:-1]), reversed(known), strict=True):
            rows, columns, weights = level.transfer
            fine = fine.index_add(-1, rows, mine(weights) * z.index_select(-1, columns))
            z, _ = self._smooth(level, mine, fine, b - _product(level, mine, fine))
        return z

    def _smooth(self, level: _Level, mine, x: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """x + p(D^-1 A) D^-1 rest with the Chebyshev polynomial of the upper spectrum, and the residual it leaves."""
        bound, inverse = mine(level.bound), mine(level.inverse)
        # The same for every matrix: relative to the bound of the spectrum.
        middle, half = 0.5 * (1 + 1 / at.EIG_RATIO), 0.5 * (1 - 1 / at.EIG_RATIO)
        ratio = half / middle
        step = inverse * rest / (bound * middle)
        for turn in range(self.degree):
            if turn > 0:
                following = 1 / (2 * middle / half - ratio)
                step = following * ratio * step + 2 * following / (half * bound) * inverse * rest
                ratio = following
            x = x + step
            rest = rest - _product(level, mine, step)
        return x, rest

    def _last(self, mine, b: Tensor) -> Tensor:
        if self.factor is not None and self.free is not None:
            free, factor = mine(self.free), mine(self.factor)
            y = torch.linalg.solve_triangular(factor, torch.where(free, b, 0.0).unsqueeze(-1), upper=False)
            y = torch.linalg.solve_triangular(factor.mT, torch.where(free.unsqueeze(-1), y, 0.0), upper=True)
            return torch.where(free, y.squeeze(-1), 0.0)
        x, rest = torch.zeros_like(b), b
        for _ in range(2 * at.LAST_SWEEPS):
            x, rest = self._smooth(self.levels[-1], mine, x, rest)
        return x


def _product(level: _Level, mine, x: Tensor) -> Tensor:
    rows, columns, entries = level.matrix
    return torch.zeros_like(x).index_add(-1, rows, mine(entries) * x.index_select(-1, columns))
