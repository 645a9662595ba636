"""How a network is led through a batch; strategies wrap models and are no features of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

__all__ = ["OneStep", "Strategy"]


class Strategy(ABC):
    """What a training step predicts, and what it is compared with."""

    @abstractmethod
    def step(
        self,
        surrogate: Callable[[Tensor], Tensor],
        inputs: Float[Tensor, "batch *shape inputs"],
        outputs: Float[Tensor, "batch *shape outputs"],
    ) -> tuple[Tensor, Tensor]:
        """One training step.

        Args:
            surrogate: physical inputs to physical outputs, channels last.
            inputs, outputs: of the batch.

        Returns:
            Prediction and truth, decoded, of one shape.
        """


@dataclass(frozen=True)
class OneStep(Strategy):
    """Inputs to outputs, once: the plain learning of an operator.

    Example:
        >>> OneStep().step(lambda x: 2 * x, torch.ones(1, 3, 1), torch.zeros(1, 3, 1))[0].sum().item()
        6.0
    """

    def step(
        self,
        surrogate: Callable[[Tensor], Tensor],
        inputs: Float[Tensor, "batch *shape inputs"],
        outputs: Float[Tensor, "batch *shape outputs"],
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Strategy`."""
        return surrogate(inputs), outputs
