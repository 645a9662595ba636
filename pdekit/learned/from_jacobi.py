"""Learned preconditioners that start from the diagonal, and never end with less."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.learned import algebra
from pdekit.learned.base import LearnedFactor, LearnedPreconditioner
from pdekit.learned.corrected import counted, searched
from pdekit.learned.graphs import MatrixGraph
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.coarse_space import coarse_space
from pdekit.solvers.preconditioners.factored import Factored, entries_and_fill, real_symmetric
from pdekit.solvers.preconditioners.jacobi import Jacobi
from pdekit.solvers.preconditioners.two_level import Form, TwoLevel, TwoLevelOperator, check_form, combined

__all__ = ["FactorFromJacobi", "FromJacobi"]


@dataclass(frozen=True, eq=False)
class FromJacobi(LearnedPreconditioner):
    """What is Jacobi where its network gives 0.

    For each matrix, a few steps of conjugate gradients on random right-hand sides tell whether all that the network
    gives helps (alpha = 1), a half or a quarter of it, or nothing (alpha = 0: Jacobi). The operator's name says so.

    Args:
        network: as trained; called with a graph it gives one or more numbers for each edge.
        coarse: "additive" or "balanced" adds the coarse space of :class:`TwoLevel`; train with
            :class:`TwoLevelEnergy`.
        probes: random right-hand sides on which alpha is chosen.
        trained_on: what the network has seen.
    """

    coarse: Form | None = None
    probes: int = 2

    def __post_init__(self):
        if self.coarse is not None:
            check_form(type(self).__name__, self.coarse)
        check_limit(type(self).__name__, "probes", self.probes)

    @abstractmethod
    def from_output(self, graph: MatrixGraph, output: Float[Tensor, "edges ..."]) -> Float[Tensor, "edges ..."]:
        """The values of the fine preconditioner from what the network gave, float64; of Jacobi for 0."""

    @abstractmethod
    def fine(
        self, graph: MatrixGraph, values: Float[Tensor, "edges ..."], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """The fine preconditioner with these values, applied to r; differentiable in both."""

    @abstractmethod
    def operator(self, A: CSR, graph: MatrixGraph, values: Float[Tensor, "edges ..."], end: str) -> LinearOperator:
        """The same as an operator, whose name ends with ``end``."""

    @property
    def classical(self) -> Preconditioner:
        """Jacobi, with the coarse space where there is one."""
        return Jacobi() if self.coarse is None else TwoLevel(Jacobi(), form=self.coarse)

    def graph(self, A: CSR | Sequence[CSR]) -> MatrixGraph:
        """The matrices as :meth:`values` takes them."""
        return MatrixGraph.of(A)

    def values(self, graph: MatrixGraph) -> Float[Tensor, "edges ..."]:
        """The values with alpha = 1, float64, differentiable with respect to the weights."""
        return self.from_output(graph, self.network(graph))

    def inverse(
        self, graph: MatrixGraph, values: Float[Tensor, "edges ..."], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """M^-1 r, with the coarse space where there is one; differentiable in the values and in r."""
        if self.coarse is None:
            return self.fine(graph, values, r)

        def product(v: Tensor) -> Tensor:
            return algebra.symmetric(graph, graph.entries, v)

        return combined(self.coarse, lambda v: self.fine(graph, values, v), graph.coarse, product, r)

    def accepted(self, A: LinearOperator) -> CSR:
        """The operator, if it is one for this recipe.

        Raises:
            InputError: it is not; the message names what takes it.
        """
        return real_symmetric(type(self).__name__, A)

    def setup(self, A: LinearOperator) -> LinearOperator:
        """Let the network give the values for each matrix, and find how much of them helps.

        Raises:
            InputError: no real symmetric CSR with a positive diagonal, one that is not on the CPU, or a matrix of
                another kind than the network was trained on.
        """
        A = self.accepted(A)
        self.check(A)
        graph = self.graph(A)
        with torch.no_grad():
            output = self.network(graph.to(self.device)).to(A.device)
            owner = graph.owner.index_select(0, graph.rows)
            space = None if self.coarse is None else coarse_space(A)

            def operator(alphas: Sequence[float], end: str = "") -> LinearOperator:
                share = torch.tensor(alphas, dtype=output.dtype, device=output.device).index_select(0, owner)
                values = self.from_output(graph, output * share.reshape(-1, *(1,) * (output.ndim - 1)))
                fine = self.operator(A, graph, values, end)
                return fine if space is None else TwoLevelOperator(A, fine, space, self.coarse)  # pyright: ignore

            alphas = searched(A, operator, self.probes)
            return operator(alphas, counted(alphas))


@dataclass(frozen=True, eq=False)
class FactorFromJacobi(FromJacobi, LearnedFactor):
    """A factor L of ``M = L L^T`` on the pattern of the matrix, for :class:`CSR` matrices on the CPU."""

    def fine(
        self, graph: MatrixGraph, values: Float[Tensor, " edges"], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """(L L^T)^-1 r."""
        return algebra.solve(graph, values, r)

    def operator(self, A: CSR, graph: MatrixGraph, values: Float[Tensor, " edges"], end: str) -> Factored:
        """The triangular solves of each matrix."""
        factors = algebra.factors(graph, values)
        size = entries_and_fill([len(factor[1]) for factor in factors], graph.edges // max(graph.count, 1))
        return Factored(A, factors, f"{type(self).__name__}, {size}, {end}")
