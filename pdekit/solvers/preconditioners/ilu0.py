"""Incomplete LU factors on the pattern of the matrix."""

import math
from dataclasses import dataclass

import torch

from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.factored import Factored, batch_index, entries_and_fill, factor_each, stored_matrix

__all__ = ["ILU0"]


@dataclass(frozen=True)
class ILU0(Preconditioner):
    """Incomplete LU factors without fill, of any :class:`CSR` matrices on the CPU, real or complex.

    L U has the pattern of the matrix and agrees with it there. There is no pivoting: rows keep their order, and every
    row must store its diagonal entry. The map is not symmetric, so it serves GMRES and BiCGStab, not CG; its operator
    knows its transpose and its adjoint.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR
        >>> A = scipy.sparse.diags_array([-2.0, 3.0, -1.0], offsets=[-1, 0, 1], shape=(4, 4))
        >>> P = ILU0().setup(CSR.from_scipy(A))
        >>> print(P)
        ILU(0), 10 entries, fill 1.0
        >>> import torch
        >>> P.matvec(torch.from_numpy(A @ np.ones(4)))  # without fill to leave out, the factors are exact
        tensor([1., 1., 1., 1.], dtype=torch.float64)

    Source:
        Saad, "Iterative Methods for Sparse Linear Systems", 2nd ed., 2003, algorithm 10.4.
    """

    @property
    def symmetric(self) -> bool:
        return False

    def setup(self, A: LinearOperator) -> Factored:
        """Factor each matrix.

        Raises:
            InputError: no CSR on the CPU, a diagonal entry that is not stored, or a zero pivot, with its row.
        """
        from pdekit.kernels.sparse.incomplete import lu_on_pattern  # compiled code is loaded on first use

        A = stored_matrix("ILU0", A)
        indptr, indices = A.pattern.arrays
        diagonal = A.pattern.diagonal[0].to(torch.int32).numpy()
        values = A.entries.detach().resolve_conj().reshape(math.prod(A.batch_shape), A.pattern.nnz).numpy().copy()

        def one(i: int) -> None:
            row = lu_on_pattern(indptr, indices, values[i], diagonal)
            if row >= 0:
                raise InputError(
                    f"ILU0 meets a zero pivot in row {row}{batch_index(A, i)}: the matrix is singular, or elimination "
                    "in this order without pivoting breaks down, as for saddle points and strong advection. Use "
                    "Direct(), which pivots, or Jacobi()."
                )

        factor_each(one, A)
        name = f"ILU(0), {entries_and_fill([len(indices)] * len(values), len(indices))}"
        return Factored(A, [(indptr, indices, row, diagonal) for row in values], name)
