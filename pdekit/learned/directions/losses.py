"""What directions are trained to do: one step along them should leave little of the error."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.learned.directions.networks import DirectionNetwork
from pdekit.solvers.operators.stencil import Stencil

__all__ = ["DirectionLoss", "EnergyNorm", "ResidualNorm"]


class DirectionLoss(ABC):
    """How much of errors steps along a network's directions leave; subclasses are frozen dataclasses.

    The network is asked for a direction of the residual, a step is made to the minimum along it, and so on from what it
    leaves, as in a solve; the loss is the mean over the steps. No gradient flows from one step to the next: each begins
    from an error that is given. In this way the errors seen are those that the network itself leaves, which soon are
    the ones that it is worst at.
    """

    steps: int
    """Made from each error."""
    memory: int
    """As of :class:`DeepDirections`: directions to be conjugate to."""

    def __post_init__(self):
        check_limit(type(self).__name__, "steps", self.steps)
        check_limit(type(self).__name__, "memory", self.memory)

    def __call__(self, network: DirectionNetwork, A: Stencil, error: Float[Tensor, "*batch n"]) -> Float[Tensor, ""]:
        """The loss, differentiable with respect to the network's weights.

        Args:
            network: to be trained.
            A: the matrices; their precision is that of the steps, float32 being enough.
            error: to begin with, such as solutions; a batch that broadcasts with that of the matrices.
        """
        geometry = network.geometry(A)
        error = error.to(A.dtype).expand(torch.broadcast_shapes(error.shape[:-1], A.batch_shape) + error.shape[-1:])
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        total = error.new_zeros(())
        for _ in range(self.steps):
            r = A.matvec(error)
            size = torch.linalg.vector_norm(r, dim=-1, keepdim=True) / r.shape[-1] ** 0.5
            error, r = error / size, r / size
            proposed = network(r.float().reshape(*r.shape[:-1], *A.lattice), geometry)
            p = proposed.reshape(r.shape).to(r.dtype)
            for direction, product, curvature in kept:
                p = p - (torch.linalg.vecdot(product, p) / curvature).unsqueeze(-1) * direction
            q = A.matvec(p)
            total = total + self.left(error, r, p, q).mean()
            with torch.no_grad():
                curvature = torch.linalg.vecdot(p, q)
                error = error - (torch.linalg.vecdot(p, r) / curvature).unsqueeze(-1) * p
                kept = [*kept, (p.detach(), q.detach(), curvature)][-self.memory :]
        return total / self.steps

    @abstractmethod
    def left(
        self,
        error: Float[Tensor, "*batch n"],
        r: Float[Tensor, "*batch n"],
        p: Float[Tensor, "*batch n"],
        q: Float[Tensor, "*batch n"],
    ) -> Float[Tensor, "*batch"]:
        """The part of each error that the best step along p leaves.

        Args:
            error: e.
            r: A e.
            p: the direction.
            q: A p.
        """


@dataclass(frozen=True)
class EnergyNorm(DirectionLoss):
    """The energy norm: ``sqrt(1 - (r.p)^2 / (p.Ap e.Ae))`` is what an exact line search leaves of the error.

    It is the norm in which conjugate directions are best, and weighs long waves as the solution does.

    Args:
        steps: made from each error.
        memory: directions to be conjugate to, as of :class:`DeepDirections`.

    Raises:
        InputError: numbers below 1.

    Example:
        >>> from pdekit.learned.directions import DirectionNet
        >>> A = Stencil([torch.ones(9, 8), torch.ones(8, 9)])
        >>> EnergyNorm(steps=3)(DirectionNet(2), A, torch.randn(4, 64)).item() < 0.5
        True
    """

    steps: int = 10
    memory: int = 2

    def left(self, error, r, p, q):
        gain = torch.linalg.vecdot(r, p).square() / (torch.linalg.vecdot(p, q) * torch.linalg.vecdot(error, r))
        # Rounding can leave a little less than nothing, and the root is steep there.
        return (1.0 - gain).clamp(min=1e-6).sqrt()


@dataclass(frozen=True)
class ResidualNorm(DirectionLoss):
    """The published loss: the norm of the residual after the step, over that before; residuals are full of short waves.

    Args:
        steps: made from each error; 1 as published.
        memory: directions to be conjugate to, as of :class:`DeepDirections`.

    Raises:
        InputError: numbers below 1.

    Example:
        >>> from pdekit.learned.directions import DirectionNet
        >>> A = Stencil([torch.ones(9, 8), torch.ones(8, 9)])
        >>> ResidualNorm()(DirectionNet(2), A, torch.randn(4, 64)).item() < 1
        True

    Source:
        Kaneda et al., ICML 2023; Lan et al., ICML 2024.
    """

    steps: int = 1
    memory: int = 2

    def left(self, error, r, p, q):
        alpha = torch.linalg.vecdot(r, p) / torch.linalg.vecdot(p, q)
        return torch.linalg.vector_norm(r - alpha.unsqueeze(-1) * q, dim=-1) / torch.linalg.vector_norm(r, dim=-1)
