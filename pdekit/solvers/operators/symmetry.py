"""Which sparse matrices equal their transposes, and the size of entries, found without copies of a whole batch."""

import torch
from jaxtyping import Inexact, Int
from torch import Tensor

from pdekit.solvers.operators.base import Tag

__all__ = ["largest", "symmetries"]

_BLOCK = 2**16
"""Entries that are compared at a time on the CPU, so that what is made of them stays in the cache."""


def symmetries(entries: Inexact[Tensor, "*batch nnz"], order: Int[Tensor, " nnz"]) -> frozenset[Tag]:
    """Whether each matrix of a batch equals its transpose (SYMMETRIC) and its adjoint (HERMITIAN), up to rounding.

    Args:
        entries: of matrices whose pattern equals its transpose.
        order: where the mirror image of each entry is.
    """
    entries = entries.reshape(-1, entries.shape[-1])
    limit = 8 * torch.finfo(entries.dtype).eps * largest(entries)
    found = {Tag.SYMMETRIC, Tag.HERMITIAN}
    count = max(_BLOCK // max(entries.shape[-1], 1), 1) if entries.device.type == "cpu" else len(entries)
    for some in entries.split(count):
        # Along an only axis torch selects faster.
        mirror = some[0].index_select(0, order) if len(some) == 1 else some.index_select(-1, order)
        if not largest(mirror - some) <= limit:  # nor where it is NaN
            found.discard(Tag.SYMMETRIC)
            if not entries.is_complex():
                return frozenset()
        if entries.is_complex() and not largest(mirror.conj() - some) <= limit:
            found.discard(Tag.HERMITIAN)
    return frozenset(found)


def largest(values: Inexact[Tensor, "..."]) -> float:
    """The largest size of some entries, NaN where one is; of real ones without room for as many more."""
    if values.is_complex():
        return float(values.abs().amax())
    least, most = torch.aminmax(values)
    return max(-float(least), float(most))
