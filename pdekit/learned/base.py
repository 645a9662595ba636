"""What learned preconditioners share: a network, what it was trained on, and how both meet a matrix."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.errors import InputError
from pdekit.learned import algebra, files
from pdekit.learned.graphs import MatrixGraph
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.factored import Factored, entries_and_fill, real_symmetric

__all__ = ["LearnedFactor", "LearnedPreconditioner", "TrainedOn"]


@dataclass(frozen=True)
class TrainedOn:
    """The matrices that a network has seen; others of this kind are those it can be expected to help.

    Args:
        family: name of the family's class, such as "Darcy".
        dim: of the space that the unknowns lie in.
        components: of the unknown field: 1 for scalars, ``dim`` for elasticity.
    """

    family: str
    dim: int
    components: int = 1

    def check_family(self, recipe: str, family: str) -> None:
        """Refuse to precondition the systems of another family.

        Raises:
            InputError: names both.
        """
        if family != self.family:
            raise InputError(
                f"{recipe} was trained on {self.family} and is asked to precondition {family}; expected systems of "
                f"{self.family}. Train one on {family}, or hand its operator to solve() if you know that it fits."
            )

    def check_matrix(self, recipe: str, A: CSR) -> None:
        """Refuse matrices of another dimension or number of components; one without geometry tells neither.

        Raises:
            InputError: names both.
        """
        if A.geometry is None:
            return
        dim = A.geometry.points.shape[-1]
        components = int(A.geometry.component.max()) + 1 if len(A.geometry.component) else 1
        if (dim, components) != (self.dim, self.components):
            raise InputError(
                f"{recipe} was trained on {self.family} in {self.dim} dimensions with "
                f"{_components(self.components)}; the unknowns of {A.name} lie in {dim} dimensions and have "
                f"{_components(components)}. Train one on such systems, or use its classical part, such as IC0()."
            )


def _components(count: int) -> str:
    return "1 component" if count == 1 else f"{count} components"


@dataclass(frozen=True, eq=False)
class LearnedPreconditioner(Preconditioner):
    """A preconditioner some of whose numbers a network gives.

    What :meth:`setup` makes is never differentiated; to train, :meth:`values` and :meth:`inverse` are the same map on
    a :class:`MatrixGraph`, differentiable with respect to the network's weights.

    Args:
        network: called with a :class:`MatrixGraph`; it has ``arguments``, its constructor's as plain containers.
        trained_on: what the network has seen; None for one that has seen nothing.
    """

    network: nn.Module = field(repr=False)
    trained_on: TrainedOn | None = field(default=None, kw_only=True)

    @property
    def classical(self) -> Preconditioner | None:
        """What the network corrects, and what remains where it does not help; None where it starts from nothing."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    def graph(self, A: CSR | Sequence[CSR]) -> MatrixGraph:
        """The matrices as :meth:`values` takes them."""
        return MatrixGraph.of(A, self.classical)

    @abstractmethod
    def values(self, graph: MatrixGraph) -> Float[Tensor, "edges ..."]:
        """The numbers of the approximate inverse, float64, differentiable with respect to the weights."""

    @abstractmethod
    def inverse(
        self, graph: MatrixGraph, values: Float[Tensor, "edges ..."], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """M^-1 r, differentiable in the values and in r: what the operator of :meth:`setup` does.

        Args:
            graph: of the matrices.
            values: as :meth:`values` gives them.
            r: vectors through all matrices.
        """

    def check(self, A: LinearOperator) -> None:
        """Refuse matrices that are not of the kind that the network was trained on.

        Raises:
            InputError: another dimension or number of components.
        """
        if self.trained_on is not None and isinstance(A, CSR):
            self.trained_on.check_matrix(type(self).__name__, A)

    def save(self, directory: str | Path) -> None:
        """Write a folder for :func:`pdekit.load`: weights as safetensors, the rest as JSON, no code.

        The folder appears under its name only when it is complete; what was saved there before is replaced.

        Raises:
            InputError: the network has no ``arguments``, or the place is taken by something else.
            OSError: the disk is full or not writable; nothing is left behind.
        """
        files.save(self, directory)


@dataclass(frozen=True, eq=False)
class LearnedFactor(LearnedPreconditioner):
    """A learned L of ``M = L L^T``, for real symmetric :class:`CSR` matrices on the CPU.

    Its values belong to the edges of the graph, the lower triangle; a positive diagonal makes M positive definite.
    """

    @abstractmethod
    def values(self, graph: MatrixGraph) -> Float[Tensor, " edges"]:
        """The entries of L, float64, differentiable with respect to the weights; positive on the diagonal."""

    def inverse(
        self, graph: MatrixGraph, values: Float[Tensor, " edges"], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """(L L^T)^-1 r, differentiable in the values and in r."""
        return algebra.solve(graph, values, r)

    def setup(self, A: LinearOperator) -> LinearOperator:
        """Let the network give each matrix its factor.

        Raises:
            InputError: no real symmetric CSR on the CPU, a row without a diagonal entry, or a matrix of another kind
                than the network was trained on.
        """
        A = real_symmetric(type(self).__name__, A)
        self.check(A)
        with torch.no_grad():
            graph = self.graph(A)
            factors = algebra.factors(graph, self.values(graph.to(self.device)))
        size = entries_and_fill([len(factor[1]) for factor in factors], (A.pattern.nnz + A.shape[0]) // 2)
        return Factored(A, factors, f"{type(self).__name__}, {size}")
