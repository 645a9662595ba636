"""Uniform refinement. Oracles: scikit-fem's refined meshes (counts), linear functions, the shapes' own volumes."""

import numpy as np
import pytest
import skfem

from pdekit.core import InputError
from pdekit.domain import Annulus, Ball, Box, Disk, Interval, LShape, Mesh, Rectangle

SHAPES = {
    "line": (Interval(cells=3), skfem.MeshLine),
    "triangle": (LShape(cells=2), skfem.MeshTri),
    "quad": (Annulus(cells=(2, 7), kind="quad"), skfem.MeshQuad),
    "tetra": (Ball(refinements=1), skfem.MeshTet),
    "hexahedron": (Box(cells=(2, 1, 3), kind="hexahedron"), skfem.MeshHex),
}
HEX_ORDER = [0, 1, 3, 4, 2, 5, 7, 6]


def points_of(mesh: Mesh) -> set[tuple[float, ...]]:
    return {tuple(row) for row in mesh.points.numpy().round(9).tolist()}


@pytest.mark.parametrize("kind", SHAPES)
def test_counts_and_places_are_those_of_scikit_fem(kind):
    shape, other = SHAPES[kind]
    mesh = shape.mesh()
    cells = mesh.cells.numpy()[:, HEX_ORDER] if kind == "hexahedron" else mesh.cells.numpy()
    expected = other(np.ascontiguousarray(mesh.points.numpy().T), np.ascontiguousarray(cells.T)).refined()
    fine, _ = mesh.refine()
    assert (fine.n_nodes, fine.n_cells) == (expected.p.shape[1], expected.t.shape[1])
    assert points_of(fine) == {tuple(row) for row in expected.p.T.round(9).tolist()}
    if mesh.dim > 1:
        assert len(fine.facets) == expected.facets.shape[1]
    assert fine.volume == pytest.approx(mesh.volume, rel=1e-12)


@pytest.mark.parametrize("kind", SHAPES)
def test_prolongation_is_exact_for_linear_functions_and_keeps_values(kind):
    mesh = SHAPES[kind][0].mesh()
    fine, prolongation = mesh.refine(2)
    assert prolongation.shape == (fine.n_nodes, mesh.n_nodes)
    np.testing.assert_allclose(prolongation @ mesh.points.numpy(), fine.points.numpy(), atol=1e-14)
    np.testing.assert_allclose(prolongation.sum(axis=1), 1, rtol=1e-14)
    values = np.random.default_rng(0).standard_normal(mesh.n_nodes)
    np.testing.assert_array_equal((prolongation @ values)[: mesh.n_nodes], values)
    assert np.array_equal(fine.points[: mesh.n_nodes], mesh.points)


@pytest.mark.parametrize("kind", ["quad", "hexahedron"])
def test_prolongation_evaluates_the_multilinear_function(kind):
    """On one cell of the reference square or cube the function x y (z) is in the space."""
    mesh = (Rectangle(1, kind="quad") if kind == "quad" else Box(1, kind="hexahedron")).mesh()
    fine, prolongation = mesh.refine(2)
    product = mesh.points.prod(dim=1).numpy()
    np.testing.assert_allclose(prolongation @ product, fine.points.prod(dim=1).numpy(), atol=1e-15)


@pytest.mark.parametrize("kind", SHAPES)
def test_names_are_carried_over(kind):
    mesh = SHAPES[kind][0].mesh()
    name = next(iter(mesh.boundaries))
    cells = np.arange(0, mesh.n_cells, 2)
    mesh = mesh.with_names(mesh.boundaries, {"some": cells})
    fine, _ = mesh.refine()
    per_facet, per_cell = 2 ** (mesh.dim - 1), 2**mesh.dim
    assert {n: len(f) for n, f in fine.boundaries.items()} == {
        n: per_facet * len(f) for n, f in mesh.boundaries.items()
    }
    assert len(fine.region("some")) == per_cell * len(cells)
    assert float(fine.volumes[fine.region("some")].sum()) == pytest.approx(float(mesh.volumes[cells].sum()), rel=1e-12)
    area = facet_measure(mesh, name)
    assert facet_measure(fine, name) == pytest.approx(area, rel=1e-12)
    assert (fine.facet_cells[fine.boundary(name), 1] == -1).all()


def facet_measure(mesh: Mesh, name: str) -> float:
    x = mesh.points.numpy()[mesh.facets[mesh.boundary(name)].numpy()]
    if mesh.dim == 1:
        return float(len(x))
    if mesh.dim == 2:
        return float(np.linalg.norm(x[:, 1] - x[:, 0], axis=1).sum())
    if x.shape[1] == 3:
        return float(np.linalg.norm(np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]), axis=1).sum()) / 2
    return float(np.linalg.norm(np.cross(x[:, 2] - x[:, 0], x[:, 3] - x[:, 1]), axis=1).sum()) / 2


def test_tetrahedra_stay_of_few_shapes():
    """Kuhn's tetrahedra stay similar to themselves."""
    fine, _ = Box(cells=1).mesh().refine(3)
    edges = fine.points[fine.cells][:, fine.cell_kind.edges]
    lengths = np.sort((edges[:, :, 0] - edges[:, :, 1]).norm(dim=-1).numpy() * 8, axis=1)
    np.testing.assert_allclose(lengths, np.broadcast_to(np.sqrt([1, 1, 1, 2, 2, 3]), lengths.shape), rtol=1e-12)


def test_no_refinement_is_the_mesh_itself():
    mesh = Disk(refinements=1).mesh()
    same, prolongation = mesh.refine(0)
    assert same is mesh
    assert (prolongation.toarray() == np.eye(mesh.n_nodes)).all()
    with pytest.raises(InputError, match="asked for -1 refinements"):
        mesh.refine(-1)
