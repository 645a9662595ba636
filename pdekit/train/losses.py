"""What training makes small; always taken on decoded fields, in physical units."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Loss", "RelativeL2"]


class Loss(nn.Module, ABC):
    """A number to minimise from predicted and true fields."""

    @abstractmethod
    def forward(
        self,
        prediction: Float[Tensor, "batch *shape channels"],
        truth: Float[Tensor, "batch *shape channels"],
        weights: Float[Tensor, "*shape"],
    ) -> Float[Tensor, ""]:
        """The loss.

        Args:
            prediction, truth: decoded fields, channels last.
            weights: of the quadrature on their grid.
        """


class RelativeL2(Loss):
    """``||prediction - truth|| / ||truth||`` in L2 of the domain, averaged over samples and channels.

    The mean makes the learning rate independent of the batch size. A truth that is zero everywhere has no relative
    error: it costs nothing if met exactly and more than any training survives otherwise.

    Example:
        >>> truth = torch.ones(2, 3, 1)
        >>> RelativeL2()(1.1 * truth, truth, torch.tensor([0.25, 0.5, 0.25])).item()
        0.1000000...

    Source: Li et al., Fourier neural operator for parametric partial differential equations, ICLR 2021.
    """

    def forward(
        self,
        prediction: Float[Tensor, "batch *shape channels"],
        truth: Float[Tensor, "batch *shape channels"],
        weights: Float[Tensor, "*shape"],
    ) -> Float[Tensor, ""]:
        """See :class:`Loss`."""
        root = weights.sqrt().unsqueeze(-1)
        points = tuple(range(1, truth.ndim - 1))
        error = torch.linalg.vector_norm((prediction - truth) * root, dim=points)
        size = torch.linalg.vector_norm(truth * root, dim=points)
        return (error / size.clamp_min(torch.finfo(size.dtype).tiny)).mean()
