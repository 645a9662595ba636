"""Networks that give directions: a residual on a lattice to what should be added to the solution, up to its scale."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from pdekit.core.checks import is_fake
from pdekit.core.errors import InputError
from pdekit.learned.directions.fused import FusedCycle
from pdekit.learned.directions.geometry import Conductors, halved, spread
from pdekit.learned.directions.taps import Offsets, box, cross, gather
from pdekit.solvers.operators.stencil import Stencil

__all__ = ["ConvolutionNet", "DirectionNet", "DirectionNetwork"]


class DirectionNetwork(nn.Module, ABC):
    """What :class:`DeepDirections` asks for directions.

    A subclass keeps ``arguments``, those of its constructor as plain containers, and ``dim``, the dimension of the
    lattices that it takes. What it makes of a matrix is kept for all residuals.
    """

    arguments: dict[str, Any]
    dim: int

    @abstractmethod
    def geometry(self, A: Stencil) -> Any:
        """What the network needs of matrices, differentiable with respect to its weights.

        Args:
            A: of any batch, on a lattice of ``dim`` axes.
        """

    @abstractmethod
    def forward(self, r: Float[Tensor, "..."], geometry: Any) -> Float[Tensor, "..."]:
        """A direction for each residual.

        Args:
            r: ``(*batch, *lattice)``, float32; its batch broadcasts with that of the matrices.
            geometry: of the matrices.
        """

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{type(self).__name__}({given})"


class _Level(NamedTuple):
    """The kernels of one scale, each ``(*batch, taps, *lattice)``, for fields divided by the diagonal."""

    before: Tensor
    after: Tensor
    interpolation: Tensor
    operator: Tensor
    diagonal: Tensor


class _Geometry:
    """The scales, finest first, and the inverse of the diagonal: at coupled points, and at those without couplings."""

    def __init__(self, dim: int, levels: list[_Level], coupled: Tensor, loose: Tensor):
        self.dim, self.levels, self.coupled, self.loose = dim, levels, coupled, loose

    @cached_property
    def fused(self) -> FusedCycle | None:
        """The cycle in compiled kernels; None where that needs torch operations."""
        kernel = self.levels[0].before
        if kernel.requires_grad or kernel.device.type != "cpu" or is_fake(kernel):
            return None
        return FusedCycle(self.dim, self.levels)


class DirectionNet(DirectionNetwork):
    """Linear in the residual: a V-cycle whose kernels, other ones at every point, come from the matrix.

    At each scale a kernel of 3^dim taps smooths the residual, what is left is summed over cells of 2^dim points and
    treated likewise, the correction is interpolated, and what is left is smoothed again. What is left is computed with
    the matrix itself at the finest scale, and with its coarser picture and a learned correction at the others. A small
    convolutional network makes all kernels of what it is told of the matrix: the couplings of each point relative to
    its diagonal entry, the logarithm of that entry, and the share of points that are not inside an obstacle. Its last
    layer starts without weights and with the kernels of plain multigrid as biases (damped Jacobi, linear
    interpolation), so that an untrained network is a plain cycle.

    Args:
        dim: dimension of the lattice, 2 or 3.
        levels: sets of weights, 2 or more. There are as many scales as the lattice allows, down to 2 points along each
            axis; all from this one on share the last set, which therefore serves larger lattices too, provided that
            lattices trained on have some such scales.
        hidden: channels of the network that makes the kernels.

    Raises:
        InputError: a dimension or numbers out of range.

    Example:
        >>> A = Stencil([torch.ones(9, 8), torch.ones(8, 9)])
        >>> network = DirectionNet(2)
        >>> network(torch.ones(8, 8), network.geometry(A)).shape
        torch.Size([8, 8])

    Source:
        After Lan et al., "A neural-preconditioned Poisson solver for mixed Dirichlet and Neumann boundary conditions",
        ICML 2024: linear in the residual, kernels from the geometry; the cycle around them is ours.
    """

    def __init__(self, dim: int, levels: int = 3, hidden: int = 8):
        super().__init__()
        _check("DirectionNet", dim, levels=levels, hidden=hidden)
        if levels < 2:
            raise InputError(f"DirectionNet has levels={levels}; expected 2 or more, a fine one and coarse ones.")
        self.arguments = {"dim": dim, "levels": levels, "hidden": hidden}
        self.dim = dim
        # Smoothing before and after, interpolation; and the matrix, which is known at the finest scale.
        kernels = [3, *[4] * (levels - 1)]
        self.makers = nn.ModuleList(_maker(dim, hidden, count) for count in kernels)

    def geometry(self, A: Stencil) -> _Geometry:
        """The kernels of each scale."""
        scale = Conductors.of(A)
        diagonal = A.diagonal().reshape(scale.share.shape)
        inverse = (diagonal.amax(tuple(range(-self.dim, 0)), keepdim=True) / diagonal).float()
        coupled, loose = inverse * scale.share, inverse * (1.0 - scale.share)
        levels = [self._level(scale, 0)]
        while max(scale.share.shape[-self.dim :]) > 2:
            scale = scale.coarser()
            levels.append(self._level(scale, len(levels)))
        return _Geometry(self.dim, levels, coupled, loose)

    def _level(self, scale: Conductors, number: int) -> _Level:
        taps = -self.dim - 1
        couplings = scale.couplings
        total = couplings.sum(taps) + scale.ground
        coupled = (total > 0).to(total)
        diagonal = torch.where(total > 0, total, 1.0)
        relative = couplings / diagonal.unsqueeze(taps)
        image = torch.cat((relative, self._features(scale, diagonal, coupled)), taps)
        batch, lattice = image.shape[:taps], image.shape[taps + 1 :]
        maker = self.makers[min(number, len(self.makers) - 1)]
        made = maker(image.reshape(-1, *image.shape[taps:])).reshape(*batch, -1, 3**self.dim, *lattice)
        before, after, interpolation, *learned = made.mul_(coupled.unsqueeze(taps).unsqueeze(taps)).unbind(taps - 1)
        stencil = torch.cat((coupled.unsqueeze(taps), -relative), taps)
        if learned:
            known = dict(zip(cross(self.dim), stencil.unbind(taps), strict=True))
            stencil = learned[0] + torch.stack([known.get(offset, 0.0 * coupled) for offset in box(self.dim)], taps)
        return _Level(before, after, interpolation, stencil, diagonal)

    def _features(self, scale: Conductors, diagonal: Tensor, coupled: Tensor) -> Tensor:
        """Beside the relative couplings: to the ground, the logarithm of the diagonal entry, the share of points."""
        space = tuple(range(-self.dim, 0))
        log = diagonal.log() * coupled
        mean = log.sum(space, keepdim=True) / coupled.sum(space, keepdim=True).clamp(min=1.0)
        return torch.stack((scale.ground / diagonal, (log - mean) * coupled, scale.share), -self.dim - 1)

    def forward(self, r: Float[Tensor, "..."], geometry: Any) -> Float[Tensor, "..."]:
        """Linear in ``r``; points without couplings get what solves their equations."""
        scaled = r * geometry.coupled
        if geometry.fused is not None and not r.requires_grad:
            x = geometry.fused(scaled)
        else:
            x = self._cycle(scaled, geometry.levels, cross(self.dim))
        return x + geometry.loose * r

    def _cycle(self, t: Tensor, levels: list[_Level], offsets: Offsets) -> Tensor:
        level, around = levels[0], box(self.dim)
        x = gather(t, level.before, around)
        if len(levels) > 1:
            left = t - gather(x, level.operator, offsets)
            coarse = halved(left * level.diagonal, range(-self.dim, 0)) / levels[1].diagonal
            correction = self._cycle(coarse, levels[1:], around)
            x = x + gather(spread(correction, t.shape[-self.dim :]), level.interpolation, around)
        return x + gather(t - gather(x, level.operator, offsets), level.after, around)


class ConvolutionNet(DirectionNetwork):
    """The published network: convolutions of the residual alone, with one coarser scale.

    It is told nothing of the matrix but where its points are coupled, and is not linear.

    Args:
        dim: dimension of the lattice, 2 or 3.
        width: channels.
        coarse: pairs of residual convolutions at the coarse scale.
        fine: pairs at the fine scale, after those.

    Raises:
        InputError: a dimension or numbers out of range.

    Example:
        >>> network = ConvolutionNet(2, width=4)
        >>> network(torch.ones(5, 8, 7), network.geometry(Stencil([torch.ones(9, 7), torch.ones(8, 8)]))).shape
        torch.Size([5, 8, 7])

    Source:
        Kaneda, Akar, Chen, Kala, Hyde, Teran, "A deep conjugate direction method for iteratively solving linear
        systems", ICML 2023.
    """

    def __init__(self, dim: int, width: int = 16, coarse: int = 3, fine: int = 2):
        super().__init__()
        _check("ConvolutionNet", dim, width=width, coarse=coarse, fine=fine)
        self.arguments = {"dim": dim, "width": width, "coarse": coarse, "fine": fine}
        self.dim = dim
        convolution = _CONVOLUTIONS[dim]
        self.first = convolution(1, width, 3, padding=1)
        self.before = _Pair(dim, width)
        self.coarse = nn.Sequential(*(_Pair(dim, width) for _ in range(coarse)))
        self.fine = nn.Sequential(*(_Pair(dim, width) for _ in range(fine)))
        self.last = convolution(width, 1, 1)

    def geometry(self, A: Stencil) -> Float[Tensor, "*batch_and_lattice"]:
        """1 where a point is coupled to others."""
        return Conductors.of(A).share

    def forward(self, r: Float[Tensor, "..."], geometry: Any) -> Float[Tensor, "..."]:
        """Not linear in ``r``; points without couplings get ``r`` itself."""
        lattice = r.shape[-self.dim :]
        x = self.before(self.first(r.reshape(-1, 1, *lattice)))
        axes = range(-self.dim, 0)
        below = self.coarse(halved(x, axes) / 2**self.dim)
        x = self.fine(x + spread(below, lattice))
        return geometry * self.last(x).reshape(r.shape) + (1.0 - geometry) * r


class _Pair(nn.Module):
    """Two convolutions whose result is added to what they were given."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.one, self.two = (_CONVOLUTIONS[dim](width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return relu(x + self.two(relu(self.one(x))))


_CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_DAMPING = 0.8
"""Of Jacobi's method as a smoother in two dimensions; 6/7, the best in three, is near."""


def _maker(dim: int, hidden: int, kernels: int) -> nn.Module:
    """From the image of a matrix to kernels before, after and of the interpolation, and the correction of the matrix.

    At first these are damped Jacobi, twice, linear interpolation of the values of cells spread over their points, and
    nothing, wherever one is.
    """
    convolution = _CONVOLUTIONS[dim]
    smoothing, line = torch.zeros(3**dim), torch.full((3,), 0.25)
    smoothing[3**dim // 2] = _DAMPING
    line[1] = 0.5
    linear = line
    for _ in range(dim - 1):
        linear = linear.unsqueeze(-1) * line
    plain = torch.cat((smoothing, smoothing, linear.flatten(), torch.zeros((kernels - 3) * 3**dim)))
    last = convolution(hidden, kernels * 3**dim, 1)
    nn.init.zeros_(last.weight)
    last.bias = nn.Parameter(plain)
    return nn.Sequential(convolution(2 * dim + 3, hidden, 3, padding=1), nn.GELU(), last)


def _check(name: str, dim: int, **counts: int) -> None:
    if dim not in _CONVOLUTIONS:
        raise InputError(f"{name} has dim={dim}; expected 2 or 3.")
    for what, count in counts.items():
        if count < 1:
            raise InputError(f"{name} has {what}={count}; expected 1 or more.")
