"""Samples on one mesh: shapes of their fields, schemas, and the mesh in a dataset file."""

import json

import h5py
import pytest
import torch
from samples.damage import refusals

from pdekit.core import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary, Disk, Grid, Rectangle
from pdekit.samples import FieldSpec, Inputs, Samples, Schema
from pdekit.samples.hdf5 import load_mesh, read, save_mesh, write

MESH = Rectangle(cells=(3, 2)).mesh()
SPECS = (
    FieldSpec("a", "input", shape=(MESH.n_cells,)),
    FieldSpec("wave_number", "input", shape=()),
    FieldSpec("wave", "output", complex=True),
    FieldSpec("displacement", "output", shape=(None, 2)),
)
SCHEMA = Schema(MESH, SPECS)


def batch(count: int) -> Samples:
    generator = torch.Generator().manual_seed(0)
    kinds = {spec.name: torch.complex128 if spec.complex else torch.float64 for spec in SPECS}
    fields = {n: torch.randn(count, *SCHEMA.shape_of(n), dtype=k, generator=generator) for n, k in kinds.items()}
    return Samples(SCHEMA, fields)


def test_each_field_has_its_own_shape():
    assert [SCHEMA.shape_of(spec.name) for spec in SPECS] == [(12,), (), (12,), (12, 2)]
    assert "complex" not in str(batch(2))
    assert "|wave|" in str(batch(2))
    samples = batch(3)
    assert samples[1]["wave_number"].shape == (1,)
    assert samples.to(torch.float32)["wave"].dtype == torch.complex64
    assert samples.to(torch.float32)["a"].dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("a", torch.ones(2, 7), r"a has shape \(2, 7\); expected \(\*batch, 12\)"),
        ("wave_number", torch.ones(2, 1), r"wave_number has shape \(2, 1\); expected \(batch\)"),
        ("a", torch.ones(2, 12, dtype=torch.complex64), "a is complex; expected real"),
    ],
)
def test_fields_of_another_shape_or_kind(name, values, message):
    fields = {"a": torch.ones(2, 12), "wave_number": torch.ones(2)} | {name: values}
    with pytest.raises(InputError, match=message):
        Inputs(SCHEMA, fields)


def test_a_field_without_extent():
    with pytest.raises(InputError, match="the shape"):
        FieldSpec("a", "input", shape=(3, 0))


def test_values_of_boundaries_survive_a_file():
    parts = (
        Boundary("left", "neumann", (1.0, -2.0)),
        Boundary("right", "impedance", 1 - 2j),
        Boundary("top", "robin", Expression("x*(1-x)"), 2.0),
    )
    schema = Schema(MESH, SPECS, parts, "an equation")
    assert Schema.from_json(json.loads(json.dumps(schema.to_json())), MESH) == schema
    with pytest.raises(InputError, match="'left' is a function, which a file cannot hold"):
        Schema(MESH, SPECS, (Boundary("left", "dirichlet", lambda x: x[0]),)).to_json()


def test_schemas_name_their_mesh_by_its_fingerprint():
    said = json.loads(json.dumps(SCHEMA.to_json()))
    assert said["domain"] == {"mesh": MESH.fingerprint}
    again = Rectangle(cells=(3, 2)).build()
    assert again is not MESH
    assert Schema.from_json(said, again) == SCHEMA
    assert hash(Schema.from_json(said, again)) == hash(SCHEMA)
    assert SCHEMA != SCHEMA.with_domain(Grid((12,)))
    with pytest.raises(InputError, match="expected that mesh beside it"):
        Schema.from_json(said)
    with pytest.raises(InputError, match="given was another"):
        Schema.from_json(said, Disk(refinements=1).mesh())
    said["fields"][0]["shape"] = ["many"]
    with pytest.raises(InputError, match="no pdekit schema"):
        Schema.from_json(said, MESH)


def test_a_file_holds_the_mesh_and_every_kind_of_field(tmp_path):
    samples = batch(5)
    write(tmp_path / "d.h5", samples, dtype="float64")
    back = read(tmp_path / "d.h5")
    assert back.schema == SCHEMA
    mesh = back.schema.domain
    assert torch.equal(mesh.points, MESH.points)
    assert {n: f.tolist() for n, f in mesh.boundaries.items()} == {n: f.tolist() for n, f in MESH.boundaries.items()}
    for name in samples.fields:
        assert torch.equal(back[name], samples[name])
    assert load_mesh(tmp_path / "d.h5").fingerprint == MESH.fingerprint
    save_mesh(tmp_path / "m.h5", MESH)
    assert load_mesh(tmp_path / "m.h5").fingerprint == MESH.fingerprint
    write(tmp_path / "single.h5", samples)
    assert read(tmp_path / "single.h5")["wave"].dtype == torch.complex64
    assert Samples.cat([back, samples]).fields["a"].shape == (10, 12)


def moved(file):
    file["mesh/points"][0, 0] = -0.25


def huge(file):
    del file["mesh/points"]
    file.create_dataset("mesh/points", shape=(10**10, 2), dtype="f8", chunks=(1000, 2))


def inverted(file):
    cells = file["mesh/cells/triangle"][...]
    file["mesh/cells/triangle"][...] = cells[:, ::-1]


DAMAGE = {
    "a moved node": (moved, "its mesh has the fingerprint"),
    "a forged size": (huge, "mesh/points claims 160 GB and holds"),
    "inverted cells": (inverted, "inverted"),
    "no mesh": (lambda f: f.__delitem__("mesh"), "expected that mesh beside it"),
    "no points": (lambda f: f.__delitem__("mesh/points"), "mesh/points is missing"),
    "another kind": (lambda f: f["mesh"].attrs.modify("kind", "quad"), "mesh/cells/quad is missing"),
    "a facet that does not exist": (lambda f: f["mesh/boundaries/left"].__setitem__(0, 10**6), "1000000"),
    "real numbers for complex": (
        lambda f: (f.__delitem__("fields/wave"), f.create_dataset("fields/wave", data=torch.ones(2, 12).numpy())),
        "fields/wave holds float32; expected complex numbers",
    ),
    "a link": (
        lambda f: (f.__delitem__("mesh/regions"), f.__setitem__("mesh/regions", h5py.SoftLink("/fields"))),
        "mesh/regions is a link",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_strangers_meshes(tmp_path, damage, message):
    write(tmp_path / "d.h5", batch(2))
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        damage(file)
    with pytest.raises(InputError, match=rf"dataset .*d\.h5 cannot be read: .*{message}"):
        read(tmp_path / "d.h5")


def test_flipped_bytes_in_meshes_and_complex_fields_are_refused_and_nothing_hangs_or_crashes(tmp_path):
    write(tmp_path / "d.h5", batch(2))
    assert refusals(tmp_path / "d.h5", 400) > 360
