"""Successive over-relaxation as a method of its own."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import check_limit, check_number
from pdekit.core.errors import InputError
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, owners
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.factored import batch_index, stored_matrix
from pdekit.solvers.solution import Reason

__all__ = ["SOR"]


@dataclass(frozen=True)
class SOR(Method):
    """Successive over-relaxation of :class:`CSR` matrices on the CPU; Gauss-Seidel for omega = 1.

    It converges for every symmetric positive definite matrix and omega between 0 and 2, though slowly: it serves as a
    baseline and for matrices with a strong diagonal. An iteration is one sweep, in the order of the unknowns.

    Args:
        omega: the step as a part of the one that makes the residual of an unknown zero.
        max_iterations: per system.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import solve
        >>> A = scipy.sparse.csr_array([[4.0, -1.0], [-1.0, 4.0]])
        >>> int(solve(A, np.ones(2), SOR()).iterations)
        8

    Source:
        Young, "Iterative Solution of Large Linear Systems", 1971.
    """

    omega: float = 1.0
    max_iterations: int = 10_000

    def __post_init__(self):
        check_number("SOR", "omega", self.omega)
        check_limit("SOR", "max_iterations", self.max_iterations)
        if not 0 < self.omega < 2:
            raise InputError(f"SOR has omega={self.omega}; expected a number between 0 and 2, where it can converge.")

    def prepare(self, A: LinearOperator) -> Prepared:
        A = stored_matrix("SOR", A)
        diagonal = A.diagonal().detach().reshape(math.prod(A.batch_shape), A.shape[0])
        if bool((zero := diagonal == 0).any()):
            i, row = (int(k) for k in torch.nonzero(zero)[0])
            raise InputError(f"SOR divides by the diagonal, but that of row {row}{batch_index(A, i)} is 0.")
        return _PreparedSOR(A, self)


class _PreparedSOR(Prepared):
    def __init__(self, operator: CSR, method: SOR):
        super().__init__(operator)
        self.matrix, self.method = operator, method

    def adjoint(self) -> Prepared:
        return self if self.matrix.hermitian else _PreparedSOR(self.matrix.adjoint(), self.method)

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        from pdekit.kernels.sparse.relaxation import relax  # compiled code is loaded on first use
        from pdekit.kernels.threads import for_each_sample

        A, batch, n = self.matrix, b.shape[:-1], b.shape[-1]
        kind = torch.promote_types(A.dtype, b.dtype)
        count, matrices = math.prod(batch), math.prod(A.batch_shape)
        indptr, indices = A.pattern.arrays
        entries = A.entries.detach().to(kind).resolve_conj().reshape(matrices, -1).numpy()
        diagonal = A.diagonal().detach().to(kind).resolve_conj().reshape(matrices, n).numpy()
        owner = owners(A.batch_shape, batch).numpy()
        wanted = (rtol * torch.linalg.vector_norm(b, dim=-1)).clamp(min=atol).reshape(-1).numpy()
        right = b.detach().to(kind).resolve_conj().reshape(count, n).contiguous().numpy()
        x = np.zeros_like(right) if x0 is None else x0.detach().to(kind).reshape(count, n).numpy().copy()
        histories: list[np.ndarray] = [np.empty(0)] * count

        def one(i: int, space: dict) -> None:
            history = space.setdefault("history", np.empty(self.method.max_iterations + 1))
            k = owner[i]
            sweeps = relax(
                indptr, indices, entries[k], diagonal[k], float(self.method.omega), right[i], x[i], wanted[i], history
            )
            histories[i] = history[: sweeps + 1].copy()

        for_each_sample(one, count, torch.get_num_threads())
        steps = max((len(history) for history in histories), default=1)
        table = np.full((steps, count), np.nan)
        for i, history in enumerate(histories):
            table[: len(history), i] = history
        last = np.array([history[-1] for history in histories])
        reason = np.where(last <= wanted, Reason.CONVERGED.code, Reason.MAX_ITERATIONS.code)
        reason = np.where(np.isfinite(last), reason, Reason.NOT_FINITE.code)
        return Outcome(
            torch.from_numpy(x).reshape(*batch, n),
            torch.tensor([len(history) - 1 for history in histories]).reshape(batch),
            torch.from_numpy(reason).reshape(batch),
            torch.from_numpy(table).reshape(steps, *batch),
            torch.from_numpy(last).reshape(batch),
            f"SOR({self.method.omega:g})",
        )
