"""Deep conjugate directions: a network proposes where to go, conjugate gradients go there."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.learned import files
from pdekit.learned.base import TrainedOn
from pdekit.learned.directions.networks import DirectionNetwork
from pdekit.solvers.krylov.base import PreparedKrylov
from pdekit.solvers.krylov.cg import check_hermitian, conjugate_gradients
from pdekit.solvers.krylov.directions import OrthogonalDirections
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.base import Preconditioner

__all__ = ["DeepDirections"]


@dataclass(frozen=True, eq=False)
class DeepDirections(Method):
    """Conjugate directions that a network proposes, for a :class:`Stencil` on a box.

    Each step asks the network for a direction, makes it conjugate to the last ones, and goes to the minimum of the
    energy along it. Where a proposal lowers the energy by less than the residual itself is sure to, or is not finite,
    the residual takes its place; the solution's ``method`` counts how often. So a bad network costs time, not the
    answer: without any good proposal these are conjugate gradients. The network works in float32 on residuals of one
    scale, everything else in float64, so that tolerances are those of any method.

    Args:
        network: such as :class:`DirectionNet`, trained on matrices of the kind; any number of points.
        memory: directions to be conjugate to.
        max_iterations: per system.
        trained_on: what the network has seen; None for one that has seen nothing.

    Raises:
        InputError: no network, or numbers below 1.

    Example:
        >>> from pdekit.learned.directions import DirectionNet
        >>> from pdekit.solvers import diffusion, solve
        >>> from pdekit.domain import Grid
        >>> system = diffusion(Grid((17, 17)), coefficient=1.0, source=1.0)
        >>> solution = solve(system.operator, system.rhs, DeepDirections(DirectionNet(2)), rtol=1e-10)
        >>> bool(solution.converged), int(solution.iterations) < 20
        (True, True)

    Source:
        Kaneda, Akar, Chen, Kala, Hyde, Teran, "A deep conjugate direction method for iteratively solving linear
        systems", ICML 2023. Falling back is ours.
    """

    network: DirectionNetwork = field(repr=False)
    memory: int = 2
    max_iterations: int = 1000
    trained_on: TrainedOn | None = field(default=None, kw_only=True)

    def __post_init__(self):
        if not isinstance(self.network, DirectionNetwork):
            raise InputError(
                f"DeepDirections has network={self.network!r}; expected a network that gives directions, such as "
                "DirectionNet(2)."
            )
        check_limit("DeepDirections", "memory", self.memory)
        check_limit("DeepDirections", "max_iterations", self.max_iterations)

    def prepare(self, A: LinearOperator) -> Prepared:
        """Let the network make what it needs of the matrices.

        Raises:
            InputError: no Stencil, periodic axes, another dimension or device than the network's.
        """
        check_hermitian("DeepDirections", A)
        iterate = partial(_iterate, memory=self.memory, max_iterations=self.max_iterations)
        prepared = PreparedKrylov(A, _Proposals(self.network), iterate, "")
        prepared.name = f"deep directions, {self.network!r}, memory {self.memory}"
        return prepared

    def save(self, directory: str | Path) -> None:
        """Write a folder for :func:`pdekit.load`: weights as safetensors, the rest as JSON, no code.

        Raises:
            InputError: the place is taken by something else.
            OSError: the disk is full or not writable; nothing is left behind.
        """
        files.save(self, directory)


@dataclass(frozen=True, eq=False)
class _Proposals(Preconditioner):
    """A network as what the common loop asks for a direction."""

    network: DirectionNetwork

    def setup(self, A: LinearOperator) -> LinearOperator:
        dim = self.network.dim
        if not isinstance(A, Stencil):
            raise InputError(
                f"DeepDirections needs a Stencil, whose lattice a network can look at; given was {A.name}. CG(AMG()) "
                "takes sparse matrices of any kind."
            )
        if len(A.lattice) != dim or any(A.periodic):
            kind = "with periodic axes" if any(A.periodic) else f"of {len(A.lattice)} dimensions"
            raise InputError(
                f"The network is made for lattices of {dim} dimensions between walls; given was {A.name}, {kind}. "
                "CG(Multigrid()) takes it."
            )
        weight = next(self.network.parameters())
        if weight.device != A.device:
            raise InputError(
                f"The network is on {weight.device} and the matrix on {A.device}; expected both on one device: "
                f"network.to({str(A.device)!r})."
            )
        return _Proposing(A, self.network)


class _Proposing(LinearOperator):
    """The directions that a network proposes for residuals, of the size of the residual."""

    def __init__(self, A: Stencil, network: DirectionNetwork):
        self.A, self.network = A, network
        self.lattice = A.lattice
        with torch.no_grad():
            self.geometry = network.geometry(A)

    @property
    def shape(self) -> tuple[int, int]:
        return self.A.shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.A.batch_shape

    @property
    def dtype(self) -> torch.dtype:
        return self.A.dtype

    @property
    def device(self) -> torch.device:
        return self.A.device

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset()

    def matvec(self, x: Inexact[Tensor, "*#batch n"]) -> Inexact[Tensor, "*#batch n"]:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True) / x.shape[-1] ** 0.5
        unit = (x / torch.where(size > 0, size, 1.0)).float().reshape(*x.shape[:-1], *self.lattice)
        with torch.no_grad():
            proposed = self.network(unit, self.geometry)
        return proposed.reshape(*proposed.shape[: -len(self.lattice)], x.shape[-1]).to(x.dtype) * size


class _ProposedDirections(OrthogonalDirections):
    """Proposals made conjugate to the last directions, or the residual in their place.

    The residual r lowers the energy by at least ``|r|^2 / (2 bound)``, bound being one of the largest eigenvalue.

    Args:
        A: the matrices.
        memory: directions kept.
    """

    def __init__(self, A: LinearOperator, memory: int):
        super().__init__(memory)
        self.A = A
        # Gershgorin: in a row of a resistor network the entries beside the diagonal sum to at most the diagonal one.
        self.bound = 2.0 * A.diagonal().amax(-1)
        self.steps = self.refused = torch.zeros((), dtype=torch.int64, device=A.device)
        self.q: Tensor

    def step(self, z, r, active):
        p, slope = super().step(z, r, active)
        q = self.A.matvec(p)
        gain = slope.square() / torch.linalg.vecdot(p, q)
        sure = torch.linalg.vecdot(r, r) / self.bound
        refused = active & ~((gain >= sure) & torch.isfinite(gain))
        self.steps = self.steps + active.sum()
        self.refused = self.refused + refused.sum()
        if bool(refused.any()):
            p, slope = super().step(torch.where(refused.unsqueeze(-1), r, z), r, active)
            q = self.A.matvec(p)
        self.q = q
        return p, slope

    def product(self, A: LinearOperator, p: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        return self.q

    @property
    def report(self) -> str:
        return f", {int(self.refused)} of {int(self.steps)} steps along the residual itself"


def _iterate(
    A: LinearOperator,
    proposing: LinearOperator,
    b: Tensor,
    x0: Tensor | None,
    wanted: Tensor,
    *,
    memory: int,
    max_iterations: int,
    check_every: int | None,
    name: str,
) -> Outcome:
    """The common loop with these directions."""
    rule = partial(_ProposedDirections, A, memory)
    return conjugate_gradients(
        A, proposing, b, x0, wanted, max_iterations, check_every=check_every, name=name, directions=rule
    )
