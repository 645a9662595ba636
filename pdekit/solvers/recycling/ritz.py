"""Vectors that conjugate gradients find hard: approximate eigenvectors of M^-1 A for its smallest eigenvalues."""

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.recycling.small import eigh

__all__ = ["Window", "orthogonal_to", "smallest_vectors"]

_DEPENDENT = 1e-12
"""Part of the energy of the largest combination below which a combination of unit vectors is rounding."""


class Window:
    """The first steps of one run of conjugate gradients, from which Ritz vectors are made.

    The preconditioned residuals z over sqrt(<r, z>) are the Lanczos vectors of M^-1 A, orthonormal in the inner product
    of M, and the step lengths are the entries of its tridiagonal matrix: no product is needed.

    Args:
        vectors: ``(size, n)``, filled from the first one on: z over sqrt(<r, z>).
        scalars: ``(size, 2)`` float64: <r, z> and <p, A p>.
    """

    def __init__(self, vectors: Inexact[Tensor, "size n"], scalars: Float[Tensor, "size 2"]):
        self.vectors, self.scalars = vectors, scalars
        self.steps = 0
        """How many were made"""

    def candidates(self, size: int) -> Inexact[Tensor, "least n"]:
        """Ritz vectors of the smallest Ritz values; fewer than ``size`` where fewer steps were made.

        Source:
            Stathopoulos, Orginos, "Computing and deflating eigenvalues while solving multiple right-hand side linear
            systems", SIAM J. Sci. Comput. 32, 2010.
        """
        steps = min(self.steps, len(self.vectors))
        slope, curvature = self.scalars[:steps].cpu().numpy().T
        inverse = curvature / slope
        grown = slope[1:] / slope[:-1]
        diagonal = inverse.copy()
        diagonal[1:] += grown * inverse[:-1]
        beside = -np.sqrt(grown) * inverse[:-1]
        if not (np.isfinite(diagonal).all() and np.isfinite(beside).all()):
            return self.vectors[:0]
        smallest = (0, min(size, steps) - 1)
        turn = scipy.linalg.eigh_tridiagonal(diagonal, beside, select="i", select_range=smallest)[1]
        return torch.from_numpy(turn.T).to(self.vectors) @ self.vectors[:steps]


def orthogonal_to(
    nullspace: Inexact[Tensor, "n k"] | None, vectors: Inexact[Tensor, "size n"]
) -> Inexact[Tensor, "size n"]:
    """The parts of vectors that a singular matrix does not map to 0."""
    if nullspace is None:
        return vectors
    nullspace = nullspace.to(vectors.dtype)
    parts = vectors - (vectors @ nullspace.conj()) @ nullspace.mT
    # What is left of a vector inside the null space is rounding.
    left = torch.linalg.vector_norm(parts, dim=-1) > 1e-10 * torch.linalg.vector_norm(vectors, dim=-1)
    return torch.where(left.unsqueeze(-1), parts, 0.0)


def smallest_vectors(
    A: LinearOperator, preconditioner: LinearOperator | None, candidates: Inexact[Tensor, "many n"], size: int
) -> Inexact[Tensor, "size n"]:
    """Of all combinations of candidates those nearest to eigenvectors of M^-1 A for the smallest eigenvalues.

    By the Rayleigh-Ritz method in the inner product of A, in which M^-1 A is self-adjoint and which needs M^-1 alone:
    with the candidates as columns of Z, ``Z^H A M^-1 A Z y = theta Z^H A Z y``.

    Args:
        A: one Hermitian positive definite matrix.
        preconditioner: M^-1, an approximate inverse of ``A``; None means the identity.
        candidates: rows; those that depend on others or are not finite are dropped.
        size: most vectors to return.

    Returns:
        Rows of unit length, conjugate to each other, smallest Ritz value first; none where nothing is finite.

    Example:
        >>> from pdekit.solvers.operators.dense import DenseMatrix
        >>> A = DenseMatrix(torch.diag(torch.tensor([1.0, 2.0, 9.0], dtype=torch.float64)))
        >>> smallest_vectors(A, None, torch.eye(3, dtype=torch.float64)[[0, 2, 2]], 1).abs()
        tensor([[1., 0., 0.]], dtype=torch.float64)

    Source:
        Saad, Yeung, Erhel, Guyomarc'h, "A deflated version of the conjugate gradient algorithm", SIAM J. Sci. Comput.
        21, 2000.
    """
    candidates = candidates[torch.isfinite(candidates).all(-1)]
    if len(candidates) == 0:
        return candidates
    rows = orthogonal_to(A.nullspace, candidates)
    rows = rows * _over(torch.linalg.vector_norm(rows, dim=-1)).unsqueeze(-1)
    images = A.matvec(rows)
    solved = images if preconditioner is None else preconditioner.matvec(images)
    energy, stiffness = rows.conj() @ images.mT, images.conj() @ solved.mT
    scale = _over(energy.diagonal().real.clamp(min=0.0).sqrt())
    energy = _hermitian(energy) * scale.unsqueeze(-1) * scale
    if not bool(torch.isfinite(energy).all() & torch.isfinite(stiffness).all()):
        return candidates[:0]
    lengths, turn = eigh(energy)
    independent = lengths > _DEPENDENT * lengths[-1:]
    turn = scale.unsqueeze(-1).to(turn) * turn[:, independent] / lengths[independent].sqrt()
    _, vectors = eigh(_hermitian(turn.mH @ stiffness @ turn))
    found = (turn @ vectors[:, :size]).mT @ rows
    return found * _over(torch.linalg.vector_norm(found, dim=-1)).unsqueeze(-1)


def _over(numbers: Tensor) -> Tensor:
    return torch.where(numbers > 0, 1 / numbers, 0.0)


def _hermitian(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mH) / 2
