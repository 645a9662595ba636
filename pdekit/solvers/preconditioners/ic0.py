"""Incomplete Cholesky factors on the pattern of the matrix."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pdekit.core.checks import check_number
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.factored import (
    Factored,
    entries_and_fill,
    factor_each,
    real_symmetric,
    upper_triangle,
)
from pdekit.solvers.preconditioners.shift import Shifts, check_shift

__all__ = ["IC0"]


@dataclass(frozen=True)
class IC0(Preconditioner):
    """Incomplete Cholesky factors without fill, of real symmetric positive definite :class:`CSR` matrices on the CPU.

    L has the pattern of the lower triangle of the matrix, and ``L L^T`` agrees with the matrix there. For M-matrices
    (diffusion with five points or on meshes without obtuse angles) the factors exist; for others a pivot may come out
    negative, which is an error unless a shift is asked for.

    Args:
        shift: the matrix whose diagonal is multiplied by 1 + shift is factored. "auto" tries 0, then 0.001 and its
            doubles, for each matrix apart, and the operator's name says which were needed.
        relaxation: of what falls beside the pattern, so much is taken from the diagonal, from 0 to 1. Values just below
            1 (0.97 in 3-D, 0.99 in 2-D, more on finer meshes) nearly keep the row sums: far fewer iterations for
            diffusion, where neighbours are eliminated one after the other; 1 itself may break down.
        ordering: in which unknowns are eliminated. "natural" is their own. "cuthill-mckee" goes from neighbour to
            neighbour, which takes fewer iterations where the numbering of a mesh jumps about, as after refinement.
            Vectors stay as they are.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CG, solve
        >>> A = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(9, 9))
        >>> int(solve(A, np.ones(9), CG(IC0())).iterations)  # without fill to leave out, the factors are exact
        1

    Source:
        Meijerink, van der Vorst, Math. Comp. 31 (1977) 148; the shift: Manteuffel, Math. Comp. 34 (1980) 473; the
        relaxation: Axelsson, Lindskog, Numer. Math. 48 (1986) 479.
    """

    shift: float | Literal["auto"] = 0.0
    relaxation: float = 0.0
    ordering: Literal["natural", "cuthill-mckee"] = "natural"

    def __post_init__(self):
        check_number("IC0", "relaxation", self.relaxation)
        check_shift("IC0", self.shift)
        if not 0 <= self.relaxation <= 1:
            raise InputError(f"IC0 has relaxation={self.relaxation}; expected a number from 0 to 1.")
        if self.ordering not in ("natural", "cuthill-mckee"):
            raise InputError(f"IC0 has ordering={self.ordering!r}; expected natural or cuthill-mckee.")

    def setup(self, A: LinearOperator) -> Factored:
        """Factor each matrix.

        Raises:
            InputError: no real symmetric CSR on the CPU, or a pivot that is not positive, with its row.
        """
        from pdekit.kernels.sparse.incomplete import cholesky_on_pattern  # compiled code is loaded on first use

        A = real_symmetric("IC0", A)
        # Not reversed: incomplete factors came out better that way, on meshes of triangles.
        order = None if self.ordering == "natural" else A.pattern.cuthill_mckee
        indptr, indices, entries_of = upper_triangle(A, order)
        values: list[np.ndarray] = [np.empty(0)] * math.prod(A.batch_shape)
        recipe = f"IC0 with relaxation {self.relaxation:g}" if self.relaxation else "IC0"
        shifts = Shifts(recipe, self.shift, A)

        def one(i: int) -> None:
            def attempt(shift: float) -> tuple[int, float]:
                values[i] = entries_of(i)
                return cholesky_on_pattern(indptr, indices, values[i], shift, float(self.relaxation))

            shifts.find(i, attempt)

        factor_each(one, A)
        choices = f", relaxation {self.relaxation:g}" if self.relaxation else ""
        if order is not None:
            indices = order[indices]
            choices += ", Cuthill-McKee order"
        size = entries_and_fill([len(indices)] * len(values), len(indices))
        name = f"IC(0), {size}{choices}{shifts.summary()}"
        return Factored(A, [(indptr, indices, row) for row in values], name)
