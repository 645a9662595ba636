"""Meshes: tables, volumes, names, faults. Oracles: scikit-fem's meshes, Euler's formula, the divergence theorem."""

import copy
import pickle

import numpy as np
import pytest
import skfem
import torch

from pdekit.core import InputError
from pdekit.domain import Annulus, Ball, Box, Disk, Interval, LShape, Mesh, Rectangle
from pdekit.domain.mesh_checks import duplicate_nodes, listing
from pdekit.domain.topology import KINDS
from pdekit.fem import P1, Space

SHAPES = {
    "line": Interval(cells=5, box=(-1.0, 2.0)),
    "triangle": Rectangle(cells=(4, 3), box=((0.0, 2.0), (1.0, 2.0))),
    "disk": Disk(refinements=2),
    "annulus": Annulus(cells=(2, 9)),
    "l": LShape(cells=2),
    "quad": Rectangle(cells=(3, 4), kind="quad"),
    "annulus quads": Annulus(cells=(2, 9), kind="quad"),
    "tetra": Box(cells=(2, 3, 1)),
    "ball": Ball(refinements=1),
    "hexahedron": Box(cells=(2, 1, 3), kind="hexahedron"),
}
SKFEM = {"line": skfem.MeshLine, "triangle": skfem.MeshTri, "quad": skfem.MeshQuad, "tetra": skfem.MeshTet}
SKFEM["hexahedron"] = skfem.MeshHex
# scikit-fem numbers the vertices of a hexahedron by its lexicographic neighbours.
HEX_ORDER = [0, 1, 3, 4, 2, 5, 7, 6]
rng = np.random.default_rng(0)


@pytest.fixture(params=SHAPES, name="mesh")
def every_mesh(request) -> Mesh:
    """One mesh of each kind and shape, its inner nodes moved so that nothing is axis-aligned by chance."""
    mesh = SHAPES[request.param].mesh()
    x = mesh.points.numpy().copy()
    inner = np.ones(len(x), dtype=bool)
    inner[mesh.facets[mesh.boundary("all")].reshape(-1)] = False
    x[inner] += 0.02 * rng.standard_normal((int(inner.sum()), mesh.dim))
    return mesh.with_points(x)


def oracle(mesh: Mesh):
    cells = mesh.cells.numpy()
    if mesh.kind == "hexahedron":
        cells = cells[:, HEX_ORDER]
    return SKFEM[mesh.kind](np.ascontiguousarray(mesh.points.numpy().T), np.ascontiguousarray(cells.T))


def rows(nodes) -> set[tuple[int, ...]]:
    return {tuple(sorted(row)) for row in np.asarray(nodes).tolist()}


def test_facets_and_edges_are_those_of_scikit_fem(mesh):
    other = oracle(mesh)
    facets = other.facets.T if mesh.dim > 1 else np.arange(mesh.n_nodes)[:, None]
    assert rows(mesh.facets) == rows(facets)
    assert len(mesh.facets) == len(facets)
    assert rows(mesh.facets[mesh.boundary("all")]) == rows(facets[other.boundary_facets()])
    if mesh.dim == 3:
        assert rows(mesh.edges) == rows(other.edges.T)
        assert len(mesh.edges) == other.edges.shape[1]


def test_tables_refer_to_each_other(mesh):
    kind = mesh.cell_kind
    for table, of_cell, local in (
        (mesh.facets, mesh.cell_facets, kind.facets), (mesh.edges, mesh.cell_edges, kind.edges),
    ):  # fmt: skip
        found = table[of_cell].sort(dim=-1).values
        expected = mesh.cells[:, torch.from_numpy(local)].sort(dim=-1).values
        assert torch.equal(found, expected)
    for side in (0, 1):
        facet = torch.nonzero(mesh.facet_cells[:, side] >= 0)[:, 0]
        assert (mesh.cell_facets[mesh.facet_cells[facet, side]] == facet[:, None]).any(dim=1).all()
    inner = mesh.facet_cells[:, 1] >= 0
    assert (mesh.facet_cells[inner, 0] != mesh.facet_cells[inner, 1]).all()
    assert torch.equal(torch.nonzero(~inner)[:, 0], mesh.boundary("all"))


def test_volumes_are_those_of_scikit_fem(mesh):
    element = {
        "line": skfem.ElementLineP1, "triangle": skfem.ElementTriP1, "quad": skfem.ElementQuad1,
        "tetra": skfem.ElementTetP1, "hexahedron": skfem.ElementHex1,
    }[mesh.kind]()  # fmt: skip
    basis = skfem.Basis(oracle(mesh), element, intorder=4)
    np.testing.assert_allclose(mesh.volumes.numpy(), basis.dx.sum(axis=1), rtol=1e-12)
    load = skfem.LinearForm(lambda v, w: v).assemble(basis)
    np.testing.assert_allclose(mesh.quadrature().numpy(), load[basis.nodal_dofs[0]], rtol=1e-11)
    assert float(mesh.quadrature().sum()) == pytest.approx(mesh.volume, rel=1e-13)


def outward_normals(mesh: Mesh) -> np.ndarray:
    """Area vectors of the boundary facets, by the right-hand rule on their nodes."""
    x = mesh.points.numpy()[mesh.facets[mesh.boundary("all")].numpy()]
    if mesh.dim == 1:
        cells = mesh.facet_cells[mesh.boundary("all"), 0]
        return np.sign(x[:, 0] - mesh.points.numpy()[mesh.cells[cells].numpy()].mean(axis=1))
    if mesh.dim == 2:
        edge = x[:, 1] - x[:, 0]
        return np.stack([edge[:, 1], -edge[:, 0]], axis=1)
    if x.shape[1] == 3:
        return np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]) / 2
    return np.cross(x[:, 2] - x[:, 0], x[:, 3] - x[:, 1]) / 2


def test_the_boundary_is_watertight_and_looks_outward(mesh):
    normals = outward_normals(mesh)
    np.testing.assert_allclose(normals.sum(axis=0), 0, atol=1e-12)
    # The divergence theorem for the field x; facets are flat on these boundaries.
    centres = mesh.points.numpy()[mesh.facets[mesh.boundary("all")].numpy()].mean(axis=1)
    assert (centres * normals).sum() / mesh.dim == pytest.approx(mesh.volume, rel=1e-12)


def test_euler_characteristic(mesh):
    counts = {1: [mesh.n_nodes, mesh.n_cells], 2: [mesh.n_nodes, len(mesh.edges), mesh.n_cells]}
    counts[3] = [mesh.n_nodes, len(mesh.edges), len(mesh.facets), mesh.n_cells]
    holes = "inner" in mesh.boundaries
    assert sum((-1) ** k * count for k, count in enumerate(counts[mesh.dim])) == 1 - holes


def test_edges_of_a_line_are_its_cells_and_of_a_surface_its_facets():
    line, square = SHAPES["line"].mesh(), SHAPES["triangle"].mesh()
    assert rows(line.edges) == rows(line.cells)
    assert torch.equal(square.edges, square.facets)


@pytest.mark.parametrize("kind", ["triangle", "tetra", "quad", "hexahedron"])
def test_node_numbers_beyond_one_packed_integer(kind):
    """Facets of large numbers are found by bytes instead of packed integers; the answer is the same."""
    from pdekit.domain.topology import KINDS, unique_entities

    small = SHAPES[kind]
    cells = small.mesh().cells.numpy()
    few = unique_entities(cells, KINDS[kind].facets, small.mesh().n_nodes)
    many = unique_entities(cells + 3 * 10**9, KINDS[kind].facets, 10**10)
    assert few.nodes.tolist() == (many.nodes - 3 * 10**9).tolist()
    assert few.of_cell.tolist() == many.of_cell.tolist()
    assert few.cells.tolist() == many.cells.tolist()


def test_named_parts():
    mesh = SHAPES["triangle"].mesh()
    middle = mesh.points[mesh.facets[mesh.boundary("left")]]
    assert (middle[..., 0] == 0).all()
    assert len(mesh.boundary("all")) == 14
    marked = mesh.with_boundary("hot", lambda x: (x[1] > 2 - 1e-9) & (x[0] < 1 + 1e-9))
    assert len(marked.boundary("hot")) == 2
    assert "hot" not in mesh.boundaries
    assert len(marked.with_boundary("hot", lambda x: x[0] == 0).boundary("hot")) == 3
    zones = mesh.with_names(mesh.boundaries, {"first": [0, 1, 1], "rest": torch.arange(2, mesh.n_cells)})
    assert zones.region("first").tolist() == [0, 1]
    with pytest.raises(InputError, match=r"no boundary 'lift'. Did you mean left\? Known: all, bottom, left"):
        mesh.boundary("lift")
    with pytest.raises(InputError, match=r"no region 'steel'. It has none"):
        mesh.region("steel")
    with pytest.raises(InputError, match=r"no region 'fist'. Did you mean first"):
        zones.region("fist")
    with pytest.raises(InputError, match=r"No boundary facet lies where .* 'x' is wanted.*from \[0.0, 1.0\] to"):
        mesh.with_boundary("x", lambda x: x[0] > 5)
    with pytest.raises(InputError, match=r"where answered with the shape"):
        mesh.with_boundary("x", lambda x: x > 0)
    with pytest.raises(InputError, match="stands for the whole"):
        mesh.with_names({"all": [0]})
    with pytest.raises(InputError, match="expected a word"):
        mesh.with_names({"": [0]})
    with pytest.raises(InputError, match="'x' names the facets 999, which do not exist; expected numbers from 0 to"):
        mesh.with_names({"x": [0, 999]})
    with pytest.raises(InputError, match="region 'x' names the cells -1"):
        mesh.with_names({}, {"x": [-1]})
    with pytest.raises(InputError, match="expected facet numbers"):
        mesh.with_names({"x": [0.5]})


def test_facets_are_found_by_their_nodes_in_any_order():
    mesh = SHAPES["tetra"].mesh()
    some = torch.arange(0, len(mesh.facets), 3)
    assert torch.equal(mesh.find_facets(mesh.facets[some].flip(1)), some)
    assert torch.equal(mesh.find_edges(mesh.edges.flip(1)), torch.arange(len(mesh.edges)))
    with pytest.raises(InputError, match=r"1 of 2 facets are no facets .* nodes \[0, 0, 1\]"):
        mesh.find_facets([mesh.facets[0].tolist(), [0, 0, 1]])


def test_a_mesh_never_changes_and_survives_copies():
    mesh = SHAPES["triangle"].mesh()
    with pytest.raises(AttributeError, match="never changes"):
        mesh.points = torch.zeros(2, 2)
    with pytest.raises(TypeError):
        mesh.boundaries["left"] = torch.zeros(1)
    for twin in (pickle.loads(pickle.dumps(mesh)), copy.deepcopy(mesh)):
        assert twin.fingerprint == mesh.fingerprint
        assert twin != mesh
        assert repr(twin) == repr(mesh)
    given = mesh.points.numpy().copy()
    made = Mesh(given, mesh.cells, "triangle")
    given[:] = 0
    assert torch.equal(made.points, mesh.points)


def test_the_fingerprint_knows_points_cells_and_boundaries():
    mesh = SHAPES["triangle"].mesh()
    moved = mesh.with_points(mesh.points + 1)
    named = mesh.with_boundary("extra", lambda x: x[0] == 0)
    assert len({mesh.fingerprint, moved.fingerprint, named.fingerprint}) == 3
    assert mesh.with_points(mesh.points).fingerprint == mesh.fingerprint
    assert mesh.with_names(mesh.boundaries).fingerprint == mesh.fingerprint


SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
TWO = [[0, 1, 2], [0, 2, 3]]
CUBE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
FAULTS = {
    "kind": ((SQUARE, TWO, "triangel"), r"kind 'triangel' is unknown. Did you mean triangle"),
    "points": (([[0.0, 0.0, 0.0]] * 4, TWO, "triangle"), r"shape \(4, 3\); triangles need \(nodes, 2\). Surfaces"),
    "cells": ((SQUARE, [[0, 1]], "triangle"), r"shape \(1, 2\); triangles need \(cells, 3\)"),
    "no kind": ((SQUARE, [[0, 1]]), r"cells have the shape \(1, 2\) and points \(4, 2\), .* 3 in 2-D \(triangles\)"),
    "no cells": ((SQUARE, np.empty((0, 3)), "triangle"), "has no cells"),
    "fractions": ((SQUARE, [[0.0, 1.0, 2.0]], "triangle"), "cells are float64; expected integers"),
    "words": ((["a"], TWO, "triangle"), "points are .*; expected real numbers"),
    "ragged": (([[0.0], [1.0, 2.0]], TWO, "triangle"), "no array of numbers"),
    "nan": (([[0.0, np.nan], *SQUARE[1:]], TWO, "triangle"), "Nodes 0 have coordinates that are NaN"),
    "missing node": ((SQUARE, [[0, 1, 2], [0, 2, 7]], "triangle"), r"Cells 1 name nodes that do not exist; .* 0 to 3"),
    "from one": ((SQUARE, [[1, 2, 3], [1, 3, 4]], "triangle"), r"counted from 1\?"),
    "negative": ((SQUARE, [[0, 1, -2]], "triangle"), r"Cells 0 name nodes .* from -2 to 1"),
    "inverted": ((SQUARE, [[0, 1, 2], [0, 3, 2]], "triangle"), r"Cell 1 inverted .*\[0, 3, 2\].*counter-clockwise"),
    "all inverted": ((SQUARE, [[0, 2, 1], [0, 3, 2]], "triangle"), r"Triangles 0, 1 inverted .* reorient=True"),
    "line": (([[0.0], [1.0]], [[1, 0]], "line"), "inverted .* from left to right"),
    "tetra": ((CUBE, [[0, 3, 1, 4]], "tetra"), "inverted .* so that the volume is positive"),
    "degenerate": ((SQUARE, [[0, 1, 2], [0, 2, 2]], "triangle"), r"Cell 1 degenerate: no volume .*\[0, 2, 2\]"),
    "flat": (([[0.0, 0.0], [1.0, 0.0], [2.0, 1e-15]], [[0, 1, 2]], "triangle"), "degenerate: no volume"),
    "flat corner": (([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], [[0, 1, 2, 3]], "quad"), "a corner with no"),
    "bow tie": ((SQUARE, [[0, 2, 1, 3]], "quad"), "degenerate|inverted at some corners and not at others"),
    "concave": (([[0.0, 0.0], [1.0, 0.0], [0.2, 0.2], [0.0, 1.0]], [[0, 1, 2, 3]], "quad"), "inverted at some corners"),
    "lexicographic": ((CUBE, [[0, 1, 3, 2, 4, 5, 7, 6]], "hexahedron"), r"VTK's order|degenerate"),
    "orphan": (([*SQUARE, [5.0, 5.0]], TWO, "triangle"), r"Nodes 4 are orphaned.*drop_orphans=True"),
    "duplicate": (
        ([*SQUARE, [1.0, 1.0]], [[0, 1, 2], [0, 4, 3]], "triangle"),
        r"1 pair of nodes lie at one place, the first being 2 and 4 at \[1.0, 1.0\].*merge_duplicates=True",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(fault):
    arguments, message = FAULTS[fault]
    with pytest.raises(InputError, match=message):
        Mesh(*arguments)


def test_the_kind_is_that_of_the_columns(mesh):
    assert Mesh(mesh.points, mesh.cells).kind == mesh.kind


def test_cells_that_overlap_are_named():
    with pytest.raises(InputError, match=r"Cells 0 and 1 overlap: .* nodes \[0, 1\]"):
        Mesh([[0.0, 0.0], [1.0, 0.0], [0.5, 1.0], [0.4, 2.0]], [[0, 1, 2], [0, 1, 3]], "triangle").boundary("all")
    with pytest.raises(InputError, match=r"overlap"):
        Mesh([[0.0], [1.0], [2.0]], [[0, 1], [0, 2]], "line").boundary("all")
    tetrahedra = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.1, 0.1, 2]]
    with pytest.raises(InputError, match=r"overlap"):
        Mesh(tetrahedra, [[0, 1, 2, 3], [0, 1, 2, 4]], "tetra").boundary("all")
    with pytest.raises(InputError, match=r"more than two cells, the first \(nodes \[0, 1\]\) to the cells 0, 1, 2"):
        Mesh([*SQUARE, [0.5, 2.0]], [[0, 1, 2], [0, 1, 3], [0, 1, 4]], "triangle").boundary("all")


def test_a_crack_is_allowed_when_asked_for():
    points = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [1.0, 0.0]]
    cells = [[0, 1, 4, 3], [6, 2, 5, 4]]
    mesh = Mesh(points, cells, "quad", allow_duplicates=True)
    assert len(mesh.boundary("all")) == 8  # the two sides of the crack among them
    fine, _ = mesh.refine()
    assert fine.allow_duplicates
    assert pickle.loads(pickle.dumps(mesh)).allow_duplicates
    with pytest.raises(InputError, match="at one place"):
        Mesh(points, cells, "quad")


def test_with_points_checks_anew():
    mesh = SHAPES["triangle"].mesh()
    with pytest.raises(InputError, match="inverted"):
        mesh.with_points(mesh.points * torch.tensor([-1.0, 1.0]))
    with pytest.raises(InputError, match=r"shape \(3, 2\); expected \(20, 2\)"):
        mesh.with_points(torch.zeros(3, 2))
    double = mesh.with_points(2 * mesh.points)
    assert double.volume == pytest.approx(4 * mesh.volume)
    assert double.boundaries is mesh.boundaries


def test_duplicates_are_found_wherever_they_are():
    x = rng.random((300, 3))
    y = np.concatenate([x, x[[5, 200, 5]] + 1e-14])
    assert duplicate_nodes(y).tolist() == [[5, 300], [5, 302], [200, 301], [300, 302]]
    grid = np.stack(np.meshgrid(*[np.arange(12.0)] * 3), axis=-1).reshape(-1, 3)
    assert len(duplicate_nodes(grid)) == 0
    far = grid * 1e-3 + 1e6
    assert len(duplicate_nodes(far)) == 0
    assert len(duplicate_nodes(np.zeros((1, 2)))) == 0


def test_long_lists_are_cut():
    assert listing(range(7)) == "0, 1, 2, 3, 4, ... (7 in all)"


def test_cells_given_twice_are_named():
    square = np.array(SQUARE)
    with pytest.raises(InputError, match=r"1 cell given twice, the first as cells 0 and 2 with the nodes \[1, 2, 0\]"):
        Mesh(square, [[0, 1, 2], [0, 2, 3], [1, 2, 0]])
    corners = KINDS["hexahedron"].corners
    with pytest.raises(InputError, match="given twice, the first as cells 0 and 1"):
        Mesh(corners, [list(range(8)), [1, 2, 3, 0, 5, 6, 7, 4]])


def test_a_space_refuses_cells_that_overlap():
    folded = Mesh([[0.0, 0.0], [1.0, 0.0], [0.5, 1.0], [0.4, 2.0]], [[0, 1, 2], [0, 1, 3]])
    with pytest.raises(InputError, match=r"Cells 0 and 1 overlap"):
        Space(folded, P1())


@pytest.mark.parametrize(
    ("times", "message"),
    [(40, "40 refinements would make far more cells; expected at most 50,000,000"), (10**20, "would make far more"),
     (13, "would make 134,217,728 cells"), (0.5, "0.5 refinements; expected an integer"), (-1, "0 or more")],
)  # fmt: skip
def test_refinements_that_would_fill_the_memory(times, message):
    with pytest.raises(InputError, match=message):
        Mesh(SQUARE, [[0, 1, 2], [0, 2, 3]]).refine(times)


def test_arguments_of_other_types():
    mesh = Mesh(SQUARE, [[0, 1, 2], [0, 2, 3]])
    for make, message in (
        (lambda: Mesh(SQUARE, [[0, 1, 2]], ["triangle"]), "Mesh kind .* is unknown"),
        (lambda: Mesh(SQUARE, [[0, 1, 2], [0, 2, 3]], boundaries=[0, 1]), "boundaries is a list; expected facet"),
        (lambda: mesh.with_names(None), "boundaries is a NoneType"),
        (lambda: mesh.write("a.pvd", {"u": 3.0}, times=[0.0]), "field 'u' is 3.0; expected values by time"),
        (lambda: mesh.write("a.pvd", {}, times="ab"), "times is 'ab'; expected numbers"),
        (lambda: mesh.boundary(["left"]), "no boundary"),
        (lambda: mesh.region(["left"]), "no region"),
        (lambda: mesh.with_boundary("a", None), "where is a NoneType.*expected a function"),
        (lambda: mesh.with_boundary("a", lambda x: x[0]), "answered with torch.float64.*Did you mean a comparison, =="),
        (lambda: mesh.with_boundary("a", lambda x: x[7] == 0), "function of the boundary 'a' failed with IndexError"),
        (lambda: mesh.with_names({"a\nb": [0]}), "without line ends"),
        (lambda: mesh.find_facets([[0.0, 1.0]]), "nodes of facets are float64; expected integers"),
        (lambda: mesh.find_facets([0, 1]), r"shape \(2,\); expected \(m, 2\)"),
    ):
        with pytest.raises(InputError, match=message):
            make()
