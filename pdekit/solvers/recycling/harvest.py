"""Which vectors of a search space to keep: the harmonic Ritz vectors for the values nearest to 0."""

import torch
from jaxtyping import Inexact
from torch import Tensor

__all__ = ["harvest"]

_INDEPENDENT = 1e-7
"""Directions are kept that add at least this part to those kept before."""


def harvest(
    search: Inexact[Tensor, "size n"],
    outer: Inexact[Tensor, "more n"],
    columns: Inexact[Tensor, "more size"],
    vectors: int,
) -> tuple[Inexact[Tensor, "kept n"], Inexact[Tensor, "kept n"]] | None:
    """The best part of a search space with its orthonormal images; None where the small problem has no answer.

    With the search space Z, A Z = W G and W orthonormal, these are Z p with ``(A Z)^H (A Z p - theta Z p) = 0`` for the
    smallest absolute values of theta. Of a complex pair of a real problem the real and the imaginary part are taken.

    Args:
        search: Z, as rows.
        outer: W, orthonormal rows.
        columns: G.
        vectors: how many to keep.

    Source:
        Morgan, "GMRES with deflated restarting", SIAM J. Sci. Comput. 24, 2002.
    """
    lengths = torch.linalg.vector_norm(search, dim=-1)
    search, columns = search / lengths.unsqueeze(-1), columns / lengths
    turn, triangle = torch.linalg.qr(columns)
    projected = turn.mH @ (outer.conj() @ search.mT)
    inverse = torch.linalg.solve_triangular(triangle, projected, upper=True)
    if not bool(torch.isfinite(inverse).all()):
        return None
    values, modes = torch.linalg.eig(inverse)
    order = torch.argsort(values.abs(), descending=True, stable=True)
    chosen = modes[:, order] if search.is_complex() else _real(values[order], modes[:, order])
    chosen = chosen[:, :vectors]
    turn, triangle = torch.linalg.qr(columns @ chosen)
    diagonal = triangle.diagonal().abs()
    if not bool((kept := diagonal > _INDEPENDENT * diagonal.amax()).all()):
        chosen = chosen[:, kept]
        turn, triangle = torch.linalg.qr(columns @ chosen)
    combined = torch.linalg.solve_triangular(triangle, chosen, upper=True, left=False)
    return combined.mT @ search, turn.mT @ outer


def _real(values: Tensor, modes: Tensor) -> Tensor:
    """Real columns that span the same as complex pairs of them, in their order."""
    columns = []
    for value, mode in zip(values.tolist(), modes.unbind(-1), strict=True):
        if value.imag == 0:
            columns.append(mode.real)
        elif value.imag > 0:
            columns += [mode.real, mode.imag]
    return torch.stack(columns, -1)
