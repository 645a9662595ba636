"""Symmetric successive over-relaxation as a preconditioner."""

import math
from dataclasses import dataclass

import numpy as np

from pdekit.core.checks import check_number
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.factored import Factored, batch_index, factor_each, real_symmetric, upper_triangle

__all__ = ["SSOR"]


@dataclass(frozen=True)
class SSOR(Preconditioner):
    """A relaxation sweep forward and one backward, for symmetric positive definite :class:`CSR` matrices on the CPU.

    With D the diagonal and L what lies below it, the inverse of
    ``M = omega / (2 - omega) (D / omega + L) D^-1 (D / omega + L^T)``, which is symmetric positive definite for every
    omega between 0 and 2. It costs the solves of :class:`IC0` without its factorisation, and never breaks down.

    Args:
        omega: 1 is symmetric Gauss-Seidel; the best value for diffusion is 2 - O(h).

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CG, solve
        >>> A = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(99, 99))
        >>> int(solve(A, np.ones(99), CG()).iterations), int(solve(A, np.ones(99), CG(SSOR(1.9))).iterations)
        (50, 10)

    Source:
        Saad, "Iterative Methods for Sparse Linear Systems", 2nd ed., 2003, section 10.2.
    """

    omega: float = 1.0

    def __post_init__(self):
        check_number("SSOR", "omega", self.omega)
        if not 0 < self.omega < 2:
            raise InputError(f"SSOR has omega={self.omega}; expected a number between 0 and 2, where it is definite.")

    def setup(self, A: LinearOperator) -> Factored:
        """Scale the upper triangles.

        Raises:
            InputError: no real symmetric CSR on the CPU, or a diagonal entry that is not positive, with its row.
        """
        from pdekit.kernels.sparse.relaxation import ssor_factor  # compiled code is loaded on first use

        A = real_symmetric("SSOR", A)
        indptr, indices, entries_of = upper_triangle(A)
        values = [np.empty(0)] * math.prod(A.batch_shape)

        def one(i: int) -> None:
            values[i] = entries_of(i)
            row = ssor_factor(indptr, indices, values[i], float(self.omega))
            if row >= 0:
                raise InputError(
                    f"SSOR needs a positive diagonal, but that of row {row}{batch_index(A, i)} is "
                    f"{values[i][indptr[row]]:.3g}. A symmetric positive definite matrix has a positive one in every "
                    "row; use Direct() or MINRES, or check for a row of zeros or a wrong sign."
                )

        factor_each(one, A)
        return Factored(A, [(indptr, indices, row) for row in values], f"SSOR({self.omega:g})")
