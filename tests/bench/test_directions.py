"""`pdekit bench directions` trains and solves what it says; small versions, whose figures are no evidence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pdekit.bench import directions
from pdekit.bench.directions import sides, trainings
from pdekit.bench.directions.sides import Choice, Column, Found, Ours, Problem, Side
from pdekit.bench.harness import Session, run
from pdekit.domain import Grid
from pdekit.families import Obstacles
from pdekit.learned.directions import ConvolutionNet, DeepDirections, DirectionNet, EnergyNorm, ResidualNorm
from pdekit.solvers import CG, IC0
from pdekit.train import config_from, load_config

FILE = Path(__file__).parents[2] / "configs" / "directions_obstacles.yaml"


@pytest.fixture(scope="module")
def given():
    return sides.problems(Obstacles(Grid((14, 14))), 2, 0)


def test_what_is_trained_is_the_file_of_configs():
    """All but how much of it is measured afterwards, which the bench does itself, and how often it looks."""
    content = trainings.configuration(trainings.OURS, 2, 0, trainings.LENGTHS[2])
    ours, file = config_from(content | {"out": "runs/directions_obstacles"}).resolved, load_config(FILE).resolved
    for resolved in (ours, file):
        del resolved["evaluation"]["samples"]
    assert ours == file


@pytest.mark.parametrize("dim", [2, 3])
def test_controls_see_the_same_samples_for_as_many_steps(dim):
    ours, *others = (
        trainings.configuration(name, dim, 3, trainings.LENGTHS[dim])
        for name in (trainings.OURS, *trainings.CONTROLS[dim])
    )
    assert others
    assert ours["task"]["init_args"]["loss"]["class_path"] == "EnergyNorm"
    for other in others:
        loss = other["task"]["init_args"]["loss"]
        assert loss["class_path"] == "ResidualNorm"
        same = other["model"] == ours["model"]
        assert loss.get("init_args", {}).get("steps", ResidualNorm.steps) == (EnergyNorm.steps if same else 1)
        for key in ("family", "stream", "optimizer", "schedule", "trainer"):
            assert other[key] == ours[key]


@pytest.mark.parametrize("dim", [2, 3])
def test_problems_are_systems_of_the_family_with_noise_in_the_fluid(dim):
    """Oracle: dense elimination, and the family's own system."""
    family = Obstacles(Grid((9,) * dim))
    for problem in sides.problems(family, 2, 5):
        A, b = problem.matrix.toarray(), problem.rhs.numpy()
        assert np.array_equal(A, problem.operator.to_scipy().toarray())
        alone = np.count_nonzero(A, axis=1) == 1
        assert np.array_equal(b == 0, alone)
        assert 0.7 < b[~alone].std() < 1.3
        x = np.linalg.solve(A, b)
        assert problem.residual(x) < 1e-12
        assert problem.residual(0 * x) == 1.0
    plain = sides.problems(family, 2, 5, white=False)
    system = family.system(family.draw(range(2), seed=5, split="test"))
    assert torch.equal(torch.stack([problem.rhs for problem in plain]), system.rhs)


def test_every_side_meets_the_tolerance(given):
    for name, choice in sides.classical(2, 144).items():
        for setting, side in choice.sides.items():
            found = side.solve(given[0], 1e-9)
            assert found.converged, (name, setting)
            assert found.residual <= 1e-9
            assert found.setup >= 0 < found.solve
            assert found.inference == found.fall_backs == 0
            assert (found.iterations == 0) == (name == "SuperLU")


@pytest.mark.parametrize(("unknowns", "there"), [(30_000, True), (60_000, False)])
def test_superlu_is_left_out_where_its_factors_fill_up(unknowns, there):
    assert ("SuperLU" in sides.classical(3, unknowns)) == there
    assert "SuperLU" in sides.classical(2, unknowns)


def test_inference_and_fall_backs_are_told(given):
    method = DeepDirections(DirectionNet(2))
    found = sides.learned(method).solve(given[0], 1e-8)
    assert found.converged
    assert 0 < found.inference < found.solve
    assert found.fall_backs == 0
    torch.manual_seed(0)
    found = sides.learned(DeepDirections(ConvolutionNet(2, width=2))).solve(given[0], 1e-8)
    assert 0 < found.fall_backs <= found.iterations
    assert not method.network._forward_hooks


def test_a_system_that_is_missed_spoils_the_row(given):
    columns = sides.measured({"one step": Ours(CG(IC0(), 1)), "many": Ours(CG(IC0()))}, given, 1e-8)
    assert columns["one step"].missed == 2
    assert np.isnan([columns["one step"].iterations, columns["one step"].most, columns["one step"].seconds]).all()
    assert columns["one step"].summary()["missed"] == 2
    assert columns["many"].summary()["missed"] == 0
    assert columns["many"].most >= columns["many"].iterations > 1
    assert sides.least([np.nan, 3.0, 2.0]) == 2.0
    assert np.isnan(sides.least([np.nan]))


class Fixed(Side):
    """Takes so many iterations and seconds, or misses."""

    def __init__(self, iterations, seconds, converged=True):
        self.found = Found(0.0, seconds, 0.0, iterations, 0.0, 0, converged)

    def solve(self, problem, rtol):
        return self.found


@pytest.mark.parametrize(("by", "best"), [("iterations", "few"), ("seconds", "fast")])
def test_the_best_choice(given, by, best):
    choices = {"missed": Fixed(1, 0.1, converged=False), "few": Fixed(2, 3.0), "fast": Fixed(3, 2.0)}
    assert Choice(choices, by).best(given, 1e-8) == best
    assert Choice({"only": Fixed(1, 1.0, converged=False)}, by).best(given, 1e-8) == "only"


def table(**columns):
    return {
        rtol: {name: Column([Fixed(*one).found for one in found]) for name, found in columns.items()}
        for rtol in directions.TOLERANCES
    }


def test_claims():
    """By hand."""
    names = {
        "ours": trainings.OURS,
        "cg": sides.CG_PLAIN,
        "ic": sides.IC,
        "amg": sides.AMG_CG[0],
        "py": sides.AMG_CG[1],
    }
    found = table(ours=[(4, 1.0), (6, 3.0)], cg=[(200, 1.0)], ic=[(50, 1.0)], amg=[(5, 4.0)], py=[(4, 8.0)])
    found = {rtol: {names[name]: column for name, column in columns.items()} for rtol, columns in found.items()}
    session = Session(directions.BENCHMARK, say=lambda line: None)
    directions._claims_2d(session, found, found, 0)
    directions._claims_3d(session, found, found, 0)
    values = {claim["id"].partition(".")[2]: claim["value"] for claim in session.results()}
    assert values == {
        "cg_128": 5 / 200, "ic_128": 5 / 50, "amg_128": 5 / 4, "iterations_1e8": 6, "seconds_256": 2.0 / 4.0,
        "cg_3d": 5 / 200, "ic_3d": 5 / 50, "growth_3d": 1.0,
    }  # fmt: skip


def test_a_quick_run(monkeypatch):
    monkeypatch.setattr(directions, "cases", lambda dim, quick: [directions.Case("tiny", 6, 2)] * 3)
    monkeypatch.setattr(directions, "TOLERANCES", (1e-4, 1e-8))
    for settings in ("OMEGAS", "STRENGTHS", "PASSES"):
        monkeypatch.setattr(sides, settings, getattr(sides, settings)[:1])
    trained = []
    monkeypatch.setattr(trainings, "train", lambda *given: trained.append(given) or random_weights(*given))
    report = run(directions.BENCHMARK, quick=True, seeds=2, say=lambda line: None)
    assert {claim["id"] for claim in report["claims"]} == {claim.id for claim in directions.CLAIMS}
    assert [(name, dim, seed) for name, dim, seed, _ in trained] == [
        (trainings.OURS, 2, 0), (trainings.CONTROL, 2, 0), (trainings.PUBLISHED, 2, 0),
        (trainings.OURS, 3, 0), (trainings.CONTROL, 3, 0),
        (trainings.OURS, 2, 1), (trainings.OURS, 3, 1),
    ]  # fmt: skip
    rows = report["rows"]
    assert all(row["missed"] == 0 and row["true_residual"] <= row["rtol"] for row in rows)
    assert {row["rtol"] for row in rows} == set(directions.TOLERANCES)
    assert sum("geometric multigrid" in row["method"] for row in rows) == 2 * 2 * 3 * 2
    ours = [row for row in rows if row["method"] == trainings.OURS]
    assert all(row["training_seconds"] == 1.5 for row in ours)
    assert all(row["pays_after"] == "never" or row["pays_after"].endswith(" solves") for row in ours)


def random_weights(name, dim, seed, lengths):
    torch.manual_seed(seed)
    network = ConvolutionNet(dim, width=2) if name == trainings.PUBLISHED else DirectionNet(dim)
    return trainings.Trained(DeepDirections(network), 1.5, 0, 1)


@pytest.mark.parametrize(("only", "dims"), [("directions.amg_128", {2}), ("directions.growth_3d", {3})])
def test_one_claim_trains_for_one_dimension(monkeypatch, only, dims):
    seen = set()
    monkeypatch.setattr(directions, "_measure", lambda session, dim, seed: seen.add(dim))
    run(directions.BENCHMARK, only=[only], say=lambda line: None)
    assert seen == dims


def test_a_training_by_the_runner():
    lengths = {2: replace(trainings.QUICK[2], size=6, steps=2)}
    trained = trainings.train(trainings.OURS, 2, 0, lengths)
    assert trained.steps == 2
    assert 0 < trained.seconds < 60
    assert trained.parameters == sum(p.numel() for p in DirectionNet(2).parameters())
    assert trained.method.trained_on.family == "Obstacles"


def test_the_sizes_of_the_claims_are_in_the_table():
    assert [case.size for case in directions.cases(2, quick=False)[:3]] == [64, 128, 256]
    assert [case.size for case in directions.cases(3, quick=False)[:2]] == [32, 64]
    assert (trainings.LENGTHS[2].size, trainings.LENGTHS[3].size) == (64, 32)
    for dim in (2, 3):
        for case in directions.cases(dim, quick=True):
            assert isinstance(case.problems(dim, 0)[0], Problem)
