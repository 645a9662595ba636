"""The Arnoldi process on batches: an orthonormal basis of a Krylov space, and the least-squares problem it leaves."""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

__all__ = ["Arnoldi", "orthogonalise"]

_ENOUGH = 0.5**0.5
"""Part of its length that a vector must keep in a pass of Gram-Schmidt to need no second one."""


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
    h, w = _pass(basis, w)
    more, w = _pass(basis, w)
    return h + more, w


def _pass(basis: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    if basis.ndim == 2:  # one system: the fastest products of a matrix with a vector, and no copies
        h = torch.mv(basis.conj(), w)
        return h, torch.addmv(w, basis.T, h, alpha=-1)
    h = (basis.conj() @ w.unsqueeze(-1)).squeeze(-1)
    return h, w - (basis.mT @ h.unsqueeze(-1)).squeeze(-1)


class Arnoldi:
    """One cycle: v_0, v_1, .. orthonormal with A z_j = sum_i h_ij v_i, and the norm of min || beta e_0 - H y ||.

    That norm is beta over the length of the vector q with q_0 = 1 that all columns of H are orthogonal to, which grows
    by one entry a step; so a step costs few operations on the whole batch, and y is found once, at the end.

    Args:
        r: the residual to start from, ``(*batch, n)``.
        beta: its norms; the basis of a residual 0 is 0.
        size: steps of the cycle.
        against: ``(*batch, k, n)``, orthonormal rows to which r is orthogonal and all of the basis is made so:
            A z_j = sum_i b_ij c_i + sum_i h_ij v_i.

    Source:
        Ayachour, "A fast implementation for GMRES method", J. Comput. Appl. Math. 159, 2003.
    """

    def __init__(
        self,
        r: Inexact[Tensor, "*batch n"],
        beta: Float[Tensor, "*batch"],
        size: int,
        against: Inexact[Tensor, "*batch k n"] | None = None,
    ):
        batch = r.shape[:-1]
        self.beta, self.steps = beta, 0
        self.held = 0 if against is None else against.shape[-2]
        self.rows = r.new_empty((*batch, self.held + size + 1, r.shape[-1]))
        if against is not None:
            self.rows[..., : self.held, :] = against
        self.rows[..., self.held, :] = r * torch.where(beta > 0, 1 / beta, 0.0).unsqueeze(-1)
        self.columns = r.new_zeros((*batch, self.held + size + 1, size))
        self.across = r.new_zeros((*batch, size + 1))
        self.across[..., 0] = 1.0
        self.square = torch.ones_like(beta)

    @property
    def basis(self) -> Inexact[Tensor, "*batch size n"]:
        """The rows v_0, v_1, .. of the whole cycle, of which ``steps + 1`` are known."""
        return self.rows[..., self.held :, :]

    @property
    def last(self) -> Inexact[Tensor, "*batch n"]:
        """The newest vector of the basis."""
        return self.rows[..., self.held + self.steps, :]

    @property
    def hessenberg(self) -> Inexact[Tensor, "*batch steps_and_one steps"]:
        """H, of the steps made."""
        return self.columns[..., self.held : self.held + self.steps + 1, : self.steps]

    @property
    def along(self) -> Inexact[Tensor, "*batch k steps"]:
        """B, of the steps made."""
        return self.columns[..., : self.held, : self.steps]

    def extend(self, w: Inexact[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
        """Take A z for the newest vector z (or its preconditioned image).

        Returns:
            Norms of the residual that the least-squares solution of this size leaves.
        """
        j, known = self.steps, self.held + self.steps + 1
        rows = self.rows[..., :known, :]
        size = torch.linalg.vector_norm(w, dim=-1)
        h, w = _pass(rows, w)
        rest = torch.linalg.vector_norm(w, dim=-1)
        # Asking makes an accelerator wait.
        if w.device.type != "cpu" or not bool((rest >= _ENOUGH * size).all()):
            more, w = _pass(rows, w)
            h, rest = h + more, torch.linalg.vector_norm(w, dim=-1)
        # What is left of a vector inside the space is rounding, and no direction.
        rest = torch.where(rest > 4 * torch.finfo(rest.dtype).eps * size, rest, 0.0)
        over = torch.where(rest > 0, 1 / rest, 0.0)
        torch.mul(w, over.unsqueeze(-1), out=self.rows[..., known, :])
        self.columns[..., :known, j] = h
        self.columns[..., known, j] = rest
        inner = torch.linalg.vecdot(self.across[..., : j + 1], h[..., self.held :])
        entry = torch.where(rest > 0, -inner.conj() * over, torch.inf)
        self.across[..., j + 1] = entry
        self.square = self.square + entry.abs().square()
        self.steps = j + 1
        return self.beta / self.square.sqrt()

    def coefficients(self, taken: Tensor) -> Inexact[Tensor, "*batch steps"]:
        """The least-squares solution y of each system, from its first ``taken`` columns; 0 in the others.

        A column that adds nothing (of a singular matrix) is left out, too.
        """
        m = self.steps
        used = torch.arange(m, device=self.beta.device) < taken.unsqueeze(-1)
        turn, triangle = torch.linalg.qr(torch.where(used.unsqueeze(-2), self.hessenberg, 0.0))
        right = self.beta.unsqueeze(-1) * turn[..., 0, :].conj()
        diagonal = triangle.diagonal(dim1=-2, dim2=-1).abs()
        used = used & (diagonal > torch.finfo(diagonal.dtype).eps * diagonal.amax(-1, keepdim=True))
        identity = torch.eye(m, dtype=triangle.dtype, device=triangle.device)
        triangle = torch.where(used.unsqueeze(-1) & used.unsqueeze(-2), triangle, identity)
        right = torch.where(used, right, 0.0)
        return torch.linalg.solve_triangular(triangle, right.unsqueeze(-1), upper=True).squeeze(-1)
