"""One-dimensional stencils, the whole batch in one LAPACK call."""

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.solvers.method import Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.solution import Reason

__all__ = ["Tridiagonal", "fits"]


def fits(A: LinearOperator) -> bool:
    """Whether the matrix is a one-dimensional stencil on a line with two ends."""
    return isinstance(A, Stencil) and len(A.lattice) == 1 and not A.periodic[0]


class Tridiagonal(Prepared):
    """Cholesky factorisation of a batch of tridiagonal matrices, joined into one of zero coupling in between.

    Without any ground the first unknown of each is fixed at 0; ``solve`` then restores the mean.
    """

    def run(
        self, b: Float[Tensor, "*batch n"], x0: Float[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        A = self.operator
        assert isinstance(A, Stencil)
        right = b if x0 is None else b - A.matvec(x0)
        n = A.shape[0]
        # A batch of right-hand sides larger than that of the matrices repeats the matrices: they cost no more.
        diagonal = A.diagonal().expand(*b.shape).detach().cpu().numpy().reshape(-1, n).copy()
        coupling = -A.faces[0][..., :n].expand(*b.shape).detach().cpu().numpy().reshape(-1, n).copy()
        coupling[:, 0] = 0.0
        values = right.detach().cpu().numpy().reshape(-1, n).copy()
        if not A.grounded:
            diagonal[:, 0], values[:, 0] = 1.0, 0.0
            coupling[:, 1:2] = 0.0
        reason = torch.full(b.shape[:-1], Reason.CONVERGED.code, device=b.device)
        name = "Direct, tridiagonal"
        if values.size == 0:
            return Outcome(torch.zeros_like(b), torch.zeros_like(reason), reason, None, None, name)
        banded = np.stack([coupling.ravel(), diagonal.ravel()])
        try:
            x = scipy.linalg.solveh_banded(banded, values.ravel(), overwrite_ab=True, overwrite_b=True)
        except np.linalg.LinAlgError:
            x = np.zeros(values.size)
            reason = torch.full_like(reason, Reason.SINGULAR.code)
        found = torch.from_numpy(x).reshape(b.shape).to(b.device)
        return Outcome(found if x0 is None else x0 + found, torch.zeros_like(reason), reason, None, None, name)
