"""What a sample can say for its own accuracy."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Certificate", "CertificateKind"]

CertificateKind = Literal["residual", "steps", "estimate"]


@dataclass(frozen=True)
class Certificate:
    """One row per sample: the error measure that the solver confirmed, and what it cost.

    The rows describe the float64 solution. Rounding a field to float32 for training or storage moves a Darcy residual
    to about 1e-5..1e-3, which is why ``verify`` re-solves instead of trusting the stored digits.

    Args:
        kind: ``residual`` (||b - A x|| / ||b||, linear problems), ``steps`` (largest step residual of a trajectory) or
            ``estimate`` (embedded or Richardson error estimate).
        value: ``(batch,)`` float64, the measure, recomputed from the returned solution.
        tolerance: ``(batch,)`` float64, what was asked for, in the same measure.
        iterations: ``(batch,)`` int64.
        seconds: ``(batch,)`` float64, each sample's share of set-up and solving.
        method: the solver as it describes itself.
        dtype: the working precision of the solver.

    Example:
        >>> c = Certificate("residual", torch.tensor([1e-9]), torch.tensor([1e-8]), torch.tensor([12]),
        ...                 torch.tensor([1e-3]), "CG", "float64")
        >>> bool(c.accepted)
        True
    """

    kind: CertificateKind
    value: Float[Tensor, " batch"]
    tolerance: Float[Tensor, " batch"]
    iterations: Int[Tensor, " batch"]
    seconds: Float[Tensor, " batch"]
    method: str
    dtype: str

    @property
    def accepted(self) -> Bool[Tensor, " batch"]:
        """Whether each sample met its tolerance; NaN does not."""
        return self.value <= self.tolerance

    def __len__(self) -> int:
        return self.value.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> "Certificate":
        return Certificate(
            self.kind,
            self.value[rows],
            self.tolerance[rows],
            self.iterations[rows],
            self.seconds[rows],
            self.method,
            self.dtype,
        )

    @staticmethod
    def cat(parts: "list[Certificate]") -> "Certificate":
        """The rows of several certificates of one kind; differing methods are joined by semicolons."""
        first = parts[0]
        methods = dict.fromkeys(part.method for part in parts)
        return Certificate(
            first.kind,
            torch.cat([part.value for part in parts]),
            torch.cat([part.tolerance for part in parts]),
            torch.cat([part.iterations for part in parts]),
            torch.cat([part.seconds for part in parts]),
            "; ".join(methods),
            first.dtype,
        )

    def __str__(self) -> str:
        passed = int(self.accepted.sum())
        worst = float(self.value.max()) if len(self) else float("nan")
        return f"{passed} of {len(self)} samples certified by {self.kind}, largest {worst:.1e} ({self.method})"
