"""Geometric multigrid as a preconditioner."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import is_fake
from pdekit.core.errors import InputError
from pdekit.kernels.extension import extend_field, extend_network, open_small_rings, restrict_field
from pdekit.kernels.plan import periodic_extension
from pdekit.solvers.multigrid.choice import choose
from pdekit.solvers.multigrid.hierarchy import Hierarchy
from pdekit.solvers.operators.applied import applied
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.base import Preconditioner

__all__ = ["Multigrid"]

_KINDS = ("auto", "averaged", "galerkin")


@dataclass(frozen=True)
class Multigrid(Preconditioner):
    """One symmetric multigrid V-cycle for a :class:`Stencil` on a 2-D or 3-D lattice of any size.

    Coloured Gauss-Seidel once down and, in reversed order, once up; an axis is halved as long as it conducts at least
    0.3 times as well as the best one. Every boundary kind and mixture is taken, singular matrices included (there the
    cycle approximates the pseudo-inverse).

    Args:
        coarsening: "averaged" keeps five- or seven-point stencils on all levels (conductances in series, averaged
            across) and interpolates linearly: the cheapest for mild contrast. "galerkin" takes the interpolation from
            the operator and the coarse operators from Galerkin products: for any contrast; in 3-D it also moves islands
            of high conductance as a whole. "auto" takes "galerkin" for those matrices of the batch whose conductances
            along an axis differ by more than a factor of 20.
        use_kernels: compiled kernels (float64 on the CPU) or tensor operations; None takes kernels where they fit.

    Example:
        >>> from pdekit.solvers.operators.stencil import Stencil
        >>> one = torch.ones(32, 31, dtype=torch.float64)
        >>> print(Multigrid().setup(Stencil([one, one.T.contiguous()])).name)
        multigrid (averaged coarsening, 4 levels: 31x31, 15x15, 7x7, 3x3)

    Source:
        Trottenberg, Oosterlee, Schüller, "Multigrid", 2001; for "galerkin" Dendy, J. Comput. Phys. 48 (1982) 366.
    """

    coarsening: Literal["auto", "averaged", "galerkin"] = "auto"
    use_kernels: bool | None = None

    def __post_init__(self):
        if self.coarsening not in _KINDS:
            raise InputError(f"Multigrid has coarsening={self.coarsening!r}; expected one of {', '.join(_KINDS)}.")

    def setup(self, A: LinearOperator) -> LinearOperator:
        """Build the hierarchy of each matrix.

        Args:
            A: a `Stencil` with two or three axes.

        Returns:
            The V-cycle as an operator; its gradient with respect to vectors is the same cycle.

        Raises:
            InputError: another operator, one axis, or kernels asked for where they do not fit.
        """
        if not isinstance(A, Stencil):
            raise InputError(
                f"Multigrid coarsens lattices and needs a Stencil; it was given {A.name}. Use Jacobi() or Direct()."
            )
        if len(A.lattice) not in (2, 3):
            raise InputError(
                f"Multigrid works on two or three axes; the lattice has {len(A.lattice)}, {A.lattice}. Use Direct()."
            )
        fits = A.dtype == torch.float64 and A.device.type == "cpu" and not is_fake(A.faces[0])
        if self.use_kernels and not fits:
            raise InputError(
                f"Multigrid(use_kernels=True) needs float64 on the CPU; the matrix is {A.dtype} on {A.device}. "
                "Leave use_kernels=None to take what fits."
            )
        kernels = fits if self.use_kernels is None else self.use_kernels
        return (_CompiledCycle if kernels else _TensorCycle)(A, self.coarsening)


class _Cycle(LinearOperator):
    """What both realisations share: shapes, broadcasting, the gradient."""

    def __init__(self, A: Stencil):
        self.lattice = A.lattice
        self._batch, self._dtype, self._device = A.batch_shape, A.dtype, A.device

    @property
    def shape(self) -> tuple[int, int]:
        n = math.prod(self.lattice)
        return n, n

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._batch

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE})

    @property
    def name(self) -> str:
        kinds = dict.fromkeys(self.coarsening())
        sizes = ["x".join(map(str, shape)) for shape in self.level_shapes()]
        levels = f"{len(sizes)} level{'s' * (len(sizes) != 1)}: {', '.join(sizes)}"
        return f"multigrid ({' or '.join(kinds)} coarsening, {levels})"

    def __repr__(self) -> str:
        return self.name

    def matvec(self, x: Float[Tensor, "*#batch n"]) -> Float[Tensor, "*#batch n"]:
        return applied(self, self.cycle, x)

    @torch.no_grad()
    def cycle(self, x: Tensor) -> Tensor:
        """The V-cycle without a gradient."""
        batch = torch.broadcast_shapes(x.shape[:-1], self._batch)
        x = x.expand(*batch, x.shape[-1])
        networks = math.prod(self._batch)
        if networks == 1:
            return self.apply_rows(x.reshape(-1, *self.lattice)).reshape(x.shape)
        if batch[len(batch) - len(self._batch) :] != self._batch:
            raise InputError(
                f"the hierarchies are a batch {self._batch}; vectors of a batch {tuple(x.shape[:-1])} do not fit it."
            )
        groups = x.reshape(-1, networks, *self.lattice)
        return torch.stack([self.apply_rows(group) for group in groups]).reshape(x.shape)

    @abstractmethod
    def apply_rows(self, f: Tensor) -> Tensor:
        """The cycle on (rows, *lattice): a row for each network, or any number for a single one."""

    @abstractmethod
    def coarsening(self) -> tuple[str, ...]:
        """ "averaged" or "galerkin", for each network."""

    @abstractmethod
    def level_shapes(self) -> list[tuple[int, ...]]:
        """Lattices of the first network's hierarchy, finest first."""


def _flat(A: Stencil) -> tuple[list[Tensor], Tensor | None]:
    """The network with exactly one batch axis."""
    dim = len(A.lattice)
    faces = [face.detach().reshape(-1, *face.shape[face.ndim - dim :]) for face in A.faces]
    return faces, None if A.sink is None else A.sink.detach().reshape(-1, *A.lattice)


class _CompiledCycle(_Cycle):
    def __init__(self, A: Stencil, coarsening: str):
        from pdekit.kernels.vcycle import CompiledCycle  # compiled code is loaded on first use

        super().__init__(A)
        faces, sink = _flat(A)
        self.compiled = CompiledCycle(
            [face.numpy() for face in faces], None if sink is None else sink.numpy(), A.periodic, coarsening
        )

    def apply_rows(self, f: Tensor) -> Tensor:
        return torch.from_numpy(self.compiled.apply(f.detach().numpy()))

    def coarsening(self) -> tuple[str, ...]:
        return self.compiled.coarsening

    def level_shapes(self) -> list[tuple[int, ...]]:
        return self.compiled.level_shapes


class _TensorCycle(_Cycle):
    def __init__(self, A: Stencil, coarsening: str):
        super().__init__(A)
        faces, sink = _flat(A)
        faces, periodic = open_small_rings(faces, A.periodic)
        self.extensions = [periodic_extension(n) if p else None for n, p in zip(A.lattice, periodic, strict=True)]
        faces, sink = extend_network(faces, sink, self.extensions)
        self.choices = choose(faces, sink, periodic, coarsening)
        groups: dict[tuple, list[int]] = {}
        for i, choice in enumerate(self.choices):
            groups.setdefault((choice.plan, choice.galerkin), []).append(i)
        self.groups: list[tuple[list[int] | None, Hierarchy]] = []
        for (plan, galerkin), members in groups.items():
            chosen = None if len(groups) == 1 else members
            singular = torch.tensor([self.choices[i].singular for i in members]).to(A.device)
            part = [face if chosen is None else face[members] for face in faces]
            part_sink = sink if sink is None or chosen is None else sink[members]
            self.groups.append((chosen, Hierarchy(part, part_sink, periodic, plan, galerkin, singular)))

    def apply_rows(self, f: Tensor) -> Tensor:
        f = extend_field(f, self.extensions)
        if len(self.groups) == 1:
            out = self.groups[0][1].apply(f)
        else:
            out = torch.empty_like(f)
            for members, hierarchy in self.groups:
                out[members] = hierarchy.apply(f[members])
        return restrict_field(out, self.extensions)

    def coarsening(self) -> tuple[str, ...]:
        return tuple("galerkin" if choice.galerkin else "averaged" for choice in self.choices)

    def level_shapes(self) -> list[tuple[int, ...]]:
        return [level.shape for level in self.choices[0].plan]
