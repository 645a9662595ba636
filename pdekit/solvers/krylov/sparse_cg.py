"""The compiled conjugate gradients for sparse matrices on the CPU, one system a thread."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import is_fake
from pdekit.solvers.method import Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, Tag, owners
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.factored import Factored
from pdekit.solvers.preconditioners.jacobi import Diagonal
from pdekit.solvers.solution import Reason

__all__ = ["REASONS", "SparseCG", "fits", "is_hierarchy", "kernel_preconditioner"]


def fits(A: LinearOperator, preconditioner: LinearOperator | None) -> bool:
    """Whether the kernel can solve with this matrix and this preconditioner, already set up."""
    if not isinstance(A, CSR) or A.dtype != torch.float64 or A.device.type != "cpu" or is_fake(A.entries):
        return False
    if isinstance(preconditioner, Factored):
        return Tag.SYMMETRIC in preconditioner.tags
    return preconditioner is None or isinstance(preconditioner, Diagonal) or is_hierarchy(preconditioner)


def is_hierarchy(preconditioner: LinearOperator | None) -> bool:
    """Whether AMG made it."""
    from pdekit.solvers.amg.hierarchy import Hierarchy  # compiled code is loaded on first use

    return isinstance(preconditioner, Hierarchy)


class SparseCG(Prepared):
    """Preconditioned CG with one system a thread and everything in one kernel, the refreshing of AMG included.

    Args:
        operator: the matrices.
        preconditioner: set up for them, or None.
        max_iterations: per system.
    """

    def __init__(self, operator: CSR, preconditioner: LinearOperator | None, max_iterations: int):
        super().__init__(operator)
        self.matrices, self.preconditioner = operator, preconditioner
        # Room is kept for the history of every step; beyond this many nothing is gained any more.
        self.max_iterations = min(max_iterations, max(_LONGEST, 10 * operator.shape[0]))
        self.hierarchy: Any = preconditioner if is_hierarchy(preconditioner) else None
        self.given_up = False
        self.name = f"CG, {preconditioner.name if preconditioner else 'no'} preconditioner"

    def run(
        self, b: Float[Tensor, "*batch n"], x0: Float[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        from pdekit.kernels.sparse import pcg  # compiled code is loaded on first use
        from pdekit.kernels.threads import for_each_sample

        A, batch, n = self.matrices, b.shape[:-1], b.shape[-1]
        count, indptr, indices = math.prod(batch), *A.pattern.arrays
        entries = A.entries.detach().reshape(math.prod(A.batch_shape), A.pattern.nnz).contiguous().numpy()
        owner = owners(A.batch_shape, batch).tolist()
        rhs = b.detach().reshape(count, n).contiguous().numpy()
        x = np.zeros_like(rhs) if x0 is None else x0.detach().reshape(count, n).contiguous().numpy().copy()
        # Not filled: memory is taken only for the steps that are made.
        history = np.empty((count, self.max_iterations + 1))
        codes, iterations = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        residual, seconds = np.zeros(count), np.zeros((count, 2))

        rebuilt = np.zeros(count, dtype=bool)
        patience = self._patience(rhs, rtol) if count else np.inf

        def one(i: int, space: dict) -> None:
            if "vectors" not in space:
                space["vectors"] = np.empty((4, n))

            def attempt(own: bool, limit: int, patience: float) -> None:
                clock = time.perf_counter()
                arrays = self._kernel(owner[i], space, own)
                seconds[i, 0] += time.perf_counter() - clock
                done = iterations[i]
                codes[i], steps, residual[i] = pcg.conjugate_gradients(
                    indptr, indices, entries[owner[i]], rhs[i], x[i], *(arrays or pcg.no_preconditioner()),
                    space["vectors"], rtol, atol, limit if arrays else 0, patience, history[i, done:],
                )  # fmt: skip
                iterations[i] += steps
                if arrays is None and codes[i] != pcg.CONVERGED:
                    codes[i] = pcg.NOT_DEFINITE
                seconds[i, 1] += time.perf_counter() - clock

            attempt(False, self.max_iterations, patience if self._shares(owner[i]) else np.inf)
            if codes[i] == pcg.SLOW:
                rebuilt[i] = True
                attempt(True, self.max_iterations - int(iterations[i]), np.inf)

        clock = time.perf_counter()
        for_each_sample(one, count, torch.get_num_threads() if count * len(indices) > 10_000 else 1)
        wall = time.perf_counter() - clock
        steps = int(iterations.max(initial=0)) + 1
        history = history[:, :steps]
        self.given_up = self._gives_up(owner, iterations, codes, rebuilt, history)
        history[np.arange(steps) > iterations[:, None]] = np.nan
        reasons = np.array([reason.code for reason in REASONS])
        return Outcome(
            torch.from_numpy(x).reshape(b.shape),
            torch.from_numpy(iterations).reshape(batch),
            torch.from_numpy(reasons[codes]).reshape(batch),
            torch.from_numpy(np.ascontiguousarray(history.T)).reshape(steps, *batch),
            torch.from_numpy(residual).reshape(batch),
            self.name + (f", set up anew for {int(rebuilt.sum())} slow systems" if rebuilt.any() else ""),
            wall * float(seconds[:, 0].sum() / max(seconds[:, 1].sum(), 1e-300)),
        )

    def _shares(self, index: int) -> bool:
        return self.hierarchy is not None and self.hierarchy.shares(index)

    def fallback(self) -> Prepared | None:
        """Where transfers of earlier matrices were given up, those of the matrices themselves."""
        return SparseCG(self.matrices, self.hierarchy.anew(), self.max_iterations) if self.given_up else None

    def _gives_up(
        self, owner: Sequence[int], iterations: np.ndarray, codes: np.ndarray, rebuilt: np.ndarray, history: np.ndarray
    ) -> bool:
        """Tell those who keep transfers how fast these were (the median); whether those kept before are given up."""
        from pdekit.kernels.sparse import pcg

        if self.hierarchy is None:
            return False
        broken = np.isin(codes, (pcg.NOT_DEFINITE, pcg.NOT_FINITE)) | rebuilt
        moved = (iterations > 0) & ~broken
        fell, last = np.zeros(len(codes)), history[moved, iterations[moved]]
        fell[moved] = np.log(history[moved, 0] / np.maximum(last, np.finfo(np.float64).tiny))
        # Of restarts from rounding errors, which gain little, nothing can be learnt.
        told = ~self.hierarchy.foreign[owner] & (broken | (moved & ((fell > 1) | (codes != pcg.CONVERGED))))
        if not told.any():
            return False
        steps, fell = np.where(broken, np.inf, iterations)[told], np.maximum(fell[told], 0.0)
        middle = np.argsort(steps / np.maximum(fell, 1e-300), kind="stable")[len(steps) // 2]
        return self.hierarchy.took(float(steps[middle]), float(fell[middle]))

    def _patience(self, rhs: np.ndarray, rtol: float) -> float:
        """Iterations for each factor of e that a matrix may take which shares its hierarchy with others.

        That is 1.3 times what the representative takes, for which the hierarchy was made, with the first right-hand
        side. For transfers kept of earlier matrices it is known.
        """
        from pdekit.kernels.sparse import pcg

        operator, b = self.hierarchy, rhs[0]
        if operator is None or not any(self._shares(index) for index in range(len(operator.foreign))):
            return np.inf
        if operator.recalled:
            return operator.patience
        arrays, history = operator.kernel(None, {}), np.empty(self.max_iterations + 1)
        if arrays is None or not b.any():
            return np.inf
        code, steps, _ = pcg.conjugate_gradients(
            *self.matrices.pattern.arrays, operator.representative, b, np.zeros_like(b), *arrays,
            np.empty((4, len(b))), max(rtol, 1e-8), 0.0, self.max_iterations, np.inf, history,
        )  # fmt: skip
        if code != pcg.CONVERGED or steps == 0 or not history[steps] > 0:
            return np.inf
        return _PATIENCE * steps / np.log(history[0] / history[steps])

    def _kernel(self, index: int, space: dict, own: bool):
        """The preconditioner of one matrix as the kernel takes it; None where it shows an indefinite matrix."""
        if self.hierarchy is None:
            return kernel_preconditioner(self.preconditioner, index)
        return self.hierarchy.kernel(index, space, own=own)


def kernel_preconditioner(operator: LinearOperator | None, index: int) -> Any:
    """None, the diagonal or a symmetric factor, of one matrix counted through the batch, as the kernels take it."""
    from pdekit.kernels.sparse import pcg

    if isinstance(operator, Diagonal):
        values = operator.entries.detach().reshape(-1, operator.shape[0])[index].contiguous().numpy()
        return pcg.no_preconditioner()._replace(kind=pcg.DIAGONAL, values=values)
    if isinstance(operator, Factored):
        indptr, indices, values = operator.factors(index)
        return pcg.no_preconditioner()._replace(kind=pcg.FACTOR, starts=indptr, indices=indices, values=values)
    return pcg.no_preconditioner()


REASONS = (Reason.CONVERGED, Reason.MAX_ITERATIONS, Reason.NOT_DEFINITE, Reason.NOT_FINITE)
"""In the order of the kernel's codes."""

_LONGEST = 100_000
"""Steps that CG may take where neither that many nor ten times the unknowns are asked for."""

_PATIENCE = 1.3
