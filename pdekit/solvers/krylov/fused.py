"""The compiled multigrid-CG kernel as a method for stencils on the CPU."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.solvers.method import Outcome, Prepared
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.multigrid import Multigrid

__all__ = ["FusedCG", "fits"]


def fits(A: Stencil, preconditioner: Multigrid) -> bool:
    """Whether the kernel can solve with this matrix and preconditioner."""
    return (
        preconditioner.use_kernels is not False
        and len(A.lattice) in (2, 3)
        and A.dtype == torch.float64
        and A.device.type == "cpu"
    )


class FusedCG(Prepared):
    """Multigrid-CG with one sample a thread and everything, the set-up included, in one kernel."""

    def __init__(self, operator: Stencil, preconditioner: Multigrid, max_iterations: int):
        super().__init__(operator)
        self.stencil = operator
        self.preconditioner = preconditioner
        self.max_iterations = max_iterations

    def run(
        self, b: Float[Tensor, "*batch n"], x0: Float[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        # Compiled code is loaded on first use only.
        from pdekit.kernels import pcg

        A, batch = self.stencil, b.shape[:-1]
        count = math.prod(batch)
        shared = math.prod(A.batch_shape) == 1

        def samples(values: Tensor, trailing: Sequence[int]) -> np.ndarray:
            spread = values if shared else values.expand(*batch, *trailing)
            return spread.detach().reshape(1 if shared else count, *trailing).contiguous().numpy()

        result = pcg.solve(
            [samples(face, face.shape[len(A.batch_shape) :]) for face in A.faces],
            None if A.sink is None else samples(A.sink, A.lattice),
            A.periodic,
            b.detach().reshape(count, *A.lattice).contiguous().numpy(),
            None if x0 is None else x0.detach().reshape(count, *A.lattice).contiguous().numpy(),
            rtol=rtol,
            atol=atol,
            max_iterations=self.max_iterations,
            coarsening=self.preconditioner.coarsening,
        )
        return Outcome(
            torch.from_numpy(result.x).reshape(b.shape),
            torch.from_numpy(result.iterations).reshape(batch),
            torch.from_numpy(result.reason).reshape(batch),
            torch.from_numpy(result.history).reshape(len(result.history), *batch),
            torch.from_numpy(result.residual).reshape(batch),
            f"CG, multigrid preconditioner ({_counted(result.coarsening)})",
            float(result.setup_seconds),
        )


def _counted(coarsening: tuple[str, ...]) -> str:
    kinds = dict.fromkeys(coarsening)
    if len(kinds) <= 1:
        return f"{next(iter(kinds), 'no')} coarsening"
    return ", ".join(f"{kind} coarsening for {coarsening.count(kind)}" for kind in kinds)
