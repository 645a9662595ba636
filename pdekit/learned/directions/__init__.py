"""Networks that propose search directions, and conjugate gradients along them."""

from pdekit.learned.directions.losses import DirectionLoss, EnergyNorm, ResidualNorm
from pdekit.learned.directions.method import DeepDirections
from pdekit.learned.directions.networks import ConvolutionNet, DirectionNet, DirectionNetwork

__all__ = [
    "ConvolutionNet",
    "DeepDirections",
    "DirectionLoss",
    "DirectionNet",
    "DirectionNetwork",
    "EnergyNorm",
    "ResidualNorm",
]
