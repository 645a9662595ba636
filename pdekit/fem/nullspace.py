"""Null spaces of problems without enough Dirichlet conditions."""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.fem.space import Space
from pdekit.solvers.operators.csr import CSR

__all__ = ["find_nullspace"]

_TOLERANCE = 1e-13
"""Part of |A| |v| to which A v may cancel: rounding of sums over the cells of a row."""


@torch.no_grad()
def find_nullspace(space: Space, A: CSR, free: Int64[Tensor, " n"]) -> Float64[Tensor, "n k"] | None:
    """Orthonormal columns that span the constants (or rigid-body motions) that reduced matrices annihilate.

    Args:
        space: the space.
        A: matrices of the free degrees of freedom.
        free: their numbers.

    Returns:
        None where nothing is annihilated.

    Raises:
        InputError: only some matrices of the batch are singular, or they are singular and not symmetric.
    """
    candidates = _candidates(space, free)
    if candidates is None:
        return None
    candidates = candidates.to(A.device)
    # Far from the origin the edges of cells, differences of coordinates, are rounded more.
    x = space.mesh.points
    limit = _TOLERANCE * (1 + float(x.abs().max() / (x.amax(0) - x.amin(0)).max()))
    found = _annihilated(A, candidates, limit)
    sizes = [basis.shape[1] for basis in found]
    if max(sizes, default=0) == 0:
        return None
    what = "rigid-body motions" if space.rank else "constants"
    index = int(np.argmax(sizes))
    where = list(np.unravel_index(index, A.batch_shape)) if A.batch_shape else []
    name = f"A{[int(i) for i in where] if where else ''}"
    if min(sizes) != max(sizes):
        raise InputError(
            f"{name} is singular, with {what} in its null space, but matrices of the batch differ in that; prescribe a "
            "value somewhere, or solve them apart."
        )
    basis = found[0]
    if any(basis.shape[1] for basis in found[1:]) and not all(torch.allclose(basis, other) for other in found[1:]):
        basis = _shared(found)
    if min(other.shape[1] for other in _annihilated(A.adjoint(), basis, limit)) < basis.shape[1]:
        raise InputError(
            f"{name} is singular, with {what} in its null space (no Dirichlet or Robin part, no reaction), and not "
            "symmetric: b alone does not tell whether a solution exists. Prescribe a value somewhere."
        )
    return basis


def _candidates(space: Space, free: Int64[Tensor, " n"]) -> Float64[Tensor, "n k"] | None:
    """Orthonormal motions that leave every prescribed degree of freedom at rest, of each connected part of the mesh."""
    labels = _labels(space)
    fixed = torch.ones(space.n_dofs, dtype=torch.bool)
    fixed[free] = False
    parts = int(labels.max()) + 1
    held = torch.bincount(labels[fixed], minlength=parts) > 0
    columns = []
    for part in range(parts):
        if held[part] and not space.rank:
            continue
        inside = labels == part
        modes = torch.where(inside[:, None], space.rigid_body_modes, 0.0)
        if held[part]:
            # Combinations of the modes that vanish at the prescribed ones.
            _, sizes, right = torch.linalg.svd(modes[fixed & inside], full_matrices=True)
            modes = modes @ right[int((sizes > 1e-9 * torch.linalg.matrix_norm(modes)).sum()) :].T
        columns.append(modes[free])
    merged = torch.cat(columns, dim=1) if columns else torch.empty((len(free), 0), dtype=torch.float64)
    return torch.linalg.qr(merged)[0] if merged.shape[1] else None


def _labels(space: Space) -> Int64[Tensor, " dofs"]:
    """Which connected part of the mesh each degree of freedom belongs to."""

    def find() -> Tensor:
        indptr, indices = space.pattern.arrays
        stored = np.ones(len(indices), dtype=np.int8)
        graph = csr_array((stored, indices, indptr), shape=(space.n_dofs, space.n_dofs))
        return torch.from_numpy(connected_components(graph, directed=False)[1].astype(np.int64))

    return space.cache.get("parts", find, lambda labels: 8 * len(labels))


def _annihilated(A: CSR, V: Float64[Tensor, "n k"], limit: float) -> list[Float64[Tensor, "n m"]]:
    """Of each matrix of the batch, the combinations of orthonormal columns V that it maps to 0."""
    batch = (1,) * len(A.batch_shape)
    vectors = V.T.reshape(V.shape[1], *batch, V.shape[0]).to(A.dtype)
    images = A.matvec(vectors).flatten(1, -2) if A.batch_shape else A.matvec(vectors)[:, None]
    size = A._with(A.entries.abs().to(A.dtype), None).matvec(torch.ones_like(vectors[0])).real.reshape(-1, V.shape[0])
    scales = size.amax(dim=-1) * torch.linalg.vector_norm(V, dim=0).max()
    out = []
    for image, scale in zip(images.movedim(0, -1), scales.tolist(), strict=True):
        _, sizes, right = torch.linalg.svd(image, full_matrices=True)
        rank = int((sizes > limit * max(scale, 1e-300)).sum())
        out.append((V.to(right.dtype) @ right[rank:].mH).real if rank else V)
    return out


def _shared(found: list[Float64[Tensor, "n k"]]) -> Float64[Tensor, "n k"]:
    """The span that all have, where they are bases of one space; an error where they are not."""
    basis = found[0]
    for other in found[1:]:
        if float(torch.linalg.matrix_norm(other - basis @ (basis.T @ other))) > 1e-8:
            raise InputError(
                "The matrices of the batch have different null spaces; prescribe a value, or solve them apart."
            )
    return basis
