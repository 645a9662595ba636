"""Networks inside solvers: learned factors, sparse inverses and search directions."""

from pdekit.learned.features import edge_features
from pdekit.learned.graphs import MatrixGraph

__all__ = ["MatrixGraph", "edge_features"]
