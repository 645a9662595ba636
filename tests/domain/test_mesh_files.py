"""Mesh files: round trips, what users' files look like, faults, damage. Oracles: meshio, a file of Gmsh, skfem."""

import random
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import meshio
import numpy as np
import pytest
import skfem
import torch

import pdekit
from pdekit import fem
from pdekit.core import InputError
from pdekit.domain import Annulus, Ball, Box, Disk, Interval, Mesh, Rectangle

DATA = Path(pdekit.__file__).parents[1] / "examples" / "data"
SHAPES = {
    "line": Interval(cells=4), "triangle": Rectangle(cells=3), "quad": Annulus(cells=(2, 5), kind="quad"),
    "tetra": Ball(refinements=1), "hexahedron": Box(cells=(1, 2, 2), kind="hexahedron"),
}  # fmt: skip
SQUARE = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def written(tmp_path: Path, suffix: str, points, cells, **data) -> Path:
    path = tmp_path / f"part{suffix}"
    meshio.Mesh(np.asarray(points), cells, **data).write(path)
    return path


def msh(tmp_path: Path, text: str, name: str = "part.msh") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def same_names(one: Mesh, other: Mesh) -> bool:
    """Whether the names stand for the same places, however facets and cells are numbered."""

    def places(mesh: Mesh) -> dict:
        parts = {f"b {n}": mesh.facets[f] for n, f in mesh.boundaries.items()}
        parts |= {f"r {n}": mesh.cells[c] for n, c in mesh.regions.items()}
        return {n: sorted(mesh.points[p].mean(dim=1).numpy().round(9).tolist()) for n, p in parts.items()}

    return places(one) == places(other)


@pytest.mark.parametrize(
    ("kind", "suffix"),  # meshio does not read back vertices that it writes to XDMF
    [(k, s) for k in SHAPES for s in (".vtu", ".msh", ".vtk", ".xdmf") if (k, s) != ("line", ".xdmf")],
)
def test_names_survive_a_round_trip(kind, suffix, tmp_path):
    mesh = SHAPES[kind].mesh()
    first = next(iter(mesh.boundaries))
    overlapping = {**mesh.boundaries, "every_side": mesh.boundary("all")}
    mesh = mesh.with_names(overlapping, {"odd": np.arange(1, mesh.n_cells, 2), "one": [0, 1]})
    path = tmp_path / f"part{suffix}"
    mesh.write(path)
    again = Mesh.read(path)
    assert again.kind == mesh.kind
    assert torch.equal(again.points, mesh.points)
    assert same_names(again, mesh)
    assert len(again.boundary(first)) == len(mesh.boundary(first))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_bracket_made_by_gmsh():
    mesh = Mesh.read(DATA / "bracket.msh")
    assert mesh.kind == "triangle"
    assert set(mesh.boundaries) == {"wall", "load", "inlet", "holes"}
    assert mesh.region("steel").tolist() == list(range(mesh.n_cells))
    together = torch.cat(list(mesh.boundaries.values()))
    assert torch.equal(together.sort().values, mesh.boundary("all"))
    # The outline, the fillet and the holes, whose arcs are polygons.
    true = 0.3 + 0.7 * 0.3 + 0.12**2 * (1 - np.pi / 4) - 2 * np.pi * 0.065**2
    assert mesh.volume == pytest.approx(true, rel=1e-3)
    other = meshio.read(DATA / "bracket.msh")
    assert mesh.n_nodes == len(other.points)
    for name in mesh.boundaries:
        assert len(mesh.boundary(name)) == sum(len(part) for part in other.cell_sets[name])
    assert (mesh.points[mesh.facets[mesh.boundary("load")]][..., 0] == 1).all()


def test_the_solid_bracket_made_by_gmsh():
    mesh = Mesh.read(DATA / "bracket3d.msh")
    assert mesh.kind == "tetra"
    assert torch.equal(torch.cat(list(mesh.boundaries.values())).sort().values, mesh.boundary("all"))
    assert mesh.volume == pytest.approx(0.2 * (0.3 + 0.7 * 0.3 - 2 * np.pi * 0.065**2), rel=0.02)


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".xdmf"])
def test_fields_are_where_meshio_finds_them(suffix, tmp_path):
    mesh = SHAPES["triangle"].mesh()
    fields = {
        "u": mesh.points[:, 0], "v": mesh.points.numpy() * 2, "k": mesh.volumes.float(),
        "on": torch.arange(18) % 2 == 0,
    }  # fmt: skip
    mesh.write(tmp_path / f"part{suffix}", fields)
    found = meshio.read(tmp_path / f"part{suffix}")
    np.testing.assert_allclose(found.point_data["u"], fields["u"], rtol=1e-15)
    np.testing.assert_allclose(found.point_data["v"][:, :2], fields["v"], rtol=1e-15)
    assert found.point_data["v"].shape == (16, 3)
    np.testing.assert_allclose(found.cell_data["k"][0], fields["k"])
    np.testing.assert_array_equal(found.cell_data["on"][0], fields["on"])
    # A facet shows the value of its cell.
    facets = mesh.find_facets(found.cells[1].data)
    np.testing.assert_allclose(found.cell_data["k"][1], fields["k"][mesh.facet_cells[facets, 0]])


def test_fields_of_an_msh_file_are_views_of_gmsh(tmp_path):
    mesh = SHAPES["triangle"].mesh()
    mesh.write(tmp_path / "part.msh", {"u": mesh.points[:, 1], "k": mesh.volumes})
    text = (tmp_path / "part.msh").read_text()
    assert re.search(r'\$NodeData\n1\n"u"\n1\n0\n3\n0\n1\n16\n1 0\n', text)
    assert re.search(r'\$ElementData\n1\n"k"\n1\n0\n3\n0\n1\n18\n1 0\.0555', text)
    assert Mesh.read(tmp_path / "part.msh").fingerprint == mesh.fingerprint


def test_a_series_for_paraview(tmp_path):
    mesh = SHAPES["quad"].mesh()
    u = torch.rand(3, mesh.n_nodes, dtype=torch.float64)
    mesh.write(tmp_path / "a & b.pvd", {"u": u}, times=[0, 0.5, 1e-17])
    entries = ElementTree.parse(tmp_path / "a & b.pvd").getroot().findall("Collection/DataSet")
    assert [float(entry.attrib["timestep"]) for entry in entries] == [0.0, 0.5, 1e-17]
    for step, entry in enumerate(entries):
        found = meshio.read(tmp_path / entry.attrib["file"])
        np.testing.assert_array_equal(found.point_data["u"], u[step])
    with pytest.raises(InputError, match=r"extension '.vtu', which holds no times; expected .pvd"):
        mesh.write(tmp_path / "a.vtu", times=[0])
    with pytest.raises(InputError, match="index of times; expected times="):
        mesh.write(tmp_path / "a.pvd")
    with pytest.raises(InputError, match="has 3 steps; expected 2"):
        mesh.write(tmp_path / "a.pvd", {"u": u}, times=[0, 1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"u": torch.zeros(5)}, r"'u' has the shape \(5,\); expected \(16,\) at the nodes or \(18,\)"),
        ({"u": torch.zeros(2, 16)}, "one file holds one sample"),
        ({"u": torch.zeros(16, dtype=torch.complex64)}, "'u' is complex64; .* real and imaginary parts"),
        ({"u": ["a"] * 16}, "expected real numbers"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, message, tmp_path):
    with pytest.raises(InputError, match=message):
        SHAPES["triangle"].mesh().write(tmp_path / "part.vtu", fields)
    assert not list(tmp_path.iterdir())


def test_writing_where_it_cannot_be(tmp_path):
    mesh = SHAPES["triangle"].mesh()
    with pytest.raises(InputError, match=r"'.vtx', which names no mesh format. Did you mean .vt"):
        mesh.write(tmp_path / "part.vtx")
    with pytest.raises(InputError, match="could not be written"):
        mesh.write(tmp_path / "missing" / "part.vtu")
    for suffix in (".stl", ".inp", ".bdf", ".mesh", ".su2"):
        with pytest.raises(InputError, match=rf"names is not kept whole by {suffix}; expected .vtu .*or .msh"):
            mesh.write(tmp_path / f"part{suffix}")
    with pytest.raises(InputError, match=r"lines with names is not kept whole by .xdmf"):
        SHAPES["line"].mesh().write(tmp_path / "part.xdmf")
    with pytest.raises(InputError, match=r"The path is a NoneType"):
        mesh.write(None)
    with pytest.raises(InputError, match=r"The path is a NoneType"):
        Mesh.read(None)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"could not be written"):
        mesh.write(tmp_path / "file" / "part.pvd", {}, times=[0.0])
    with pytest.raises(InputError, match=r"could not be written"):
        mesh.write(tmp_path / "file" / "part.vtu")


@pytest.mark.parametrize("suffix", [".vtu", ".msh", ".xdmf"])
@pytest.mark.parametrize("name", ["a<b", "a&b", 'a"b', 'b"', "a'b", "ä 漢 %s", "$EndPhysicalNames", " spaces "])
def test_unusual_names_survive_or_are_refused(suffix, name, tmp_path):
    mesh, path = SHAPES["triangle"].mesh(), tmp_path / f"part{suffix}"
    mesh = mesh.with_names({name: mesh.boundary("all")}, {name: [0]})
    if any(letter in {".vtu": '<&"', ".msh": '"$'}.get(suffix, "") for letter in name):
        with pytest.raises(
            InputError, match=r"name '.*' holds ., with which .* cannot be read back; .* or \.(msh|vtu)"
        ):
            mesh.write(path, {name: torch.zeros(mesh.n_nodes)})
        assert not path.exists()
    else:
        mesh.write(path, {name: torch.zeros(mesh.n_nodes)})
        assert same_names(Mesh.read(path), mesh)


def test_names_of_fields(tmp_path):
    mesh = SHAPES["triangle"].mesh()
    zeros = torch.zeros(mesh.n_nodes)
    for name, message in (("boundary:left", "those of parts"), ("a\nb", "control characters"), ("", "a word")):
        with pytest.raises(InputError, match=message):
            mesh.write(tmp_path / "part.vtu", {name: zeros})
    with pytest.raises(InputError, match="field 'u' is no array of numbers"):
        mesh.write(tmp_path / "part.vtu", {"u": [[1, 2], [3]]})


# What users' files look like


def gmsh_text(
    elements: list[str], entities: str = "0 1 1 0\n1 0 0 0 1 1 0 1 7 0\n1 0 0 0 1 1 0 1 9 0", names=None
) -> str:
    """A file of version 4.1 with the unit square's corners; each element block is text."""
    total = sum(int(block.split("\n")[0].split()[3]) for block in elements)
    listed = '2\n1 7 "wall"\n2 9 "steel"' if names is None else names
    return (
        f"$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$PhysicalNames\n{listed}\n$EndPhysicalNames\n"
        f"$Entities\n{entities}\n$EndEntities\n$Nodes\n1 4 10 40\n2 1 0 4\n10\n20\n30\n40\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
        f"$EndNodes\n$Elements\n{len(elements)} {total} 1 {total}\n" + "\n".join(elements) + "\n$EndElements\n"
    )


EDGES = "1 1 1 2\n1 10 20\n2 20 30"
TRIANGLES = "2 1 2 2\n3 10 20 30\n4 10 30 40"


def test_tags_of_nodes_may_have_gaps(tmp_path):
    mesh = Mesh.read(msh(tmp_path, gmsh_text([EDGES, TRIANGLES])))
    assert mesh.cells.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.facets[mesh.boundary("wall")].tolist() == [[0, 1], [1, 2]]
    assert mesh.region("steel").tolist() == [0, 1]


def test_groups_without_names_are_numbered_and_an_entity_may_be_in_two(tmp_path):
    entities = "0 1 1 0\n1 0 0 0 1 1 0 2 7 8 0\n1 0 0 0 1 1 0 0 0"
    mesh = Mesh.read(msh(tmp_path, gmsh_text([EDGES, TRIANGLES], entities, names="0")))
    assert set(mesh.boundaries) == {"7", "8"}
    assert torch.equal(mesh.boundary("7"), mesh.boundary("8"))
    assert not mesh.regions


def test_one_name_for_a_curve_and_a_surface(tmp_path):
    mesh = Mesh.read(msh(tmp_path, gmsh_text([EDGES, TRIANGLES], names='2\n1 7 "the part"\n2 9 "the part"')))
    assert len(mesh.boundary("the part")) == 2
    assert len(mesh.region("the part")) == 2


def test_a_surface_seen_from_below_and_a_mixed_one_are_turned(tmp_path):
    below = "2 1 2 2\n3 10 30 20\n4 10 40 30"
    mesh = Mesh.read(msh(tmp_path, gmsh_text([EDGES, below])))
    assert mesh.volume == 1.0
    mixed = msh(tmp_path, gmsh_text([EDGES, "2 1 2 2\n3 10 20 30\n4 10 40 30"]))
    turned = Mesh.read(mixed)  # the order of the nodes of a triangle says nothing
    assert turned.volume == 1.0
    assert same_names(turned, mesh)


@pytest.mark.parametrize(("kind", "make"), [("triangle", skfem.MeshTri), ("tetra", skfem.MeshTet)])
def test_sorted_simplices_of_scikit_fem_are_read(kind, make, tmp_path):
    """Oracle: the divergence theorem, for whose normals the orientation matters."""
    given = make().refined(2)
    path = written(tmp_path, ".vtu", np.pad(given.p.T, ((0, 0), (0, 3 - given.dim()))), [(kind, given.t.T)])
    mesh = Mesh.read(path, unnamed=True)
    assert mesh.volume == pytest.approx(1.0)
    space = fem.Space(mesh, fem.P1())
    flux = fem.assemble(lambda v, w: w.x[0] * w.n[0] * v.value, space.boundary("all"))
    assert float(flux.sum()) == pytest.approx(1.0)


def test_mixed_quads_are_refused(tmp_path):
    mesh = Rectangle(cells=2, kind="quad").mesh()
    cells = mesh.cells.numpy().copy()
    cells[1] = cells[1][::-1]
    path = written(tmp_path, ".vtu", np.pad(mesh.points.numpy(), ((0, 0), (0, 1))), [("quad", cells)])
    with pytest.raises(InputError, match=r"part.vtu cannot be used: Cell 1 inverted .* reorient=True.*count from 0"):
        Mesh.read(path, unnamed=True)
    assert Mesh.read(path, unnamed=True, reorient=True).volume == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["quad", "tetra", "hexahedron"])
def test_mirrored_cells_are_turned(kind, tmp_path):
    mesh = SHAPES[kind].mesh()
    points = np.pad(mesh.points.numpy(), ((0, 0), (0, 3 - mesh.dim))) * [-1.0, 1.0, 1.0]
    path = written(tmp_path, ".vtu", points, [(kind, mesh.cells.numpy())])
    assert Mesh.read(path, unnamed=True).volume == pytest.approx(mesh.volume)


def test_binary_gmsh_files_are_read(tmp_path):
    """Written by meshio, with the entities that it needs for that."""
    mesh = meshio.read(DATA / "bracket.msh")
    mesh.cell_sets = {}
    mesh.write(tmp_path / "part.msh", file_format="gmsh", binary=True)
    again = Mesh.read(tmp_path / "part.msh", unnamed=True)
    assert torch.equal(again.points, Mesh.read(DATA / "bracket.msh").points)
    assert again.volume == Mesh.read(DATA / "bracket.msh").volume


def test_gmsh_2_files_are_read_by_meshio(tmp_path):
    tags = [np.array([7, 7]), np.array([9, 9])]
    path = tmp_path / "part.msh"
    mesh = meshio.Mesh(
        SQUARE, [("line", TWO[:, :2].copy()), ("triangle", TWO)],
        cell_data={"gmsh:physical": tags, "gmsh:geometrical": tags},
        field_data={"wall": np.array([7, 1]), "steel": np.array([9, 2])},
    )  # fmt: skip
    mesh.cells[0].data[1] = [2, 3]
    mesh.write(path, file_format="gmsh22", binary=False)
    found = Mesh.read(path)
    assert found.facets[found.boundary("wall")].tolist() == [[0, 1], [2, 3]]
    assert found.region("steel").tolist() == [0, 1]


def test_abaqus_sets(tmp_path):
    path = tmp_path / "part.inp"
    path.write_text(
        "*NODE\n1, 0, 0, 0\n2, 1, 0, 0\n3, 1, 1, 0\n4, 0, 1, 0\n*ELEMENT, TYPE=CPS3, ELSET=plate\n1, 1, 2, 3\n"
        "2, 1, 3, 4\n*NSET, NSET=floor\n1, 2\n*NSET, NSET=corner\n3\n"
    )
    mesh = Mesh.read(path)
    assert mesh.facets[mesh.boundary("floor")].tolist() == [[0, 1]]
    assert set(mesh.boundaries) == {"floor"}
    assert mesh.region("plate").tolist() == [0, 1]


def test_tags_of_other_formats_are_names(tmp_path):
    blocks = [("triangle", TWO), ("line", np.array([[0, 1], [1, 2], [2, 3]]))]
    data = {"medit:ref": [np.array([5, 6]), np.array([1, 1, 0])]}
    mesh = Mesh.read(written(tmp_path, ".mesh", SQUARE[:, :2], blocks, cell_data=data))
    assert mesh.facets[mesh.boundary("1")].tolist() == [[0, 1], [1, 2]]
    assert {name: zone.tolist() for name, zone in mesh.regions.items()} == {"5": [0], "6": [1]}


def test_groups_of_med_families(tmp_path):
    """A number stands for several groups, and a group is spread over several numbers."""
    blocks = [("triangle", TWO), ("line", np.array([[0, 1], [1, 2], [2, 3]]))]
    mesh = meshio.Mesh(SQUARE[:, :2], blocks, cell_data={"cell_tags": [np.array([-3, -3]), np.array([-1, -2, 0])]})
    mesh.point_tags, mesh.cell_tags = {}, {-1: ["wall", "cold"], -2: ["wall"], -3: ["steel"]}
    mesh.write(tmp_path / "part.med")
    found = Mesh.read(tmp_path / "part.med")
    nodes = {name: sorted(found.facets[facets].tolist()) for name, facets in found.boundaries.items()}
    assert nodes == {"wall": [[0, 1], [1, 2]], "cold": [[0, 1]]}
    assert found.region("steel").tolist() == [0, 1]


def test_orphans_and_duplicates_are_repaired_on_demand(tmp_path):
    points = np.concatenate([[[9.0, 9.0, 5.0]], SQUARE, SQUARE[[0, 2]]])
    cells = [("triangle", np.array([[1, 2, 3], [5, 6, 4]])), ("line", np.array([[1, 2], [4, 5]]))]
    data = {"boundary:wall": [np.zeros(2, int), np.ones(2, int)]}
    path = written(tmp_path, ".vtu", points, cells, cell_data=data)
    with pytest.raises(InputError, match=r"triangles vary along x, y, z"):
        Mesh.read(path)
    with pytest.raises(InputError, match=r"2 pairs of nodes lie at one place, the first being 0 and 4"):
        Mesh.read(path, drop_orphans=True)
    mesh = Mesh.read(path, drop_orphans=True, merge_duplicates=True)
    assert (mesh.n_nodes, mesh.volume) == (4, 1.0)
    assert mesh.facets[mesh.boundary("wall")].tolist() == [[0, 1], [3, 0]]
    points[0] = [9.0, 9.0, 0.0]
    with pytest.raises(InputError, match=r"Nodes 0 are orphaned.*drop_orphans=True"):
        Mesh.read(written(tmp_path, ".vtu", points, cells, cell_data=data))


def test_an_orphan_may_be_the_first_of_the_nodes_at_its_place(tmp_path):
    points = np.concatenate([SQUARE[[0]], SQUARE, SQUARE[[0, 2]]])
    cells = [("triangle", np.array([[1, 2, 3], [5, 6, 4]])), ("line", np.array([[1, 2], [4, 5]]))]
    path = written(tmp_path, ".vtu", points, cells, cell_data={"boundary:wall": [np.zeros(2, int), np.ones(2, int)]})
    mesh = Mesh.read(path, drop_orphans=True, merge_duplicates=True)
    assert (mesh.n_nodes, mesh.volume, len(mesh.boundary("all"))) == (4, 1.0, 4)
    assert mesh.facets[mesh.boundary("wall")].tolist() == [[0, 1], [3, 0]]


def test_second_order_cells_are_refused_or_straightened(tmp_path):
    middle = (SQUARE[[0, 1, 2, 0, 2, 3]] + SQUARE[[1, 2, 0, 2, 3, 0]]) / 2
    points = np.concatenate([SQUARE, middle[[0, 1, 2, 4, 5]]])
    cells = [("triangle6", np.array([[0, 1, 2, 4, 5, 6], [0, 2, 3, 6, 7, 8]])), ("line3", np.array([[0, 1, 4]]))]
    path = written(tmp_path, ".vtu", points, cells, cell_data={"boundary:wall": [np.zeros(2, int), np.ones(1, int)]})
    with pytest.raises(InputError, match=r"triangle6, second-order .*gmsh -order 1.*straighten=True"):
        Mesh.read(path)
    mesh = Mesh.read(path, straighten=True)
    assert (mesh.kind, mesh.n_nodes, len(mesh.boundary("wall"))) == ("triangle", 4, 1)


def test_faults_of_files_are_named(tmp_path):
    def refused(message: str, points, blocks, **data) -> None:
        with pytest.raises(InputError, match=message):
            Mesh.read(written(tmp_path, ".vtu", points, blocks, **data))

    refused(
        "no part of its boundary has a name: the 4 lines on it .* Physical Curve.*unnamed=True",
        SQUARE,
        [("triangle", TWO)],
    )
    mixed = [("triangle", TWO[:1]), ("quad", [[0, 1, 2, 3]])]
    refused(
        r"mixed types: 1 triangles \(from element 0 on\) and 1 quads \(from element 1 on\).*recombine", SQUARE, mixed
    )
    refused("1 cells of block 0 are wedge; expected line, triangle", np.eye(6)[:, :3], [("wedge", [range(6)])])
    refused("holds no cells", SQUARE, [("vertex", [[0]])])
    refused(
        "vary along x, y, z; expected x and y alone.*not supported",
        SQUARE + np.outer([1, 0, 0, 0], [0, 0, 1]),
        [("triangle", TWO)],
    )
    names = {"boundary:cut": [np.zeros(2, int), np.ones(1, int)]}
    refused(
        r"its boundary 'cut' does not fit its cells: 1 of 1 facets are no facets .*\[1, 3\]",
        SQUARE, [("triangle", TWO), ("line", [[1, 3]])], cell_data=names,
    )  # fmt: skip
    refused("Nodes 0 have coordinates that are NaN", SQUARE * [[np.nan], [1], [1], [1]], [("triangle", TWO)])
    refused(
        r"its triangle cells 1 name nodes that do not exist \(it holds 4\)",
        SQUARE,
        [("triangle", [[0, 1, 2], [0, 2, 4]])],
    )
    refused(r"Cell 0 degenerate", SQUARE, [("triangle", [[0, 1, 1], [0, 1, 2], [0, 2, 3]])])


def test_files_that_are_no_mesh_files(tmp_path):
    for name, content, message in (
        ("part.geo", "Point(1)", r"part.geo holds a geometry.*gmsh -2 part.geo -format msh41 -o part.msh"),
        ("part.step", "", "holds a geometry"),
        ("part.vtz", "", r"extension '.vtz', which names no mesh format. Did you mean .vt"),
        ("part", "", "extension ''"),
        ("part.msh", "", "part.msh is empty"),
        ("part.vtu", "", "part.vtu is empty"),
        ("other.msh", "hello", "other.msh cannot be used: it could not be read"),
        ("other.vtu", "<VTKFile", "other.vtu cannot be used: it could not be read"),
        ("other.vtk", "hello", "could not be read"),
        ("other.inp", "hello", "holds no nodes: is it of the format"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message):
            Mesh.read(tmp_path / name)
    with pytest.raises(InputError, match="There is no file"):
        Mesh.read(tmp_path / "nowhere.msh")
    (tmp_path / "folder.msh").mkdir()
    with pytest.raises(InputError, match="There is no file"):
        Mesh.read(tmp_path / "folder.msh")


def test_entities_that_grow_are_refused(tmp_path):
    bomb = (
        '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>\n<VTKFile type="UnstructuredGrid"/>'
    )
    for name in ("bomb.vtu", "bomb.xdmf", "bomb.xml"):
        with pytest.raises(InputError, match="document type declaration"):
            Mesh.read(msh(tmp_path, bomb, name))
    (tmp_path / "wide.vtu").write_bytes(bomb.replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16"))
    with pytest.raises(InputError, match="document type declaration"):
        Mesh.read(tmp_path / "wide.vtu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("4.1 0 8", "4.1 1 8"), "binary numbers|ends early|no section"),
        (("4.1 0 8", "3.0 0 8"), "could not be read"),
        (("4.1 0 8", "4 0 8"), "version 4.0; write it as 4.1: gmsh part.msh -save -format msh41"),
        (("$EndElements", ""), r"its section \$Elements does not end: the file is cut off"),
        (("$Nodes", "$Modes"), r"has no section \$Nodes"),
        (("1 4 10 40", "1 999999999999 10 40"), "announces 999999999999 nodes and holds 4"),
        (("2 1 0 4", "2 1 0 99999999999"), r"\$Nodes ends early: .* more numbers are announced"),
        (("2 1 0 4", "2 1 0 -4"), r"\$Nodes counts -4 things"),
        (("2 1 0 4", "2 1 0 3.5"), "has a fraction where a whole number belongs"),
        (("2 4 1 4", "2 5 1 4"), "announces 5 elements and holds 4"),
        (("2 4 1 4", "999999999999 4 1 4"), r"\$Elements ends early"),
        (("2 1 2 2", "2 1 2 99999999999"), r"\$Elements ends early"),
        (("2 1 2 2", "2 1 77 2"), "elements of Gmsh's type 77"),
        (("2 1 2 2", "3 1 2 2"), "puts a triangle on an entity of dimension 3"),
        (("3 10 20 30", "3 10 20 50"), r"name the node number 50, which its section \$Nodes does not have"),
        (("20\n30", "20\n20"), "has the node number 20 twice"),
        (("\n1 1 0\n", "\n1 nan 0\n"), r"\$Nodes holds 'nan'; expected numbers"),
        (("0 1 1 0", "0 1 99999999 0"), r"\$Entities ends early"),
        (('1 7 "wall"', "seven"), r"\$PhysicalNames has the line 'seven'"),
    ],
)
def test_gmsh_files_that_contradict_themselves(change, message, tmp_path):
    text = gmsh_text([EDGES, TRIANGLES])
    assert change[0] in text
    with pytest.raises(InputError, match=message):
        Mesh.read(msh(tmp_path, text.replace(*change, 1)))


def test_a_vtu_file_that_announces_too_much(tmp_path):
    path = tmp_path / "part.vtu"
    Disk(refinements=1).mesh().write(path)
    data = path.read_bytes().replace(b'NumberOfPoints="41"', b'NumberOfPoints="99999999999"', 1)
    data = data.replace(b'NumberOfPoints="13"', b'NumberOfPoints="99999999999"', 1)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"announces 99999999999 points in \d+ bytes"):
        Mesh.read(path)


FUZZ = """
import sys, resource
from pathlib import Path
from pdekit.core import InputError
from pdekit.domain import Mesh
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
good = bad = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        Mesh.read(path)
        good += 1
    except InputError:
        bad += 1
    except BaseException as error:
        print(path.name, type(error).__name__, error)
print(good, bad)
"""


def test_damaged_files_give_errors_of_ours_and_end(tmp_path):
    """Cut off anywhere and with bytes changed anywhere: an InputError, or a mesh if the damage is harmless."""
    chance = random.Random(0)
    folder = tmp_path / "damaged"
    folder.mkdir()
    small = (
        Disk(refinements=1)
        .mesh()
        .with_names({"boundary": Disk(refinements=1).mesh().boundary("all")}, {"all of it": [0, 1]})
    )
    meshio.Mesh(SQUARE, [("triangle", TWO)]).write(tmp_path / "two.msh", file_format="gmsh22", binary=False)
    small.write(tmp_path / "one.msh")
    small.write(tmp_path / "three.vtu")
    count = 0
    for source in ("one.msh", "two.msh", "three.vtu"):
        data = (tmp_path / source).read_bytes()
        for trial in range(80):
            if trial % 2:
                changed = bytearray(data)
                for _ in range(chance.choice([1, 1, 4, 30])):
                    changed[chance.randrange(len(changed))] = chance.choice(
                        [chance.randrange(256), *b"0123456789-. \n"]
                    )
                damaged = bytes(changed)
            else:
                damaged = data[: chance.randrange(1, len(data))]
            (folder / f"{count:03d}{Path(source).suffix}").write_bytes(damaged)
            count += 1
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FUZZ, str(folder)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *complaints, last = done.stdout.strip().splitlines()
    assert not complaints
    good, bad = map(int, last.split())
    assert good + bad == count
    assert bad > 100
