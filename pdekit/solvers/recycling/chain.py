"""The systems of a batch one after the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Inexact
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.errors import InputError
from pdekit.solvers.confirm import confirmed
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, owners
from pdekit.solvers.operators.single import single
from pdekit.solvers.solution import Reason, Solution

__all__ = ["Chain"]


@dataclass(frozen=True)
class Chain(Method):
    """Solve the systems of a batch one after the other, in their order, each prepared for itself.

    What the method keeps in its memories goes from each system to the next, as if every one came in a call of its own.
    The right-hand sides of one matrix follow each other and share what was prepared for it.

    Args:
        method: solves one system at a time.
        warm_start: start from the solution before (of several right-hand sides a matrix, from that at the same place),
            times the factor for which the residual is smallest; from ``x0`` where that leaves a smaller one.

    Raises:
        InputError: not a method, or a warm start that is neither True nor False.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import AMG, CG, CSR, solve
        >>> from pdekit.solvers.recycling.kept import KeptTransfers
        >>> A = CSR.from_scipy(scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(500, 500)))
        >>> batch = A.with_values([A.entries * torch.tensor([[1.0], [3.0]])])
        >>> solve(batch, np.ones(500), Chain(CG(AMG(kept=KeptTransfers())))).iterations
        tensor([7, 0])
    """

    method: Method
    warm_start: bool = True

    def __post_init__(self):
        if not isinstance(self.method, Method):
            given = f"the class {self.method.__name__}" if isinstance(self.method, type) else repr(self.method)
            raise InputError(f"Chain has method={given}; expected an object such as CG(AMG()) or Direct().")
        if not isinstance(self.warm_start, bool):
            raise InputError(f"Chain has warm_start={self.warm_start!r}; expected True or False.")

    def prepare(self, A: LinearOperator) -> Prepared:
        return _Links(A, self)


class _Links(Prepared):
    """The matrices of a batch, each prepared when it is met.

    Args:
        operator: the matrices.
        chain: the recipe.
        source: their adjoints, if these are what the method is to be prepared for.
    """

    def __init__(self, operator: LinearOperator, chain: Chain, source: LinearOperator | None = None):
        super().__init__(operator)
        self.chain, self.source = chain, source
        self.places = list(product(*map(range, operator.batch_shape)))
        self.ready: tuple[int, Prepared] | None = None
        if self.places and source is None:
            self._prepared(0)  # a matrix that the method does not take is refused here

    def _prepared(self, index: int) -> Prepared:
        """For one matrix; the last one is kept for further right-hand sides."""
        if self.ready is None or self.ready[0] != index:
            self.ready = None  # before the next is made: factors are large
            prepared = self.chain.method.prepare(single(self.source or self.operator, self.places[index]))
            self.ready = index, prepared if self.source is None else prepared.adjoint()
        return self.ready[1]

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        batch, n = b.shape[:-1], b.shape[-1]
        right = b.reshape(-1, n)
        given = None if x0 is None else x0.reshape(-1, n)
        owner = owners(self.operator.batch_shape, batch)
        found: list[Solution | None] = [None] * len(right)
        before: dict[int, Tensor] = {}
        setup_seconds = 0.0
        for index in range(len(self.places)):
            for turn, system in enumerate(torch.nonzero(owner == index)[:, 0].tolist()):
                if not bool(right[system].any()):
                    continue
                began = time.perf_counter()
                prepared = self._prepared(index)
                setup_seconds += time.perf_counter() - began
                start = None if given is None else given[system]
                if self.chain.warm_start and before:
                    known = before.get(turn, next(reversed(before.values())))
                    start = _nearest(prepared.operator, right[system], known, start)
                solution = confirmed(prepared, right[system], start, rtol, atol)
                setup_seconds += solution.setup_seconds
                found[system] = solution
                if bool(solution.converged):
                    before.pop(turn, None)  # so that the last one comes last
                    before[turn] = torch.as_tensor(solution.x)
        return _joined(b, found, self._name(found), setup_seconds)

    def _name(self, found: Sequence[Solution | None]) -> str:
        names = list(dict.fromkeys(solution.method for solution in found if solution is not None))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        warm = "from the solution before" if self.chain.warm_start else "each from the start"
        return f"one by one, {warm}: {'; '.join(names[:_NAMED]) or 'nothing to do'}{more}"

    def adjoint(self) -> Prepared:
        if self.operator.hermitian:
            return self
        if self.source is not None:
            return _Links(self.source, self.chain)
        return _Links(self.operator.adjoint(), self.chain, self.operator)


_NAMED = 3
"""Reports of so many kinds are shown."""


def _nearest(A: LinearOperator, b: Tensor, known: Tensor, given: Tensor | None) -> Tensor | None:
    """The best multiple of a known vector, or what is given if its residual is smaller; None if 0 is as good."""
    image = A.matvec(known)
    square = torch.linalg.vecdot(image, image).real
    factor = torch.linalg.vecdot(image, b) / square
    rest = torch.linalg.vector_norm(b - factor * image)
    if not bool(torch.isfinite(rest) & torch.isfinite(factor)):
        return given
    if given is not None and bool(torch.linalg.vector_norm(b - A.matvec(given)) <= rest):
        return given
    return factor * known


def _joined(b: Tensor, found: Sequence[Solution | None], name: str, setup_seconds: float) -> Outcome:
    """The outcome of all systems; those that were skipped are solved by 0."""
    batch, n = b.shape[:-1], b.shape[-1]
    norm = torch.linalg.vector_norm(b.reshape(-1, n), dim=-1)
    scale = torch.where(norm > 0, norm, 1.0)
    steps = max((len(solution.history) for solution in found if solution is not None), default=1)
    x, residual, history = (
        torch.zeros_like(b).reshape(-1, n),
        torch.zeros_like(norm),
        norm.new_full((steps, len(found)), torch.nan),
    )
    iterations = torch.zeros_like(norm, dtype=torch.int64)
    reason = torch.full_like(iterations, Reason.CONVERGED.code)
    history[0] = 0.0
    for i, solution in enumerate(found):
        if solution is None:
            continue
        x[i], residual[i], iterations[i] = torch.as_tensor(solution.x), solution.residual, solution.iterations
        reason[i] = solution.reason.item().code
        history[:, i] = pad(solution.history, (0, steps - len(solution.history)), value=torch.nan)
    return Outcome(
        x.reshape(b.shape),
        iterations.reshape(batch),
        reason.reshape(batch),
        (history * scale).reshape(steps, *batch),
        (residual * scale).reshape(batch),
        name,
        setup_seconds,
    )
