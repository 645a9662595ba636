"""What a family takes as its domain, in Python and in files, and the conditions on the parts of a mesh."""

import json

import pytest
from jsonargparse import ArgumentParser

from pdekit.core import ConfigError, InputError
from pdekit.domain import Annulus, Boundary, Disk, Grid, LShape, Rectangle
from pdekit.families import Family, Poisson
from pdekit.families.conditions import REST, conditions, with_rest
from pdekit.fields import Constant
from pdekit.train.build import Names, build


def made(domain):
    """The family that a file with this ``domain`` makes, by the way of ``pdekit train``."""
    source = {"class_path": "Constant", "init_args": {"value": 1.0}}
    content = {"class_path": "Poisson", "init_args": {"domain": domain, "source": source}}
    return build("family", Family, Names().check(content, Family, "family"))[0]


def test_a_shape_stands_for_its_mesh_and_describes_itself_by_its_recipe():
    family = Poisson(Disk(refinements=2), Constant(1.0))
    assert family.schema.domain is Disk(refinements=2).mesh()
    recipe = family.describe()["init_args"]["domain"]
    assert recipe["class_path"] == "pdekit.domain.Disk"
    parser = ArgumentParser()
    parser.add_argument("--family", type=Family)
    again = parser.instantiate(parser.parse_string(json.dumps({"family": family.describe()}))).family
    assert again == family
    assert again.schema == family.schema


def test_a_mesh_describes_itself_by_its_fingerprint():
    mesh = Rectangle(cells=2).mesh()
    assert Poisson(mesh, Constant(1.0)).describe()["init_args"]["domain"] == {"mesh": mesh.fingerprint}


def test_files_name_a_grid_by_its_keys_and_a_shape_by_its_class():
    assert made({"shape": [9, 5]}).domain == Grid((9, 5))
    assert made({"class_path": "Disk", "init_args": {"refinements": 2}}).domain == Disk(refinements=2)
    assert made("LShape").domain == LShape()


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ({"class_path": "Disc"}, "family.domain: there is no class 'Disc'. Did you mean Disk?"),
        ({"class_path": "Mesh"}, "family.domain: Mesh is no"),
        ({"class_path": "Disk", "init_args": {"refinement": 1}}, "Did you mean refinements?"),
        ({"class_path": "Disk", "init_args": {"refinements": -1}}, "family: Disk refinements is -1"),
        ({"shpe": [9, 9]}, "family.domain.shpe: Grid has no argument 'shpe'. Did you mean shape?"),
        ({"shape": [2, 9]}, "family: Grid axis x has 2 points; a closed axis needs at least 3."),
    ],
)
def test_mistakes_in_a_domain_are_named(domain, expected):
    with pytest.raises(ConfigError) as caught:
        made(domain)
    assert expected in str(caught.value)


def test_conditions_on_a_mesh():
    mesh = Annulus().mesh()
    warm = Boundary("inner", "neumann", 1.0)
    assert [b.where for b in conditions(mesh, [])] == ["all"]
    assert conditions(mesh, [warm]) == (warm, Boundary("all", "dirichlet"))
    assert conditions(mesh, [Boundary("all", "robin", 1.0, 2.0), warm])[-1].kind == "robin"
    assert conditions(mesh, [warm, Boundary("outer", "dirichlet")]) == (warm, Boundary("outer", "dirichlet"))
    named, parts = with_rest(mesh, conditions(mesh, [warm]))
    assert parts[-1].where == REST
    assert sorted(named.boundary(REST).tolist()) == sorted(mesh.boundary("outer").tolist())
    assert with_rest(mesh, conditions(mesh, [])) == (mesh, (Boundary("all", "dirichlet"),))


@pytest.mark.parametrize(
    ("boundaries", "message"),
    [
        ([Boundary("wall", "dirichlet")], "no boundary 'wall'.*Known: all, boundary, reentrant"),
        ([Boundary("boundary", "periodic")], "only the axes of a Grid"),
        ([Boundary("boundary", "dirichlet"), Boundary("reentrant", "neumann")], "share 4 facets, such as facet"),
        ([Boundary("boundary", "dirichlet")] * 2, "'boundary' is given twice"),
    ],
)
def test_conditions_that_do_not_fit_a_mesh(boundaries, message):
    with pytest.raises(InputError, match=message):
        Poisson(LShape(cells=2), Constant(1.0), boundaries)
