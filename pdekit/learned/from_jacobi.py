"""Learned preconditioners that start from the diagonal, and never end with less."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.learned import algebra
from pdekit.learned.base import LearnedFactor, LearnedPreconditioner
from pdekit.learned.graphs import MatrixGraph
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.factored import Factored, entries_and_fill
from pdekit.solvers.preconditioners.jacobi import Jacobi
from pdekit.solvers.preconditioners.two_level import TwoLevel

__all__ = ["FactorFromJacobi", "FromJacobi"]


@dataclass(frozen=True, eq=False)
class FromJacobi(LearnedPreconditioner):
    """What is Jacobi where its network gives 0.

    Args:
        network: as trained; called with a graph it gives one or more numbers for each edge.
        coarse, probes, trained_on: see :class:`~pdekit.learned.base.LearnedPreconditioner`.
    """

    @abstractmethod
    def from_output(self, graph: MatrixGraph, output: Float[Tensor, "edges ..."]) -> Float[Tensor, "edges ..."]:
        """The values of the fine preconditioner from what the network gave, float64; of Jacobi for 0."""

    @abstractmethod
    def operator(self, A: CSR, graph: MatrixGraph, values: Float[Tensor, "edges ..."], end: str) -> LinearOperator:
        """The same as an operator, whose name ends with ``end``."""

    @property
    def classical(self) -> Preconditioner:
        """Jacobi, with the coarse space where there is one."""
        return Jacobi() if self.coarse is None else TwoLevel(Jacobi(), form=self.coarse)

    def values(self, graph: MatrixGraph) -> Float[Tensor, "edges ..."]:
        """The values with alpha = 1, float64, differentiable with respect to the weights."""
        return self.from_output(graph, self.network(graph))

    def bind(self, A: CSR) -> Callable[[Sequence[float], str], LinearOperator]:
        """Let the network give the values for each matrix."""
        graph = self.graph(A)
        output = self.network(graph.to(self.device)).to(A.device)
        owner = graph.owner.index_select(0, graph.rows)

        def operator(alphas: Sequence[float], end: str) -> LinearOperator:
            share = torch.tensor(alphas, dtype=output.dtype, device=output.device).index_select(0, owner)
            values = self.from_output(graph, output * share.reshape(-1, *(1,) * (output.ndim - 1)))
            return self.operator(A, graph, values, end)

        return operator


@dataclass(frozen=True, eq=False)
class FactorFromJacobi(FromJacobi, LearnedFactor):
    """A factor L of ``M = L L^T`` on the pattern of the matrix, for :class:`CSR` matrices on the CPU."""

    def operator(self, A: CSR, graph: MatrixGraph, values: Float[Tensor, " edges"], end: str) -> Factored:
        """The triangular solves of each matrix."""
        factors = algebra.factors(graph, values)
        size = entries_and_fill([len(factor[1]) for factor in factors], graph.edges // max(graph.count, 1))
        return Factored(A, factors, f"{type(self).__name__}, {size}, {end}")
