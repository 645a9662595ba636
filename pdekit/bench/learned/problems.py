"""The matrices of the benchmark: diffusion in random media on grids; heat steps and elastic bodies on random meshes."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import scipy.sparse
import scipy.spatial
import torch
from jaxtyping import Float, Shaped
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from pdekit.core.random import FloatArray, KeyArray, as_keys
from pdekit.domain import Boundary, Grid, Mesh, RandomShape
from pdekit.families import Darcy, Elasticity, Family, MeshFamily
from pdekit.families.base import MeshDomain
from pdekit.families.mesh_equations import matrix, vector
from pdekit.fem import Element, forms, nodal
from pdekit.fem.quantities import Function, Quantity
from pdekit.fem.surroundings import Surroundings
from pdekit.fields import LogNormal, PointSet, RandomField
from pdekit.fields.series import Box, domain_box, sample_series, wave_numbers
from pdekit.samples import FieldSpec, Inputs, Schema
from pdekit.solvers import CSR
from pdekit.train.systems import stored, systems_of

__all__ = ["HeatStep", "RandomMesh", "Smooth", "diffusion", "elastic", "heat", "higher_contrast", "test_systems"]

CONTRAST = 0.5
"""Standard deviation of the logarithm of conductivity and of Young's modulus: values vary by 7 within two of them."""
_LEAST = 1e-6
"""Share of the highest wave's variance, of the lowest one's."""
_JITTER = 0.12
"""How far points move along each axis, in spacings; more makes flat tetrahedra."""


@dataclass(frozen=True)
class Smooth(RandomField):
    """A Gaussian field of mean 0 with the covariance ``variance exp(-(distance / length)^2)``.

    Args:
        length: of the correlation.
        variance: at each point.
    """

    length: float
    variance: float

    def sample(
        self, keys: KeyArray, domain: Grid | Mesh | PointSet | Float[Tensor, "points dim"]
    ) -> Float[Tensor, "batch *shape"]:
        box = domain_box(domain, None)
        # A periodic field on a box so much larger that opposite ends do not know of each other.
        reach = self.length * math.sqrt(math.log(1e3))
        enlarged = tuple((low, high + reach) for low, high in box)
        return sample_series(keys, _spectrum(self, enlarged), "periodic", enlarged, domain)


@lru_cache(maxsize=64)
def _spectrum(field: Smooth, box: Box) -> FloatArray:
    """Standard deviations of the waves, which add up to the variance."""
    highest = 2 / field.length * math.sqrt(-math.log(_LEAST))
    sides = [high - low for low, high in box]
    modes = [2 * math.ceil(highest * side / (2 * math.pi)) for side in sides]
    kappa = [wave_numbers("periodic", count, side) for count, side in zip(modes, sides, strict=True)]
    square = sum(k**2 for k in np.meshgrid(*kappa, indexing="ij", sparse=True))
    spectrum = np.exp(-square * field.length**2 / 4)
    return np.sqrt(field.variance * math.prod(sides) / spectrum.sum() * spectrum)


def diffusion(size: int) -> Darcy:
    """-div(a grad u) = f, u = 0 on the walls, on a lattice of size x size unknowns.

    Five points over h^2, arithmetic means at faces, log a of covariance ``0.5 exp(-(d / 0.05)^2)``.
    """
    return Darcy(Grid((size + 2, size + 2)), LogNormal(Smooth(0.05, 0.5)), mean="arithmetic")


@dataclass(frozen=True)
class RandomMesh(RandomShape):
    """Delaunay meshes of jittered points in a randomly bent square or cube; a random part of the boundary is ``held``.

    Nodes are numbered in the order of Cuthill and McKee, which suits incomplete factors of all kinds.

    Args:
        dim: 2 or 3.
        cells: spacings of the lattice along a side before it is jittered; there is a point in the middle of each, too.
    """

    dim: int = 2
    cells: int = 20

    @property
    def max_nodes(self) -> int:
        """Of every sample."""
        return (self.cells + 1) ** self.dim + self.cells**self.dim

    def sample(self, keys: KeyArray) -> list[Mesh]:
        """One mesh per key."""
        return [self._mesh(np.random.default_rng(int(key))) for key in as_keys(keys)]

    def _mesh(self, rng: np.random.Generator) -> Mesh:
        points = self._points(rng)
        cells = scipy.spatial.Delaunay(points).simplices
        volumes = np.linalg.det(points[cells[:, 1:]] - points[cells[:, :1]])
        full = np.abs(volumes) > 1e-6 / self.cells**self.dim  # those on the walls may be flat
        cells = cells[full]
        turned = volumes[full] < 0
        cells[turned, :2] = cells[turned, 1::-1]
        order = _neighbour_by_neighbour(cells, len(points))
        points, cells = points[order], np.argsort(order)[cells]
        mesh = Mesh(_bent(points, rng), cells, "triangle" if self.dim == 2 else "tetra")
        wall = mesh.boundary("all")
        centres = mesh.points[mesh.facets[wall]].mean(1)
        along = centres @ torch.from_numpy(rng.standard_normal(self.dim))
        return mesh.with_names({"held": wall[along < along.quantile(rng.uniform(0.3, 0.5))]})

    def _points(self, rng: np.random.Generator) -> FloatArray:
        """Of the unit square or cube; those on the walls stay where they are."""
        count = self.cells
        corners = np.stack(np.meshgrid(*[np.arange(count + 1) / count] * self.dim, indexing="ij"), -1)
        middles = np.stack(np.meshgrid(*[(np.arange(count) + 0.5) / count] * self.dim, indexing="ij"), -1)
        points = np.concatenate([corners.reshape(-1, self.dim), middles.reshape(-1, self.dim)])
        inside = ((points > 0) & (points < 1)).all(1, keepdims=True)
        return points + inside * rng.uniform(-_JITTER, _JITTER, points.shape) / count


def _neighbour_by_neighbour(cells: np.ndarray, nodes: int) -> np.ndarray:
    """Cuthill and McKee's order of the nodes."""
    ends = [cells[:, pair].T for pair in itertools.combinations(range(cells.shape[1]), 2)]
    rows, columns = np.concatenate(ends, 1)
    graph = scipy.sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(nodes, nodes))
    return reverse_cuthill_mckee((graph + graph.T).tocsr(), symmetric_mode=True)[::-1]


def _bent(points: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Points moved by smooth waves, too flat to fold anything."""
    dim = points.shape[1]
    waves = rng.uniform(-math.pi, math.pi, (4, dim))
    sizes = rng.uniform(-1, 1, (4, dim)) * 0.12 / np.linalg.norm(waves, axis=1, keepdims=True)
    return points + np.sin(points @ waves.T + rng.uniform(0, 2 * math.pi, 4)) @ sizes


HELD = (Boundary("held", "dirichlet"), Boundary("all", "neumann"))


@dataclass(frozen=True)
class HeatStep(MeshFamily):
    """An implicit step of the heat equation: (M + step K) u = M start, with M the mass and K the stiffness matrix.

    Args:
        domain: as of every family on meshes.
        conductivity: random and positive.
        start: the temperature before the step.
        step: of time.
        boundaries: conditions by name.
    """

    kinds: ClassVar[tuple[str, ...]] = ("dirichlet", "neumann")
    definite: ClassVar[bool] = True

    domain: MeshDomain
    conductivity: RandomField
    start: RandomField
    step: float = 1.0
    boundaries: Sequence[Boundary] = HELD
    element: Element | None = None

    def __post_init__(self):
        self._settle()

    def _data(self) -> Mapping[str, FieldSpec]:
        return {
            "conductivity": FieldSpec("conductivity", "input", description="conductivity k > 0"),
            "start": FieldSpec("start", "input", description="temperature before the step"),
        }

    def _positive(self) -> tuple[str, ...]:
        return ("conductivity",)

    @property
    def schema(self) -> Schema:
        """Inputs ``conductivity`` and ``start``, output ``solution``."""
        solution = FieldSpec("solution", "output", description="temperature after the step")
        equation = f"u - {self.step:g} div(conductivity grad u) = start"
        return Schema(self.place, (*self._specs(), solution), self.conditions, equation)

    def assembled(self, inputs: Inputs) -> tuple[CSR, Shaped[Tensor, "... dofs"]]:
        """Mass + step stiffness; the integral of the start."""
        space = self.on_mesh.space
        A = matrix(_step, space, k=nodal(self.step * self._input("conductivity", inputs)))
        return A, vector(forms.load, space, f=self._coefficient("start", inputs))


def _step(u: Function, v: Function, w: Surroundings) -> Quantity:
    return forms.mass(u, v, w) + forms.diffusion(u, v, w)


def heat(dim: int, cells: int) -> HeatStep:
    """Heat steps on random meshes; the step is so long that the stiffness matters, as published (100 times 0.01)."""
    return HeatStep(RandomMesh(dim, cells), LogNormal(Smooth(0.3, CONTRAST**2)), Smooth(0.1, 1.0))


def elastic(dim: int, cells: int) -> Elasticity:
    """Elastic bodies of random shape and stiffness under their weight, held at a part of their boundary."""
    return Elasticity(
        RandomMesh(dim, cells), LogNormal(Smooth(0.3, CONTRAST**2)), body_force=(0.0,) * (dim - 1) + (-1.0,),
        boundaries=HELD[:1],
    )  # fmt: skip


def higher_contrast(family: HeatStep | Elasticity) -> HeatStep | Elasticity:
    """The same with 10 times the ratio between the values two standard deviations above and below the median."""
    law = LogNormal(Smooth(0.3, (CONTRAST + math.log(10) / 4) ** 2))
    return replace(family, conductivity=law) if isinstance(family, HeatStep) else replace(family, young=law)


def test_systems(family: Family, count: int, seed: int) -> list[tuple[CSR, Float[Tensor, " n"]]]:
    """Held-out matrices, and the right-hand sides of the family."""
    found = []
    for k in range(count):
        (system,) = systems_of(family, family.draw([k], seed=seed, split="test"))
        (A,) = stored([system])
        found.append((A[0] if A.batch_shape else A, system.rhs.reshape(-1)))
    return found
