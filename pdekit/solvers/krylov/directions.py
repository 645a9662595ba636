"""Rules by which conjugate gradients choose their next search direction."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Inexact
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.solution import Reason

__all__ = ["DeflatedDirections", "Directions", "OrthogonalDirections", "ShortRecurrence"]


class Directions(ABC):
    """The search directions of one run of conjugate gradients, for a whole batch.

    The loop asks for a direction p, moves to the minimum along it, and tells what A p was.
    """

    definite = True
    """Whether <p, r> > 0 is due, as it is where the preconditioner is fixed and positive definite."""

    @property
    def without_slope(self) -> Reason:
        """Why a step fails whose <p, r> is not due."""
        return Reason.NOT_DEFINITE if self.definite else Reason.BREAKDOWN

    @abstractmethod
    def step(
        self, z: Inexact[Tensor, "*batch n"], r: Inexact[Tensor, "*batch n"], active: Bool[Tensor, "*batch"]
    ) -> tuple[Inexact[Tensor, "*batch n"], Inexact[Tensor, "*batch"]]:
        """The next direction p, and <p, r>.

        Args:
            z: the preconditioned residual.
            r: the residual.
            active: systems that have not stopped; what is returned for the others does not matter.
        """

    def used(  # noqa: B027 - a rule may have no use for it
        self,
        p: Inexact[Tensor, "*batch n"],
        q: Inexact[Tensor, "*batch n"],
        curvature: Inexact[Tensor, "*batch"],
        active: Bool[Tensor, "*batch"],
    ) -> None:
        """Told after each step: the direction, q = A p, and <p, q>."""

    def product(self, A: LinearOperator, p: Inexact[Tensor, "*batch n"]) -> Inexact[Tensor, "*batch n"]:
        """A p of the direction that :meth:`step` gave, for rules that know it already to give it."""
        return A.matvec(p)

    @property
    def report(self) -> str:
        """What is to be said of the run, after the name of the method."""
        return ""


class ShortRecurrence(Directions):
    """The classical rule: beta = <r, z> / <r', z'> keeps all directions conjugate if the preconditioner is fixed."""

    def __init__(self):
        self.last: tuple[Tensor, Tensor] | None = None
        self.z: Tensor | None = None
        """The preconditioned residual that the last direction was made of."""

    def step(self, z, r, active):
        self.z = z
        slope = torch.linalg.vecdot(r, z).real
        p = z
        if self.last is not None:
            previous, steepness = self.last
            p = z + torch.where(active, slope / steepness, 0.0).unsqueeze(-1) * previous
        self.last = p, slope
        return p, slope


class DeflatedDirections(ShortRecurrence):
    """The short recurrence, with what a space W can do about each residual added to the preconditioned one.

    The preconditioner M^-1 becomes ``M^-1 + s W (W^H A W)^-1 W^H``: where W holds eigenvectors of M^-1 A, their
    eigenvalues are moved from theta to theta + s, and all others stay. The shift s, a mean of the eigenvalues of M^-1 A
    that the first residual shows, moves them among the others, from whatever scale M has. For any W the map is
    symmetric positive definite, so that no vector of it need be exact.

    Args:
        A: the matrices.
        basis: vectors of the spaces, ``(*#batch, k, n)``.
        inverse: of ``W^H A W``, ``(*batch, k, k)``.

    Source:
        The method AD of Tang, Nabben, Vuik, Erlangga, "Comparison of two-level preconditioners derived from deflation,
        domain decomposition and multigrid methods", J. Sci. Comput. 39, 2009; with eigenvectors: Carpentieri, Duff,
        Giraud, "A class of spectral two-level preconditioners", SIAM J. Sci. Comput. 25, 2003.
    """

    def __init__(
        self,
        A: LinearOperator,
        basis: Inexact[Tensor, "*#batch k n"],
        inverse: Inexact[Tensor, "*batch k k"],
    ):
        super().__init__()
        self.A, self.basis, self.inverse = A, basis, inverse
        self.shift: Tensor | None = None

    def step(self, z, r, active):
        if self.shift is None:
            steepness, curvature = (torch.linalg.vecdot(z, v).real for v in (r, self.A.matvec(z)))
            self.shift = torch.where((steepness > 0) & (curvature > 0), curvature / steepness, 1.0).unsqueeze(-1)
        shares = (self.inverse @ (self.basis.conj() @ r.unsqueeze(-1))).squeeze(-1)
        add = (self.basis.mT @ shares.unsqueeze(-1)).squeeze(-1)
        return super().step(z + self.shift * add, r, active)


class OrthogonalDirections(Directions):
    """Conjugate to the last ``memory`` directions explicitly, whatever the preconditioner does.

    With a memory of 1 this is the Polak-Ribiere rule.

    Args:
        memory: directions kept.
    """

    definite = False

    def __init__(self, memory: int = 1):
        self.memory = memory
        self.kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def step(self, z, r, active):
        p = z
        for kept, product, curvature in self.kept:
            beta = torch.linalg.vecdot(product, z) / curvature
            p = p - torch.where(active, beta, 0.0).unsqueeze(-1) * kept
        return p, torch.linalg.vecdot(p, r)

    def used(self, p, q, curvature, active):
        self.kept = [*self.kept, (p, q, torch.where(active, curvature, 1.0))][-self.memory :]
