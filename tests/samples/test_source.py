"""Sources made of a user's functions."""

import pytest
import torch

from pdekit.core import InputError, PdekitError
from pdekit.core.random import uniform
from pdekit.domain import Grid
from pdekit.samples import FieldSpec, Samples, Schema, Source

SCHEMA = Schema(Grid((4, 3)), (FieldSpec("a", "input"), FieldSpec("root", "output")))


def draw(keys):
    return {"a": torch.from_numpy(uniform(keys.named("a"), 12)).reshape(-1, 4, 3) + 1}


def newton(fields, rtol):
    """Square roots by as many steps as the tolerance asks for."""
    x = fields["a"].clone()
    for _ in range(2 if rtol > 1e-5 else 6):
        x = (x + fields["a"] / x) / 2
    return {"root": x}


def residual(fields):
    return (fields["root"] ** 2 / fields["a"] - 1).abs().flatten(1).amax(1)


@pytest.fixture
def source():
    return Source.from_function(SCHEMA, draw, newton, residual)


def test_inputs_depend_on_the_index_alone(source):
    many = source.draw([3, 1, 2], seed=5, split="test")
    one = source.draw([1], seed=5, split="test")
    assert torch.equal(many["a"][1], one["a"][0])
    assert many.identity.indices.tolist() == [3, 1, 2]
    assert not torch.equal(source.draw([1], seed=5, split="test", attempt=1)["a"], one["a"])


def test_certified_samples(source):
    samples = source.solve(source.draw(range(3), seed=0), rtol=1e-8)
    assert isinstance(samples, Samples)
    torch.testing.assert_close(samples["root"] ** 2, samples["a"], rtol=1e-12, atol=0)
    certificate = samples.certificate
    assert bool(certificate.accepted.all())
    assert certificate.tolerance.tolist() == [1e-8] * 3
    assert (certificate.kind, certificate.method, certificate.dtype) == ("residual", "newton", "float64")


def test_missed_tolerance(source):
    inputs = source.draw(range(3), seed=0)
    assert not bool(source.solve(inputs, rtol=1e-4, throw=False).certificate.accepted.all())
    with pytest.raises(PdekitError, match=r"Sample \d of the batch has the relative residual .* > rtol 1.0e-04"):
        source.solve(inputs, rtol=1e-4)


def test_without_residual_and_with_wrong_outputs():
    plain = Source.from_function(SCHEMA, draw, newton)
    assert plain.solve(plain.draw([0], seed=0), rtol=1e-8).certificate is None
    wrong = Source.from_function(SCHEMA, draw, lambda fields, rtol: {"rot": fields["a"]})
    with pytest.raises(InputError, match="Did you mean root"):
        wrong.solve(wrong.draw([0], seed=0), rtol=1e-8)
    with pytest.raises(InputError, match="takes no method"):
        plain.solve(plain.draw([0], seed=0), rtol=1e-8, method="CG")


def test_describes_its_functions(source):
    assert source.describe()["solve"] == "newton"
