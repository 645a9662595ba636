"""What kind of system a bandit is to choose for."""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.solvers.learning.states import checked, instance, number, optional, whole
from pdekit.solvers.operators.base import LinearOperator

__all__ = ["Context", "Glance"]

_PROBED = 1024
"""Entries of a matrix that are compared with those of the one before."""


class Glance(NamedTuple):
    """A look at a matrix, cheap enough to be taken at every call.

    Args:
        structure: type, order, stored entries, dtype and device.
        probe: some of its entries, evenly spread.
        total: the sum of all.
    """

    structure: str
    probe: Inexact[Tensor, " probed"]
    total: Tensor

    @staticmethod
    def at(A: LinearOperator) -> "Glance":
        """Of one matrix."""
        first = A.values[0].detach().reshape(-1).resolve_conj()
        stored = first.numel()
        structure = f"{type(A).__name__}, {A.shape[0]}, {stored}, {first.dtype}, {first.device.type}"
        # NumPy's sum takes one thread: waking a second one would take longer than the sum.
        total = torch.as_tensor(first.numpy().sum()) if first.device.type == "cpu" else first.sum().cpu()
        return Glance(structure, _spread(first).cpu().clone(), total)

    def change(self, before: "Glance | None") -> float | None:
        """Relative change of the entries since another matrix; None where the two have other entries stored."""
        if before is None or before.structure != self.structure or before.probe.shape != self.probe.shape:
            return None
        if torch.equal(self.probe, before.probe):
            return 0.0 if bool(self.total == before.total) else 1e-16
        size = float(torch.linalg.vector_norm(before.probe))
        return float(torch.linalg.vector_norm(self.probe - before.probe)) / max(size, 1e-300)


_CLOSE = -1.5
"""Changes below 3 % are all small."""


@dataclass(frozen=True)
class Context:
    """The kind of a system, in coarse terms: systems of one kind have one best method.

    Args:
        what: operator, symmetry, dtype and device.
        table: the methods that :class:`Auto` takes by its table.
        unknowns: order of the matrix.
        row: stored entries of a mean row.
        sharing: right-hand sides that one matrix has in a call.
        contrast: decimal logarithm of the largest over the smallest of some entries, evenly spread: of the diagonal, or
            of a stencil's conductances.
        change: decimal logarithm of the relative change of the entries since the matrix before; minus infinity where
            the matrix is the same, None where none came before.
    """

    what: str
    table: str
    unknowns: int
    row: float
    sharing: int
    contrast: float
    change: float | None

    def like(self, other: "Context") -> bool:
        """Whether two systems are of one kind: alike but for a quarter in size, a power of 10 in the numbers."""
        mine, others = self.change, other.change
        near = mine is None or others is None or _near(max(mine, _CLOSE), max(others, _CLOSE), 1.0)
        return self.alike(other) and self.same == other.same and near

    def alike(self, other: "Context") -> bool:
        """Whether they are of one kind but for the change since the matrix before."""
        return (
            (self.what, self.table) == (other.what, other.table)
            and _near(math.log(max(self.unknowns, 1)), math.log(max(other.unknowns, 1)), 0.25)
            and _near(self.row, other.row, 0.25 * self.row)
            and _near(math.log2(self.sharing), math.log2(other.sharing), 2.0)
            and _near(self.contrast, other.contrast, 1.0)
        )

    @property
    def same(self) -> bool:
        """Whether the matrix is the one before."""
        return self.change == -math.inf

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_state(state: Any) -> "Context":
        """What :meth:`state_dict` gave.

        Raises:
            InputError: it is something else.
        """
        size = {"unknowns": whole(), "row": number(), "sharing": whole(1)}
        change = {"contrast": number(most=math.inf), "change": optional(number(-math.inf, math.inf))}
        text = {"what": instance(str), "table": instance(str)}
        return Context(**checked("a context", state, text | size | change))

    def __str__(self) -> str:
        several = f", {self.sharing} right-hand sides each" if self.sharing > 1 else ""
        since = {True: "the same matrix again", False: ""}[self.same]
        if self.change is None:
            since = "no matrix before"
        elif not self.same:
            since = f"entries change by {100 * min(10**self.change, 9.99):.2g} %"
        return f"{self.what}, {self.unknowns:,} unknowns{several}, contrast {10**self.contrast:.2g}, {since}"


def _near(a: float, b: float, by: float) -> bool:
    return a == b or abs(a - b) <= by


def _spread(values: Inexact[Tensor, " n"]) -> Inexact[Tensor, " probed"]:
    """Some of the values, evenly spread."""
    return values[:: max(1, values.numel() // _PROBED)]


def contrast_of(diagonal: Inexact[Tensor, " n"]) -> float:
    """Decimal logarithm of the largest over the smallest size, of some entries; 0 where there is none."""
    sizes = _spread(diagonal).abs()
    least, largest = (float(size) for size in torch.aminmax(sizes)) if sizes.numel() else (0.0, 0.0)
    if not least and largest:
        least = float(sizes[sizes > 0].amin())
    return math.log10(largest) - math.log10(least) if largest else 0.0
