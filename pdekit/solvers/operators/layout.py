"""The unknowns of a vertex-centred discretisation on a grid."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.checks import check_shape
from pdekit.domain import SIDES, Boundary, Grid, resolve_boundaries

__all__ = ["Layout"]


class Layout:
    """Which nodes of a grid are unknowns under given boundary conditions, and what part of a cell each owns.

    Args:
        grid: the grid of all nodes.
        boundaries: one condition per side; homogeneous Dirichlet where none is given.
    """

    def __init__(self, grid: Grid, boundaries: Sequence[Boundary] = ()):
        self.grid = grid
        self.resolved = resolved = resolve_boundaries(grid, boundaries)
        self.spans: list[slice] = []
        for axis in range(grid.dim):
            eliminated = [resolved[name].kind == "dirichlet" for name in SIDES[axis]]
            self.spans.append(slice(int(eliminated[0]), grid.shape[axis] - int(eliminated[1])))
        self.lattice = tuple(span.stop - span.start for span in self.spans)

    def sides(self) -> list[tuple[int, int, Boundary]]:
        """Axis, end (0 or 1) and condition of each side."""
        return [(k, end, self.resolved[SIDES[k][end]]) for k in range(self.grid.dim) for end in (0, 1)]

    def natural(self, axis: int) -> list[int]:
        """The ends of an axis whose nodes are unknowns with half a cell."""
        return [end for k, end, side in self.sides() if k == axis and side.kind in ("neumann", "robin")]

    def share(self, like: Tensor, without: int | None = None) -> Tensor | None:
        """The part of a full cell that each unknown owns, or of the face normal to one axis; None where all is 1."""
        total = None
        axes = [k for k in range(self.grid.dim) if k != without]
        for place, k in enumerate(axes):
            if ends := self.natural(k):
                line = like.new_ones(self.lattice[k])
                for end in ends:
                    line[-end] = 0.5
                line = line.reshape(*(1,) * place, -1, *(1,) * (len(axes) - 1 - place))
                total = line if total is None else total * line
        return total

    @property
    def grounded(self) -> bool:
        """Whether a Dirichlet side fixes the solution."""
        return any(side.kind == "dirichlet" for side in self.resolved.values())

    def embed(self, values: Tensor, without: int | None = None) -> Tensor:
        """The inverse of :meth:`restrict`, with 0 at nodes that are no unknowns."""
        widths: list[int] = []
        for k, (span, n) in enumerate(zip(self.spans, self.grid.shape, strict=True)):
            if k != without:
                widths = [span.start, n - span.stop, *widths]
        return pad(values, widths) if any(widths) else values

    def restrict(self, field: Tensor, without: int | None = None) -> Tensor:
        """The entries at unknowns of values at all nodes, or of values on a side normal to one axis."""
        spans = tuple(span for k, span in enumerate(self.spans) if k != without)
        return field[(..., *spans)] if spans else field

    def reduce(self, u: Float[Tensor, "*batch_and_shape"]) -> Float[Tensor, "*batch n"]:
        """From a field to its unknowns."""
        check_shape("the field", u, self.grid.shape)
        inner = self.restrict(u)
        return inner.reshape(*inner.shape[: -self.grid.dim], math.prod(self.lattice))
