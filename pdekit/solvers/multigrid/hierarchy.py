"""The symmetric V-cycle in tensor operations: batched, any device; the twin of the compiled one in `pdekit.kernels`."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pdekit.kernels.layout import BLOCK_ORDER
from pdekit.kernels.plan import Level
from pdekit.solvers.multigrid.coarsening import averaged
from pdekit.solvers.multigrid.galerkin import Weights, coarse_points, corners, flips, interpolation, product
from pdekit.solvers.multigrid.islands import find_islands
from pdekit.solvers.multigrid.lattice import (
    Offset,
    add_moved,
    cells,
    half_offsets,
    inner,
    moved,
    negative,
    pad,
    parities,
    points,
    select,
    wrap,
)  # fmt: skip

__all__ = ["Hierarchy"]


class Hierarchy:
    """Operators on all levels, for a batch of resistor networks that share one plan.

    Args:
        faces: ``(batch, n_0, .., n_k + 1, ..)`` by axis, as in `Stencil`.
        sink: ``(batch, *shape)`` or None.
        periodic: by axis.
        plan: the lattices, finest first.
        galerkin: operator-dependent transfers and Galerkin coarse operators, or averaged coarse conductances.
        singular: ``(batch,)``, where constants are in the null space.
    """

    def __init__(
        self,
        faces: Sequence[Float[Tensor, "batch ..."]],
        sink: Float[Tensor, "batch ..."] | None,
        periodic: Sequence[bool],
        plan: Sequence[Level],
        galerkin: bool,
        singular: Bool[Tensor, " batch"],
    ):
        self.levels: list[_LatticeLevel] = []
        self.islands = find_islands(faces, sink, periodic) if galerkin and len(faces) == 3 else None
        couplings, diagonal = _network(faces, sink, periodic)
        for i, level in enumerate(plan):
            here = _LatticeLevel(level, periodic, couplings, diagonal)
            self.levels.append(here)
            if level.coarsest:
                break
            if galerkin:
                weights = interpolation(here.couplings, diagonal, level, periodic)
                here.weights = weights
                couplings, diagonal = product(here.couplings, diagonal, level, plan[i + 1].shape, periodic, weights)
            else:
                faces, sink = averaged(faces, sink, level, periodic)
                couplings, diagonal = _network(faces, sink, periodic)
        self.coarsest_inverse = self.levels[-1].dense_inverse(singular)

    def apply(self, f: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """One V-cycle from zero: red-black (or 2^d-coloured) Gauss-Seidel once down and, reversed, once up."""
        rights, solutions = [f], []
        for level, below in zip(self.levels[:-1], self.levels[1:], strict=True):
            u = f.new_zeros(f.shape[0], *(n + 2 for n in level.shape))
            for colour in level.colours:
                level.relax(u, rights[-1], colour)
            if self.islands is not None and level is self.levels[0]:
                self._move_islands(u, f)
            residual = rights[-1] - level.matvec(u)
            solutions.append(u)
            rights.append(level.restrict(residual, below.shape))
        right = rights[-1]
        e = (self.coarsest_inverse @ right.reshape(len(right), -1, 1)).reshape(right.shape)
        for level, u, right in zip(self.levels[-2::-1], solutions[::-1], rights[-2::-1], strict=True):
            level.add_prolonged(u, e)
            if self.islands is not None and level is self.levels[0]:
                self._move_islands(u, f)
            for colour in reversed(level.colours):
                level.relax(u, right, colour)
            e = inner(u, level.shape)
        return e.clone()

    def _move_islands(self, u: Tensor, f: Tensor) -> None:
        assert self.islands is not None
        finest = self.levels[0]
        inner(u, finest.shape).add_(self.islands.correction(f - finest.matvec(u)))
        wrap(u, finest.periodic)


def _network(
    faces: Sequence[Tensor], sink: Tensor | None, periodic: Sequence[bool]
) -> tuple[dict[Offset, Tensor], Tensor]:
    """Couplings between points (the ground's left out) and the diagonal."""
    dim = len(faces)
    diagonal = torch.zeros((), dtype=faces[0].dtype, device=faces[0].device) if sink is None else sink
    couplings = {}
    for k, (face, o) in enumerate(zip(faces, half_offsets(dim, False), strict=True)):
        axis = k - dim
        n = face.shape[axis] - 1
        diagonal = diagonal + face.narrow(axis, 0, n) + face.narrow(axis, 1, n)
        couplings[o] = face.narrow(axis, 0, n)
        if not periodic[k]:
            couplings[o] = couplings[o].clone()
            couplings[o].select(axis, 0).zero_()
    return couplings, diagonal


class _LatticeLevel:
    def __init__(self, level: Level, periodic: Sequence[bool], couplings: dict[Offset, Tensor], diagonal: Tensor):
        self.level, self.shape, self.periodic = level, level.shape, periodic
        self.couplings = {o: pad(c, periodic) for o, c in couplings.items()}
        self.diagonal = diagonal
        self.inverse = torch.where(diagonal > 0, 1 / diagonal, 0)
        self.weights: Weights = {p: self._linear(p) for p in parities(len(self.shape))}
        dim = len(self.shape)
        blocks = [tuple(((q >> (dim - 1 - k)) & 1) ^ s for k, s in enumerate(level.offset)) for q in BLOCK_ORDER[dim]]
        half = len(blocks) // 2
        self.colours = [[p] for p in blocks] if len(couplings) > dim else [blocks[:half], blocks[half:]]

    def _linear(self, p: Offset) -> dict[Offset, Tensor | None]:
        """Weights of linear interpolation."""
        level, dim = self.level, len(self.shape)
        if not any(flips(p, level)):
            return {(0,) * dim: None}
        weight = torch.ones((), dtype=self.diagonal.dtype, device=self.diagonal.device)
        for k, between in enumerate(flips(p, level)):
            n, offset = self.shape[k], level.offset[k]
            count = (n - p[k] + 1) // 2
            if not between or count == 0:
                continue
            part = torch.full((count,), 0.5, dtype=weight.dtype, device=weight.device)
            if not self.periodic[k] and (n - offset) % 2 == 0:  # the last point lies beyond the last coarse one
                part[-1] = level.end[k]
            weight = weight * part.reshape(-1, *[1] * (dim - 1 - k))
        return dict.fromkeys(corners(p, level), weight)

    def _active(self):
        for p in parities(len(self.shape)):
            counts = cells(self.shape, p)
            if 0 not in counts:
                yield p, counts

    def relax(self, u: Tensor, f: Tensor, colour: Sequence[Offset]) -> None:
        """Gauss-Seidel on one colour of the padded u, in place."""
        zero = (0,) * len(self.shape)
        for p in colour:
            counts = cells(self.shape, p)
            if 0 in counts:
                continue
            total = points(f, p)
            for o, c in self.couplings.items():
                total = total + select(c, p, zero, counts) * select(u, p, negative(o), counts)
                total = total + select(c, p, o, counts) * select(u, p, o, counts)
            select(u, p, zero, counts).copy_(points(self.inverse, p) * total)
        wrap(u, self.periodic)

    def matvec(self, u: Tensor) -> Tensor:
        """A u of the padded u."""
        out = self.diagonal * inner(u, self.shape)
        for o, c in self.couplings.items():
            out = out - inner(c, self.shape) * inner(u, self.shape, negative(o))
            out = out - inner(c, self.shape, o) * inner(u, self.shape, o)
        return out

    def restrict(self, residual: Tensor, coarse_shape: Sequence[int]) -> Tensor:
        """P^T applied to a residual."""
        out = residual.new_zeros(residual.shape[0], *coarse_shape)
        for p, _ in self._active():
            for corner, weight in self.weights[p].items():
                part = points(residual, p)
                add_moved(
                    coarse_points(out, p, self.level), part if weight is None else weight * part, corner, self.periodic
                )
        return out

    def add_prolonged(self, u: Tensor, e: Tensor) -> None:
        """u += P e, in place on the padded u."""
        zero = (0,) * len(self.shape)
        for p, counts in self._active():
            target = select(u, p, zero, counts)
            for corner, weight in self.weights[p].items():
                part = moved(coarse_points(e, p, self.level), corner, counts, self.periodic)
                target += part if weight is None else weight * part
        wrap(u, self.periodic)

    def dense_inverse(self, singular: Tensor) -> Tensor:
        """Inverse of the operator, plus a multiple of the constant mode where it is singular; (batch, n, n)."""
        n = self.diagonal[0].numel()
        unit = torch.eye(n, dtype=self.diagonal.dtype, device=self.diagonal.device)
        unit = unit.reshape(n, 1, *self.shape).expand(n, *self.diagonal.shape)
        matrix = self.matvec(pad(unit, self.periodic)).reshape(n, -1, n).transpose(0, 1)
        shift = matrix.diagonal(dim1=-2, dim2=-1).mean(-1) / n
        matrix = matrix + torch.where(singular, shift, 0)[:, None, None]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        return 0.5 * (inverse + inverse.mT)
