"""Folders of learned solvers: what is saved comes back, and nothing else is believed."""

import json
from dataclasses import dataclass, field

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pdekit.core.errors import InputError
from pdekit.learned.base import TrainedOn
from pdekit.learned.corrected import CorrectedFactor
from pdekit.learned.files import MARKER, load, save
from pdekit.learned.lean import LeanNet
from pdekit.learned.published import PublishedCorrection
from pdekit.solvers import IC0, ICT


@pytest.fixture
def folder(tmp_path):
    recipe = CorrectedFactor(start=IC0(relaxation=0.97), coarse="additive", trained_on=TrainedOn("Darcy", 2))
    recipe.save(tmp_path / "model")
    return tmp_path / "model"


def edited(folder, change) -> None:
    """The description after a change."""
    description = json.loads((folder / MARKER).read_text())
    change(description["recipe"])
    (folder / MARKER).write_text(json.dumps(description))


@pytest.mark.parametrize(
    "recipe",
    [
        CorrectedFactor(LeanNet(), IC0(relaxation=0.9), probes=3, trained_on=TrainedOn("Elasticity", 3, 3)),
        CorrectedFactor(PublishedCorrection(), ICT(threshold=1e-3, fill=5), coarse="balanced"),
    ],
)
def test_what_is_saved_comes_back(recipe, tmp_path):
    for weight in recipe.network.parameters():
        nn.init.normal_(weight)
    recipe.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again.network) is type(recipe.network)
    assert not again.network.training
    for name in ("start", "coarse", "probes", "trained_on"):
        assert getattr(again, name) == getattr(recipe, name)
    for name, weight in recipe.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], weight)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [MARKER, "weights.safetensors"]


def test_saving_again_replaces_it_and_leaves_nothing_else(folder):
    CorrectedFactor(start=ICT()).save(folder)
    assert load(folder).start == ICT()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_other_folders_are_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(InputError, match="is no saved learned solver, so it was not touched"):
        CorrectedFactor().save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_disk_that_fails_leaves_what_was_there(folder, monkeypatch):
    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("pdekit.core.folders.save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        CorrectedFactor(start=ICT()).save(folder)
    assert load(folder).start == IC0(relaxation=0.97)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@dataclass(frozen=True)
class Foreign:
    network: nn.Module = field(default_factory=lambda: nn.Linear(1, 1))
    setting: object = 1


def test_what_cannot_be_built_again_is_not_saved(tmp_path):
    with pytest.raises(InputError, match="Linear cannot be saved: it has no `arguments`"):
        save(Foreign(), tmp_path / "model")
    with pytest.raises(InputError, match="cannot be written as JSON"):
        save(Foreign(LeanNet(), object()), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_classes_of_others_are_not_imported(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('its code ran')\n")
    edited(folder, lambda recipe: recipe["init_args"]["network"].update(class_path="evil.Net"))
    with pytest.raises(InputError, match=r"evil\.Net is outside pdekit\.learned and pdekit\.solvers.*allow=\['evil'\]"):
        load(folder)
    edited(folder, lambda recipe: recipe.update(class_path="evil.Recipe"))
    with pytest.raises(InputError, match="outside"):
        load(folder)


@pytest.mark.parametrize(
    ("class_path", "message"),
    [
        ("pdekit.learned.base.Path", r"is no class of pdekit\.learned or pdekit\.solvers"),
        ("pdekit.learned.base.nn.Sequential", "There is no class"),
        ("pdekit.learned.missing.Net", "There is no class"),
        ("pdekit.solvers.memory.memories", "is no class"),
        ("pdekit.solvers.CSR", "neither a network nor a recipe"),
        (["pdekit"], "is no class path"),
    ],
)
def test_only_networks_and_recipes_may_be_named(folder, class_path, message):
    edited(folder, lambda recipe: recipe["init_args"].update(start={"class_path": class_path, "init_args": {}}))
    with pytest.raises(InputError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda recipe: recipe["init_args"].update(probes=0), "probes=0; expected at least 1"),
        (lambda recipe: recipe["init_args"].update(steps=1), "unexpected keyword argument 'steps'"),
        (lambda recipe: recipe["init_args"]["network"].pop("init_args"), "expected class_path and init_args"),
        (lambda recipe: recipe.pop("class_path"), "expected class_path and init_args"),
        (lambda recipe: recipe.update(class_path="pdekit.solvers.IC0", init_args={}), "it has no network"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(folder, change, message):
    edited(folder, change)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_weights_of_another_network_are_refused(folder):
    edited(
        folder, lambda r: r["init_args"]["network"].update(class_path="pdekit.learned.published.PublishedCorrection")
    )
    with pytest.raises(InputError, match=r"does not belong to the model in learned\.json: decoder\.0\.bias has shape"):
        load(folder)


def test_weights_that_are_no_numbers_are_refused(folder):
    tensors = load_file(folder / "weights.safetensors")
    tensors["scale"] = torch.tensor(float("nan"))
    save_file(tensors, folder / "weights.safetensors")
    with pytest.raises(InputError, match="scale is nan"):
        load(folder)


def test_pickles_are_refused(folder):
    torch.save(CorrectedFactor().network.state_dict(), folder / "weights.safetensors")
    with pytest.raises(InputError, match="It is a pickle"):
        load(folder)


def test_folders_that_are_none(folder, tmp_path):
    with pytest.raises(InputError, match=r"Did you mean .*model\?"):
        load(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        load(folder / MARKER)
    (folder / MARKER).write_text('{"kind": "surrogate"}')
    with pytest.raises(InputError, match="describes no learned solver"):
        load(folder)
    (folder / MARKER).write_text('{"kind": "learned", "format": 7, "pdekit": "9.1"}')
    with pytest.raises(InputError, match=r"has format 7; this pdekit reads 1. It was written by pdekit 9\.1"):
        load(folder)
    (folder / MARKER).write_text("[" * 100_000)
    with pytest.raises(InputError, match="is no JSON"):
        load(folder)
