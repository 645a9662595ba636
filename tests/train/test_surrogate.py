"""Surrogates: prediction, files that are complete or absent, and files that must not be trusted."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import pdekit as pk
from pdekit.core.errors import InputError
from pdekit.core.folders import WEIGHTS
from pdekit.nn import FNO
from pdekit.samples import FieldSpec, Identity, Inputs, Schema
from pdekit.train.channels import Channels
from pdekit.train.normaliser import Normaliser
from pdekit.train.surrogate import DESCRIPTION, Surrogate, load

FIELDS = (FieldSpec("a", "input"), FieldSpec("f", "input"), FieldSpec("u", "output"))
SCHEMA = Schema(pk.Grid((9, 9)), FIELDS, (pk.Boundary("left", "dirichlet", 1.0),))


class Tied(torch.nn.Module):
    """A model of the user's own, tied to its resolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.arguments = {"inputs": inputs, "outputs": outputs}
        self.map = torch.nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.map(x)


def make(model=None, schema=SCHEMA) -> Surrogate:
    normaliser = Normaliser(2, 1).fit(3 + torch.randn(8, 9, 9, 2), 0.1 * torch.randn(8, 9, 9, 1))
    return Surrogate(model or FNO(2, 1, basis="sine", modes=3, width=4, layers=2), schema, normaliser=normaliser)


def inputs(count=5, shape=(9, 9), dtype=torch.float64) -> Inputs:
    fields = {name: torch.randn(count, *shape, dtype=dtype) for name in ("a", "f")}
    return Inputs(SCHEMA.with_domain(pk.Grid(shape)), fields, Identity(0, "test", torch.arange(count)))


def test_prediction_is_decode_model_encode():
    """Oracle: the three steps by hand."""
    surrogate, batch = make(), inputs()
    x = torch.stack([batch["a"], batch["f"]], -1).float()
    normaliser = surrogate.normaliser
    encoded = (x - normaliser.input_mean) / normaliser.input_scale
    expected = surrogate.model(encoded)[..., 0] * normaliser.output_scale + normaliser.output_mean
    found = surrogate.predict(batch)
    assert torch.allclose(found["u"], expected.double(), atol=1e-6)
    assert torch.equal(found["a"], batch["a"])
    assert found["u"].dtype == torch.float64
    assert not found["u"].requires_grad
    assert found.certificate is None
    assert found.identity == batch.identity


def test_batches_do_not_matter_and_training_mode_is_kept():
    surrogate, batch = make(), inputs(7)
    surrogate.train()
    assert torch.allclose(surrogate.predict(batch, batch_size=3)["u"], surrogate.predict(batch)["u"], atol=1e-6)
    assert surrogate.training


def test_other_resolutions_are_predicted_by_models_that_can():
    assert make().predict(inputs(2, (17, 33)))["u"].shape == (2, 17, 33)
    with pytest.raises(InputError, match=r"Tied is tied to the \(9, 9\) it was trained on"):
        make(Tied(2, 1)).predict(inputs(2, (17, 17)))


def test_another_problem_is_refused():
    surrogate = make()
    grid = pk.Grid((9, 9), box=((0, 2), (0, 1)))
    fields = inputs().fields
    with pytest.raises(InputError, match="the model was made for"):
        surrogate.predict(Inputs(SCHEMA.with_domain(grid), fields))
    with pytest.raises(InputError, match="boundary conditions"):
        surrogate.predict(Inputs(Schema(SCHEMA.domain, FIELDS), fields))
    other = replace(SCHEMA, equation="-div(a grad u) = 10")
    with pytest.raises(InputError, match=r"belong to the equation '-div\(a grad u\) = 10'; the model was made for"):
        surrogate.predict(Inputs(other, fields))
    with pytest.raises(InputError, match="There is no field 'f'"):
        surrogate.predict(Inputs(Schema(SCHEMA.domain, (FIELDS[0], FIELDS[2])), {"a": fields["a"]}))
    with pytest.raises(InputError, match="batch_size=0"):
        surrogate.predict(inputs(), batch_size=0)


def test_a_model_that_does_not_fit_the_grid_is_refused():
    with pytest.raises(InputError, match=r"Axis 0 of the grid is closed.*unpadded Fourier"):
        Surrogate(FNO(2, 1), SCHEMA)
    with pytest.raises(InputError, match="Axis 1 of the grid is open"):
        Surrogate(FNO(2, 1, basis=["fourier", "sine"]), Schema(pk.Grid((8, 8), closed=False), FIELDS))
    with pytest.raises(InputError, match="made for 3 dimensions; the grid has 2"):
        Surrogate(FNO(2, 1, dim=3, basis="sine"), SCHEMA)


def test_what_is_saved_is_loaded(tmp_path):
    surrogate, batch = make(), inputs()
    surrogate.save(tmp_path / "deep" / "model")
    again = pk.load(tmp_path / "deep" / "model")
    assert torch.equal(again.predict(batch)["u"], surrogate.predict(batch)["u"])
    assert again.schema == SCHEMA
    assert again.channels == Channels(("a", "f"), ("u",))
    assert not again.training
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]
    assert sorted(path.name for path in (tmp_path / "deep" / "model").iterdir()) == [DESCRIPTION, WEIGHTS]


def test_a_saved_surrogate_is_replaced_but_nothing_else(tmp_path):
    make().save(tmp_path / "model")
    second = make()
    second.save(tmp_path / "model")
    batch = inputs()
    assert torch.equal(load(tmp_path / "model").predict(batch)["u"], second.predict(batch)["u"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("work")
    with pytest.raises(InputError, match="is no saved surrogate, so it was not touched"):
        second.save(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other"]


@pytest.mark.parametrize("step", ["weights", "description"])
def test_a_full_disk_leaves_the_old_surrogate(tmp_path, monkeypatch, step):
    first = make()
    first.save(tmp_path / "model")

    def full(*args, **settings):
        raise OSError(28, "No space left on device")

    if step == "weights":
        monkeypatch.setattr("pdekit.core.folders.save_file", full)
    else:
        monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"Saving the surrogate to .*model failed: .*No space left"):
        make().save(tmp_path / "model")
    with pytest.raises(OSError, match="No space left"):
        make().save(tmp_path / "new")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    batch = inputs()
    assert torch.equal(load(tmp_path / "model").predict(batch)["u"], first.predict(batch)["u"])


def test_a_model_without_arguments_cannot_be_saved(tmp_path):
    model = Tied(2, 1)
    del model.arguments
    with pytest.raises(InputError, match="Tied cannot be saved: it has no `arguments`"):
        make(model).save(tmp_path / "model")
    model.arguments = {"inputs": torch.ones(1)}
    with pytest.raises(InputError, match=r"arguments of the surrogate cannot be written as JSON"):
        make(model).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_foreign_classes_need_permission(tmp_path):
    surrogate = make(Tied(2, 1))
    surrogate.save(tmp_path / "model")
    with pytest.raises(InputError, match=r"outside pdekit\.nn, and importing it would run its code.*allow="):
        load(tmp_path / "model")
    batch = inputs()
    again = load(tmp_path / "model", allow=[Tied.__module__])
    assert torch.equal(again.predict(batch)["u"], surrogate.predict(batch)["u"])


def edit(folder: Path, change) -> None:
    description = json.loads((folder / DESCRIPTION).read_text())
    change(description)
    (folder / DESCRIPTION).write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("class_path", "message"),
    [
        ("os.system", "outside pdekit.nn"),
        ("pdekit.nnx.FNO", "outside pdekit.nn"),
        ("pdekit.nn.fno.torch.load", "There is no class"),
        ("pdekit.nn.fno.InputError", "is no class of pdekit.nn"),
        ("pdekit.nn.bases.AxisBasis", "expected a subclass of torch.nn.Module"),
        ("pdekit.nn.Misspelt", "There is no class pdekit.nn.Misspelt"),
        ("pdekit.nn; import os", "no class path"),
        (7, "no class path"),
    ],
)
def test_class_paths_are_not_trusted(tmp_path, class_path, message):
    make().save(tmp_path / "model")
    edit(tmp_path / "model", lambda d: d["model"].update(class_path=class_path))
    with pytest.raises(InputError, match=message):
        load(tmp_path / "model")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


@pytest.mark.parametrize("kind", ["torch.save", "pickle"])
def test_a_pickle_is_refused_without_running_it(tmp_path, kind):
    make().save(tmp_path / "model")
    weights = tmp_path / "model" / WEIGHTS
    if kind == "pickle":
        weights.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save(Bomb(), weights)
    with pytest.raises(InputError, match=r"weights.safetensors is no safetensors file(.|\n)*It is a pickle"):
        load(tmp_path / "model")
    with pytest.raises(InputError, match=r"is a file; expected the folder(.|\n)*It is a pickle"):
        load(weights)


def test_cut_off_weights_are_named(tmp_path):
    make().save(tmp_path / "model")
    weights = tmp_path / "model" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(InputError, match="may be cut off or damaged"):
        load(tmp_path / "model")
    weights.unlink()
    with pytest.raises(InputError, match=r"weights.safetensors is missing"):
        load(tmp_path / "model")


def test_weights_of_another_model_are_named(tmp_path):
    make().save(tmp_path / "model")
    edit(tmp_path / "model", lambda d: d["model"]["init_args"].update(width=5))
    with pytest.raises(InputError, match=r"does not belong to the model.*has shape .* in the file and .* in the model"):
        load(tmp_path / "model")


def test_a_forged_size_allocates_nothing(tmp_path):
    """A network of 10^18 numbers is compared by shape before any memory is asked for."""
    make().save(tmp_path / "model")
    edit(tmp_path / "model", lambda d: d["model"]["init_args"].update(width=10**6, modes=10**3))
    with pytest.raises(InputError, match="does not belong to the model"):
        load(tmp_path / "model")
    save_file({"x": torch.ones(1)}, tmp_path / "model" / WEIGHTS)
    with pytest.raises(InputError, match="in the file and"):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("schema"), "is incomplete: KeyError"),
        (lambda d: d["model"].pop("init_args"), "is incomplete"),
        (lambda d: d.update(format=99), "has format 99; this pdekit reads 1"),
        (lambda d: d.update(kind="preconditioner"), "describes no surrogate"),
        (lambda d: d["model"]["init_args"].update(depth=3), "refuses its arguments"),
        (lambda d: d["model"]["init_args"].update(width="wide"), "refuses its arguments"),
        (lambda d: d["model"]["init_args"].update(basis="chebyshev"), "is unknown; choose"),
    ],
)
def test_damaged_descriptions_are_named(tmp_path, change, message):
    make().save(tmp_path / "model")
    edit(tmp_path / "model", change)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "model")


def test_wrong_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no saved surrogate \(surrogate.json is missing\)\.$"):
        load(tmp_path)
    make().save(tmp_path / "model")
    with pytest.raises(InputError, match=r"Did you mean .*model"):
        load(tmp_path)
    (tmp_path / "model" / DESCRIPTION).write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        load(tmp_path / "model")


def test_channels_need_different_names():
    with pytest.raises(InputError, match="expected different field names"):
        Channels(("a",), ("a",))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    surrogate = make()
    with torch.no_grad():
        next(surrogate.model.parameters()).view(-1)[0] = float("nan")
    surrogate.save(tmp_path / "m")
    with pytest.raises(InputError, match=r"weights.* is nan .*expected finite numbers"):
        load(tmp_path / "m")


def test_descriptions_too_deep_and_inputs_of_the_wrong_kind(tmp_path):
    make().save(tmp_path / "m")
    (tmp_path / "m" / DESCRIPTION).write_text("[" * 100_000)
    with pytest.raises(InputError, match="is no JSON"):
        load(tmp_path / "m")
    with pytest.raises(InputError, match=r"was given a Tensor; expected Inputs"):
        make().predict(torch.ones(1, 9, 9))
    with pytest.raises(InputError, match="an empty batch"):
        make().predict(inputs(0))
