"""Conjugate gradients whose preconditioner may change from step to step."""

from dataclasses import dataclass
from functools import partial

from pdekit.core.checks import check_limit
from pdekit.solvers.krylov.base import PreparedKrylov, check_preconditioner
from pdekit.solvers.krylov.cg import check_hermitian, conjugate_gradients, default_preconditioner
from pdekit.solvers.krylov.directions import OrthogonalDirections
from pdekit.solvers.method import Method, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.preconditioners.base import Preconditioner

__all__ = ["FlexibleCG"]


@dataclass(frozen=True)
class FlexibleCG(Method):
    """Conjugate gradients that make each direction conjugate to the last ones explicitly.

    The matrix must be symmetric (complex: Hermitian) positive definite; the preconditioner may change from step to
    step, as an inner iteration or a network does, or be somewhat unsymmetric. With a memory of 1 this is the
    Polak-Ribiere rule, which costs one inner product and two kept vectors more than :class:`CG`; a longer memory pays
    where the preconditioner varies much.

    Args:
        preconditioner: None means :class:`Jacobi`, or none where the operator does not know its diagonal.
        memory: directions to be conjugate to.
        max_iterations: per system.

    Example:
        >>> from pdekit.solvers import solve
        >>> float(solve(np.diag([1.0, 2.0]), np.ones(2), FlexibleCG()).x[1])
        0.5

    Source:
        Notay, "Flexible conjugate gradients", SIAM J. Sci. Comput. 22, 2000.
    """

    preconditioner: Preconditioner | None = None
    memory: int = 1
    max_iterations: int = 1000

    def __post_init__(self):
        check_preconditioner("FlexibleCG", self.preconditioner)
        check_limit("FlexibleCG", "memory", self.memory)
        check_limit("FlexibleCG", "max_iterations", self.max_iterations)

    def prepare(self, A: LinearOperator) -> Prepared:
        check_hermitian("FlexibleCG", A)
        iterate = partial(
            conjugate_gradients,
            max_iterations=self.max_iterations,
            directions=partial(OrthogonalDirections, self.memory),
        )
        return PreparedKrylov(A, self.preconditioner or default_preconditioner(A), iterate, "flexible CG")
