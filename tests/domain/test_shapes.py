"""Shapes. Oracles: areas and volumes of the true shapes, scikit-fem's disk, the cotangent formula."""

import math
import os

import numpy as np
import pytest
import scipy.sparse as sp
import skfem
import torch
from jaxtyping import config
from skfem.models.poisson import laplace

from pdekit.core import InputError
from pdekit.core.random import Keys
from pdekit.domain import Annulus, Ball, Box, Disk, Grid, Interval, LShape, Mesh, MeshFile, Rectangle, Star


def test_boxes_are_numbered_like_grids():
    box = ((0.0, 2.0), (1.0, 2.0), (-1.0, 3.0))
    for mesh, dim in (
        (Interval(cells=4, box=box[0]).mesh(), 1),
        (Rectangle(cells=(4, 3), box=box[:2]).mesh(), 2),
        (Box(cells=(4, 3, 2), box=box).mesh(), 3),
    ):
        grid = Grid((5, 4, 3)[:dim], box[:dim])
        torch.testing.assert_close(mesh.points, grid.points().reshape(-1, dim))
        assert mesh.volume == pytest.approx(grid.volume, rel=1e-14)


@pytest.mark.parametrize("kind", ["triangle", "quad", "tetra", "hexahedron"])
def test_sides_of_boxes_are_where_their_names_say(kind):
    dim = 2 if kind in ("triangle", "quad") else 3
    mesh = (Rectangle(cells=(2, 3), kind=kind) if dim == 2 else Box(cells=(2, 3, 2), kind=kind)).mesh()
    sides = ("left", "right", "bottom", "top", "back", "front")[: 2 * dim]
    assert tuple(mesh.boundaries) == sides
    for number, name in enumerate(sides):
        x = mesh.points[mesh.facets[mesh.boundary(name)]][..., number // 2]
        assert (x == number % 2).all()
    together = torch.cat([mesh.boundary(name) for name in sides])
    assert torch.equal(together.sort().values, mesh.boundary("all"))


def test_the_disk_has_the_nodes_of_scikit_fem():
    assert Disk(refinements=7).mesh().n_nodes == 33_025
    for refinements in (0, 1, 4):
        mesh, other = Disk(refinements=refinements).mesh(), skfem.MeshTri.init_circle(refinements)
        assert (mesh.n_nodes, mesh.n_cells, len(mesh.facets)) == (
            other.p.shape[1],
            other.t.shape[1],
            other.facets.shape[1],
        )
        rim = mesh.points[mesh.facets[mesh.boundary("boundary")]]
        torch.testing.assert_close(rim.norm(dim=-1), torch.ones(rim.shape[:-1], dtype=torch.float64))


@pytest.mark.parametrize(
    ("shapes", "true"),
    [
        ([Disk(r, radius=2.0, centre=(1.0, -1.0)) for r in (2, 3, 4, 5)], 4 * math.pi),
        ([Annulus(0.25, 1.0, (n, 6 * n)) for n in (4, 8, 16, 32)], math.pi * (1 - 1 / 16)),
        ([Ball(r, radius=0.5, centre=(1.0, 2.0, 3.0)) for r in (1, 2, 3, 4)], math.pi / 6),
    ],
)
def test_round_shapes_approach_their_volume_with_order_two(shapes, true):
    errors = [abs(shape.mesh().volume - true) for shape in shapes]
    slope = np.polyfit(np.arange(4), np.log2(errors), 1)[0]
    assert -2.1 < slope < -1.8


def stiffness(mesh: Mesh) -> sp.csr_matrix:
    other = (skfem.MeshTri if mesh.dim == 2 else skfem.MeshTet)(
        mesh.points.numpy().T.copy(), mesh.cells.numpy().T.copy()
    )
    return laplace.assemble(skfem.Basis(other, skfem.ElementTriP1() if mesh.dim == 2 else skfem.ElementTetP1()))


@pytest.mark.parametrize(
    "shape", [Disk(4), Annulus(), Rectangle((5, 9)), LShape(4), Box(3), Box((2, 3, 4))], ids=lambda s: type(s).__name__
)
def test_triangulations_give_m_matrices(shape):
    """No positive entry off the diagonal, so that discrete solutions obey the maximum principle."""
    matrix = stiffness(shape.mesh())
    off = matrix - sp.diags(matrix.diagonal())
    assert off.max() <= 1e-13 * matrix.diagonal().max()


def angles(mesh: Mesh) -> np.ndarray:
    x = mesh.points.numpy()[mesh.cells.numpy()]
    sides = [(x[:, (k + 1) % 3] - x[:, k], x[:, (k + 2) % 3] - x[:, k]) for k in range(3)]
    cosines = [(a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1) for a, b in sides]
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def test_quality():
    for refinements in (1, 3, 6):
        found = angles(Disk(refinements).mesh())
        assert found.min() > 32
        assert found.max() < 90 + 1e-9
    for refinements in (2, 3, 4):
        volumes = Ball(refinements).mesh().volumes
        assert float(volumes.min() / volumes.max()) > 0.17
        assert dihedral_angles(Ball(refinements).mesh()).min() > 28


def dihedral_angles(mesh: Mesh) -> np.ndarray:
    x = mesh.points.numpy()[mesh.cells.numpy()]
    normals = [np.cross(x[:, f[1]] - x[:, f[0]], x[:, f[2]] - x[:, f[0]]) for f in mesh.cell_kind.facets]
    normals = [n / np.linalg.norm(n, axis=1, keepdims=True) for n in normals]
    return np.degrees([np.arccos(-(normals[i] * normals[j]).sum(1)) for i in range(4) for j in range(i)])


def test_names_of_the_other_shapes():
    ring = Annulus(cells=(3, 12), centre=(1.0, 0.0)).mesh()
    for name, radius in (("inner", 0.5), ("outer", 1.0)):
        x = ring.points[ring.facets[ring.boundary(name)]] - torch.tensor([1.0, 0.0], dtype=torch.float64)
        torch.testing.assert_close(x.norm(dim=-1), torch.full(x.shape[:-1], radius, dtype=torch.float64))
    corner = LShape(cells=3).mesh()
    x = corner.points[corner.facets[corner.boundary("reentrant")]]
    assert len(x) == 6
    assert (x.prod(dim=-1) == 0).all()
    assert len(corner.boundary("boundary")) == len(corner.boundary("all")) == 24


def test_equal_shapes_share_a_mesh():
    assert Disk(2).mesh() is Disk(2).mesh()
    assert Disk(2).mesh() is not Disk(2, radius=2.0).mesh()


@pytest.fixture
def unannotated():
    """Annotations are not enforced: as users call, who write lists."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("lists", "tuples"),
    [
        (lambda: Rectangle([4, 2], [[0.0, 2.0], [0.0, 1.0]]), Rectangle((4, 2), ((0.0, 2.0), (0.0, 1.0)))),
        (lambda: Box([2, 1, 1]), Box((2, 1, 1))),
        (lambda: Interval(box=[0.0, 2.0]), Interval(box=(0.0, 2.0))),
        (lambda: Disk(2, centre=[0.0, 1.0]), Disk(2, centre=(0.0, 1.0))),
        (lambda: Annulus(cells=[2, 12]), Annulus(cells=(2, 12))),
    ],
)
def test_lists_are_as_good_as_tuples(lists, tuples, unannotated):
    assert lists() == tuples
    assert lists().mesh() is tuples.mesh()


def test_a_star_takes_a_list_too(unannotated):
    assert hash(Star(rings=[3, 4])) == hash(Star(rings=(3, 4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interval(cells=0), "Interval cells is 0; expected an integer of at least 1"),
        (lambda: Interval(box=(1.0, 0.0)), "Interval box .* the lower first"),
        (lambda: Rectangle(cells=(3, 2, 1)), r"Rectangle cells is \(3, 2, 1\); expected .* or 2 of them"),
        (lambda: Rectangle(cells=2.5), "expected an integer"),
        (lambda: Rectangle(kind="triangel"), "Rectangle kind 'triangel' is unknown. Did you mean triangle"),
        (lambda: Rectangle(box=((0, 1),)), "Rectangle box has 1 axes; expected 2"),
        (lambda: Box(box=((0, 1), (0, 1), (0, math.inf))), "expected finite ends"),
        (lambda: Box(kind="tetr"), "Did you mean tetra"),
        (lambda: LShape(cells=0), "LShape cells"),
        (lambda: Disk(refinements=-1), "Disk refinements is -1; expected an integer of at least 0"),
        (lambda: Disk(radius=0.0), "Disk radius is 0.0; expected a positive"),
        (lambda: Ball(centre=(0.0, 0.0)), "Ball centre is .* expected 3 finite coordinates"),
        (lambda: Annulus(inner=1.0), "radii are 1.0 and 1.0; expected 0 < inner < outer"),
        (lambda: Annulus(cells=(1, 2)), "at least 3 around"),
        (lambda: Annulus(kind="quads"), "Did you mean quad"),
        (lambda: MeshFile("x.msh", refinements=-1), "MeshFile refinements is -1"),
        (lambda: Star(amplitude=2.0), "Star amplitude is 2.0; expected 0 to 1"),
        (lambda: Star(modes=0), "Star modes"),
        (lambda: Star(decay=math.nan), "Star decay"),
        (lambda: Star(rings=(1, 3)), "Star rings"),
        (lambda: Star(radius=-1.0), "Star radius"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_mesh_file_is_a_shape(tmp_path):
    path = tmp_path / "part.vtu"
    Disk(refinements=2).mesh().write(path)
    shape = MeshFile(str(path), refinements=1)
    assert shape.mesh().fingerprint == Disk(refinements=2).mesh().refine()[0].fingerprint
    assert shape.mesh() is shape.mesh()
    Disk(refinements=1).mesh().write(path)
    os.utime(path, ns=(1, 1))
    assert shape.mesh().n_nodes == 41
    with pytest.raises(InputError, match="There is no file"):
        MeshFile(str(tmp_path / "other.vtu")).mesh()


def test_stars_belong_to_their_keys():
    star = Star(rings=(6, 9))
    keys = Keys(3, "train", range(12)).named("shape")
    meshes = star.sample(keys)
    again = star.sample(keys[[7, 2]])
    assert [m.fingerprint for m in again] == [meshes[7].fingerprint, meshes[2].fingerprint]
    assert len({m.fingerprint for m in meshes}) == 12
    counts = {m.n_nodes for m in meshes}
    assert counts <= {2 * n * (n + 1) + 1 for n in (6, 7, 8, 9)}
    assert len(counts) > 1
    assert max(counts) <= star.max_nodes == 181
    for mesh in meshes:
        assert torch.equal(mesh.boundary("boundary"), mesh.boundary("all"))


def test_the_radius_of_a_star_has_its_law():
    """Standard deviation and mean of the logarithm of the radius at angle 0, over 500 keys, to 3 standard errors."""
    star = Star(amplitude=0.2, rings=(4, 4), radius=2.0)
    meshes = star.sample(Keys(0, "train", range(500)).named("shape"))
    right = 25  # the first node of the last ring
    logs = np.log([float(m.points[right].norm()) / 2 for m in meshes])
    assert abs(logs.mean()) < 3 * 0.2 / math.sqrt(500)
    assert abs(logs.std() / 0.2 - 1) < 3 / math.sqrt(2 * 500) + 0.02  # a few draws are shrunk


def test_stars_of_any_parameters_are_valid():
    for amplitude, decay, modes in ((0.0, 2.0, 1), (1.0, 0.0, 12), (0.5, 0.5, 40)):
        meshes = Star(amplitude, modes, decay, rings=(2, 4)).sample(Keys(1, "test", range(8)).named("shape"))
        assert all(float(mesh.volumes.min()) > 0 for mesh in meshes)
    assert meshes[0].volume > 0
