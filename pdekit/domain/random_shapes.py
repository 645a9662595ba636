"""Random shapes: every key makes its own mesh."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pdekit.core.errors import InputError
from pdekit.core.random import KeyArray, as_keys, normal, uniform
from pdekit.domain.mesh import Mesh
from pdekit.domain.mesh_checks import corner_jacobians
from pdekit.domain.shapes.base import with_tuples
from pdekit.domain.shapes.round import disk_rings
from pdekit.domain.topology import KINDS

__all__ = ["RandomShape", "Star"]

FloatArray = npt.NDArray[np.float64]


class RandomShape(ABC):
    """A random mesh: one key makes one mesh, whatever the batch it is drawn in.

    Subclasses are frozen dataclasses, so that a configuration file can hold them. Meshes of different keys may have
    different numbers of nodes; :attr:`max_nodes` bounds them.
    """

    def __post_init__(self):
        with_tuples(self)

    @abstractmethod
    def sample(self, keys: KeyArray) -> list[Mesh]:
        """One valid mesh per key, with the same boundary names each.

        Args:
            keys: ``(batch,)`` uint64, of ``Keys(..).named(..)``.
        """

    @property
    @abstractmethod
    def max_nodes(self) -> int:
        """No sample has more nodes."""


@dataclass(frozen=True)
class Star(RandomShape):
    """Disks whose radius is a random smooth function of the angle, in triangles; one boundary, ``boundary``.

    The radius is ``radius exp(g(angle))`` with ``g = sum_k c_k (a_k cos k angle + b_k sin k angle)`` over k = 1..modes,
    a and b standard normal and c_k proportional to ``k^-decay``, so that g has the standard deviation ``amplitude``.
    The number of rings of the mesh is drawn too, so that meshes differ in their number of nodes. Where a draw would
    fold or nearly flatten a triangle (rare with the defaults), g is shrunk by tenths until none is.

    Args:
        amplitude: standard deviation of g, from 0 to 1.
        modes: of the radius, at least 1.
        decay: of their amplitudes; 2 and more make round shapes, less makes rough ones.
        rings: fewest and most rings of nodes around the centre; n rings have ``2 n (n + 1) + 1`` nodes.
        radius: mean radius (geometric).

    Raises:
        InputError: a parameter out of its range.

    Example:
        >>> from pdekit.core.random import Keys
        >>> [mesh.n_nodes for mesh in Star(rings=(8, 12)).sample(Keys(0, "train", range(3)).named("shape"))]
        [265, 313, 313]
    """

    amplitude: float = 0.15
    modes: int = 5
    decay: float = 1.5
    rings: tuple[int, int] = (16, 24)
    radius: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.amplitude <= 1:
            raise InputError(f"Star amplitude is {self.amplitude}; expected 0 to 1.")
        if not (isinstance(self.modes, int) and 1 <= self.modes <= 64):
            raise InputError(f"Star modes is {self.modes}; expected an integer from 1 to 64.")
        if not math.isfinite(self.decay):
            raise InputError(f"Star decay is {self.decay}; expected a finite number.")
        if not (len(self.rings) == 2 and 2 <= self.rings[0] <= self.rings[1]):
            raise InputError(f"Star rings is {self.rings}; expected the fewest and the most, at least 2.")
        if not 0 < self.radius < math.inf:
            raise InputError(f"Star radius is {self.radius}; expected a positive number.")

    @property
    def max_nodes(self) -> int:
        """Nodes of a sample with the most rings."""
        return 2 * self.rings[1] * (self.rings[1] + 1) + 1

    def sample(self, keys: KeyArray) -> list[Mesh]:
        """One mesh per key."""
        keys = as_keys(keys)
        low, high = self.rings
        rings = low + np.floor(uniform(keys, 1)[:, 0] * (high - low + 1)).astype(np.int64)
        k = np.arange(1, self.modes + 1)
        numbers = normal(keys, np.stack([np.repeat(k, 2), np.tile([0, 1], self.modes), 0 * np.repeat(k, 2)], axis=1))
        scale = k**-self.decay * (self.amplitude / math.sqrt((k ** (-2 * self.decay)).sum()))
        waves = numbers.reshape(-1, self.modes, 2) * scale[:, None]
        return [self._mesh(int(count), wave) for count, wave in zip(rings, waves, strict=True)]

    def _mesh(self, rings: int, waves: FloatArray) -> Mesh:
        disk, cells = disk_rings(rings)
        angle = np.arctan2(disk[:, 1], disk[:, 0])
        k = np.arange(1, self.modes + 1)
        g = np.cos(np.outer(angle, k)) @ waves[:, 0] + np.sin(np.outer(angle, k)) @ waves[:, 1]
        kind = KINDS["triangle"]
        least = 0.05 * corner_jacobians(disk, cells, kind)
        share = 1.0
        while True:
            growth = np.exp(share * g)[:, None]
            # Compared with the disk grown by the same factor: a small part of a shape is not a flat one.
            if (corner_jacobians(disk * growth, cells, kind) >= least * growth[cells[:, 0]] ** 2).all():
                break
            share -= 0.1
        mesh = Mesh(self.radius * growth * disk, cells, "triangle")
        return mesh.with_names({"boundary": mesh.boundary("all")})
