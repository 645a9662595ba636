"""Conjugate gradients with a space: by the compiled kernel, or by torch operations on whole batches."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Inexact
from torch import Tensor
from torch.nn.functional import pad

from pdekit.solvers.krylov.cg import conjugate_gradients
from pdekit.solvers.krylov.directions import DeflatedDirections, Directions, ShortRecurrence
from pdekit.solvers.krylov.sparse_cg import REASONS, kernel_preconditioner
from pdekit.solvers.method import Outcome
from pdekit.solvers.operators.base import LinearOperator, owners
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.single import single
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.recycling.ritz import Window
from pdekit.solvers.recycling.small import eigh
from pdekit.solvers.solution import Reason

__all__ = ["CompiledRuns", "Runs", "TensorRuns"]


class Runs(ABC):
    """The systems of one call, counted through their batch, and what has become of them.

    Args:
        A: the matrices.
        b: right-hand sides of the full batch.
        x0: first guess or None.
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_iterations: per system.
    """

    def __init__(
        self,
        A: LinearOperator,
        b: Inexact[Tensor, "*batch n"],
        x0: Inexact[Tensor, "*batch n"] | None,
        rtol: float,
        atol: float,
        max_iterations: int,
    ):
        self.A, self.batch, self.n = A, b.shape[:-1], b.shape[-1]
        self.b = b.detach().reshape(-1, self.n).contiguous()
        self.x = torch.zeros_like(self.b) if x0 is None else x0.detach().reshape(self.b.shape).clone()
        self.rtol, self.atol, self.max_iterations = rtol, atol, max_iterations
        self.count = len(self.b)
        self.owner: list[int] = owners(A.batch_shape, self.batch).tolist()
        self.iterations = [0] * self.count
        self.reasons = [Reason.CONVERGED] * self.count
        self.residual = [math.nan] * self.count
        self.history: list[Tensor] = [torch.zeros(1)] * self.count

    @abstractmethod
    def solve(self, systems: Sequence[int], space: Inexact[Tensor, "size n"], window: Window | None = None) -> None:
        """Solve some systems with the help of the space; of no vectors for plain conjugate gradients.

        Args:
            systems: which.
            space: independent rows.
            window: filled with the first steps of the last system.
        """

    @abstractmethod
    def matrix(self, system: int) -> tuple[LinearOperator, LinearOperator | None]:
        """The matrix of a system, and its preconditioner set up."""

    def _place(self, system: int) -> tuple[int, ...]:
        """Of the matrix of a system in its batch."""
        return tuple(int(i) for i in np.unravel_index(self.owner[system], self.A.batch_shape))

    def window(self, size: int) -> Window:
        """Room for the first steps of one run."""
        real = torch.empty((size, 2), dtype=torch.float64)
        return Window(torch.empty((size, self.n), dtype=self.b.dtype, device=self.b.device), real)

    def reduction(self, system: int) -> float:
        """The last norm of the residual over the first."""
        first = float(self.history[system][0])
        return self.residual[system] / first if first > 0 else 0.0

    def outcome(self, name: str, setup_seconds: float) -> Outcome:
        """All of them together."""
        device = self.b.device
        steps = max((len(history) for history in self.history), default=1)
        history = [pad(history, (0, steps - len(history)), value=torch.nan) for history in self.history]
        return Outcome(
            self.x.reshape(*self.batch, self.n),
            torch.tensor(self.iterations, device=device).reshape(self.batch),
            torch.tensor([reason.code for reason in self.reasons], device=device).reshape(self.batch),
            torch.stack(history, dim=1).to(device).reshape(steps, *self.batch),
            torch.tensor(self.residual, dtype=torch.float64, device=device).reshape(self.batch),
            name,
            setup_seconds,
        )


class CompiledRuns(Runs):
    """One system a thread, each in one kernel.

    Args:
        A: as :class:`Runs` takes it.
        preconditioner: set up for all matrices, or None.
        b, x0, rtol, atol, max_iterations: as :class:`Runs` takes them.
    """

    def __init__(
        self,
        A: CSR,
        preconditioner: LinearOperator | None,
        b: Inexact[Tensor, "*batch n"],
        x0: Inexact[Tensor, "*batch n"] | None,
        rtol: float,
        atol: float,
        max_iterations: int,
    ):
        # Room is kept for the history of every step; beyond this many nothing is gained any more.
        super().__init__(A, b, x0, rtol, atol, min(max_iterations, max(_LONGEST, 10 * A.shape[0])))
        self.preconditioner = preconditioner
        self.indptr, self.indices = A.pattern.arrays
        self.entries = A.entries.detach().reshape(-1, A.pattern.nnz).contiguous().numpy()

    def solve(self, systems: Sequence[int], space: Inexact[Tensor, "size n"], window: Window | None = None) -> None:
        from pdekit.kernels.sparse.deflated_pcg import deflated_conjugate_gradients, lay_out
        from pdekit.kernels.threads import for_each_sample

        n, b, x = self.n, self.b.numpy(), self.x.numpy()
        rows, tiles = lay_out(space.numpy())
        kept, steps = np.empty((0, n)), np.empty((0, 2))
        if window is not None:
            kept, steps = window.vectors.numpy(), window.scalars.numpy()

        def one(turn: int, scratch: dict) -> None:
            i = systems[turn]
            if not scratch:
                scratch["vectors"] = np.empty((4, n))
                scratch["history"] = np.empty(self.max_iterations + 1)
            code, self.iterations[i], self.residual[i] = deflated_conjugate_gradients(
                self.indptr, self.indices, self.entries[self.owner[i]], b[i], x[i],
                *kernel_preconditioner(self.preconditioner, self.owner[i]), scratch["vectors"], rows, tiles,
                self.rtol, self.atol, self.max_iterations, scratch["history"], kept, steps,
            )  # fmt: skip
            self.reasons[i] = REASONS[code]
            self.history[i] = torch.from_numpy(scratch["history"][: self.iterations[i] + 1].copy())

        large = len(systems) * len(self.indices) > _LARGE
        for_each_sample(one, len(systems), torch.get_num_threads() if large else 1)
        if window is not None:
            window.steps = self.iterations[systems[-1]]

    def matrix(self, system: int) -> tuple[LinearOperator, LinearOperator | None]:
        place = self._place(system)
        factors = None if self.preconditioner is None else single(self.preconditioner, place)
        return single(self.A, place), factors


class TensorRuns(Runs):
    """All systems at once as torch operations, on any device.

    Args:
        A: as :class:`Runs` takes it; its matrices have stored entries, or there is one.
        recipe: of the preconditioner, set up for the matrices that are solved together; None means none.
        b, x0, rtol, atol, max_iterations: as :class:`Runs` takes them.
    """

    def __init__(
        self,
        A: LinearOperator,
        recipe: Preconditioner | None,
        b: Inexact[Tensor, "*batch n"],
        x0: Inexact[Tensor, "*batch n"] | None,
        rtol: float,
        atol: float,
        max_iterations: int,
    ):
        super().__init__(A, b, x0, rtol, atol, max_iterations)
        self.recipe = recipe
        self._ready: tuple[int, LinearOperator, LinearOperator | None] | None = None

    def solve(self, systems: Sequence[int], space: Inexact[Tensor, "size n"], window: Window | None = None) -> None:
        places = list(systems)
        if len(places) == 1 or not self.A.batch_shape:
            A, preconditioner = self.matrix(places[0])
        else:
            A = self._matrices(places)
            preconditioner = None if self.recipe is None else self.recipe.setup(A)
        b, x = self.b[places], self.x[places]
        residual = b - A.matvec(x)
        first = torch.linalg.vector_norm(residual, dim=-1)
        wanted = (self.rtol * torch.linalg.vector_norm(b, dim=-1)).clamp(min=self.atol)
        rule, definite = ShortRecurrence(), torch.ones_like(first, dtype=torch.bool)
        if len(space):
            images = A.matvec(space.unsqueeze(1).expand(-1, len(places), -1)).movedim(0, -2)
            inverse, definite = _inverse(space.conj() @ images.mT, _cancelling(A, space))
            shares = (inverse @ (space.conj() @ residual.unsqueeze(-1))).squeeze(-1)
            away = (first > wanted) & definite
            x = torch.where(away.unsqueeze(-1), x + shares @ space, x)
            rule = DeflatedDirections(A, space, inverse)
        if window is not None:
            rule = _Watched(rule, window)
        found = conjugate_gradients(
            A, preconditioner, b, x, torch.where(definite, wanted, torch.inf), self.max_iterations,
            check_every=1 if b.device.type == "cpu" else 8, directions=lambda: rule,
        )  # fmt: skip
        assert found.history is not None
        self.x[places] = found.x
        residual = torch.linalg.vector_norm(b - A.matvec(found.x), dim=-1).tolist()
        iterations, codes, definite = found.iterations.tolist(), found.reason.tolist(), definite.tolist()
        history = torch.cat([first.unsqueeze(0), found.history[1:]]).cpu()
        for turn, i in enumerate(places):
            self.iterations[i], self.residual[i] = iterations[turn], residual[turn]
            self.reasons[i] = _BY_CODE[codes[turn]] if definite[turn] else Reason.NOT_DEFINITE
            self.history[i] = history[: iterations[turn] + 1, turn]
        if window is not None:
            window.steps = self.iterations[places[-1]]

    def matrix(self, system: int) -> tuple[LinearOperator, LinearOperator | None]:
        if self._ready is None or self._ready[0] != self.owner[system]:
            A = single(self.A, self._place(system))
            self._ready = self.owner[system], A, None if self.recipe is None else self.recipe.setup(A)
        return self._ready[1:]

    def _matrices(self, systems: Sequence[int]) -> LinearOperator:
        """The matrix of each system, in a batch ``(systems,)``."""
        batch = self.A.batch_shape
        owner = [self.owner[i] for i in systems]
        stored = [v.reshape(-1, *v.shape[len(batch) :])[owner] for v in self.A.values]
        return self.A.with_values(stored)


class _Watched(Directions):
    """A rule, of whose first steps a window is filled."""

    def __init__(self, rule: ShortRecurrence, window: Window):
        self.rule, self.frame, self.steps = rule, window, 0

    def step(self, z, r, active):
        p, slope = self.rule.step(z, r, active)
        if self.steps < len(self.frame.vectors):
            assert self.rule.z is not None
            self.frame.vectors[self.steps] = self.rule.z[-1] * slope[-1].rsqrt()
            self.frame.scalars[self.steps, 0] = slope[-1]
        return p, slope

    def used(self, p, q, curvature, active):
        self.rule.used(p, q, curvature, active)
        if self.steps < len(self.frame.vectors):
            self.frame.scalars[self.steps, 1] = curvature[-1]
        self.steps += 1


def _cancelling(A: LinearOperator, space: Tensor) -> Tensor | None:
    """The diagonals of W^H diag(A) W, where the diagonal is known."""
    try:
        return A.diagonal().real @ space.abs().square().mT
    except NotImplementedError:
        return None


def _inverse(energy: Tensor, cancelling: Tensor | None) -> tuple[Tensor, Tensor]:
    """The inverse of each W^H A W without what is rounding in it, and whether no energy is negative."""
    whole = energy.diagonal(dim1=-2, dim2=-1).real if cancelling is None else cancelling
    scale = torch.where(whole > 0, whole.clamp(min=0.0).rsqrt(), 0.0)
    values, turn = eigh((energy + energy.mH) / 2 * scale.unsqueeze(-1) * scale.unsqueeze(-2))
    definite = (values[..., 0] > -_ROUNDING) & (whole > 0).all(-1)
    turn = scale.unsqueeze(-1) * turn
    over = torch.where(values > _ROUNDING, 1 / values, 0.0)
    return (turn * over.unsqueeze(-2)) @ turn.mH, definite


_BY_CODE = {reason.code: reason for reason in Reason}

_ROUNDING = 1e-13
"""An energy is rounding below this part of the energies that cancel in it."""

_LONGEST = 100_000
"""Steps that the kernel may take where neither that many nor ten times the unknowns are asked for."""

_LARGE = 10_000
"""Stored entries to be passed below which starting threads does not pay."""
