"""Which entries of a sparse matrix are stored."""

from functools import cached_property

import numpy as np
import scipy.sparse.csgraph
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from pdekit.core.errors import InputError

__all__ = ["Pattern"]


class Pattern:
    """Places of the stored entries of a square matrix, in compressed rows; many matrices share one.

    Columns are in order within each row, without repetition. What is derived from a pattern is found once, on first
    use.

    Args:
        indptr: ``(n + 1,)``, where each row begins in ``indices``.
        indices: ``(nnz,)``, the column of each entry.

    Raises:
        InputError: arrays that make no pattern, with the row.

    Example:
        >>> pattern = Pattern(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1]))
        >>> pattern.n, pattern.nnz, pattern.rows.tolist()
        (2, 3, [0, 0, 1])
    """

    def __init__(self, indptr: Int[Tensor, " rows_and_one"], indices: Int[Tensor, " nnz"]):
        self.indptr, self.indices = indptr.to(torch.int64), indices.to(torch.int64)
        if len(indptr) == 0 or int(indptr[0]) != 0 or int(indptr[-1]) != len(indices):
            raise InputError(
                f"indptr has {len(indptr)} entries; expected starts of rows that run from 0 to the {len(indices)} "
                "stored entries."
            )
        if bool((short := self.indptr.diff() < 0).any()):
            raise InputError(f"indptr decreases after row {int(torch.nonzero(short)[0])}; expected starts of rows.")
        if len(indices):
            low, high = (int(v) for v in torch.aminmax(self.indices))
            if low < 0 or high >= self.n:
                raise InputError(f"indices run from {low} to {high}; expected columns from 0 to {self.n - 1}.")
            unordered = (self.indices.diff() <= 0) & (self.rows.diff() == 0)
            if bool(unordered.any()):
                raise InputError(
                    f"Row {int(self.rows[torch.nonzero(unordered)[0]])} names a column twice or out of order; expected "
                    "columns in order (scipy: sum_duplicates() does it)."
                )

    @property
    def n(self) -> int:
        """Rows and columns."""
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return len(self.indices)

    @property
    def device(self) -> torch.device:
        return self.indices.device

    @cached_property
    def rows(self) -> Int[Tensor, " nnz"]:
        """The row of each entry."""
        return torch.repeat_interleave(torch.arange(self.n, device=self.device), self.indptr.diff())

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """``indptr`` and ``indices`` as int32 arrays on the CPU, for kernels."""
        return tuple(part.cpu().numpy().astype(np.int32) for part in (self.indptr, self.indices))  # pyright: ignore

    @cached_property
    def widest_row(self) -> int:
        """Stored entries of the row that has most."""
        return int(self.indptr.diff().amax()) if self.n else 0

    @cached_property
    def diagonal(self) -> tuple[Int[Tensor, " stored"], Int[Tensor, " stored"]]:
        """Where the stored entries of the diagonal are, and in which rows."""
        places = torch.nonzero(self.rows == self.indices)[:, 0]
        return places, self.rows[places]

    @cached_property
    def transposed(self) -> tuple["Pattern", Int[Tensor, " nnz"]]:
        """The pattern of the transpose (this one where it is symmetric), and which entry each of its entries is."""
        from pdekit.kernels.sparse.product import transposition  # compiled code is loaded on first use

        indptr, indices, order = (torch.from_numpy(part).to(self.device) for part in transposition(*self.arrays))
        if torch.equal(indptr.to(torch.int64), self.indptr) and torch.equal(indices.to(torch.int64), self.indices):
            return self, order
        turned = Pattern(indptr, indices)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        turned.__dict__["transposed"] = (self, back)
        return turned, order

    @cached_property
    def width(self) -> float:
        """How far, on average, a row reaches back in an ordering that keeps neighbours close.

        1 on a line, about 2/3 of the square root of the number of unknowns on a plane, half its 2/3 power in a box. It
        tells what factoring costs: the work grows like its cube.

        Example:
            >>> import scipy.sparse
            >>> from pdekit.solvers import CSR
            >>> CSR.from_scipy(scipy.sparse.diags_array([1, 2, 1], offsets=[-1, 0, 1], shape=(9, 9))).pattern.width
            0.888...

        Source:
            Reverse Cuthill-McKee, by SciPy.
        """
        indptr, indices = self.arrays
        if self.nnz == 0:
            return 0.0
        place = np.empty(self.n, dtype=np.int64)
        place[self.cuthill_mckee[::-1]] = np.arange(self.n)
        stored = np.diff(indptr) > 0
        first = np.minimum.reduceat(place[indices], indptr[:-1][stored])
        return float(np.maximum(place[stored] - first, 0).sum() / self.n)

    @cached_property
    def cuthill_mckee(self) -> np.ndarray:
        """Unknowns from first to last, ``(n,)`` int32: from one of few neighbours on, each followed by its own."""
        indptr, indices = self.arrays
        if self.nnz == 0:
            return np.arange(self.n, dtype=np.int32)
        graph = scipy.sparse.csr_array((np.ones(self.nnz, dtype=np.int8), indices, indptr), shape=(self.n, self.n))
        symmetric = self.transposed[0] is self
        order = scipy.sparse.csgraph.reverse_cuthill_mckee(graph, symmetric_mode=symmetric)
        return order[::-1].astype(np.int32)

    def to(self, device: torch.device | str) -> "Pattern":
        """The same pattern on another device."""
        return self if torch.device(device) == self.device else Pattern(self.indptr.to(device), self.indices.to(device))

    def embed(self, entries: Shaped[Tensor, "*batch nnz"], into: "Pattern") -> Shaped[Tensor, "*batch more"]:
        """Entries of this pattern as entries of one that contains it, 0 elsewhere; differentiable.

        Raises:
            InputError: the other pattern lacks an entry of this one.
        """
        if into is self:
            return entries
        keys = self.rows * into.n + self.indices
        known = into.rows * into.n + into.indices
        places = torch.searchsorted(known, keys).clamp(max=max(len(known) - 1, 0))
        if self.n != into.n or bool((missing := known[places] != keys).any()):
            what = f"matrices of order {self.n} and {into.n}"
            if self.n == into.n:
                k = int(torch.nonzero(missing)[0])
                what = f"the entry ({int(self.rows[k])}, {int(self.indices[k])}) is stored in one matrix only"
            raise InputError(f"The two patterns do not fit together: {what}.")
        wide = entries.new_zeros((*entries.shape[:-1], into.nnz))
        return wide.index_copy(-1, places, entries)
