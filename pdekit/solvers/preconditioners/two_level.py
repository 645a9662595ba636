"""Any symmetric preconditioner with a coarse space of smoothed aggregates."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.coarse_space import CoarseSpace, coarse_space
from pdekit.solvers.preconditioners.ic0 import IC0

__all__ = ["Form", "TwoLevel", "TwoLevelOperator", "check_form", "combined"]

Form = Literal["balanced", "additive"]
"""How the two levels are put together."""


@dataclass(frozen=True)
class TwoLevel(Preconditioner):
    """A symmetric preconditioner for what is local and a coarse space for what is not, of real :class:`CSR` matrices.

    An incomplete factor reduces errors that change from unknown to unknown, and takes ever more iterations on finer
    meshes for smooth ones. These lie close to a coarse space Z of a few unknowns, where the equations are solved
    exactly: with Q = Z (Z^T A Z)^-1 Z^T and the fine preconditioner M^-1, "additive" is M^-1 + Q and "balanced" is
    Q + (I - Q A) M^-1 (I - A Q), which costs two products with A and a second coarse solve, and takes fewer iterations.

    Args:
        fine: a symmetric recipe.
        aggregate: of about so many unknowns of each component one coarse unknown is made (one for each column of the
            matrix's ``near_nullspace``, where it has one).
        form: see above.
        smoothed: smooth the coarse space once by the matrix: fewer iterations, and a fuller coarse matrix.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CG, solve
        >>> line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(100, 100))
        >>> A, b = scipy.sparse.kronsum(line, line), np.ones(10_000)
        >>> [int(solve(A, b, CG(recipe)).iterations) for recipe in (IC0(), TwoLevel(form="additive"), TwoLevel())]
        [79, 38, 26]

    Source:
        Nicolaides, SIAM J. Numer. Anal. 24 (1987) 355 (additive); Mandel, Commun. Numer. Methods Eng. 9 (1993) 233
        (balanced); Vaněk, Mandel, Brezina, Computing 56 (1996) 179 (smoothed aggregates).
    """

    fine: Preconditioner = field(default_factory=IC0)
    aggregate: int = 64
    form: Form = "balanced"
    smoothed: bool = True

    def __post_init__(self):
        check_form("TwoLevel", self.form)
        check_limit("TwoLevel", "aggregate", self.aggregate)
        if not isinstance(self.fine, Preconditioner):
            raise InputError(f"TwoLevel has fine={self.fine!r}; expected a preconditioner such as IC0().")
        if not (self.fine.linear and self.fine.symmetric):
            raise InputError(f"TwoLevel has fine={self.fine}, whose map is not symmetric; expected one such as IC0().")

    def setup(self, A: LinearOperator) -> "TwoLevelOperator":
        """Set up the fine preconditioner, find the coarse space of each matrix and factor its coarse matrix.

        Raises:
            InputError: no real symmetric CSR, a coarse matrix that is not definite, or a matrix that does not suit the
                fine preconditioner.
        """
        fine = self.fine.setup(A)
        return TwoLevelOperator(A, fine, coarse_space(A, self.aggregate, self.smoothed), self.form)


class TwoLevelOperator(LinearOperator):
    """The two levels of a batch of matrices, together.

    Args:
        A: the matrices.
        fine: an approximate inverse of each, symmetric.
        coarse: their coarse space.
        form: how they are put together.
    """

    def __init__(self, A: LinearOperator, fine: LinearOperator, coarse: CoarseSpace, form: Form):
        self.operator, self.fine, self.coarse = A, fine, coarse
        self.form: Form = form

    @property
    def name(self) -> str:
        return f"{self.form} {self.fine.name} and {self.coarse.size:,} coarse unknowns"

    @property
    def shape(self) -> tuple[int, int]:
        return self.operator.shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.operator.batch_shape

    @property
    def dtype(self) -> torch.dtype:
        return self.operator.dtype

    @property
    def device(self) -> torch.device:
        return self.operator.device

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE})

    def matvec(self, x: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        return combined(self.form, self.fine.matvec, self.coarse, self.operator.matvec, x)

    def __repr__(self) -> str:
        return self.name


def combined(
    form: Form,
    fine: Callable[[Tensor], Tensor],
    coarse: CoarseSpace,
    product: Callable[[Tensor], Tensor],
    r: Float[Tensor, "*k n"],
) -> Float[Tensor, "*k n"]:
    """The two levels applied to vectors; differentiable where the parts are.

    Args:
        form: how they are put together.
        fine: applies the fine preconditioner.
        coarse: the coarse space.
        product: with the matrices; the additive form makes none.
        r: vectors.
    """
    q = coarse.apply(r)
    if form == "additive":
        return fine(r) + q
    z = fine(r - product(q))
    return z + coarse.apply(r - product(z))


def check_form(recipe: str, form: object) -> None:
    """Refuse a form that is none.

    Raises:
        InputError: names the recipe.
    """
    if form not in get_args(Form):
        raise InputError(f"{recipe} has form={form!r}; expected one of {', '.join(get_args(Form))}.")
