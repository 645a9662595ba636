"""What learned preconditioners share: a network, what it was trained on, and how both meet a matrix."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.learned import algebra, files
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.probing import counted, searched
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.entries import written_out
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.coarse_space import coarse_space
from pdekit.solvers.preconditioners.factored import real_symmetric
from pdekit.solvers.preconditioners.two_level import Form, TwoLevelOperator, check_form, combined

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
    """A preconditioner some of whose numbers a network gives, and which is never worse than its classical part.

    What :meth:`setup` makes is not differentiated with respect to the weights; to train, :meth:`values` and
    :meth:`inverse` are the same map on a :class:`MatrixGraph`, and are.

    For each matrix, a few steps of conjugate gradients on random right-hand sides tell whether all that the network
    gives helps (alpha = 1), a half or a quarter of it, or nothing (alpha = 0: the classical part). The operator's name
    says so.

    Args:
        network: called with a :class:`MatrixGraph`; it has ``arguments``, its constructor's as plain containers.
        coarse: "additive" or "balanced" adds the coarse space of :class:`TwoLevel`; train with a loss that knows it,
            such as :class:`TwoLevelEnergy`: what is trained alone spoils the work of the coarse space.
        probes: random right-hand sides on which alpha is chosen.
        trained_on: what the network has seen; None for one that has seen nothing.
    """

    network: nn.Module = field(repr=False)
    coarse: Form | None = field(default=None, kw_only=True)
    probes: int = field(default=2, kw_only=True)
    trained_on: TrainedOn | None = field(default=None, kw_only=True)

    def __post_init__(self):
        name = type(self).__name__
        if not isinstance(self.network, nn.Module):
            raise InputError(f"{name} has network={self.network!r}; expected a module such as LeanNet().")
        if self.coarse is not None:
            check_form(name, self.coarse)
        check_limit(name, "probes", self.probes)

    @property
    @abstractmethod
    def classical(self) -> Preconditioner:
        """What the network improves, and what remains where it does not help; with the coarse space, if any."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    def graph(self, A: CSR | Sequence[CSR]) -> MatrixGraph:
        """The matrices as :meth:`values` takes them."""
        return MatrixGraph.of(A)

    @abstractmethod
    def values(self, graph: MatrixGraph) -> Float[Tensor, "edges ..."]:
        """The numbers of the approximate inverse with alpha = 1, float64, differentiable in the weights."""

    @abstractmethod
    def fine(
        self, graph: MatrixGraph, values: Float[Tensor, "edges ..."], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """The approximate inverse with these values but without any coarse space; arguments as of `inverse`."""

    def inverse(
        self, graph: MatrixGraph, values: Float[Tensor, "edges ..."], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """M^-1 r, differentiable in the values and in r: what the operator of :meth:`setup` does where alpha is 1.

        Args:
            graph: of the matrices.
            values: as :meth:`values` gives them.
            r: vectors through all matrices.
        """
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

    @abstractmethod
    def bind(self, A: CSR) -> Callable[[Sequence[float], str], LinearOperator]:
        """Ask the network about each matrix; called without gradients.

        Returns:
            A function of alpha for each matrix of the batch, counted through it, and of how the name ends, which makes
            the operator without any coarse space.
        """

    def setup(self, A: LinearOperator) -> LinearOperator:
        """Let the network give its numbers for each matrix, and find how much of them helps; a Stencil is written out.

        Raises:
            InputError: no real symmetric CSR with a positive diagonal, one that is not on the CPU where the recipe
                needs that, or a matrix of another kind than the network was trained on.
        """
        A = self.accepted(written_out(A))
        if self.trained_on is not None:
            self.trained_on.check_matrix(type(self).__name__, A)
        with torch.no_grad():
            fine = self.bind(A)
            space = None if self.coarse is None else coarse_space(A)

            def operator(alphas: Sequence[float], end: str = "") -> LinearOperator:
                made = fine(alphas, end)
                return made if space is None else TwoLevelOperator(A, made, space, self.coarse)  # pyright: ignore

            alphas = searched(A, operator, self.probes)
            return operator(alphas, counted(alphas))

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
        """The entries of L with alpha = 1, float64, differentiable in the weights; positive on the diagonal."""

    def fine(
        self, graph: MatrixGraph, values: Float[Tensor, " edges"], r: Float[Tensor, "*k nodes"]
    ) -> Float[Tensor, "*k nodes"]:
        """(L L^T)^-1 r."""
        return algebra.solve(graph, values, r)
