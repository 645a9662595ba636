"""A polynomial in the matrix as preconditioner."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_limit, check_number, first_index
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.preconditioners.base import Preconditioner

__all__ = ["Chebyshev", "largest_eigenvalue"]

_STEPS = 12
_SAFETY = 1.05


@dataclass(frozen=True)
class Chebyshev(Preconditioner):
    """A Chebyshev polynomial in D^-1 A, for symmetric positive definite matrices on any device.

    It makes products with the matrix and no dot products, which suits GPUs: an iteration of CG then makes ``degree``
    products, and the iterations, with their dot products, are up to ``degree`` times fewer. The polynomial is small on
    the interval from b / ratio to b, where b bounds the eigenvalues of D^-1 A from above: 12 Lanczos steps from a fixed
    random start, their largest eigenvalue plus its residual, times 1.05. The map is symmetric positive definite as
    long as that bound holds.

    Args:
        degree: of the residual polynomial; one application makes ``degree - 1`` products. 1 is a scaled Jacobi.
        ratio: the larger, the more of the smooth part is treated, and the less of the rest.

    Example:
        >>> from pdekit.solvers import CG, Stencil, solve
        >>> A = Stencil([torch.ones(100, dtype=torch.float64)])
        >>> b = torch.ones(99, dtype=torch.float64)
        >>> int(solve(A, b, CG()).iterations), int(solve(A, b, CG(Chebyshev(4))).iterations)
        (50, 25)

    Source:
        Saad, "Iterative Methods for Sparse Linear Systems", 2nd ed., 2003, section 12.3; the bound: Zhou, Li, Linear
        Algebra Appl. 435 (2011) 480.
    """

    degree: int = 4
    ratio: float = 30.0

    def __post_init__(self):
        check_limit("Chebyshev", "degree", self.degree)
        check_number("Chebyshev", "ratio", self.ratio)
        if not self.ratio > 1:
            raise InputError(f"Chebyshev has ratio={self.ratio}; expected a number above 1, such as 30.")

    def setup(self, A: LinearOperator) -> LinearOperator:
        """Bound the eigenvalues of each matrix.

        Raises:
            InputError: not symmetric, or a diagonal entry that is not positive, with its row.
        """
        if Tag.SYMMETRIC not in A.tags or A.dtype.is_complex:
            raise InputError(
                f"Chebyshev needs the real spectrum of a real symmetric matrix; {A.name} is none. Use BlockJacobi() or "
                "ILU0()."
            )
        A = A.with_values([values.detach() for values in A.values])
        diagonal = A.diagonal().detach()
        if bool((bad := ~(diagonal > 0)).any()):
            where = first_index(bad)
            raise InputError(
                f"Chebyshev needs a positive diagonal, but that of row {where[-1]}"
                f"{f' of matrix {list(where[:-1])}' if len(where) > 1 else ''} is {float(diagonal[where]):.3g}. Use "
                "Direct() or MINRES, or check for a row of zeros or a wrong sign."
            )
        return _Polynomial(A, 1 / diagonal, largest_eigenvalue(A, diagonal), self.degree, self.ratio)


def largest_eigenvalue(
    A: LinearOperator, diagonal: Float[Tensor, "*batch n"], steps: int = _STEPS, safety: float = _SAFETY
) -> Float[Tensor, "*batch"]:
    """A bound from above of the eigenvalues of D^-1 A, for symmetric A and positive D, by Lanczos.

    Args:
        A: the matrices.
        diagonal: D.
        steps: of Lanczos, each a product with A.
        safety: factor on the largest eigenvalue found plus the norm of its residual.

    Example:
        >>> from pdekit.solvers import DenseMatrix
        >>> A = DenseMatrix(torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)))
        >>> largest_eigenvalue(A, torch.ones(3, dtype=torch.float64), safety=1.0)
        tensor(4., dtype=torch.float64)

    Source:
        Zhou, Li, Linear Algebra Appl. 435 (2011) 480.
    """
    if diagonal.shape[-1] == 0:
        return diagonal.new_ones(diagonal.shape[:-1])
    scale = diagonal.rsqrt()
    start = torch.randn(A.shape[0], generator=torch.Generator("cpu").manual_seed(0), dtype=A.dtype).to(A.device)
    v = (start / torch.linalg.vector_norm(start)).expand(diagonal.shape)
    before = torch.zeros_like(v)
    beta = v.new_zeros(v.shape[:-1])
    alphas, betas = [], []
    for _ in range(min(steps, A.shape[0])):
        w = scale * A.matvec(scale * v) - beta.unsqueeze(-1) * before
        alpha = torch.linalg.vecdot(v, w)
        w = w - alpha.unsqueeze(-1) * v
        beta = torch.linalg.vector_norm(w, dim=-1)
        alphas.append(alpha)
        betas.append(beta)
        before, v = v, w / beta.clamp(min=torch.finfo(A.dtype).tiny).unsqueeze(-1)
    off = torch.stack(betas, dim=-1)
    tridiagonal = torch.diag_embed(torch.stack(alphas, dim=-1))
    tridiagonal = tridiagonal + torch.diag_embed(off[..., :-1], 1) + torch.diag_embed(off[..., :-1], -1)
    found, vectors = torch.linalg.eigh(tridiagonal)
    return safety * (found[..., -1] + off[..., -1] * vectors[..., -1, -1].abs())


class _Polynomial(LinearOperator):
    def __init__(self, A: LinearOperator, inverse: Tensor, bound: Tensor, degree: int, ratio: float):
        self.A, self.inverse, self.bound, self.degree, self.ratio = A, inverse, bound, degree, ratio

    @property
    def name(self) -> str:
        low, high = (float(v) for v in torch.aminmax(self.bound)) if self.bound.numel() else (0.0, 0.0)
        bound = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
        return f"Chebyshev, degree {self.degree}, eigenvalues of D^-1 A up to {bound}"

    @property
    def shape(self) -> tuple[int, int]:
        return self.A.shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.A.batch_shape

    @property
    def dtype(self) -> torch.dtype:
        return self.A.dtype

    @property
    def device(self) -> torch.device:
        return self.A.device

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE})

    def matvec(self, x: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        low, high = self.bound / self.ratio, self.bound
        middle, half = ((high + low) / 2).unsqueeze(-1), ((high - low) / 2).unsqueeze(-1)
        sigma = middle / half
        rho = 1 / sigma
        step = self.inverse * x / middle
        z = step
        for _ in range(self.degree - 1):
            following = 1 / (2 * sigma - rho)
            residual = self.inverse * (x - self.A.matvec(z))
            step = following * rho * step + 2 * following / half * residual
            z, rho = z + step, following
        return z

    def __repr__(self) -> str:
        return self.name
