"""Networks inside solvers: learned factors, sparse inverses and search directions."""

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
