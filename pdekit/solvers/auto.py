"""The choice of a method that an expert would make."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.solvers.direct.direct import Direct
from pdekit.solvers.direct.spectral import Spectral, obstacle
from pdekit.solvers.krylov.cg import CG
from pdekit.solvers.krylov.gmres import GMRES
from pdekit.solvers.krylov.minres import MINRES
from pdekit.solvers.learning.arms import RELAXED
from pdekit.solvers.learning.choosing import Choosing
from pdekit.solvers.learning.experience import Experience
from pdekit.solvers.memory import memories
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.amg import AMG
from pdekit.solvers.preconditioners.ilu0 import ILU0
from pdekit.solvers.preconditioners.jacobi import Jacobi
from pdekit.solvers.preconditioners.multigrid import Multigrid

__all__ = ["Auto"]

_NARROW = 75
"""Width below which factors are cheap: planes of 10,000 unknowns, boxes of 1,500; see ``pdekit bench auto``."""

_MANY, _NARROW_OF_MANY = 8, 15
"""The same where so many matrices share what AMG and IC0 find once."""

_MIDDLING = 400
"""The same where iterations are many, as for indefinite matrices: boxes of 20,000 unknowns."""

_SINGLE_LEVEL = 200
"""The same up to which a single level is faster than several: planes of 90,000 unknowns."""

_PLANE = 0.58
"""Power of the number of unknowns between the widths of planes (1/2) and of boxes (2/3)."""


@dataclass(frozen=True)
class Auto(Method):
    """Pick a method by the kind and size of the matrix, or by what methods turn out to cost; the solution says which.

    The *width* of a sparse matrix (:attr:`Pattern.width`) tells what factoring it costs: it grows like the square root
    of the number n of unknowns on a plane, like its 2/3 power in space. Up to 0.58 the matrix is plane-like.

    =============================================================  =====================================
    matrix                                                         methods, each if the one before failed
    =============================================================  =====================================
    stencil on a line                                              :class:`Direct`
    stencil with constant coefficients, no Robin side              :class:`Spectral`
    stencil on a plane or in space                                 :class:`CG` with :class:`Multigrid`
    dense matrix; sparse matrix of width up to 75                  :class:`Direct`
    sparse, real, symmetric, positive diagonal, width up to 200    :class:`CG` with relaxed :class:`IC0`, ``Direct``
    the same, plane-like                                           ``CG`` with :class:`AMG`, ``Direct``
    the same in space, of width up to 400                          ``CG`` with relaxed IC0, ``Direct``
    the same in space                                              ``CG`` with relaxed IC0, ``MINRES``, ``Direct``
    other Hermitian, plane-like or of width up to 400              ``Direct``
    other Hermitian                                                :class:`MINRES`, ``Direct``
    any other sparse matrix, plane-like                            ``Direct``
    any other sparse matrix                                        :class:`GMRES` with :class:`ILU0`, ``Direct``
    operator without entries, Hermitian                            ``CG``, ``MINRES``
    operator without entries                                       ``GMRES``
    =============================================================  =====================================

    Relaxed IC0 is ``IC0(shift="auto", relaxation=0.99, ordering="cuthill-mckee")``; ``pdekit bench recycling`` has it
    beside ``IC0()`` and AMG.

    AMG and IC0 find once what the matrices of a batch share: from 8 matrices on they start at width 15 instead of 75.
    A symmetric matrix with positive diagonal may still be indefinite (Helmholtz): where the sum of its entries is
    negative that is seen at once, elsewhere CG meets a direction of negative curvature, and the next method is taken.
    On an accelerator CG takes AMG, which is made of products there, in place of IC0, and GMRES Jacobi.

    ``pdekit bench auto`` prints what each choice costs beside the others.

    **Learning.** With ``learn=True`` the table is where a search begins that goes on while systems are solved: the
    methods of the table and others (kept factors and hierarchies, relaxed factors, recycled spaces, the user's own)
    are tried on a few systems at a time, the clearly slower ones are dropped, and the fastest takes over. What they
    cost is kept in ``experience``, apart for each kind of system; ``print(auto.experience)`` tells why one is chosen,
    and ``Solution.method`` which.

    Args:
        learn: choose by the seconds that methods take, from call to call, instead of by the table alone.
        arms: further methods to choose from, when learning.
        experience: what was learnt before; when learning, None begins with a new one.

    Raises:
        InputError: arms that are no methods, or that learn with the same experience; arms or experience without
            learning.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.solvers import diffusion
        >>> Auto().select(diffusion(Grid((9, 9)), coefficient=1.0, source=1.0).operator)
        Spectral()
    """

    learn: bool = False
    arms: Sequence[Method] = ()
    experience: Experience | None = None

    def __post_init__(self):
        arms = tuple(self.arms) if isinstance(self.arms, Iterable) else None
        if arms is None or not all(isinstance(arm, Method) for arm in arms):
            raise InputError(f"Auto has arms={self.arms!r}; expected methods, such as [CG(SSOR(1.5)), MINRES()].")
        if not isinstance(self.learn, bool):
            raise InputError(f"Auto has learn={self.learn!r}; expected True or False.")
        if self.experience is not None and not isinstance(self.experience, Experience):
            raise InputError(f"Auto has experience={self.experience!r}; expected an Experience(), or None.")
        if not self.learn and (arms or self.experience is not None):
            raise InputError(
                "Auto chooses by its table alone unless it learns: arms and experience go with learn=True."
            )
        if self.experience is not None and any(self.experience is memory for arm in arms for memory in memories(arm)):
            raise InputError(
                f"Auto has arms={self.arms!r}, one of which learns with the experience of this Auto itself; expected "
                "methods, or an Auto with an Experience() of its own."
            )
        object.__setattr__(self, "arms", arms)
        if self.learn and self.experience is None:
            object.__setattr__(self, "experience", Experience())

    def __repr__(self) -> str:
        if not self.learn:
            return "Auto()"
        arms = f", arms={list(self.arms)!r}" if self.arms else ""
        return f"Auto(learn=True{arms}, experience={self.experience!r})"

    def select(self, A: LinearOperator) -> Method:
        """The method for this matrix."""
        return self.candidates(A)[0]

    def candidates(self, A: LinearOperator) -> tuple[Method, ...]:
        """The method for this matrix, and those that follow where it fails."""
        if isinstance(A, Stencil):
            if len(A.lattice) == 1:
                return (Direct(),)
            return (Spectral(),) if obstacle(A) is None else (CG(Multigrid()),)
        if isinstance(A, CSR):
            return _for_sparse(A)
        if not A.values:
            if not A.hermitian:
                return (GMRES(),)
            return (CG(),) if Tag.POSITIVE_DEFINITE in A.tags else (CG(), MINRES())
        return (Direct(),)

    def prepare(self, A: LinearOperator) -> Prepared:
        if self.experience is not None:
            return Choosing(A, self.experience, self.candidates, self.arms, _prepared)
        return _prepared(self.candidates(A), A)


def _for_sparse(A: CSR) -> tuple[Method, ...]:
    n, width = A.shape[0], A.pattern.width
    plane, on_cpu = width <= n**_PLANE, A.device.type == "cpu"
    if width <= _NARROW_OF_MANY:
        return (Direct(),)
    definite = A.hermitian and _may_be_definite(A)
    shared = definite and not A.dtype.is_complex and math.prod(A.batch_shape) >= _MANY
    if width <= _NARROW and not shared:
        return (Direct(),)
    if definite:
        if A.dtype.is_complex:
            return (Direct(),) if plane else (CG(), Direct())
        if not on_cpu or (plane and width > _SINGLE_LEVEL):
            return CG(AMG()), Direct()
        indefinite = not plane and width > _MIDDLING
        return CG(RELAXED), *((MINRES(),) if indefinite else ()), Direct()
    if plane:
        return (Direct(),)
    if A.hermitian:
        return (Direct(),) if width <= _MIDDLING else (MINRES(), Direct())
    if bool((A.diagonal() == 0).any()):
        return (Direct(),)
    return GMRES(ILU0() if on_cpu else Jacobi()), Direct()


def _may_be_definite(A: CSR) -> bool:
    """Whether neither the diagonal nor the constants show a matrix of the batch to be indefinite."""
    if Tag.POSITIVE_DEFINITE in A.tags or Tag.POSITIVE_SEMIDEFINITE in A.tags:
        return True
    if not bool((A.diagonal().real > 0).all()):
        return False
    rounding = A.shape[0] * torch.finfo(A.dtype).eps * A.entries.abs().sum(-1)
    return bool((A.entries.sum(-1).real >= -rounding).all())


def _prepared(methods: Sequence[Method], A: LinearOperator) -> Prepared:
    """The first method that takes the matrix, with the rest to fall back on."""
    for place, method in enumerate(methods):
        rest = methods[place + 1 :]
        try:
            prepared = method.prepare(A)
        except InputError:
            if not rest:
                raise
            continue
        return _WithFallback(prepared, rest) if rest else prepared
    raise AssertionError("a matrix without a method")


class _WithFallback(Prepared):
    """A method, and what to try next."""

    def __init__(self, first: Prepared, rest: Sequence[Method]):
        super().__init__(first.operator)
        self.first, self.rest = first, rest

    def run(
        self, b: Inexact[Tensor, "*batch n"], x0: Inexact[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        return self.first.run(b, x0, rtol, atol)

    def adjoint(self) -> Prepared:
        turned = self.first.adjoint()
        return self if turned is self.first else _WithFallback(turned, self.rest)

    def fallback(self) -> Prepared | None:
        return _prepared(self.rest, self.operator)
