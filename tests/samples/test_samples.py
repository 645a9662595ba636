"""Schemas, batches and certificates."""

import json

import pytest
import torch

from pdekit.core import InputError
from pdekit.domain import Boundary, Grid
from pdekit.samples import Certificate, FieldSpec, Identity, Inputs, Samples, Schema

SCHEMA = Schema(
    Grid((4, 3), ((0.0, 2.0), (-1.0, 1.0)), closed=(True, False)),
    (FieldSpec("a", "input", "m2/s", "diffusivity"), FieldSpec("u", "output", "K")),
    (Boundary("left", "robin", 1.0, 2.0),),
)


def batch(first: int, count: int, seed: int = 0) -> Samples:
    a = torch.arange(first, first + count, dtype=torch.float64)[:, None, None].expand(-1, 4, 3)
    numbers = torch.arange(first, first + count)
    certificate = Certificate(
        "residual",
        numbers * 1e-9,
        torch.full((count,), 3e-9, dtype=torch.float64),
        numbers,
        numbers * 1e-3,
        "CG",
        "float64",
    )
    return Samples(SCHEMA, {"a": a, "u": 2 * a}, Identity(seed, "train", numbers), certificate)


def test_schema_round_trip_and_names():
    assert Schema.from_json(json.loads(json.dumps(SCHEMA.to_json()))) == SCHEMA
    assert (SCHEMA.inputs, SCHEMA.outputs) == (("a",), ("u",))
    assert SCHEMA.with_domain(Grid((8, 8))).fields == SCHEMA.fields
    with pytest.raises(InputError, match="no field 'b'"):
        SCHEMA.field("b")


@pytest.mark.parametrize("damage", [{"domain": {}}, {"fields": [{}]}, {"boundaries": None}])
def test_schema_refuses_foreign_json(damage):
    with pytest.raises(InputError, match="no pdekit schema"):
        Schema.from_json({**SCHEMA.to_json(), **damage})


def test_schema_refuses_values_a_file_cannot_hold():
    schema = Schema(Grid((4,)), (FieldSpec("u", "output"),), (Boundary("left", "dirichlet", torch.ones(1)),))
    with pytest.raises(InputError, match="'left' is a Tensor"):
        schema.to_json()


def test_rows_by_number_slice_and_tensor():
    samples = batch(0, 6)
    for rows, expected in ((2, [2]), (-1, [5]), (slice(1, 3), [1, 2]), (torch.tensor([4, 0]), [4, 0])):
        part = samples[rows]
        assert part["a"][:, 0, 0].tolist() == expected
        assert part.identity.indices.tolist() == expected
        assert part.certificate.iterations.tolist() == expected
    assert isinstance(samples.inputs, Inputs)
    assert set(samples.inputs.fields) == {"a"}
    assert samples.to(torch.float32)["u"].dtype == torch.float32


def test_joining():
    joined = Samples.cat([batch(0, 2), batch(2, 3)])
    assert joined.identity.indices.tolist() == [0, 1, 2, 3, 4]
    assert joined.certificate.accepted.tolist() == [True, True, True, True, False]
    assert torch.equal(joined["u"], batch(0, 5)["u"])
    with pytest.raises(InputError, match="different seeds"):
        Samples.cat([batch(0, 2), batch(0, 2, seed=1)])


def test_certificates_refuse_nan():
    certificate = batch(0, 2).certificate
    worse = Certificate("residual", torch.tensor([float("nan"), 0.0]).double(), *list(vars(certificate).values())[2:])
    assert worse.accepted.tolist() == [False, True]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": torch.ones(2, 4, 3)}, "'u' is missing"),
        ({"a": torch.ones(2, 4, 3), "u": torch.ones(2, 3, 4)}, "axes seem to be swapped"),
        ({"a": torch.ones(2, 4, 3), "u": torch.ones(4, 3)}, "one leading batch axis"),
        ({"a": torch.ones(2, 4, 3), "u": torch.ones(3, 4, 3)}, "batch sizes differ"),
        ({"a": torch.ones(2, 4, 3), "v": torch.ones(2, 4, 3)}, "no field 'v'"),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(InputError, match=message):
        Samples(SCHEMA, fields)


def test_prints():
    text = str(batch(0, 3))
    assert "3 samples on a grid of 4 x 3 points" in text
    assert "3 of 3 samples certified by residual" in text
    assert repr(batch(0, 3)) == text
    drawn = str(batch(0, 3).inputs)
    assert drawn.startswith("3 inputs on a grid of 4 x 3 points\n  input  a: ")
    assert "certifi" not in drawn
