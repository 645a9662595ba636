"""A basis made of earlier solutions."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import check_finite, check_limit, check_number
from pdekit.core.errors import InputError
from pdekit.solvers.memory import Memory
from pdekit.solvers.operators.convert import precise
from pdekit.solvers.recycling.space import RecycleSpace
from pdekit.solvers.reduced.pod import magnitude, pod
from pdekit.solvers.reduced.states import check_state, numbers_in

__all__ = ["ReducedBasis"]

_FIRST = 4
"""Solutions before the first decomposition."""


class ReducedBasis(Memory):
    """The directions in which solutions have differed so far: a first guess for the next ones.

    It takes in solutions until it has seen ``snapshots`` of them, scaled to length 1, and decomposes them
    (:func:`pdekit.solvers.pod`) when it has 4, 8, 16, .., at last when it has all; then it is frozen, and keeps the
    basis alone. Solutions of another size, type or device start it afresh.

    Args:
        size: vectors of the basis at most; a first guess costs as many products with the matrix.
        snapshots: solutions that are taken in.
        tolerance: of the decomposition: part of the snapshots, in the mean of squares, that may be left out.

    Raises:
        InputError: a limit that is no whole number of at least 1, or a tolerance outside [0, 1).

    Example:
        >>> basis = ReducedBasis(size=3)
        >>> basis.add(torch.eye(4, dtype=torch.float64))
        >>> basis, basis.basis.shape, basis.count
        (ReducedBasis(size=3, snapshots=64, tolerance=1e-08), torch.Size([3, 4]), 4)
    """

    def __init__(self, size: int = 20, snapshots: int = 64, tolerance: float = 1e-8):
        check_limit("ReducedBasis", "size", size)
        check_limit("ReducedBasis", "snapshots", snapshots)
        check_number("ReducedBasis", "tolerance", tolerance)
        if not 0 <= tolerance < 1:
            raise InputError(f"ReducedBasis has tolerance={tolerance}; expected a number from 0 to 1.")
        self.size, self.snapshots, self.tolerance = size, snapshots, tolerance
        self.reset()

    def reset(self) -> None:
        self.basis: Inexact[Tensor, "size n"] | None = None
        """``(size, n)``, orthonormal rows, the most important first; None before the first decomposition."""
        self.count = 0
        """Solutions taken in."""
        self._kept: Inexact[Tensor, "count n"] | None = None

    @property
    def frozen(self) -> bool:
        """Whether it takes in nothing any more."""
        return self.count >= self.snapshots

    @property
    def due(self) -> int:
        """After how many more solutions it changes; 0 where it is frozen."""
        if self.frozen:
            return 0
        following = _FIRST
        while following <= self.count:
            following *= 2
        return min(following, self.snapshots) - self.count

    def fits(self, x: Inexact[Tensor, "*batch n"]) -> bool:
        """Whether what it holds is of the size, type and device of these vectors; an empty one fits all."""
        held = self.basis if self._kept is None else self._kept
        return held is None or (held.shape[-1], held.dtype, held.device) == (x.shape[-1], x.dtype, x.device)

    @torch.no_grad()
    def add(self, x: Inexact[Tensor, "*batch n"]) -> None:
        """Take in solutions, in their order; those that are 0 say nothing and are left out.

        Args:
            x: of which no more are taken than ``snapshots`` allows.

        Raises:
            InputError: no tensor of vectors, or one with entries that are not finite; none is taken in then.
        """
        if not isinstance(x, Tensor) or x.ndim == 0 or 0 in x.shape[-1:]:
            given = f"has shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"is a {type(x).__name__}"
            raise InputError(f"x {given}; expected a tensor (*batch, n) of solutions. torch.as_tensor makes tensors.")
        check_finite("x", x)
        x = precise(x.detach())
        if not self.fits(x):
            self.reset()
        x = x.reshape(-1, x.shape[-1])
        x = x[(x != 0).any(-1)]
        x = x / magnitude(x, (-1,))  # first: the norm may be beyond all numbers
        x = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        while len(x) and not self.frozen:
            taken, x = x[: self.due], x[self.due :]
            decompose = len(taken) == self.due
            self._kept = taken.clone() if self._kept is None else torch.cat([self._kept, taken])
            self.count += len(taken)
            if decompose:
                self.basis = pod(self._kept, self.size, self.tolerance).basis.contiguous()
        if self.frozen:
            self._kept = None

    def as_recycle_space(self, vectors: int | None = None) -> RecycleSpace:
        """Its first vectors as a space to deflate with, for GCRO-DR or deflated CG; empty while it is.

        Args:
            vectors: how many; None takes all.

        Example:
            >>> basis = ReducedBasis()
            >>> basis.add(torch.eye(4, dtype=torch.float64))
            >>> basis.as_recycle_space(2).basis.shape
            torch.Size([2, 4])
        """
        space = RecycleSpace(self.size if vectors is None else vectors)
        if self.basis is not None and len(self.basis):
            space.replace(self.basis)
        return space

    def state_dict(self) -> dict[str, Any]:
        basis, kept = (None if part is None else part.clone() for part in (self.basis, self._kept))
        return {"basis": basis, "count": self.count, "snapshots": kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_state("ReducedBasis", state, ("basis", "count", "snapshots"))
        count, basis, kept = state["count"], None, None
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise InputError(f"The state of a ReducedBasis has count={count!r}; expected a whole number of at least 0.")
        if state["snapshots"] is not None:
            kept = numbers_in("ReducedBasis", state, "snapshots", (count, "n"))
        if state["basis"] is not None:
            like = () if kept is None else (kept.dtype,)
            basis = numbers_in("ReducedBasis", state, "basis", ("size", "n" if kept is None else kept.shape[1]), *like)
        if kept is None and basis is None and count > 0:
            raise InputError(f"The state of a ReducedBasis has count={count}, but neither a basis nor snapshots.")
        self.basis, self.count, self._kept = basis, count, kept

    def __repr__(self) -> str:
        return f"ReducedBasis(size={self.size}, snapshots={self.snapshots}, tolerance={self.tolerance})"
