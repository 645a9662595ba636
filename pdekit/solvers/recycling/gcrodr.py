"""Minimal residuals with a space that is carried from system to system: GCRO-DR."""

import itertools
import math
import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.solvers.krylov.arnoldi import Arnoldi
from pdekit.solvers.krylov.base import check_preconditioner, in_units, together
from pdekit.solvers.krylov.gmres import GMRES, STALLED
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, owners
from pdekit.solvers.operators.single import single
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.recycling.harvest import harvest
from pdekit.solvers.recycling.policies import Freeze, UpdatePolicy
from pdekit.solvers.recycling.space import RecycleSpace
from pdekit.solvers.solution import Reason

__all__ = ["GCRODR"]

_STALLED = 1 - 1e-4
"""Cycles that leave more than this part of the residual, one after the other, will not be followed by better ones."""

_PATIENCE = 2
"""So many of them."""


@dataclass(frozen=True)
class GCRODR(Method):
    """GMRES that keeps, from cycle to cycle and from system to system, the space that it found hard to solve in.

    For any matrix, real or complex, in a sequence of similar ones whose systems take several cycles of GMRES: 3-D
    Helmholtz, Newton steps, slowly varying flows. The systems of a batch are solved one after the other, in order.

    The space holds parts of solutions: for each new matrix its images are computed anew (a product a vector), the
    solution within it is taken off at once, and the Arnoldi process runs in what is left. What is best left to it are
    the harmonic Ritz vectors of A for the values nearest to 0, from all that a cycle has seen. The preconditioner acts
    from the right, so the residual is the true one; one that is not linear is taken as well.

    Args:
        preconditioner: None means none.
        restart: vectors that a cycle works with, those of the space among them.
        vectors: of the fresh space that is made where none is handed in; a space brings its own number.
        update: when the space is updated: ``Freeze()`` during the first systems and whenever it has aged, ``Always()``
            in every cycle as published, ``Never()``.
        space: outlives the solve; None makes a fresh one each time the method is bound to matrices, so that nothing
            goes from one call to the next.
        max_iterations: per system, over all cycles.

    Example:
        >>> import numpy as np
        >>> from pdekit.solvers import solve
        >>> values = np.r_[np.geomspace(1e-3, 0.1, 8), np.linspace(1, 2, 92)]
        >>> A = np.stack([np.diag(values + shift) for shift in (0.0, 1e-4, 2e-4)])
        >>> solve(A, np.ones(100), GCRODR(restart=20, vectors=10)).iterations.tolist()
        [42, 11, 11]

    Source:
        Parks, de Sturler, Mackey, Johnson, Maiti, "Recycling Krylov subspaces for sequences of linear systems", SIAM J.
        Sci. Comput. 28, 2006; Carvalho, Gratton, Lago, Vasseur, "A flexible generalized conjugate residual method with
        inner orthogonalization and deflated restarting", SIAM J. Matrix Anal. Appl. 32, 2011.
    """

    preconditioner: Preconditioner | None = None
    restart: int = 40
    vectors: int = 20
    update: UpdatePolicy = Freeze()  # noqa: RUF009 - immutable
    space: RecycleSpace | None = None
    max_iterations: int = 1000

    def __post_init__(self):
        check_preconditioner("GCRODR", self.preconditioner)
        for name in ("restart", "vectors", "max_iterations"):
            check_limit("GCRODR", name, getattr(self, name))
        if not isinstance(self.update, UpdatePolicy):
            raise InputError(f"GCRODR has update={self.update!r}; expected Freeze(), Always() or Never().")
        if self.space is not None and not isinstance(self.space, RecycleSpace):
            raise InputError(f"GCRODR has space={self.space!r}; expected None or an object such as RecycleSpace(20).")
        kept = self.vectors if self.space is None else self.space.vectors
        if not kept < self.restart:
            raise InputError(
                f"GCRODR has restart={self.restart} and a space of {kept} vectors, which leaves no steps to a cycle; "
                f"expected a restart well above, such as {2 * kept}."
            )

    def prepare(self, A: LinearOperator) -> Prepared:
        return _Prepared(A, self)


class _Prepared(Prepared):
    """GCRO-DR bound to matrices, which it takes one by one."""

    def __init__(self, operator: LinearOperator, method: GCRODR):
        super().__init__(operator)
        self.method = method
        self.space = RecycleSpace(method.vectors) if method.space is None else method.space
        scaled, self.unit = in_units(operator)
        places = itertools.product(*map(range, operator.batch_shape))
        self.matrices = [single(scaled, place) for place in places]
        recipe = method.preconditioner
        self.preconditioners = [None if recipe is None else recipe.setup(matrix) for matrix in self.matrices]
        first = self.preconditioners[0] if self.preconditioners else None
        self.suspect = False
        self.name = f"GCRO-DR({method.restart}, {self.space.vectors}), {first.name if first else 'no'} preconditioner"

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        batch, n = b.shape[:-1], b.shape[-1]
        rows = b.reshape(-1, n)
        guesses = None if x0 is None else (x0 * self.unit).reshape(-1, n)
        runs, fresh = [], self.method.space is None and self.space.basis is None
        for i, owner in enumerate(owners(self.operator.batch_shape, batch).tolist()):
            guess = None if guesses is None else guesses[i]
            runs.append(self._one(owner, rows[i], guess, rtol, atol))
        lost = fresh and len(runs) == 1 and self.space.basis is not None
        found = together([run.outcome(self.name) for run in runs], batch)
        return replace(
            found,
            x=found.x if self.unit == 1 else found.x / self.unit,
            name=self.name + (", space not kept" if lost else ""),
            setup_seconds=sum(run.bind_seconds for run in runs),
        )

    def _one(self, owner: int, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> "_Run":
        run = _Run(self.matrices[owner], self.preconditioners[owner], b, x0)
        wanted = max(rtol * float(torch.linalg.vector_norm(b)), atol)
        if not run.norm <= wanted:
            run.bind(self.space)
            updates = self.method.update.updates(self.space.record)
            brought = len(run.vectors) > 0
            run.solve(self.space, wanted, self.method.restart, self.method.max_iterations, updates)
            self.suspect |= brought and not run.norm <= wanted
        return run

    def adjoint(self) -> Prepared:
        """Plain GMRES for the adjoint matrix, whose solutions live elsewhere than in the space."""
        return self if self.operator.hermitian else self._plain().adjoint()

    def fallback(self) -> Prepared | None:
        """Plain GMRES where a system was lost with a space that came from others."""
        return self._plain() if self.suspect else None

    def _plain(self) -> Prepared:
        method = self.method
        return GMRES(method.preconditioner, method.restart, method.max_iterations).prepare(self.operator)


class _Run:
    """One system: its solution so far, the true residual of that, and what it took.

    Args:
        A: the matrix.
        preconditioner: set up for it, or None.
        b: right-hand side.
        x0: first guess, or None for zero.
    """

    def __init__(self, A: LinearOperator, preconditioner: LinearOperator | None, b: Tensor, x0: Tensor | None):
        self.A, self.preconditioner, self.b = A, preconditioner, b
        self.x = torch.zeros_like(b) if x0 is None else x0
        self.r = b if x0 is None else b - A.matvec(x0)
        self.norm = float(torch.linalg.vector_norm(self.r))
        self.history, self.iterations, self.reason = [self.norm], 0, Reason.CONVERGED
        self.bind_seconds = 0.0
        self.vectors = self.images = b.new_empty((0, b.shape[-1]))

    def outcome(self, name: str) -> Outcome:
        """What was found, of a batch without axes."""
        device = self.b.device
        history = torch.tensor(self.history, dtype=torch.float64, device=device)
        iterations, reason = torch.tensor([self.iterations, self.reason.code], device=device)
        return Outcome(self.x, iterations, reason, history, history.new_tensor(self.norm), name)

    def bind(self, space: RecycleSpace) -> None:
        """Bind the space to the matrix, and take off the part of the solution that lies in it."""
        began = time.perf_counter()
        self.vectors, self.images = space.bound(self.A)
        if len(self.vectors):
            self._move(torch.mv(self.vectors.T, torch.mv(self.images.conj(), self.r)))
        self.bind_seconds = time.perf_counter() - began

    def _move(self, step: Tensor) -> bool:
        """Go along a step unless the true residual grows."""
        x = self.x + step
        r = self.b - self.A.matvec(x)
        norm = float(torch.linalg.vector_norm(r))
        if closer := norm <= self.norm:  # not where it is NaN
            self.x, self.r, self.norm = x, r, norm
        return closer

    def solve(self, space: RecycleSpace, wanted: float, restart: int, limit: int, updates: bool) -> None:
        """Cycles until the residual has the norm wanted.

        Args:
            space: what is learnt goes there.
            wanted: norm of the residual.
            restart: vectors of a cycle.
            limit: iterations.
            updates: whether to learn.
        """
        patience = _PATIENCE
        while self.norm > wanted and self.reason is Reason.CONVERGED:
            if self.iterations >= limit:
                self.reason = Reason.MAX_ITERATIONS
                break
            before = self.norm
            believed = self._cycle(wanted, restart, limit, space.vectors if updates else None)
            if believed and not self.norm <= max(wanted, 0.5 * before):
                self.reason = Reason.STAGNATION  # met rounding, not a need for more steps
            elif self.norm <= max(wanted, STALLED * before):
                patience = _PATIENCE
            else:
                # A space that learns may still get over it.
                patience, updates = patience - 1, True
                if patience == 0 and self.reason is Reason.CONVERGED:
                    self.reason = Reason.STAGNATION
        if updates and len(self.vectors):
            space.learn(self.vectors, self.images)
        space.note(
            updated=updates,
            iterations=self.iterations,
            reduction=self.norm / self.history[0],
            converged=self.norm <= wanted,
        )

    def _cycle(self, wanted: float, restart: int, limit: int, keep: int | None) -> bool:
        """One cycle, which leaves the best ``keep`` vectors for the next; whether it believes to have succeeded."""
        held, n = self.vectors.shape
        size = min(restart - held, limit - self.iterations, max(n - held, 1))
        inside = torch.mv(self.images.conj(), self.r)  # nothing but rounding
        r = torch.addmv(self.r, self.images.T, inside, alpha=-1)
        arnoldi = Arnoldi(r, torch.linalg.vector_norm(r), size, self.images)
        search = r.new_empty((size, n))
        estimate = self.norm
        for j in range(size):
            search[j] = arnoldi.last if self.preconditioner is None else self.preconditioner.matvec(arnoldi.last)
            estimate = float(arnoldi.extend(self.A.matvec(search[j])))
            if not math.isfinite(estimate):
                self.reason = Reason.NOT_FINITE
                return False
            self.iterations += 1
            self.history.append(estimate)
            if estimate <= wanted:
                break
        m = arnoldi.steps
        y = arnoldi.coefficients(torch.tensor(m, device=r.device))
        inside = inside - torch.mv(arnoldi.along, y)
        self._move(torch.addmv(torch.mv(search[:m].T, y), self.vectors.T, inside))
        if keep is not None:
            columns = torch.eye(held + m + 1, held + m, dtype=r.dtype, device=r.device)
            columns[:, held:] = arnoldi.columns[: held + m + 1, :m]
            found = harvest(torch.cat([self.vectors, search[:m]]), arnoldi.rows[: held + m + 1], columns, keep)
            if found is not None:
                self.vectors, self.images = found
        return estimate <= wanted
