"""First guesses from earlier solutions."""

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Inexact
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.errors import InputError
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.reduced.reduced_basis import ReducedBasis
from pdekit.solvers.reduced.systems import matrices_of
from pdekit.solvers.rounding import blurred

__all__ = ["ReducedGuess", "reduced_guess"]

_MOST = 2**19
"""Numbers in the images of the basis that are made at a time: about what a cache holds."""


@dataclass(frozen=True)
class ReducedGuess(Method):
    """Start a method from the best approximation in a basis of earlier solutions.

    Worth it where solutions depend on few parameters: coefficients constant on subdomains, a frequency, the place of a
    source. Those of random fields have no such basis, and nothing is gained there.

    The systems of a batch are solved in groups, in their order, between which the basis learns: after 4, 8, 16, ..
    solutions. Then it is frozen, and all further systems are one batch.

    Args:
        method: what solves, from the guess on.
        basis: keeps the solutions of earlier calls; None starts from nothing in each call.

    Raises:
        InputError: no method, or no basis.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CG, CSR, solve
        >>> line = CSR.from_scipy(scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(80, 80)))
        >>> shift = CSR.from_scipy(scipy.sparse.eye_array(80))
        >>> A = line[None] + shift[None] * torch.linspace(0.01, 0.1, 40, dtype=torch.float64)
        >>> b = torch.ones(80, dtype=torch.float64)
        >>> found = solve(A, b, ReducedGuess(CG()))
        >>> bool(found.iterations[8:].sum() < 0.5 * solve(A, b, CG()).iterations[8:].sum())
        True
    """

    method: Method
    basis: ReducedBasis | None = None

    def __post_init__(self):
        if not isinstance(self.method, Method):
            raise InputError(f"ReducedGuess has method={self.method!r}; expected an object such as CG(IC0()).")
        if self.basis is not None and not isinstance(self.basis, ReducedBasis):
            raise InputError(f"ReducedGuess has basis={self.basis!r}; expected a ReducedBasis() or None.")

    def prepare(self, A: LinearOperator) -> Prepared:
        return _Guessing(A, self.method, ReducedBasis() if self.basis is None else self.basis)


class _Guessing(Prepared):
    def __init__(self, operator: LinearOperator, method: Method, basis: ReducedBasis):
        super().__init__(operator)
        self.method, self.basis = method, basis
        self.whole: Prepared | None = None
        self.first: Prepared | None = None
        self.divisible = not operator.batch_shape or bool(operator.values)
        matrices = math.prod(operator.batch_shape)
        self.group = min(basis.due or matrices, matrices) if self.divisible else matrices
        # A matrix that the method does not take is refused here.
        if not operator.batch_shape or self.group == matrices:
            self.whole = method.prepare(operator)
        else:
            self.first = method.prepare(matrices_of(operator, operator.batch_shape, torch.arange(self.group)))

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        batch, n = tuple(b.shape[:-1]), b.shape[-1]
        afresh = not self.basis.fits(b)
        if afresh:
            self.basis.reset()
        rows, starts = b.reshape(-1, n), None if x0 is None else x0.reshape(-1, n)
        parts: list[Outcome] = []
        sizes, better, seconds, done = [], 0, 0.0, 0
        while done < len(rows):
            stop = min(done + self.basis.due, len(rows)) if self.basis.due and self.divisible else len(rows)
            part = torch.arange(done, stop, device=b.device)
            began = time.perf_counter()
            whole = len(part) == len(rows)
            prepared = self._prepared(None if whole else part, batch)
            seconds += time.perf_counter() - began
            shape = (*batch, n) if whole else (len(part), n)
            right, guess = rows[part].reshape(shape), None if starts is None else starts[part].reshape(shape)
            if self.basis.basis is not None:
                guess, taken = reduced_guess(self.basis.basis, prepared.operator, right, guess)
                better += int(taken.sum())
            sizes.append(0 if self.basis.basis is None else len(self.basis.basis))
            found = prepared.run(right, guess, rtol, atol)
            if not self.basis.frozen:
                self.basis.add(found.x[_solved(prepared.operator, right, found, rtol, atol)])
            parts.append(found)
            done = stop
        least, most = min(sizes), max(sizes)
        vectors = f"{most} vectors" if least == most else f"{least} to {most} vectors"
        started = "started afresh, " if afresh else ""
        name = f"{parts[-1].name}, guess from a reduced basis ({started}{vectors}, taken {better} of {len(rows)} times)"
        return _joined(parts, batch, name, seconds)

    def _prepared(self, systems: Tensor | None, batch: tuple[int, ...]) -> Prepared:
        """The method for the matrices of some systems; for all of them it is kept."""
        if systems is not None and self.operator.batch_shape:
            started = len(systems) == self.group and int(systems[0]) == 0 and batch == self.operator.batch_shape
            if started and self.first is not None:
                return self.first
            return self.method.prepare(matrices_of(self.operator, batch, systems))
        if self.whole is None:
            self.whole = self.method.prepare(self.operator)
        return self.whole

    def adjoint(self) -> Prepared:
        return self._prepared(None, ()).adjoint()

    def fallback(self) -> Prepared:
        return self._prepared(None, ())


def reduced_guess(
    basis: Inexact[Tensor, "size n"],
    A: LinearOperator,
    b: Inexact[Tensor, "*batch n"],
    x0: Inexact[Tensor, "*batch n"] | None = None,
) -> tuple[Inexact[Tensor, "*batch n"], Bool[Tensor, "*batch"]]:
    """The best approximation ``x0 + V y`` of each solution, in the energy norm for a Hermitian matrix, else in the
    norm of the residual; left out where its residual is not smaller than that of x0.

    Args:
        basis: V, orthonormal rows.
        A: the matrices.
        b: right-hand sides of the full batch.
        x0: what to improve; None for 0.

    Returns:
        The guesses, and which of them are better than ``x0``.

    Example:
        >>> from pdekit.solvers import DenseMatrix
        >>> A, b = DenseMatrix(torch.diag(torch.tensor([1.0, 2.0, 4.0]))), torch.tensor([1.0, 2.0, 0.0])
        >>> reduced_guess(torch.eye(3)[:2], A, b)
        (tensor([1., 1., 0.]), tensor(True))
    """
    start = torch.zeros_like(b) if x0 is None else x0
    if basis.numel() == 0:
        return start, torch.zeros(b.shape[:-1], dtype=torch.bool, device=b.device)
    left = b if x0 is None else b - A.matvec(x0)
    batch, n = tuple(b.shape[:-1]), b.shape[-1]
    each = max(1, _MOST // basis.numel())
    if A.batch_shape and A.values and left[..., 0].numel() > each:
        pieces = torch.arange(left[..., 0].numel(), device=b.device).split(each)
        found = [_correction(basis, matrices_of(A, batch, some), left.reshape(-1, n)[some]) for some in pieces]
        correction, taken = (torch.cat(part) for part in zip(*found, strict=True))
        correction, taken = correction.reshape(b.shape), taken.reshape(batch)
    else:
        correction, taken = _correction(basis, A, left)
    return start + correction, taken


def _correction(basis: Tensor, A: LinearOperator, r: Tensor) -> tuple[Tensor, Tensor]:
    """V y of least error, and whether it makes the residual r smaller; 0 where not."""
    spread = basis.reshape(-1, *(1,) * len(A.batch_shape), basis.shape[-1])
    images = A.matvec(spread)  # (size, *matrices, n)
    if A.hermitian:
        reduced = (images @ basis.mH).movedim(0, -1)
        right = r @ basis.mH
    else:
        orthonormal, reduced = torch.linalg.qr(images.movedim(0, -1))
        right = (orthonormal.mH @ r.unsqueeze(-1)).squeeze(-1)
    y = torch.linalg.solve_ex(reduced.expand(*right.shape, -1), right.unsqueeze(-1))[0].squeeze(-1)
    correction = torch.where(torch.isfinite(y).all(-1, keepdim=True), y, 0.0) @ basis
    after = torch.linalg.vector_norm(r - A.matvec(correction), dim=-1)
    taken = after < torch.linalg.vector_norm(r, dim=-1)
    return torch.where(taken.unsqueeze(-1), correction, 0.0), taken


def _solved(A: LinearOperator, b: Tensor, found: Outcome, rtol: float, atol: float) -> Tensor:
    """Which systems are solved, by the residuals of the solutions: what a method believes may be wrong."""
    norm, residual = torch.linalg.vector_norm(b, dim=-1), found.residual
    scale = torch.where(norm > 0, norm, 1.0)
    if residual is None:
        residual = torch.linalg.vector_norm(b - A.matvec(found.x), dim=-1)
    tolerance = torch.full_like(norm, rtol).maximum(atol / scale)
    residual = blurred(A, found.x / scale.unsqueeze(-1), residual / scale, tolerance)
    return (residual <= tolerance) & torch.isfinite(norm) & torch.isfinite(found.x).all(-1)


def _joined(parts: list[Outcome], batch: tuple[int, ...], name: str, seconds: float) -> Outcome:
    """The outcomes of groups of systems as one of all of them."""
    x = torch.cat([part.x.reshape(-1, part.x.shape[-1]) for part in parts]).reshape(*batch, -1)
    iterations = torch.cat([part.iterations.reshape(-1) for part in parts]).reshape(batch)
    reason = torch.cat([part.reason.reshape(-1) for part in parts]).reshape(batch)
    residuals = [part.residual.reshape(-1) for part in parts if part.residual is not None]
    residual = torch.cat(residuals).reshape(batch) if len(residuals) == len(parts) else None
    histories = [part.history.reshape(len(part.history), -1) for part in parts if part.history is not None]
    history = None
    if len(histories) == len(parts):
        steps = max(len(part) for part in histories)
        padded = [pad(part, (0, 0, 0, steps - len(part)), value=torch.nan) for part in histories]
        history = torch.cat(padded, 1).reshape(steps, *batch)
    return Outcome(x, iterations, reason, history, residual, name, seconds + sum(part.setup_seconds for part in parts))
