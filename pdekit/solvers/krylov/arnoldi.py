"""The Arnoldi process on batches: an orthonormal basis of a Krylov space, and the least-squares problem it leaves."""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

__all__ = ["Arnoldi", "orthogonalise"]


def orthogonalise(
    basis: Inexact[Tensor, "*batch k n"], w: Inexact[Tensor, "*batch n"]
) -> tuple[Inexact[Tensor, "*batch k"], Inexact[Tensor, "*batch n"]]:
    """Classical Gram-Schmidt twice: the coefficients of w in an orthonormal basis, and what is left of it.

    Example:
        >>> h, rest = orthogonalise(torch.tensor([[1.0, 0.0]]), torch.tensor([3.0, 4.0]))
        >>> h, rest
        (tensor([3.]), tensor([0., 4.]))

    Source:
        Giraud, Langou, Rozloznik, "The loss of orthogonality in the Gram-Schmidt orthogonalization process", 2005.
    """
    h = (basis.conj() @ w.unsqueeze(-1)).squeeze(-1)
    w = w - (basis.mT @ h.unsqueeze(-1)).squeeze(-1)
    more = (basis.conj() @ w.unsqueeze(-1)).squeeze(-1)
    return h + more, w - (basis.mT @ more.unsqueeze(-1)).squeeze(-1)


class Arnoldi:
    """One cycle: v_0, v_1, .. orthonormal with A z_j = sum_i h_ij v_i, and min || beta e_0 - H y || kept solved.

    The Hessenberg matrix H is turned to triangular form by one rotation a step, whose product is kept, so that each
    step costs a few operations on the whole batch however long the basis is.

    Args:
        r: the residual to start from, ``(*batch, n)``.
        beta: its norms; the basis of a residual 0 is 0.
        size: steps of the cycle.
    """

    def __init__(self, r: Inexact[Tensor, "*batch n"], beta: Float[Tensor, "*batch"], size: int):
        batch = r.shape[:-1]
        self.size, self.beta, self.steps = size, beta, 0
        self.basis = r.new_empty((*batch, size + 1, r.shape[-1]))
        self.basis[..., 0, :] = r * torch.where(beta > 0, 1 / beta, 0.0).unsqueeze(-1)
        self.turned = torch.eye(size + 1, dtype=r.dtype, device=r.device).repeat(*batch, 1, 1)
        self.triangle = r.new_zeros((*batch, size + 1, size))

    @property
    def last(self) -> Inexact[Tensor, "*batch n"]:
        """The newest vector of the basis."""
        return self.basis[..., self.steps, :]

    def extend(self, w: Inexact[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
        """Take A z for the newest vector z (or its preconditioned image).

        Returns:
            Norms of the residual that the least-squares solution of this size leaves.
        """
        j = self.steps
        size = torch.linalg.vector_norm(w, dim=-1)
        h, w = orthogonalise(self.basis[..., : j + 1, :], w)
        rest = torch.linalg.vector_norm(w, dim=-1)
        # What is left of a vector inside the space is rounding, and no direction.
        rest = torch.where(rest > 4 * torch.finfo(rest.dtype).eps * size, rest, 0.0)
        self.basis[..., j + 1, :] = w * torch.where(rest > 0, 1 / rest, 0.0).unsqueeze(-1)
        column = (self.turned[..., : j + 1, : j + 1] @ h.unsqueeze(-1)).squeeze(-1)
        corner = column[..., j]
        length = torch.hypot(corner.abs(), rest)
        over = torch.where(length > 0, 1 / length, 0.0)
        phase = torch.where(corner == 0, torch.ones_like(corner), corner / corner.abs())
        cosine, sine = (corner.abs() * over).unsqueeze(-1), (phase * rest * over).unsqueeze(-1)
        upper, lower = self.turned[..., j, :].clone(), self.turned[..., j + 1, :].clone()
        self.turned[..., j, :] = cosine * upper + sine * lower
        self.turned[..., j + 1, :] = cosine * lower - sine.conj() * upper
        self.triangle[..., :j, j] = column[..., :j]
        self.triangle[..., j, j] = phase * length
        self.steps = j + 1
        return self.beta * self.turned[..., j + 1, 0].abs()

    def coefficients(self, taken: Tensor) -> Inexact[Tensor, "*batch steps"]:
        """The least-squares solution y of each system, from its first ``taken`` columns; 0 in the others.

        A column that adds nothing (of a singular matrix) is left out, too.
        """
        m = self.steps
        triangle = self.triangle[..., :m, :m]
        right = self.beta.unsqueeze(-1) * self.turned[..., :m, 0]
        diagonal = triangle.diagonal(dim1=-2, dim2=-1).abs()
        largest = diagonal.amax(-1, keepdim=True)
        used = torch.arange(m, device=right.device) < taken.unsqueeze(-1)
        used = used & (diagonal > torch.finfo(diagonal.dtype).eps * largest)
        identity = torch.eye(m, dtype=triangle.dtype, device=triangle.device)
        triangle = torch.where(used.unsqueeze(-1) & used.unsqueeze(-2), triangle, identity)
        right = torch.where(used, right, 0.0)
        return torch.linalg.solve_triangular(triangle, right.unsqueeze(-1), upper=True).squeeze(-1)
