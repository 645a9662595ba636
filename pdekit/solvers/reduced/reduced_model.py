"""Reduced models: systems of a parametrised family solved in a space of few solutions, with a bound of the residual."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.core.checks import as_numbers, as_real, check_finite, check_positive
from pdekit.core.errors import InputError
from pdekit.solvers.auto import Auto
from pdekit.solvers.method import Method, check_method
from pdekit.solvers.operators.convert import MatrixLike, VectorLike, as_operator, as_vector, precise
from pdekit.solvers.reduced.certified import Certified
from pdekit.solvers.reduced.interpolation import EmpiricalInterpolation
from pdekit.solvers.reduced.matrix_interpolation import MatrixInterpolation, norm_bound
from pdekit.solvers.reduced.pod import POD
from pdekit.solvers.reduced.states import bound_in, check_state, numbers_in
from pdekit.solvers.solution import Solution
from pdekit.solvers.solve import solve

__all__ = ["ReducedModel", "ReducedSolution"]

_AFFINE = 1e-11
"""What interpolation of the training set may leave, as a part of its norm, where it is said to leave nothing."""

_ORTHONORMAL = 1e-10
"""How far products of the vectors of a saved basis may be from 0 and 1."""


@dataclass(frozen=True, repr=False)
class ReducedSolution:
    """What a reduced model answers; print it for a report.

    Args:
        coordinates: ``(*batch, size)``, in the basis of the model.
        residual: ``(*batch,)``, a bound of ``||b - A x||_2 / ||b||_2`` (of the absolute norm where b is 0); infinite
            where there is none.
        certified: whether that is a bound; otherwise it contains an estimate of what interpolation leaves out.
        why: what the certificate rests on, or why there is none.
        error: ``(*batch,)``, a bound of ``||x - A^-1 b||_2``, where a lower bound of the smallest singular value was
            given.
        basis: ``(size, n)``, of the model.
    """

    coordinates: Inexact[Tensor, "*batch size"]
    residual: Float[Tensor, "*batch"]
    certified: bool
    why: str
    error: Float[Tensor, "*batch"] | None
    basis: Inexact[Tensor, "size n"]

    @property
    def x(self) -> Inexact[Tensor, "*batch n"]:
        """The solutions in full."""
        return self.coordinates @ self.basis.to(self.coordinates.dtype)

    def __str__(self) -> str:
        count = self.residual.numel()
        worst = f"{float(self.residual.max()):.2e}" if count else "nothing"
        lines = [
            f"Reduced solution of {count} system{'s' * (count != 1)} with {self.basis.shape[1]:,} unknowns in "
            f"{self.basis.shape[0]} dimensions",
            f"  residual   at most {worst} ({'certified' if self.certified else 'an estimate'}: {self.why})",
        ]
        if self.error is not None and count:
            lines.append(f"  error      at most {float(self.error.max()):.2e}")
        return "\n".join(lines)

    __repr__ = __str__


class ReducedModel:
    """Systems of a parametrised family in the space of few solutions, certified by a bound of their residual.

    ``x = V y`` with the y that makes ``||b - A V y||_2`` least (any matrix will do: symmetric, indefinite, complex).
    With ``A_mu = sum_m beta_m A_m`` and ``b_mu = sum_j gamma_j b_j`` that residual lies in the span of the b_j and the
    A_m v_i, whatever mu is. An orthonormal basis of this span is found once; on line the residual is expanded in it,
    which costs the same for all n. The textbook way expands the square of its norm in inner products of those vectors,
    whose rounding hides everything below the root of machine precision, 1e-8; here the bound stays near the residual
    until that is rounding itself.

    The bound adds to the norm of the expanded residual: the rounding of what was expanded (estimated as of random
    errors, from norms), and, times ||y||, what interpolation of the matrices left over on the training set; likewise of
    the right-hand sides. The latter is rounding where matrices depend affinely on the parameters, and an estimate for
    all others, whose bound is then said not to be certified. It is where the matrix is given in full: the residual is
    then recomputed.

    Args:
        matrices: how the matrices of the family follow from few entries.
        rhs: the right-hand side ``(n,)`` that all share, or those of a training set ``(count, n)``.
        basis: ``(size, n)``, vectors that span solutions, which need not be orthonormal; or what ``pod(snapshots)``
            gave.
        affine: state that every matrix (and right-hand side) of the family is a combination of those of the training
            set. Matrices of a training set cannot show it, so that without this word nothing known by entries alone is
            certified.

    Raises:
        InputError: vectors of another length, none at all, or a family said to be affine that is not on its training
            set.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import CSR, pod
        >>> line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(50, 50))
        >>> one, b = CSR.from_scipy(line), torch.ones(50, dtype=torch.float64)
        >>> shift = CSR.from_scipy(scipy.sparse.eye_array(50))
        >>> mu = torch.linspace(0.01, 1, 12, dtype=torch.float64)
        >>> A = one[None] + shift[None] * mu
        >>> model = ReducedModel(MatrixInterpolation(A), b, pod(solve(A, b).x), affine=True)
        >>> new = one + 0.123 * shift
        >>> found = model.reduced(model.matrices.pick(new))
        >>> bool((b - new @ found.x).norm() / b.norm() <= found.residual), bool(found.residual < 1e-7)
        (True, True)
        >>> print(model.solve(new, b, rtol=1e-6).method)
        reduced model of 10 vectors

    Source:
        Casenave, Ern, Lelievre, "Accurate and online-efficient evaluation of the a posteriori error bound in the
        reduced basis method", ESAIM M2AN 48, 2014; Buhr, Engwer, Ohlberger, Rave, "A numerically stable a posteriori
        error estimator for reduced basis approximations of elliptic equations", WCCM 2014 (the orthonormal basis).
    """

    @torch.no_grad()
    def __init__(
        self, matrices: MatrixInterpolation, rhs: VectorLike, basis: VectorLike | POD, *, affine: bool = False
    ):
        if not isinstance(matrices, MatrixInterpolation):
            raise InputError(f"matrices is a {type(matrices).__name__}; expected a MatrixInterpolation of them.")
        if not isinstance(affine, bool):
            raise InputError(f"affine={affine!r}; expected True or False.")
        n = matrices.pattern.n
        spanning = basis.basis if isinstance(basis, POD) else basis
        sources, vectors = precise(as_numbers("rhs", rhs)), precise(as_numbers("basis", spanning))
        for name, table, most in (("rhs", sources, 2), ("basis", vectors, 2)):
            if table.ndim > most or table.shape[-1:] != (n,) or (name == "basis" and table.ndim != 2):
                expected = f"(size, {n})" if name == "basis" else f"({n},) or (count, {n})"
                raise InputError(f"{name} has shape {tuple(table.shape)}; expected {expected}, a vector a row.")
            check_finite(name, table)
        if len(vectors) == 0:
            raise InputError(f"basis has shape {tuple(vectors.shape)}; expected at least one vector.")
        if not bool(sources.any()):
            raise InputError("rhs is 0 everywhere; expected right-hand sides that the family has.")
        interpolation = EmpiricalInterpolation(sources.reshape(-1, n))
        left = sources - interpolation.interpolate(sources[..., interpolation.points])
        source_error = float(torch.linalg.vector_norm(left, dim=-1).max())
        kind = torch.promote_types(torch.promote_types(matrices.terms.dtype, sources.dtype), vectors.dtype)
        orthonormal = torch.linalg.qr(vectors.mT.to(kind))[0].mT.contiguous()
        self._bind(matrices, interpolation, source_error, orthonormal, affine)

    def _bind(
        self,
        matrices: MatrixInterpolation,
        sources: EmpiricalInterpolation,
        source_error: float,
        basis: Inexact[Tensor, "size n"],
        affine: bool,
    ) -> None:
        self.matrices, self.sources, self.source_error = matrices, sources, source_error
        self.basis, self.affine = basis, affine
        self.shared = sources.terms[0][sources.points]
        self.matrix_sizes = norm_bound(matrices.terms)
        self.source_sizes = torch.linalg.vector_norm(sources.terms, dim=-1)
        images = matrices.terms.matvec(basis[:, None]).transpose(0, 1)  # (d, size, n)
        spanning = torch.cat([sources.terms.to(basis.dtype), images.flatten(0, 1)])
        # Of the orthonormal basis only the coordinates of the vectors in it matter: the triangle of a QR factorisation.
        triangle = torch.linalg.qr(spanning.mT, mode="r")[1]
        self.of_sources = triangle[:, : len(sources)]
        self.of_images = triangle[:, len(sources) :].reshape(-1, *images.shape[:2]).permute(1, 0, 2)
        added = matrices.pattern.widest_row + len(basis) + len(spanning)
        self.rounding = 2 * added**0.5 * torch.finfo(torch.float64).eps
        """Of a sum of so many terms, as of a random walk (Higham, Mary, SIAM J. Sci. Comput. 41, 2019)."""
        if affine:
            _check_affine("matrices", matrices.error, float(self.matrix_sizes.max()))
            _check_affine("right-hand sides", source_error, float(self.source_sizes.max()))

    def state_dict(self) -> dict[str, Any]:
        """All it holds, as plain containers and copies of its tensors, for ``torch.load(weights_only=True)``."""
        interpolations = {"matrices": self.matrices.state_dict(), "sources": self.sources.state_dict()}
        return {**interpolations, "source_error": self.source_error, "basis": self.basis.clone(), "affine": self.affine}

    @classmethod
    @torch.no_grad()
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """The model that :meth:`state_dict` was taken of.

        Raises:
            InputError: the state of something else, or one that contradicts itself.
        """
        name = cls.__name__
        check_state(name, state, ("matrices", "sources", "source_error", "basis", "affine"))
        made = cls.__new__(cls)
        matrices = MatrixInterpolation.from_state_dict(state["matrices"])
        sources = EmpiricalInterpolation.from_state_dict(state["sources"])
        n, given = matrices.pattern.n, tuple(sources.terms.shape)
        if given[1] != n:
            raise InputError(f"The right-hand sides in the state of a {name} have shape {given}; expected (d, {n}).")
        is_complex = matrices.terms.dtype.is_complex or sources.terms.is_complex()
        basis = numbers_in(name, state, "basis", ("size", n), *(torch.complex128,) * is_complex)
        off = (basis @ basis.mH - torch.eye(len(basis), dtype=basis.dtype, device=basis.device)).abs().max()
        if not bool(off <= _ORTHONORMAL):
            raise InputError(f"The basis in the state of a {name} is off by {float(off):.1e} from orthonormal vectors.")
        if not isinstance(state["affine"], bool):
            raise InputError(f"The state of a {name} has affine={state['affine']!r}; expected True or False.")
        made._bind(matrices, sources, bound_in(name, state, "source_error"), basis, state["affine"])
        return made

    def reduced(
        self,
        A: MatrixLike,
        b: VectorLike | None = None,
        *,
        smallest: float | Float[Tensor, "*batch"] | None = None,
    ) -> ReducedSolution:
        """Solve in the reduced space and bound the residual.

        Args:
            A: the entries at ``matrices.places`` alone, with which nothing costs n; or matrices in full.
            b: with entries, those of the right-hand sides at ``sources.points``; with matrices, right-hand sides in
                full. None for the one that all share.
            smallest: a lower bound of the smallest singular value of each matrix (of a symmetric positive definite one,
                of its eigenvalues), for a bound of the error.

        Raises:
            InputError: shapes or patterns that do not fit, no right-hand side where the family has several, or a bound
                that is not positive.
        """
        if isinstance(A, Tensor | np.ndarray):
            matrix, values = None, precise(as_numbers("A", A))
        else:
            matrix = as_operator(A)
            values = self.matrices.pick(matrix)
        if b is None and len(self.sources) > 1:
            raise InputError(f"b is None, but the family has {len(self.sources)} right-hand sides; expected b.")
        if matrix is not None:
            right = self.sources.terms[0] if b is None else as_vector("b", b, matrix)
            y, _, _ = self._minimised(values, right[..., self.sources.points])
            norm = torch.linalg.vector_norm(right, dim=-1)
            residual = torch.linalg.vector_norm(right - matrix.matvec(y @ self.basis.to(y.dtype)), dim=-1)
            why = "recomputed from the full matrix"
        else:
            check_finite("A", values)
            at_points = self.shared if b is None else precise(as_numbers("b", b))
            if at_points.shape[-1:] != (len(self.sources),):
                raise InputError(
                    f"b has shape {tuple(at_points.shape)}; beside entries of A expected the {len(self.sources)} of b "
                    "at model.sources.points, b[..., model.sources.points], or None for the one that all share."
                )
            check_finite("b", at_points)
            _check_together("b", at_points.shape[:-1], "A", values.shape[:-1])
            y, residual, norm = self._minimised(values, at_points)
            why = "the family is stated to be affine"
            if not self.affine:
                why = "not known to be affine, it adds what interpolation left over on the training set"
        residual = torch.where(torch.isfinite(residual), residual, torch.inf)
        error = None
        if smallest is not None:
            lower = as_real("smallest", smallest).to(residual)
            check_positive("smallest", lower)
            _check_together("smallest", lower.shape, "the systems", residual.shape)
            error = residual / lower
        relative = residual / torch.where(norm > 0, norm, 1.0)
        return ReducedSolution(y, relative, matrix is not None or self.affine, why, error, self.basis)

    def solve(
        self,
        A: MatrixLike,
        b: VectorLike,
        *,
        rtol: float = 1e-8,
        atol: float = 0.0,
        method: Method = Auto(),  # noqa: B008 - immutable
        throw: bool = True,
    ) -> Solution:
        """Solve to a tolerance: by the model where it meets that, else by a method started from what the model gave.

        Args:
            A: matrices of the family, in full.
            b: ``(*batch, n)``.
            rtol: relative tolerance.
            atol: absolute tolerance.
            method: for systems that the model misses; set up for these alone.
            throw: raise if any system misses its tolerance.

        Returns:
            As :func:`pdekit.solve`, the residual recomputed; ``method`` says how many systems the model solved.

        Raises:
            InputError: as of :func:`pdekit.solve`, or matrices of another pattern.
            NotConverged: as of :func:`pdekit.solve`.
        """
        check_method(method)
        operator = as_operator(A)
        return solve(operator, b, Certified(self, operator, method), rtol=rtol, atol=atol, throw=throw)

    @torch.no_grad()
    def lifted(self, values: Inexact[Tensor, "*#batch d"], b: Inexact[Tensor, "*batch n"]) -> Inexact[Tensor, "..."]:
        """The reduced solutions in full, from entries of the matrices and full right-hand sides."""
        y = self._minimised(values, b[..., self.sources.points])[0]
        return y @ self.basis.to(y.dtype)

    @torch.no_grad()
    def _minimised(self, values: Tensor, at_points: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The coordinates, the bound of the residual they leave, and the norm of b."""
        beta, gamma = self.matrices.coefficients(values), self.sources.coefficients(at_points)
        kind = torch.promote_types(torch.promote_types(beta.dtype, gamma.dtype), self.basis.dtype)
        beta, gamma = beta.to(kind), gamma.to(kind)
        right = gamma @ self.of_sources.to(kind).mT
        projected = torch.einsum("...m,mri->...ri", beta, self.of_images.to(kind))
        orthonormal, triangle = torch.linalg.qr(projected)
        target = orthonormal.mH @ right.unsqueeze(-1)
        y = torch.linalg.solve_triangular(triangle, target, upper=True)
        left = right - (projected @ y).squeeze(-1)
        y = y.squeeze(-1)
        size = torch.linalg.vector_norm(y, dim=-1)
        terms = (beta.abs() @ self.matrix_sizes) * size + gamma.abs() @ self.source_sizes
        bound = torch.linalg.vector_norm(left, dim=-1) + self.rounding * terms
        bound = bound + self.matrices.error * size + self.source_error
        return y, bound, torch.linalg.vector_norm(right, dim=-1)

    def __len__(self) -> int:
        return len(self.basis)

    def __repr__(self) -> str:
        return f"ReducedModel({len(self)} vectors, {self.matrices}{', affine' * self.affine})"


def _check_together(name: str, batch: tuple[int, ...], other: str, of_other: tuple[int, ...]) -> None:
    try:
        torch.broadcast_shapes(batch, of_other)
    except RuntimeError:
        raise InputError(
            f"{name} has the batch shape {tuple(batch)}, which does not go with that of {other}, {tuple(of_other)}."
        ) from None


def _check_affine(what: str, error: float, size: float) -> None:
    if error > _AFFINE * size:
        raise InputError(
            f"affine=True, but combining {what} of the training set leaves {error:.1e} of a norm of {size:.1e}; leave "
            "it out, so that nothing is certified which is not, or interpolate with more terms."
        )
