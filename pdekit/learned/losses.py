"""What training a preconditioner makes small."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.learned.algebra import factored, symmetric
from pdekit.learned.base import LearnedFactor, LearnedPreconditioner
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.scaling import roots

__all__ = ["DataWeighted", "Frobenius", "LowFrequency", "PreconditionerLoss", "ScaledInverse", "TwoLevelEnergy"]


class PreconditionerLoss(ABC):
    """A number to minimise, from a learned preconditioner and matrices with solutions."""

    @abstractmethod
    def __call__(
        self,
        recipe: LearnedPreconditioner,
        graph: MatrixGraph,
        x: Float[Tensor, "*k nodes"],
        b: Float[Tensor, "*k nodes"],
    ) -> Float[Tensor, ""]:
        """The loss, differentiable with respect to the weights of the recipe's network.

        Args:
            recipe: the preconditioner.
            graph: of the matrices A, on the device of the network.
            x: solutions, the unknowns of all matrices one after the other.
            b: A x.
        """


@dataclass(frozen=True)
class LowFrequency(PreconditionerLoss):
    """``||L L^T x - b||^2 / ||b||^2``, the mean over matrices and vectors.

    With ``b ~ N(0, I)`` its mean is ``||(L L^T - A) A^-1||_F^2 / n``: what A nearly annihilates weighs most, for
    conjugate gradients find that hardest.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.learned import NeuralIF
        >>> from pdekit.solvers import CSR
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[2.0, -1.0], [-1.0, 2.0]]))
        >>> recipe, x = NeuralIF(), torch.tensor([1.0, 1.0], dtype=torch.float64)  # untrained it is the diagonal
        >>> round(LowFrequency()(recipe, recipe.graph(A), x, A.matvec(x)).item(), 6)
        1.0

    Source: Trifonov et al., arXiv 2405.15557.
    """

    def __call__(
        self,
        recipe: LearnedPreconditioner,
        graph: MatrixGraph,
        x: Float[Tensor, "*k nodes"],
        b: Float[Tensor, "*k nodes"],
    ) -> Float[Tensor, ""]:
        """See :class:`PreconditionerLoss`."""
        return _ratio(_square(graph, _product("LowFrequency", recipe, graph, x) - b), _square(graph, b)).mean()


@dataclass(frozen=True)
class DataWeighted(PreconditionerLoss):
    """The mean square of ``L L^T x - b`` over all unknowns of the batch, over that of ``b``.

    It weighs what occurs in the solutions of the family, where ``||L L^T - A||_F`` weighs all vectors alike. Large
    matrices and large solutions weigh more than in :class:`LowFrequency`.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.learned import NeuralIF
        >>> from pdekit.solvers import CSR
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[2.0, -1.0], [-1.0, 2.0]]))
        >>> recipe, x = NeuralIF(), torch.tensor([1.0, 1.0], dtype=torch.float64)  # untrained it is the diagonal
        >>> round(DataWeighted()(recipe, recipe.graph(A), x, A.matvec(x)).item(), 6)
        1.0

    Source: Li, Chen, Du, Matusik, ICML 2023.
    """

    def __call__(
        self,
        recipe: LearnedPreconditioner,
        graph: MatrixGraph,
        x: Float[Tensor, "*k nodes"],
        b: Float[Tensor, "*k nodes"],
    ) -> Float[Tensor, ""]:
        """See :class:`PreconditionerLoss`."""
        return _ratio((_product("DataWeighted", recipe, graph, x) - b).square().mean(), b.square().mean())


@dataclass(frozen=True)
class Frobenius(PreconditionerLoss):
    """``||L L^T - A||_F^2 / ||A||_F^2``, estimated with random vectors; the mean over matrices.

    It weighs what A nearly annihilates least. A control: factors trained with it are no better than incomplete ones.

    Args:
        probes: random vectors, each of them new.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.learned import NeuralIF
        >>> from pdekit.solvers import CSR
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[2.0, -1.0], [-1.0, 2.0]]))
        >>> recipe, x = NeuralIF(), torch.tensor([1.0, 1.0], dtype=torch.float64)  # untrained it is the diagonal
        >>> round(Frobenius(100_000)(recipe, recipe.graph(A), x, A.matvec(x)).item(), 1)
        0.2

    Source: Häusner, Öktem, Sjölund, TMLR 2024; Hutchinson, Commun. Stat. Simul. 19 (1990) 433.
    """

    probes: int = 1

    def __post_init__(self):
        check_limit("Frobenius", "probes", self.probes)

    def __call__(
        self,
        recipe: LearnedPreconditioner,
        graph: MatrixGraph,
        x: Float[Tensor, "*k nodes"],
        b: Float[Tensor, "*k nodes"],
    ) -> Float[Tensor, ""]:
        """See :class:`PreconditionerLoss`; solutions are not looked at."""
        z = _noise(graph, self.probes)
        missed = _square(graph, _product("Frobenius", recipe, graph, z) - symmetric(graph, graph.entries, z))
        # Entries beside the diagonal stand for two.
        squares = graph.entries.square() * (1 + (graph.rows != graph.cols).to(graph.entries.dtype))
        owner = graph.owner.index_select(0, graph.rows)
        return _ratio(missed, squares.new_zeros(graph.count).index_add(0, owner, squares)).mean()


@dataclass(frozen=True)
class ScaledInverse(PreconditionerLoss):
    """``||(A M^-1 - I) w||^2 / ||w||^2`` with random w, of the matrix scaled to a unit diagonal; the mean.

    It needs no solutions and no solves with M of an inverse that is given as products. The published loss divides A by
    the size of its entries; here by the roots of its diagonal, from both sides.

    Args:
        probes: random vectors, each of them new.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.learned import NeuralIF
        >>> from pdekit.solvers import CSR
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[2.0, -1.0], [-1.0, 2.0]]))
        >>> recipe, x = NeuralIF(), torch.tensor([1.0, 1.0], dtype=torch.float64)  # untrained it is the diagonal
        >>> round(ScaledInverse(100_000)(recipe, recipe.graph(A), x, A.matvec(x)).item(), 2)
        0.25

    Source: Yang et al., arXiv 2510.27517.
    """

    probes: int = 1

    def __post_init__(self):
        check_limit("ScaledInverse", "probes", self.probes)

    def __call__(
        self,
        recipe: LearnedPreconditioner,
        graph: MatrixGraph,
        x: Float[Tensor, "*k nodes"],
        b: Float[Tensor, "*k nodes"],
    ) -> Float[Tensor, ""]:
        """See :class:`PreconditionerLoss`; solutions are not looked at."""
        w, root = _noise(graph, self.probes), roots(graph)
        found = symmetric(graph, graph.entries, recipe.inverse(graph, recipe.values(graph), root * w)) / root
        return _ratio(_square(graph, found - w), _square(graph, w)).mean()


@dataclass(frozen=True)
class TwoLevelEnergy(PreconditionerLoss):
    """How much of an error's A-norm a step along the preconditioned residual leaves, with the coarse space in place.

    An error e leaves the residual ``r = A e``; along ``d = M^-1 r``, of both levels where the recipe has a coarse
    space, the best step leaves ``sqrt(1 - (r . d)^2 / (d . A d  r . e))`` of its A-norm. Errors start as the solutions,
    in the balanced form without their part in the coarse space; each goes on from what the step left of it, which is
    what is hard to reduce. A factor trained alone spoils the coarse correction, whose errors it never meets.

    Args:
        steps: of each error; the loss is their mean.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.learned import NeuralIF
        >>> from pdekit.solvers import CSR
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[2.0, -1.0], [-1.0, 2.0]]))
        >>> recipe, x = NeuralIF(), torch.tensor([1.0, 0.0], dtype=torch.float64)  # untrained it is the diagonal
        >>> TwoLevelEnergy(steps=1)(recipe, recipe.graph(A), x, A.matvec(x)).item()
        0.327...
    """

    steps: int = 12

    def __post_init__(self):
        check_limit("TwoLevelEnergy", "steps", self.steps)

    def __call__(
        self,
        recipe: LearnedPreconditioner,
        graph: MatrixGraph,
        x: Float[Tensor, "*k nodes"],
        b: Float[Tensor, "*k nodes"],
    ) -> Float[Tensor, ""]:
        """See :class:`PreconditionerLoss`."""
        values, left = recipe.values(graph), []
        error = x - graph.coarse.apply(b) if getattr(recipe, "coarse", None) == "balanced" else x
        for _ in range(self.steps):
            r = symmetric(graph, graph.entries, error)
            d = recipe.inverse(graph, values, r)
            q = symmetric(graph, graph.entries, d)
            slope, curvature, energy = _sum(graph, r * d), _sum(graph, d * q), _sum(graph, error * r)
            gained = _ratio(slope.square(), curvature * energy)
            left.append((1 - gained).clamp(min=_LEAST).sqrt().mean())
            step = _ratio(slope, curvature).detach().index_select(-1, graph.owner)
            error = error - step * d.detach()
        return torch.stack(left).mean()


def _product(loss: str, recipe: LearnedPreconditioner, graph: MatrixGraph, x: Tensor) -> Tensor:
    """L L^T x."""
    if not isinstance(recipe, LearnedFactor):
        raise InputError(
            f"{loss} multiplies with a factor L L^T, and {type(recipe).__name__} gives an inverse without one. Use "
            "ScaledInverse() or TwoLevelEnergy()."
        )
    return factored(graph, recipe.values(graph), x)


def _noise(graph: MatrixGraph, probes: int) -> Tensor:
    """Vectors of N(0, 1)."""
    return torch.randn(probes, graph.nodes, dtype=graph.entries.dtype, device=graph.device)


def _sum(graph: MatrixGraph, products: Tensor) -> Tensor:
    """``(*k, nodes)`` to ``(*k, matrices)``."""
    return products.new_zeros(*products.shape[:-1], graph.count).index_add(-1, graph.owner, products)


def _square(graph: MatrixGraph, v: Tensor) -> Tensor:
    """The squared norm of the part of each matrix."""
    return _sum(graph, v.square())


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.clamp(min=_TINY)


_TINY = torch.finfo(torch.float64).tiny
_LEAST = 1e-12
"""Below this the root would have too steep a slope."""
