"""Streams, datasets and surrogates on one fixed mesh."""

import pytest
import torch
from torch import nn

import pdekit as pk
from pdekit.core import InputError
from pdekit.core.random import uniform
from pdekit.domain import Disk, Rectangle
from pdekit.samples import FieldSpec, Schema, Source, hdf5
from pdekit.stream import Stream, generate
from pdekit.train import Surrogate
from pdekit.train.metrics import boundary_error, relative_h1, relative_l2
from pdekit.train.normaliser import Normaliser

MESH = Rectangle(cells=3).mesh()
SCHEMA = Schema(MESH, (FieldSpec("a", "input"), FieldSpec("u", "output"), FieldSpec("w", "output", complex=True)))
SCALAR = Schema(MESH, SCHEMA.fields[:2])


def source(schema):
    n = MESH.n_nodes
    outputs = {"u": lambda a: a**2, "w": lambda a: a * (1 + 2j)}
    return Source.from_function(
        schema,
        draw=lambda keys: {"a": torch.from_numpy(uniform(keys.named("a"), n))},
        solve=lambda fields, rtol: {name: outputs[name](fields["a"]) for name in schema.outputs},
    )


class Pointwise(nn.Module):
    """Sees each node by itself, so that it fits any domain."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.arguments = {"inputs": inputs, "outputs": outputs}
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.layer(x)


def test_a_stream_and_a_dataset_hold_fields_of_a_mesh(tmp_path):
    with Stream(source(SCHEMA), capacity=8, reuse=2, schedule="lockstep", batch_size=4) as stream:
        samples = stream.next_batch().samples
    assert samples["u"].shape == (4, MESH.n_nodes)
    assert samples["w"].dtype == torch.complex64
    assert torch.allclose(samples["w"].imag, 2 * samples["a"])
    generate(source(SCHEMA), tmp_path / "set", 5)
    assert hdf5.read(tmp_path / "set").schema == SCHEMA


def test_a_surrogate_on_a_mesh_predicts_is_saved_and_loaded(tmp_path):
    inputs = source(SCALAR).draw(range(4), seed=0)
    normaliser = Normaliser(1, 1).fit(torch.rand(3, 5, 1), torch.rand(3, 5, 1))
    surrogate = Surrogate(Pointwise(1, 1), SCALAR, normaliser=normaliser)
    prediction = surrogate.predict(inputs)["u"]
    surrogate.save(tmp_path / "model")
    again = pk.load(tmp_path / "model", allow=[__name__])
    assert again.schema == SCALAR
    assert torch.equal(again.predict(inputs)["u"], prediction)
    other = Disk(refinements=1).mesh()
    wrong = type(inputs)(SCALAR.with_domain(other), {"a": torch.rand(2, other.n_nodes)})
    with pytest.raises(InputError, match="live on another mesh"):
        surrogate.predict(wrong)


def test_what_a_surrogate_cannot_take_is_refused():
    with pytest.raises(InputError, match=r"FNO lives on grids and the samples on Mesh\(16 nodes.*model of the points"):
        Surrogate(pk.nn.FNO(1, 1, basis="sine", modes=2, width=4, layers=1), SCALAR)
    with pytest.raises(InputError, match="'w' is complex; a surrogate takes real"):
        Surrogate(Pointwise(1, 2), SCHEMA)
    cells = Schema(MESH, (FieldSpec("a", "input", shape=(MESH.n_cells,)), FieldSpec("u", "output")))
    with pytest.raises(InputError, match=r"'a' is of shape \(18,\)"):
        Surrogate(Pointwise(1, 1), cells)


def test_metrics_on_a_mesh_use_its_quadrature():
    x = MESH.points[:, 0][None]
    assert relative_l2(1.1 * x, x, MESH).item() == pytest.approx(0.1, rel=1e-12)
    inside = torch.ones(MESH.n_nodes, dtype=torch.bool)
    inside[MESH.facets[MESH.boundary("all")].flatten()] = False
    assert boundary_error(x + inside, x, MESH).item() == 0
    assert boundary_error((1.0 + 1.0 * ~inside)[None], 0 * x + 1, MESH).item() == pytest.approx(1.0)


def test_the_h1_error_on_a_mesh_is_that_of_its_elements():
    """Of x + 1 against x on the unit square: ||1||^2 = 1, ||x||^2 = 1/3, ||grad x||^2 = 1."""
    x = MESH.points[:, 0][None]
    assert relative_h1(1.1 * x, x, MESH).item() == pytest.approx(0.1, rel=1e-12)
    assert relative_h1(x + 1, x, MESH).item() == pytest.approx((1 / (1 / 3 + 1)) ** 0.5, rel=1e-12)
