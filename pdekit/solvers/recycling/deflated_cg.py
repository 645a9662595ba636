"""Conjugate gradients that leave out what earlier systems found hard."""

import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.solvers.krylov.base import check_preconditioner, in_units
from pdekit.solvers.krylov.cg import CG, check_hermitian, default_preconditioner
from pdekit.solvers.krylov.sparse_cg import fits, is_hierarchy
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.ic0 import IC0
from pdekit.solvers.recycling.deflated_runs import CompiledRuns, Runs, TensorRuns
from pdekit.solvers.recycling.policies import Freeze, UpdatePolicy
from pdekit.solvers.recycling.ritz import orthogonal_to, smallest_vectors
from pdekit.solvers.recycling.space import RecycleSpace, orthonormal_images
from pdekit.solvers.solution import Reason

__all__ = ["DeflatedCG"]

_WINDOW = 5
"""Steps of a run that are looked at for each vector of the space; of very large systems down to 2."""

_ROOM = 2**25
"""Numbers that a window should not exceed."""

_TOGETHER = 32
"""Systems that are solved before the policy is asked again; the number of threads must not matter."""


@dataclass(frozen=True)
class DeflatedCG(Method):
    """Conjugate gradients in the complement of a space, found in the first systems of a sequence and kept for the rest.

    For sequences of similar symmetric (complex: Hermitian) positive definite matrices. Few smallest eigenvalues of the
    preconditioned matrix account for most iterations, and neighbours share their eigenvectors nearly. While the space
    is updated, systems are solved one after the other, and Ritz vectors of their first iterations are joined to it;
    once it is frozen, the rest of a batch is solved at once. For each matrix the solution inside the space is found
    directly, and what the space can do about each residual is added to the preconditioned one, so that its eigenvalues
    lie among the others. Answers are as good with a poor space; it only costs more iterations.

    A float64 :class:`CSR` on the CPU with a symmetric factor, the diagonal or no preconditioner runs in one compiled
    kernel, a system a thread; all else as torch operations on whole batches, on any device.

    Args:
        preconditioner: None means :class:`Jacobi`, or none where the operator does not know its diagonal.
        vectors: of the fresh space that is made where none is handed in; a space brings its own number. Each costs two
            passes over it an iteration.
        update: when the space is updated: ``Freeze()`` during the first systems and whenever it has aged, ``Always()``,
            ``Never()``.
        space: outlives the solve; None makes a fresh one each time the method is bound to matrices, so that nothing
            goes from one call to the next.
        max_iterations: per system.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.solvers import CG, Jacobi, diffusion, solve
        >>> waves = torch.sin(torch.linspace(0, 15, 33, dtype=torch.float64))
        >>> strength = torch.linspace(1.0, 1.1, 6)[:, None, None]
        >>> system = diffusion(Grid((33, 33)), torch.exp(strength * torch.outer(waves, waves)), 1.0)
        >>> methods = CG(Jacobi()), DeflatedCG(Jacobi(), vectors=8)
        >>> plain, deflated = (solve(system.operator, system.rhs, method).iterations for method in methods)
        >>> bool((deflated[3:] < 0.6 * plain[3:]).all())  # the space is updated in the first three
        True

    Source:
        Saad, Yeung, Erhel, Guyomarc'h, "A deflated version of the conjugate gradient algorithm", SIAM J. Sci. Comput.
        21, 2000, for the harvest; the form that rounding does not harm and that costs no product: AD of Tang, Nabben,
        Vuik, Erlangga, J. Sci. Comput. 39, 2009.
    """

    preconditioner: Preconditioner | None = IC0()  # noqa: RUF009 - immutable
    vectors: int = 20
    update: UpdatePolicy = Freeze(after=3)  # noqa: RUF009 - immutable
    space: RecycleSpace | None = None
    max_iterations: int = 1000

    def __post_init__(self):
        check_preconditioner(
            "DeflatedCG", self.preconditioner, linear=True, symmetric=True,
            instead="FlexibleCG takes it as it is; so does GCRODR, for any matrix.",
        )  # fmt: skip
        for name in ("vectors", "max_iterations"):
            check_limit("DeflatedCG", name, getattr(self, name))
        if not isinstance(self.update, UpdatePolicy):
            raise InputError(f"DeflatedCG has update={self.update!r}; expected Freeze(), Always() or Never().")
        if self.space is not None and not isinstance(self.space, RecycleSpace):
            raise InputError(
                f"DeflatedCG has space={self.space!r}; expected None or an object such as RecycleSpace(20)."
            )

    def prepare(self, A: LinearOperator) -> Prepared:
        check_hermitian("DeflatedCG", A)
        return _Prepared(A, self)


class _Prepared(Prepared):
    """Deflated conjugate gradients bound to matrices."""

    def __init__(self, operator: LinearOperator, method: DeflatedCG):
        super().__init__(operator)
        self.method = method
        self.scaled, self.unit = in_units(operator)
        self.space = RecycleSpace(method.vectors) if method.space is None else method.space
        self.recipe = method.preconditioner or default_preconditioner(operator)
        self.factors: LinearOperator | None = None
        self.compiled = fits(self.scaled, None)
        if self.compiled:
            self.factors = None if self.recipe is None else self.recipe.setup(self.scaled)
            self.compiled = fits(self.scaled, self.factors) and not is_hierarchy(self.factors)

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        A, limit = self.scaled, self.method.max_iterations
        x0 = None if x0 is None else x0 * self.unit
        if self.compiled and isinstance(A, CSR):
            runs = CompiledRuns(A, self.factors, b, x0, rtol, atol, limit)
        else:
            runs = TensorRuns(A, self.recipe, b, x0, rtol, atol, limit)
        known = self.space.basis
        if known is not None and (known.dtype, known.device, known.shape[1]) != (b.dtype, b.device, b.shape[-1]):
            self.space.reset()
        fresh = self.method.space is None and self.space.basis is None
        basis, harvested, seconds, place = self._basis(b), 0, 0.0, 0
        while place < runs.count:
            if self.method.update.updates(self.space.record):
                window = runs.window(_steps(self.space.vectors, runs.n, limit))
                runs.solve([place], basis, window)
                if window.steps:
                    began = time.perf_counter()
                    self._harvest(*runs.matrix(place), window.candidates(self.space.vectors))
                    basis = self._basis(b)
                    seconds += time.perf_counter() - began
                    harvested += 1
                self._note(runs, place, updated=True)
                place += 1
                continue
            together = range(place, min(place + _TOGETHER, runs.count))
            runs.solve(together, basis)
            for i in together:
                self._note(runs, i, updated=False)
                if self.method.update.updates(self.space.record):
                    break
            place = together.stop
        name = self._name(len(basis), harvested, runs.count)
        if fresh and harvested and runs.count == 1:
            name += ", space not kept"
        found = runs.outcome(name, seconds)
        return found if self.unit == 1 else replace(found, x=found.x / self.unit)

    def _basis(self, b: Tensor) -> Tensor:
        """The space as independent vectors that no matrix of the batch maps to 0."""
        basis = self.space.basis
        if basis is None:
            return b.new_empty((0, b.shape[-1]))
        basis = orthogonal_to(self.operator.nullspace, basis)
        return orthonormal_images(basis, basis)[0]

    def _harvest(self, A: LinearOperator, preconditioner: LinearOperator | None, candidates: Tensor) -> None:
        """Join candidates to the space, of which the best remains for this matrix."""
        known = self.space.basis
        rows = candidates if known is None else torch.cat([known, candidates])
        self.space.learn(smallest_vectors(A, preconditioner, rows, self.space.vectors))

    def _note(self, runs: Runs, i: int, *, updated: bool) -> None:
        converged = runs.reasons[i] is Reason.CONVERGED
        self.space.note(
            updated=updated, iterations=runs.iterations[i], reduction=runs.reduction(i), converged=converged
        )

    def _name(self, vectors: int, harvested: int, count: int) -> str:
        updated = f", updated in {harvested} of {count} systems" if harvested else ""
        recipe = self.recipe if self.factors is None else self.factors.name
        return f"deflated CG ({vectors} vectors{updated}), {recipe or 'no'} preconditioner"

    def fallback(self) -> Prepared | None:
        return CG(self.method.preconditioner, self.method.max_iterations).prepare(self.operator)


def _steps(vectors: int, n: int, limit: int) -> int:
    """Steps of a run that are looked at: no more than it may make, or than there are independent vectors."""
    return min(max(2 * vectors, min(_WINDOW * vectors, _ROOM // max(n, 1))), n, limit)
