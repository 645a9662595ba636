"""The symmetric (2d+1)-point operator on a lattice, as a resistor network."""

import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import first_index
from pdekit.core.errors import InputError
from pdekit.domain import Grid
from pdekit.solvers.operators.base import LinearOperator, Tag

__all__ = ["Stencil"]


class Stencil(LinearOperator):
    """A matrix-free symmetric (2d+1)-point operator on a lattice of unknowns with ``lattice`` = (n_0, ..) points.

    Read it as a resistor network. ``faces[k]`` holds the conductances along axis k: entry i couples the unknowns i-1
    and i, the first and the last lead to the ground (a Dirichlet side; 0 for a Neumann side) or, on a periodic axis,
    both hold the wrap coupling. ``sink`` is a further conductance to the ground (reaction, Robin sides)::

        (A x)_i = sink_i x_i + sum_k faces[k]_i (x_i - x_{i-1}) + faces[k]_{i+1} (x_i - x_{i+1}),   x = 0 in the ground

    Args:
        faces: per axis, ``(*batch, n_0, .., n_k + 1, .., n_{d-1})``, not negative.
        sink: ``(*batch, *lattice)``, not negative, or None.
        periodic: per axis; none by default.
        geometry: the grid the unknowns belong to, for preconditioners that use it.
        grounded: whether every matrix leads somewhere to the ground (then it is definite), where that is known;
            by default it is found from the entries on first use, which waits for the device.

    Raises:
        InputError: shapes that do not fit together.

    Example:
        >>> A = Stencil([torch.ones(4, dtype=torch.float64)])  # -u'' with Dirichlet ends: 2 on the diagonal, -1 beside
        >>> A.matvec(torch.ones(3, dtype=torch.float64))
        tensor([1., 0., 1.], dtype=torch.float64)
    """

    def __init__(
        self,
        faces: Sequence[Float[Tensor, "..."]],
        sink: Float[Tensor, "..."] | None = None,
        periodic: Sequence[bool] | None = None,
        geometry: Grid | None = None,
        grounded: bool | None = None,
    ):
        dim = len(faces)
        self.faces = tuple(faces)
        self.sink = sink
        self.periodic = (False,) * dim if periodic is None else tuple(bool(p) for p in periodic)
        self.geometry = geometry
        self._grounded = grounded
        trailing = tuple(self.faces[0].shape[-dim:])
        self.lattice: tuple[int, ...] = (trailing[0] - 1, *trailing[1:])
        self._check()

    def _check(self) -> None:
        dim = len(self.faces)
        batch = self.batch_shape
        for k, face in enumerate(self.faces):
            expected = (*batch, *(n + (j == k) for j, n in enumerate(self.lattice)))
            if tuple(face.shape) != expected:
                raise InputError(f"faces[{k}] has shape {tuple(face.shape)}; expected {expected}, as faces[0] tells.")
        if self.sink is not None and tuple(self.sink.shape) != (*batch, *self.lattice):
            raise InputError(f"sink has shape {tuple(self.sink.shape)}; expected {(*batch, *self.lattice)}.")
        if len(self.periodic) != dim:
            raise InputError(f"periodic={self.periodic} names {len(self.periodic)} axes; expected {dim}.")

    @property
    def shape(self) -> tuple[int, int]:
        n = math.prod(self.lattice)
        return n, n

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.faces[0].shape[: -len(self.faces)])

    @property
    def dtype(self) -> torch.dtype:
        return self.faces[0].dtype

    @property
    def device(self) -> torch.device:
        return self.faces[0].device

    @property
    def name(self) -> str:
        return f"{2 * len(self.faces) + 1}-point stencil on {' x '.join(map(str, self.lattice))} unknowns"

    @property
    def grounded(self) -> bool:
        """Whether anything leads to the ground; otherwise constants are in the null space.

        Raises:
            InputError: some matrices of the batch are grounded and others are not.
        """
        if self._grounded is None:
            self._grounded = self._find_ground()
        return self._grounded

    def _find_ground(self) -> bool:
        dim = len(self.faces)
        found = torch.zeros(self.batch_shape, dtype=torch.bool, device=self.device)
        for k, face in enumerate(self.faces):
            if not self.periodic[k]:
                for end in (0, -1):
                    found = found | self._any(face.select(k - dim, end))
        if bool(found.all()):
            return True
        if self.sink is not None:
            found = found | self._any(self.sink)
        if bool(found.any()) and not bool(found.all()):
            raise InputError(
                f"The matrix {list(first_index(~found))} of the batch leads nowhere to the ground, so constants are in "
                "its null space, while others are definite; solve the two kinds in batches of their own."
            )
        return bool(found.all())

    def _any(self, conductance: Tensor) -> Tensor:
        """Whether each matrix of the batch has an entry that is not 0."""
        batch = self.batch_shape
        return (conductance != 0).reshape(*batch, math.prod(conductance.shape[len(batch) :])).any(-1)

    @property
    def tags(self) -> frozenset[Tag]:
        definite = Tag.POSITIVE_DEFINITE if self.grounded else Tag.POSITIVE_SEMIDEFINITE
        return frozenset({Tag.SYMMETRIC, definite})

    @property
    def nullspace(self) -> Float[Tensor, "n k"] | None:
        if self.grounded:
            return None
        n = self.shape[0]
        return torch.full((n, 1), n**-0.5, dtype=self.dtype, device=self.device)

    def lower(self, axis: int) -> Float[Tensor, "..."]:
        """Conductance from each unknown to its lower neighbour along ``axis``, ``(*batch, *lattice)``."""
        return self.faces[axis].narrow(axis - len(self.faces), 0, self.lattice[axis])

    def upper(self, axis: int) -> Float[Tensor, "..."]:
        """Conductance from each unknown to its upper neighbour along ``axis``, ``(*batch, *lattice)``."""
        return self.faces[axis].narrow(axis - len(self.faces), 1, self.lattice[axis])

    @property
    def values(self) -> tuple[Tensor, ...]:
        return self.faces if self.sink is None else (*self.faces, self.sink)

    def with_values(self, values: Sequence[Tensor]) -> "Stencil":
        dim = len(self.faces)
        sink = values[dim] if len(values) > dim else None
        return Stencil(values[:dim], sink, self.periodic, self.geometry, self._grounded)

    def matvec(self, x: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        field = x.reshape(*x.shape[:-1], *self.lattice)
        batch = torch.broadcast_shapes(self.batch_shape, x.shape[:-1])
        if self.sink is None:
            out = torch.zeros((*batch, *self.lattice), dtype=x.dtype, device=x.device)
        else:
            out = (self.sink * field).expand(*batch, *self.lattice).contiguous()
        for k, face in enumerate(self.faces):
            axis, n = k - len(self.faces), self.lattice[k]
            flow = face.narrow(axis, 1, n - 1) * torch.diff(field, dim=axis)
            out.narrow(axis, 1, n - 1).add_(flow)
            out.narrow(axis, 0, n - 1).sub_(flow)
            lower, upper = face.narrow(axis, 0, 1), face.narrow(axis, n, 1)
            if self.periodic[k]:
                wrap = lower * (field.narrow(axis, 0, 1) - field.narrow(axis, n - 1, 1))
                out.narrow(axis, 0, 1).add_(wrap)
                out.narrow(axis, n - 1, 1).sub_(wrap)
            else:
                out.narrow(axis, 0, 1).add_(lower * field.narrow(axis, 0, 1))
                out.narrow(axis, n - 1, 1).add_(upper * field.narrow(axis, n - 1, 1))
        return out.reshape(*batch, self.shape[0])

    def diagonal(self) -> Float[Tensor, "*batch n"]:
        total = torch.zeros((), dtype=self.dtype, device=self.device) if self.sink is None else self.sink
        for k in range(len(self.faces)):
            wraps_to_itself = self.periodic[k] and self.lattice[k] == 1
            if not wraps_to_itself:
                total = total + self.lower(k) + self.upper(k)
        return total.expand(*self.batch_shape, *self.lattice).reshape(*self.batch_shape, self.shape[0])

    def to_scipy(self, index: tuple[int, ...] = ()) -> scipy.sparse.csr_array:
        one = self[index]
        n = self.shape[0]
        numbers = np.arange(n).reshape(self.lattice)
        rows, columns, entries = [numbers.ravel()], [numbers.ravel()], [one.diagonal().detach().cpu().numpy()]
        for k in range(len(self.faces)):
            conductance = one.faces[k].detach().cpu().numpy()
            inner = np.moveaxis(conductance, k, 0)
            along = np.moveaxis(numbers, k, 0)
            pairs = [(along[:-1], along[1:], inner[1:-1])]
            if self.periodic[k] and self.lattice[k] > 1:
                pairs.append((along[-1:], along[:1], inner[:1]))
            for low, high, value in pairs:
                rows += [low.ravel(), high.ravel()]
                columns += [high.ravel(), low.ravel()]
                entries += [-value.ravel(), -value.ravel()]
        coo = scipy.sparse.coo_array(
            (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)
        )
        return coo.tocsr()

    def __getitem__(self, rows) -> "Stencil":
        """Some matrices of the batch."""
        sink = None if self.sink is None else self.sink[rows]
        return Stencil([face[rows] for face in self.faces], sink, self.periodic, self.geometry, self._grounded)

    def __repr__(self) -> str:
        return f"Stencil({self.name}, batch {self.batch_shape}, {self.dtype})"
