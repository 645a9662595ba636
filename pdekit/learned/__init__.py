"""Networks inside solvers: learned factors, sparse inverses and search directions.

The names below are imported on first use: some need torch_geometric, which takes seconds to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdekit.learned.base import LearnedFactor, LearnedPreconditioner, TrainedOn
    from pdekit.learned.corrected import CorrectedFactor
    from pdekit.learned.directions import (
        ConvolutionNet,
        DeepDirections,
        DirectionLoss,
        DirectionNet,
        DirectionNetwork,
        EnergyNorm,
        ResidualNorm,
    )
    from pdekit.learned.features import edge_features
    from pdekit.learned.graph_factor import GraphFactor, GraphFactorNetwork
    from pdekit.learned.graphs import MatrixGraph
    from pdekit.learned.lean import LeanNet
    from pdekit.learned.losses import (
        DataWeighted,
        Frobenius,
        LowFrequency,
        PreconditionerLoss,
        ScaledInverse,
        TwoLevelEnergy,
    )
    from pdekit.learned.neural_if import NeuralIF, NeuralIFNetwork
    from pdekit.learned.published import PublishedCorrection
    from pdekit.learned.sparse_inverse import SparseInverse, SparseInverseNetwork

_HOMES = {
    "ConvolutionNet": "directions",
    "CorrectedFactor": "corrected",
    "DataWeighted": "losses",
    "DeepDirections": "directions",
    "DirectionLoss": "directions",
    "DirectionNet": "directions",
    "DirectionNetwork": "directions",
    "EnergyNorm": "directions",
    "Frobenius": "losses",
    "GraphFactor": "graph_factor",
    "GraphFactorNetwork": "graph_factor",
    "LeanNet": "lean",
    "LearnedFactor": "base",
    "LearnedPreconditioner": "base",
    "LowFrequency": "losses",
    "MatrixGraph": "graphs",
    "NeuralIF": "neural_if",
    "NeuralIFNetwork": "neural_if",
    "PreconditionerLoss": "losses",
    "PublishedCorrection": "published",
    "ResidualNorm": "directions",
    "ScaledInverse": "losses",
    "SparseInverse": "sparse_inverse",
    "SparseInverseNetwork": "sparse_inverse",
    "TrainedOn": "base",
    "TwoLevelEnergy": "losses",
    "edge_features": "features",
}

__all__ = [
    "ConvolutionNet",
    "CorrectedFactor",
    "DataWeighted",
    "DeepDirections",
    "DirectionLoss",
    "DirectionNet",
    "DirectionNetwork",
    "EnergyNorm",
    "Frobenius",
    "GraphFactor",
    "GraphFactorNetwork",
    "LeanNet",
    "LearnedFactor",
    "LearnedPreconditioner",
    "LowFrequency",
    "MatrixGraph",
    "NeuralIF",
    "NeuralIFNetwork",
    "PreconditionerLoss",
    "PublishedCorrection",
    "ResidualNorm",
    "ScaledInverse",
    "SparseInverse",
    "SparseInverseNetwork",
    "TrainedOn",
    "TwoLevelEnergy",
    "edge_features",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"pdekit.learned.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pdekit.learned' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
