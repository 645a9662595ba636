"""Parametrised matrices as combinations of few of them, known by few of their entries."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.errors import InputError
from pdekit.solvers.operators.convert import MatrixLike, as_operator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.pattern import Pattern
from pdekit.solvers.reduced.interpolation import EmpiricalInterpolation
from pdekit.solvers.reduced.states import bound_in, check_state, indices_in

__all__ = ["MatrixInterpolation", "norm_bound"]


class MatrixInterpolation:
    """``A_mu ~ sum_m beta_m(mu) A_m``: empirical interpolation where the points are the stored entries.

    Nothing but assembled matrices is needed, and on line nothing of a new matrix but d of its entries. Matrices that
    are sums of d fixed parts with any factors (conductivities of subdomains, wave numbers, weights of boundary terms)
    are reproduced exactly, without knowing the parts.

    Args:
        matrices: a batch ``(count,)`` on one pattern, for a training set of parameters; or a list of sparse matrices
            (SciPy's, or single ones of :class:`CSR`), which become one on the pattern of all entries that any stores.
        size: how many terms at most; None leaves it to the tolerance.
        tolerance: stop where no entry of any training matrix is off by more than this part of the largest entry.

    Attributes:
        terms: the d matrices that are combined, a batch.
        chosen: ``(d,)``, their numbers in the training set.
        entries: ``(d,)``, the numbers of the stored entries that have to be known.
        places: ``(d, 2)``, the row and the column of each of those.
        errors: ``(d + 1,)``, the largest error with 0, 1, .. d terms, as a part of the largest entry.
        error: bound on the 2-norm of ``A_mu - sum_m beta_m A_m`` over the training set.

    Raises:
        InputError: no batch or list of sparse matrices of one order, or entries that are not finite.

    Example:
        >>> import scipy.sparse
        >>> one = CSR.from_scipy(scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(9, 9)))
        >>> mass = CSR.from_scipy(scipy.sparse.diags_array([0.5, 2.0, 0.5], offsets=[-1, 0, 1], shape=(9, 9)))
        >>> shifts = torch.arange(1.0, 6.0, dtype=torch.float64)
        >>> found = MatrixInterpolation(one[None] + mass[None] * shifts)
        >>> new = one + 2.345 * mass
        >>> len(found), bool((found.combine(found.pick(new)).entries - new.entries).abs().max() < 1e-14)
        (2, True)

    Source:
        Casenave, Ern, Lelievre, "A nonintrusive reduced basis method applied to aeroacoustic simulations", 2015;
        Carlberg, Tuminaro, Boggs, "Preserving Lagrangian structure in nonlinear model reduction", 2015 (entries).
    """

    @torch.no_grad()
    def __init__(self, matrices: CSR | Sequence[MatrixLike], *, size: int | None = None, tolerance: float = 1e-12):
        if isinstance(matrices, list | tuple):
            matrices = _batch(matrices)
        if not isinstance(matrices, CSR) or len(matrices.batch_shape) != 1:
            given = f"batch {matrices.batch_shape}" if isinstance(matrices, CSR) else type(matrices).__name__
            raise InputError(
                f"matrices is a {given}; expected a CSR with one batch axis, of the training parameters, or a list of "
                "SciPy matrices."
            )
        samples = matrices.entries.detach()
        self._bind(matrices.pattern, EmpiricalInterpolation(samples, size=size, tolerance=tolerance))
        left = samples - self.interpolation.interpolate(samples[:, self.entries])
        self.error = float(norm_bound(CSR(self.pattern, None, left)).max())

    def _bind(self, pattern: Pattern, interpolation: EmpiricalInterpolation) -> None:
        self.pattern, self.interpolation = pattern, interpolation
        self.chosen, self.entries, self.errors = interpolation.chosen, interpolation.points, interpolation.errors
        self.terms = CSR(pattern, None, interpolation.terms)
        self.places = torch.stack([pattern.rows[self.entries], pattern.indices[self.entries]], 1)

    def pick(self, A: MatrixLike) -> Inexact[Tensor, "*batch d"]:
        """The entries of matrices that determine their factors.

        Raises:
            InputError: matrices of another order, or with an entry where those of the training set have none.
        """
        A = as_operator(A)
        if not isinstance(A, CSR):
            raise InputError(f"A is a {A.name}; expected sparse matrices on the pattern of the training matrices.")
        return A.pattern.embed(A.entries.detach(), self.pattern).index_select(-1, self.entries)

    def coefficients(self, values: Inexact[Tensor, "*batch d"]) -> Inexact[Tensor, "*batch d"]:
        """The factors beta of the terms, from the entries at ``places``."""
        return self.interpolation.coefficients(values)

    def combine(self, values: Inexact[Tensor, "*batch d"]) -> CSR:
        """The approximate matrices, from the entries at ``places``."""
        return CSR(self.pattern, None, self.interpolation.interpolate(values))

    def state_dict(self) -> dict[str, Any]:
        """All it holds, as plain containers and copies of its tensors."""
        arrays = {"indptr": self.pattern.indptr.clone(), "indices": self.pattern.indices.clone()}
        return {**arrays, "interpolation": self.interpolation.state_dict(), "error": self.error}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """What :meth:`state_dict` was taken of.

        Raises:
            InputError: the state of something else, or one that contradicts itself.
        """
        name = cls.__name__
        check_state(name, state, ("indptr", "indices", "interpolation", "error"))
        made = cls.__new__(cls)
        interpolation = EmpiricalInterpolation.from_state_dict(state["interpolation"])
        indptr = indices_in(name, state, "indptr", "n + 1")
        made._bind(Pattern(indptr, indices_in(name, state, "indices", interpolation.terms.shape[1])), interpolation)
        made.error = bound_in(name, state, "error")
        return made

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return (
            f"MatrixInterpolation({len(self)} matrices of order {self.pattern.n:,}, {len(self)} of "
            f"{self.pattern.nnz:,} entries, error {float(self.errors[-1]):.1e})"
        )


def _batch(matrices: Sequence[MatrixLike]) -> CSR:
    """Single sparse matrices as a batch, on the pattern of all entries that any of them stores."""
    each = [as_operator(A) for A in matrices]
    for k, A in enumerate(each):
        if not isinstance(A, CSR) or A.batch_shape or A.shape != each[0].shape:
            given = f"batch {A.batch_shape}" if A.batch_shape else A.name
            order = "" if k == 0 else f" of order {each[0].shape[0]:,}, like the first"
            raise InputError(f"matrices[{k}] is a {given}; expected one sparse matrix{order}.")
    sparse = [A for A in each if isinstance(A, CSR)]
    if not sparse:
        raise InputError("matrices is an empty list; expected the matrices of the training parameters.")
    n = sparse[0].shape[0]
    keys = torch.cat([A.rows * n + A.indices for A in sparse]).unique()
    pattern = Pattern(pad(torch.bincount(keys // n, minlength=n).cumsum(0), (1, 0)), keys % n)
    kind = torch.complex128 if any(A.dtype.is_complex for A in sparse) else torch.float64
    return CSR(pattern, None, torch.stack([A.pattern.embed(A.entries, pattern).to(kind) for A in sparse]))


def norm_bound(A: CSR) -> Float[Tensor, "*batch"]:
    """An upper bound of the 2-norm of each matrix: the root of its largest row sum times its largest column sum.

    Example:
        >>> import scipy.sparse
        >>> norm_bound(CSR.from_scipy(scipy.sparse.csr_array([[3.0, 0.0], [4.0, 0.0]])))
        tensor(5.2915, dtype=torch.float64)
    """
    sizes = A.entries.detach().abs()

    def most(lines: Int[Tensor, " nnz"]) -> Tensor:
        return sizes.new_zeros((*A.batch_shape, A.shape[0])).index_add(-1, lines, sizes).amax(-1)

    return (most(A.rows) * most(A.indices)).sqrt()
