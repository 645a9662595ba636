"""The systems of one call, solved in parts."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from pdekit.solvers.confirm import confirmed
from pdekit.solvers.method import Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.solution import Solution

__all__ = ["Call"]


class Call:
    """The systems of one call, solved in parts."""

    def __init__(self, A: LinearOperator, b: Tensor, x0: Tensor | None, rtol: float, atol: float):
        self.A, self.b, self.x0, self.rtol, self.atol = A, b, x0, rtol, atol
        self.whole = not (len(A.batch_shape) == 1 and A.batch_shape[0] > 1)
        self.count = 1 if self.whole else A.batch_shape[0]
        self.total = math.prod(b.shape[:-1])
        self.parts: dict[tuple[int, int], Solution] = {}
        self.names: dict[int, str] = {}
        self.solved: dict[int, int] = {}
        self.setup_seconds = 0.0

    def rows(self, at: int, rounds: int | None) -> slice:
        """The systems to solve next: for a trial so many for each thread, else all that are left."""
        return slice(at, self.count if rounds is None else min(at + rounds * torch.get_num_threads(), self.count))

    @property
    def whole_rows(self) -> slice:
        """All systems."""
        return slice(0, self.count)

    def large(self, rows: slice) -> bool:
        """Whether these are more systems than a trial takes."""
        return self.systems(rows) > self.systems(self.rows(0, 1))

    def systems(self, rows: slice) -> int:
        return self.total * (rows.stop - rows.start) // self.count

    def matrices(self, rows: slice) -> LinearOperator:
        if self.whole or rows == slice(0, self.count):
            return self.A
        assert isinstance(self.A, CSR | Stencil)
        return self.A[rows]

    def _vectors(self, v: Tensor, rows: slice) -> Tensor:
        return v if self.whole else v[..., rows, :]

    def solve(self, prepared: Prepared, rows: slice, only: Tensor | None = None) -> Solution:
        b = self._vectors(self.b, rows)
        x0 = None if self.x0 is None else self._vectors(self.x0, rows)
        if only is not None:
            b = torch.where(only.unsqueeze(-1), b, 0.0)
        return confirmed(prepared, b, x0, self.rtol, self.atol)

    def take(self, solution: Solution, rows: slice, arm: int) -> None:
        self.parts[rows.start, rows.stop] = solution
        self.names[arm] = solution.method
        self.solved[arm] = self.solved.get(arm, 0) + int(solution.converged.sum())
        self.setup_seconds += solution.setup_seconds

    def missed(self, rows: slice) -> bool:
        """Whether any of these systems is still to be solved."""
        part = self.parts.get((rows.start, rows.stop))
        return part is None or not bool(part.converged.all())

    def finish(self, prepared: Prepared, rows: slice, arm: int) -> None:
        """Solve those of the systems that are not solved yet."""
        before = self.parts.get((rows.start, rows.stop))
        missed = None if before is None else ~before.converged
        again = self.solve(prepared, rows, missed)
        self.setup_seconds += again.setup_seconds
        self.names[arm] = again.method
        self.solved[arm] = self.solved.get(arm, 0) + int(again.converged.sum())
        if before is not None and missed is not None:
            self.solved[arm] -= int(before.converged.sum())
            again = replace(
                again,
                x=torch.where(missed.unsqueeze(-1), torch.as_tensor(again.x), torch.as_tensor(before.x)),
                converged=torch.where(missed, again.converged, before.converged),
                residual=torch.where(missed, again.residual, before.residual),
                iterations=before.iterations + again.iterations,
                reason=np.where(missed.cpu().numpy(), again.reason, before.reason),
                history=torch.cat([before.history, torch.where(missed, again.history[1:], torch.nan)]),
            )
        self.parts[rows.start, rows.stop] = again

    def accepted(self, rows: slice) -> int:
        return int(self.parts[rows.start, rows.stop].converged.sum())

    def outcome(self, name: str) -> Outcome:
        """All parts together."""
        parts = [self.parts[place] for place in sorted(self.parts)]
        norm = torch.linalg.vector_norm(self.b, dim=-1)
        scale = torch.where(norm > 0, norm, 1.0)
        steps = max(len(part.history) for part in parts)

        def joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
            return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim)

        histories = [
            pad(part.history, (0, 0) * (part.history.ndim - 1) + (0, steps - len(part.history)), value=torch.nan)
            for part in parts
        ]
        reasons = [torch.from_numpy(_codes(part.reason)).to(self.b.device) for part in parts]
        return Outcome(
            x=joined([torch.as_tensor(part.x) for part in parts], -2),
            iterations=joined([part.iterations for part in parts], -1),
            reason=joined(reasons, -1),
            history=joined(histories, -1) * scale,
            residual=joined([part.residual for part in parts], -1) * scale,
            name=name,
            setup_seconds=self.setup_seconds,
        )


def _codes(reasons: np.ndarray) -> np.ndarray:
    return np.array([reason.code for reason in reasons.ravel()], dtype=np.int64).reshape(reasons.shape)
