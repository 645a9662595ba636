"""Runs that train parts of solvers: what they leave, how they resume, and what the commands make of them."""

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml

import pdekit as pk
from pdekit.cli.main import main
from pdekit.core.errors import ConfigError, InputError
from pdekit.learned.corrected import CorrectedFactor
from pdekit.learned.directions import DeepDirections
from pdekit.solvers import CG, IC0, solve
from pdekit.train.config import config_from, load_config
from pdekit.train.preconditioner_learning import PreconditionerLearning
from pdekit.train.report import Report, SolverReport
from pdekit.train.runner import run
from pdekit.train.systems import stored, systems_of
from pdekit.train.yamlfile import to_yaml

HERE = Path(__file__).parent
TINY = HERE / "tiny_preconditioner.yaml"
DIRECTIONS = {
    "family": {"class_path": "Obstacles", "init_args": {"domain": {"shape": [18, 18]}}},
    "task": {"class_path": "DirectionLearning", "init_args": {"loss": {"class_path": "EnergyNorm"}}},
    "model": {"class_path": "DeepDirections", "init_args": {"network": {"class_path": "DirectionNet", "init_args": {
        "dim": 2}}}},
}  # fmt: skip


def quiet(line):
    pass


def tiny(out, **changes):
    return load_config(TINY, [("out", str(out)), *changes.items()])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return out, run(tiny(out), say=quiet)


def test_the_folder_holds_everything(finished):
    out, report = finished
    names = {path.name for path in out.iterdir()}
    assert {"config.yaml", "logs", "batches.csv", "checkpoints", "model", "report.json", "convergence.png"} <= names
    assert {path.name for path in (out / "model").iterdir()} == {"learned.json", "weights.safetensors", "config.yaml"}
    rows = list(csv.DictReader((out / "logs" / "metrics.csv").open()))
    assert len([row for row in rows if row.get("validation_iterations")]) == 2
    content = json.loads((out / "report.json").read_text())
    assert content["kind"] == "solver"
    assert {"CG, CorrectedFactor", "CG, its classical part", "CG, AMG", "CG, multigrid", "Direct"} <= set(
        content["test"]
    )
    assert all(row["missed"] == 0 and row["residual"] <= 1e-8 for row in content["test"].values())
    assert isinstance(report, SolverReport)
    assert Report.read(out / "report.json") == report
    assert "iterations on 3 held-out problems" in str(report)


def test_what_is_loaded_solves_as_the_report_says(finished):
    """Oracle: solve, with the preconditioner taken from the folder."""
    out, report = finished
    recipe = pk.load(out / "model")
    assert isinstance(recipe, CorrectedFactor)
    assert recipe.start == IC0(relaxation=0.9)
    family = tiny(out).family
    (system,) = systems_of(family, family.draw(range(3), seed=0, split="test"))
    solution = solve(stored([system])[0], system.rhs, CG(recipe), rtol=1e-8)
    assert float(solution.iterations.double().mean()) == pytest.approx(report.test_iterations)


def test_the_saved_configuration_repeats_the_run(finished, tmp_path):
    out, _ = finished
    run(load_config(out / "config.yaml", [("out", str(tmp_path / "again"))]), say=quiet)
    for name in ("batches.csv", "model/weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


@pytest.mark.parametrize("name", ["CorrectedFactor", "GraphFactor", "NeuralIF", "SparseInverse"])
def test_one_configuration_trains_afresh_each_time(name):
    config = tiny("unused", model=name, **{"task.loss": "ScaledInverse"})
    torch.manual_seed(0)
    first, second = config.model(), config.model()
    torch.manual_seed(0)
    again = config.model()
    assert first.network is not second.network
    weights = [next(iter(recipe.network.parameters())) for recipe in (first, again)]
    assert torch.equal(*weights)
    assert config.resolved["model"]["init_args"]["network"]["class_path"].startswith(("LeanNet", name))
    assert config_from(yaml.safe_load(to_yaml(config.resolved))).resolved == config.resolved


def test_a_resumed_run_ends_like_an_uninterrupted_one(finished, tmp_path, monkeypatch):
    out, _ = finished
    step = PreconditionerLearning.training_step

    def interrupted(task, batch, batch_idx):
        if task.global_step == 6:
            raise KeyboardInterrupt
        return step(task, batch, batch_idx)

    monkeypatch.setattr(PreconditionerLearning, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tiny(tmp_path / "cut"), say=quiet)
    monkeypatch.undo()
    run(tiny(tmp_path / "cut"), resume=True, say=quiet)
    for name in ("batches.csv", "model/weights.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (out / name).read_bytes()


def test_killed_before_the_report_and_resumed_ends_alike(finished, tmp_path):
    out, _ = finished
    run(tiny(tmp_path / "run"), say=quiet)
    (tmp_path / "run" / "report.json").unlink()
    run(tiny(tmp_path / "run"), resume=True, say=quiet)
    name = "model/weights.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (out / name).read_bytes()


def test_directions_are_trained_by_the_same_command(tmp_path, capsys):
    changes = {**DIRECTIONS, "trainer.max_steps": 2, "evaluation.samples": 1, "schedule": None}
    report = run(tiny(tmp_path / "run", **changes), say=quiet)
    assert isinstance(pk.load(tmp_path / "run" / "model"), DeepDirections)
    assert report.classical_iterations is None
    assert "DeepDirections" in report.test
    assert main(["evaluate", str(tmp_path / "run" / "model"), "--samples", "1", "--resolution", "26"]) == 0
    assert "26 x 26 points" in capsys.readouterr().out


def test_evaluate_prints_a_table_and_writes_it(finished, tmp_path, capsys):
    out, _ = finished
    words = ["evaluate", str(out / "model"), "--resolution", "25", "--samples", "2", "--rtol", "1e-8"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "2 held-out problems on 25 x 25 points" in shown
    assert "training pays after" in shown
    assert "training took" in shown
    assert (tmp_path / "convergence.png").read_bytes()[:4] == b"\x89PNG"
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert content["learned"] == "CG, CorrectedFactor"
    assert main([*words, "--split", "train"]) == 2


def test_solve_takes_the_folder(finished, tmp_path, capsys):
    out, _ = finished
    folder = str(out / "model")
    assert main(["solve", "darcy", "--preconditioner", folder, "--resolution", "33", "--rtol", "1e-10"]) == 0
    assert "corrected" in capsys.readouterr().out
    assert main(["solve", "poisson", "--preconditioner", folder, "--resolution", "33"]) == 2
    assert "was trained on Darcy and is asked to precondition Poisson" in capsys.readouterr().err
    assert main(["solve", "darcy", "--preconditioner", folder, "--method", "CG"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert main(["solve", "darcy", "--preconditioner", str(out)]) == 2
    assert f"Did you mean {out / 'model'}?" in capsys.readouterr().err


def test_a_surrogate_is_no_preconditioner(tmp_path, capsys):
    run(load_config(HERE / "tiny.yaml", [("out", str(tmp_path / "s")), ("trainer.max_steps", 1)]), say=quiet)
    assert main(["solve", "darcy", "--preconditioner", str(tmp_path / "s" / "model")]) == 2
    assert "holds a Surrogate; expected a preconditioner or directions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": {"class_path": "FNO", "init_args": {"modes": 3}}}, "FNO is no LearnedPreconditioner. Known: Correc"),
        ({"model.strat": 1}, "CorrectedFactor has no argument 'strat'. Did you mean start?"),
        ({"model.network": "LeanNot"}, "model.network: there is no class 'LeanNot'. Did you mean LeanNet?"),
        ({"task.loss": "RelativeL2"}, "RelativeL2 is no PreconditionerLoss"),
        ({"task.family": 3}, "PreconditionerLearning has no argument 'family'"),
        ({"task": "OperatorLearning"}, "CorrectedFactor is no Module"),
        ({"task": "Surrogate"}, "Surrogate is no Task. Known: DirectionLearning, OperatorLearning, Precond"),
    ],
)
def test_mistakes_are_named_with_their_key(changes, expected):
    with pytest.raises(ConfigError) as caught:
        tiny("unused", **changes)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task.right_hand_sides": 0}, "at least 1 beside sizes"),
        ({"model.start": {"class_path": "AMG"}}, "CorrectedFactor has start=AMG"),
    ],
)
def test_what_does_not_fit_is_named_before_the_folder_is_made(tmp_path, changes, expected):
    with pytest.raises(InputError, match=expected):
        run(tiny(tmp_path / "run", **changes), say=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["precondition_darcy", "directions_obstacles"])
def test_the_configurations_that_come_along(name):
    config = load_config(HERE.parents[1] / "configs" / f"{name}.yaml")
    assert config.resolved["task"]["class_path"] in ("PreconditionerLearning", "DirectionLearning")
    recipe = config.model()
    assert sum(weight.numel() for weight in recipe.network.parameters()) < 10_000


def test_reports_of_surrogates_from_before_there_were_kinds(tmp_path):
    report = run(load_config(HERE / "tiny.yaml", [("out", str(tmp_path / "s")), ("trainer.max_steps", 1)]), say=quiet)
    path = tmp_path / "s" / "report.json"
    content = json.loads(path.read_text())
    assert content.pop("kind") == "surrogate"
    path.write_text(json.dumps(content))
    assert Report.read(path) == report
    path.write_text(json.dumps(content | {"kind": "riddle"}))
    with pytest.raises(InputError, match="is no report of a run"):
        Report.read(path)


def test_validation_does_not_leave_inference_tensors_behind(tmp_path):
    """Patterns are made in validation first and met in training later, where gradients flow."""
    changes = {"trainer.validate_every_n_steps": 1, "task.sizes": None, "trainer.max_steps": 3, "evaluation.samples": 1}
    report = run(tiny(tmp_path / "run", **changes), say=quiet)
    assert report.steps == 3
    assert torch.is_inference_mode_enabled() is False
