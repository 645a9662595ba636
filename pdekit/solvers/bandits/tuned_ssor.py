"""Conjugate gradients with SSOR whose omega is learnt while systems are solved."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_limit, check_number
from pdekit.core.errors import InputError
from pdekit.solvers.bandits.base import Bandit
from pdekit.solvers.bandits.chebyshev import ChebyshevBandit
from pdekit.solvers.confirm import confirmed
from pdekit.solvers.krylov.cg import CG
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, owners
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.factored import check_diagonal, real_symmetric
from pdekit.solvers.preconditioners.ssor import SSOR
from pdekit.solvers.solution import Solution

__all__ = ["TunedSSOR", "looseness"]

_PUBLISHED = tuple(round(float(omega), 4) for omega in np.linspace(1.0, 1.95, 20))
"""The values of omega that the paper chooses from."""


@dataclass(frozen=True)
class TunedSSOR(Method):
    """:class:`CG` with :class:`SSOR`; a bandit chooses omega for each system, and its loss is the number of iterations.

    The systems of a batch are solved one after the other, in their order, so that each profits from those before. For
    later calls to profit too, make the bandit and hand it in; without one, every call makes its own.

    Which omega is best depends on how strongly the unknowns are held, as by the sink of ``c u - div(k grad u) = f`` or
    the time step of an implicit scheme. So each choice is made for a context, a number that tells this: by default
    the :func:`looseness` of the matrix.

    Args:
        bandit: what is learnt, with an arm for each omega; None makes a ``ChebyshevBandit`` for each call.
        omegas: to choose from, between 0 and 2; None means the 20 published values, from 1 to 1.95.
        context: of the system to be solved: a number, or a function of a matrix that gives one; None means
            :func:`looseness`.
        max_iterations: per system.

    Raises:
        InputError: a bandit with other arms, an omega for which SSOR is not definite, or a context that is no number.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import solve
        >>> laplacian = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(400, 400))
        >>> method = TunedSSOR(ChebyshevBandit(20))
        >>> solutions = [solve(laplacian + 1e-3 * scipy.sparse.eye_array(400), np.ones(400), method) for _ in range(30)]
        >>> solutions[-1].method
        'CG, SSOR(1.95) preconditioner, omega chosen by ChebyshevBandit'
        >>> [int(solution.iterations) for solution in solutions[::29]]
        [43, 9]

    Source:
        Khodak, Chow, Balcan, Talwalkar, "Learning to relax: setting solver parameters across a sequence of linear
        system instances", ICLR 2024.
    """

    bandit: Bandit | None = None
    omegas: Sequence[float] | None = None
    context: float | Callable[[CSR], float] | None = None
    max_iterations: int = 1000

    def __post_init__(self):
        check_limit("TunedSSOR", "max_iterations", self.max_iterations)
        if self.omegas is not None:
            if not isinstance(self.omegas, Sequence) or isinstance(self.omegas, str):
                raise InputError(f"TunedSSOR has omegas={self.omegas!r}; expected numbers such as (1.0, 1.5, 1.9).")
            if len(self.omegas) == 0:
                raise InputError("TunedSSOR has no omegas; expected at least one to choose from.")
            for omega in self.omegas:
                SSOR(omega)  # refuses one outside
            object.__setattr__(self, "omegas", tuple(self.omegas))
        if isinstance(self.bandit, type) or not isinstance(self.bandit, Bandit | None):
            raise InputError(f"TunedSSOR has bandit={self.bandit!r}; expected None or one such as TsallisINF(20).")
        if self.bandit is not None and self.bandit.arms != (count := len(self.choices)):
            raise InputError(
                f"TunedSSOR has {count} omegas and a bandit with {self.bandit.arms} arms; expected an arm for each "
                f"omega, as {type(self.bandit).__name__}({count}) has."
            )
        if not (self.context is None or callable(self.context)):
            _number(self.context)

    @property
    def choices(self) -> tuple[float, ...]:
        """The omegas to choose from, one for each arm of the bandit."""
        return _PUBLISHED if self.omegas is None else tuple(self.omegas)

    def prepare(self, A: LinearOperator) -> Prepared:
        A = real_symmetric("SSOR", A)
        check_diagonal("SSOR", A)
        return _Tuned(A, self)

    def method(self, arm: int) -> CG:
        """The method that an arm of the bandit stands for."""
        return CG(SSOR(self.choices[arm]), self.max_iterations)


def looseness(A: CSR) -> float:
    """How loosely the unknowns of a matrix are held, whatever its scale: from 0 (diagonal) to 1 (it has a null space).

    1 more than this is the omega that is best for SOR if a step of Jacobi's method reduces errors by the factor 1 - s,
    with the sum s of all entries over that of the diagonal.

    Example:
        >>> import scipy.sparse
        >>> round(looseness(CSR.from_scipy(scipy.sparse.csr_array([[4.0, -1.0], [-1.0, 4.0]]))), 3)
        0.016
        >>> looseness(CSR.from_scipy(scipy.sparse.csr_array([[1.0, -1.0], [-1.0, 1.0]])))
        1.0

    Source:
        Young, "Iterative Solution of Large Linear Systems", 1971, chapter 6.
    """
    held = float(A.entries.detach().sum() / A.diagonal().detach().sum())
    return 2 / (1 + math.sqrt(1 - (1 - min(max(held, 0.0), 1.0)) ** 2)) - 1


def _number(context: Any) -> float:
    """A context as a bandit takes it."""
    if isinstance(context, Tensor | np.ndarray) and math.prod(context.shape) == 1:
        context = context.item()
    check_number("TunedSSOR", "context", context)
    if math.isnan(context):
        raise InputError("TunedSSOR has the context NaN; expected a number.")
    return float(context)


class _Tuned(Prepared):
    """The matrices of a batch, each prepared with the omega that is chosen when it is met."""

    def __init__(self, operator: CSR, recipe: TunedSSOR):
        super().__init__(operator)
        self.matrices, self.recipe = operator, recipe
        self.bandit = recipe.bandit or ChebyshevBandit(len(recipe.choices))
        self.current: tuple[int, CSR, dict[int, Prepared]] | None = None
        self.setup_seconds = 0.0

    def run(
        self, b: Float[Tensor, "*batch n"], x0: Float[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        batch, n = b.shape[:-1], b.shape[-1]
        right = b.reshape(-1, n)
        start = None if x0 is None else x0.reshape(-1, n)
        owner = owners(self.matrices.batch_shape, batch).tolist()
        parts, taken, self.setup_seconds = [], set[float](), 0.0
        for i, index in enumerate(owner):
            rows = slice(i, i + 1)
            solution, omega = self._solved(index, right[rows], None if start is None else start[rows], rtol, atol)
            parts.append(solution)
            taken.add(omega)
        found = Solution.cat(parts)
        norm = torch.linalg.vector_norm(right, dim=-1)
        scale = torch.where(norm > 0, norm, 1.0)
        return Outcome(
            torch.as_tensor(found.x).reshape(b.shape),
            found.iterations.reshape(batch),
            torch.tensor([reason.code for reason in found.reason]).reshape(batch),
            (found.history * scale).reshape(-1, *batch),
            (found.residual * scale).reshape(batch),
            f"CG, SSOR({' to '.join(f'{omega:g}' for omega in sorted({min(taken), max(taken)}))}) preconditioner, "
            f"omega chosen by {type(self.bandit).__name__}",
            self.setup_seconds + found.setup_seconds,
        )

    def _solved(
        self, index: int, b: Float[Tensor, "1 n"], x0: Float[Tensor, "1 n"] | None, rtol: float, atol: float
    ) -> tuple[Solution, float]:
        """One system, confirmed here so that iterations of restarts count with it, and its omega."""
        if self.current is None or self.current[0] != index:
            A = self.matrices
            place = np.unravel_index(index, A.batch_shape)
            self.current = index, A[tuple(int(k) for k in place)] if A.batch_shape else A, {}
        _, A, known = self.current
        given = looseness if self.recipe.context is None else self.recipe.context
        context = _number(given(A) if callable(given) else given)
        arm = self.bandit.choose(context)
        if arm not in known:
            began = time.perf_counter()
            known[arm] = self.recipe.method(arm).prepare(A)
            self.setup_seconds += time.perf_counter() - began
        solution = confirmed(known[arm], b, x0, rtol, atol)
        if steps := int(solution.iterations):  # a system that was solved from the start tells nothing
            self.bandit.learn(arm, steps, context, censored=not bool(solution.converged))
        return solution, self.recipe.choices[arm]
