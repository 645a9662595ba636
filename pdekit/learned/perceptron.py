"""The small network that all others are made of."""

from torch import nn

__all__ = ["perceptron"]


def perceptron(inputs: int, hidden: int, outputs: int, *, silent: bool = False) -> nn.Sequential:
    """A network with one hidden layer and ReLU.

    Args:
        inputs, hidden, outputs: widths.
        silent: with an output layer of zeros, so that before any training it gives 0.

    Example:
        >>> perceptron(3, 8, 2, silent=True)(torch.ones(4, 3)).abs().sum().item()
        0.0
    """
    last = nn.Linear(hidden, outputs)
    if silent:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), last)
