"""Algebraic multigrid as a preconditioner."""

from dataclasses import dataclass
from typing import Literal

import torch

from pdekit.core.checks import check_finite, check_limit, check_number, is_fake
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.factored import check_diagonal
from pdekit.solvers.recycling.kept import KeptTransfers

__all__ = ["AMG"]

_KINDS = ("auto", "classical", "aggregation")
_SMOOTHERS = ("auto", "gauss-seidel", "chebyshev")
_ROW = 10
"""Entries in a mean row above which aggregation takes over: classical coarsening fills up in three dimensions."""


@dataclass(frozen=True)
class AMG(Preconditioner):
    """One symmetric V-cycle of algebraic multigrid for a real symmetric :class:`CSR`.

    The matrices of a batch share what is expensive to find. A representative, the mean of the matrices (each divided by
    the mean of its diagonal), decides what is coarse, which connections are strong and thereby all patterns. The
    weights of the interpolation, the coarse matrices P^T A P, the smoothers and the coarse factor are then every
    matrix's own.

    **The rule of reuse.** A matrix does not share if more than 3 in 100 of its fine unknowns take less than 3/10 of
    their connections from coarse ones (classical), or more than 1 in 100 of its unknowns have strong connections but
    none within their aggregate (aggregation); it gets a hierarchy of its own. Nor does it go on sharing once the
    compiled :class:`CG` has taken 1.3 times the iterations that the representative needs; it is then set up anew, and
    the solution says so. The rule looks at the numbers of the batch alone, so that a batch gives the same again, on any
    number of threads. ``print(AMG().setup(A))`` says how many share. Between calls, :class:`KeptTransfers` carries on
    what was decided, by a rule of its own.

    Args:
        kind: "classical" splits the unknowns into coarse and fine ones (Ruge-Stüben): for scalar problems;
            "aggregation" joins them (smoothed aggregation): for vector problems, whose ``near_nullspace`` it
            reproduces (constants of each component where none is known), and for wide rows, which classical coarsening
            makes ever wider. "auto" takes aggregation for several components or columns of ``near_nullspace``, and for
            more than 10 entries in a mean row.
        strength: from 0 to 1; smaller connections, relative to the most negative of their row (classical) or to the
            diagonal (aggregation), do not count for coarsening. None means 0.1, or 0.05 for aggregation.
        smoother: "gauss-seidel" sweeps once forwards and once backwards, on the CPU; "chebyshev" takes polynomials of
            degree 2, on any device. "auto" takes what suits the device.
        coarse_size: coarsening ends at so many unknowns, which are solved for directly.
        reuse: False gives every matrix a hierarchy of its own.
        kept: transfers that go from one call to the next, for sequences of neighbouring matrices; None coarsens in
            every call.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CG, solve
        >>> A = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(500, 500))
        >>> int(solve(A, np.ones(500), CG(AMG())).iterations)
        7

    Source:
        Ruge, Stüben, "Algebraic multigrid", in McCormick (ed.), "Multigrid methods", 1987; Vaněk, Mandel, Brezina,
        Computing 56 (1996) 179. Coarsening by PyAMG (Bell, Olson, Schroder, Southworth, JOSS 8 (2023) 5495).
    """

    kind: Literal["auto", "classical", "aggregation"] = "auto"
    strength: float | None = None
    smoother: Literal["auto", "gauss-seidel", "chebyshev"] = "auto"
    coarse_size: int = 200
    reuse: bool = True
    kept: KeptTransfers | None = None

    def __post_init__(self):
        check_limit("AMG", "coarse_size", self.coarse_size)
        if self.kind not in _KINDS:
            raise InputError(f"AMG has kind={self.kind!r}; expected one of {', '.join(_KINDS)}.")
        if self.smoother not in _SMOOTHERS:
            raise InputError(f"AMG has smoother={self.smoother!r}; expected one of {', '.join(_SMOOTHERS)}.")
        if self.strength is not None:
            check_number("AMG", "strength", self.strength)
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise InputError(f"AMG has strength={self.strength}; expected a number from 0 to 1, or None.")
        if self.kept is not None and not isinstance(self.kept, KeptTransfers):
            raise InputError(f"AMG has kept={self.kept!r}; expected None or an object such as KeptTransfers().")
        if self.kept is not None and not self.reuse:
            raise InputError(
                "AMG has reuse=False and kept transfers: the one gives every matrix a hierarchy of its own, the other "
                "the hierarchy of an earlier one. Leave out one of them."
            )

    def setup(self, A: LinearOperator) -> LinearOperator:
        """Coarsen, for all matrices of the batch at once where they are alike.

        Args:
            A: a real symmetric `CSR` with its whole diagonal stored.

        Returns:
            The V-cycle as an operator; its gradient with respect to vectors is the same cycle.

        Raises:
            InputError: another operator or matrix; the message names what takes it.
        """
        from pdekit.solvers.amg.hierarchy import Hierarchy  # compiled code and PyAMG are loaded on first use
        from pdekit.solvers.amg.transfers import Settings

        A = _suitable(A)
        on_cpu = A.device.type == "cpu"
        if self.smoother == "gauss-seidel" and not on_cpu:
            raise InputError(
                f'AMG(smoother="gauss-seidel") sweeps one unknown after the other, on the CPU only; the matrix is on '
                f'{A.device}. Use smoother="chebyshev" or "auto".'
            )
        several = (A.near_nullspace is not None and A.near_nullspace.shape[-1] > 1) or (
            A.geometry is not None and bool(A.geometry.component.any())
        )
        wide = A.pattern.nnz > _ROW * max(A.pattern.n, 1)
        aggregation = self.kind == "aggregation" or (self.kind == "auto" and (several or wide))
        chebyshev = self.smoother == "chebyshev" or (self.smoother == "auto" and not on_cpu)
        strength = (0.05 if aggregation else 0.1) if self.strength is None else float(self.strength)
        settings = Settings(aggregation, strength, 2 if chebyshev else 0, self.coarse_size)
        return Hierarchy(A, settings, self.reuse, self.kept)


def _suitable(A: LinearOperator) -> CSR:
    if not isinstance(A, CSR):
        raise InputError(
            f"AMG coarsens graphs of stored entries and needs a CSR; it was given {A.name}. Use Multigrid() for a "
            "Stencil, or pass the matrix as a CSR (CSR.from_scipy)."
        )
    if A.dtype != torch.float64:
        raise InputError(
            f"AMG takes real matrices; {A.name} is {A.dtype}. Use ILU0() with GMRES or BiCGStab, or Direct()."
        )
    if is_fake(A.entries):
        raise InputError("AMG looks at the numbers of the matrix to coarsen it; a fake tensor has none.")
    if Tag.SYMMETRIC not in A.tags:
        raise InputError(
            f"AMG takes symmetric matrices; {A.name} does not equal its transpose. Use ILU0() with GMRES or BiCGStab."
        )
    check_diagonal("AMG", A)
    check_finite("A", A.entries)
    return A
