"""`pdekit bench learned` trains and measures what it says; small versions, whose figures are no evidence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pdekit.bench import BENCHMARKS, learned
from pdekit.bench.harness import Session
from pdekit.bench.learned import diffusion, levels, meshes, problems, sparse_inverse
from pdekit.bench.learned.measuring import Compared, Side, compare, counts, fastest, rows
from pdekit.learned.corrected import CorrectedFactor
from pdekit.learned.losses import Frobenius, LowFrequency
from pdekit.learned.published import PublishedCorrection
from pdekit.solvers import CSR, IC0, Direct, Jacobi

IDS = (
    *(f"corrected_64_1e{power}" for power in (3, 6, 9, 12)), "beats_ric", "half_128", "seconds_1", "seconds_10",
    "growth", "fem_heat", "fem_elasticity", "spai_elasticity", "spai_heat",
)  # fmt: skip


def session():
    return Session(learned.BENCHMARK, quick=True, say=lambda line: None)


def test_the_claims_are_those_of_the_acceptance_list():
    bounds = {claim.id.removeprefix("learned."): claim.bound for claim in learned.BENCHMARK.claims}
    assert tuple(bounds) == IDS
    expected = (42, 54, 65, 75, 0.99, 0.5, 0.8, 0.55, 1.3, 0.7, 0.7, 0.6, 0.7)
    assert tuple(bounds.values()) == expected
    assert all(claim.sense == "<=" for claim in learned.BENCHMARK.claims)
    assert BENCHMARKS["learned"] == "pdekit.bench.learned"


@pytest.fixture(scope="module")
def systems():
    return problems.test_systems(problems.heat(2, 4), 2, 0)


def test_counts_are_first_crossings_of_the_absolute_norm():
    """Oracle: conjugate gradients in NumPy."""
    ((A, _),) = problems.test_systems(problems.diffusion(8), 1, 0)
    b, x = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    found, residual = counts(A, Jacobi(), torch.from_numpy(b), torch.from_numpy(x))
    dense, expected, step = A.to_scipy().toarray(), [], 0
    diagonal = dense.diagonal()
    r = b - dense @ x
    p = r / diagonal
    for atol in (1e-3, 1e-6, 1e-9, 1e-12):
        while np.linalg.norm(r) > atol:
            alpha = (r @ (r / diagonal)) / (p @ dense @ p)
            x, new = x + alpha * p, r - alpha * dense @ p
            p = new / diagonal + (new @ (new / diagonal)) / (r @ (r / diagonal)) * p
            r, step = new, step + 1
        expected.append(step)
    assert np.abs(np.subtract(found, expected)).max() <= 1
    assert residual < 1e-9


def test_methods_take_turns_on_the_same_systems(systems):
    found = compare({"Jacobi": Side(Jacobi()), "SuperLU": Side(Direct())}, systems, rounds=1)
    assert all(one.failed == 0 and one.residual <= 1e-8 for one in found.values())
    assert all(0 <= one.setup <= one.seconds for one in found.values())
    assert len(found["Jacobi"].iterations) == 2
    assert found["Jacobi"].mean > found["SuperLU"].mean


def test_a_method_that_refuses_has_a_row_that_says_so(systems):
    A = CSR.from_scipy(-systems[0][0].to_scipy())
    told = session()
    sides = {"IC(0)": Side(IC0()), "SuperLU": Side(Direct())}
    found = compare(sides, [(A, systems[0][1])], rounds=1)
    rows(told, sides, found, "SuperLU", place="here")
    refused, solved = told.rows
    assert "not positive" in refused["note"]
    assert refused["place"] == solved["place"] == "here"
    assert np.isnan(found["IC(0)"].mean)
    assert solved["failed"] == 0


def test_iterations_that_run_out_are_failures(systems, monkeypatch):
    monkeypatch.setattr("pdekit.bench.learned.measuring.MANY", 2)
    found = compare({"Jacobi": Side(Jacobi())}, systems, rounds=0)
    assert found["Jacobi"].failed == 2
    assert np.isnan(found["Jacobi"].mean)
    assert found["Jacobi"].seconds > 0


def test_training_pays_or_never_does():
    told = session()
    learned_side = Side(Jacobi(), training_seconds=100.0)
    found = {"RIC(0.9)": Compared(2.0, 0.5, iterations=[4]), "ours": Compared(1.5, 0.5, iterations=[3])}
    rows(told, {"ours": learned_side}, found, "RIC(0.9)")
    found["ours"].seconds = 3.0
    rows(told, {"ours": learned_side}, found, "RIC(0.9)")
    assert [row["pays against RIC(0.9) after"] for row in told.rows] == ["200 solves", "never"]
    assert told.rows[0]["solve_ms"] == 1000
    assert fastest(found) == "RIC(0.9)"
    assert fastest({"a": Compared(1.0, failed=1), "b": Compared(2.0)}) == "b"


def test_controls_differ_from_ours_as_said():
    trainings = diffusion.trainings(False)
    ours, frobenius, published = (trainings[name] for name in (diffusion.OURS, *diffusion.CONTROLS))
    assert isinstance(ours.loss, LowFrequency)
    assert isinstance(frobenius.loss, Frobenius)
    assert replace(frobenius, loss=ours.loss, steps=ours.steps, recipe=ours.recipe) == ours
    assert isinstance(published.recipe().network, PublishedCorrection)
    assert (published.rate, published.cosine, published.clip, published.sizes) == (1e-3, False, None, None)
    assert max(ours.sizes) == diffusion.SMALL + 2


def test_the_tables_of_diffusion():
    told = session()
    diffusion.measure(told, 0)
    assert set(told.values) == {claim.id for claim in diffusion.CLAIMS}
    counted = [row for row in told.rows if "iterations to 1e-12" in row]
    names = {row["method"] for row in counted}
    assert {diffusion.IC, diffusion.OURS, diffusion.RELAXED, *diffusion.CONTROLS} <= names
    assert len(counted) == 2 * len(names)
    timed = [row for row in told.rows if "right_hand_sides" in row]
    assert {row["right_hand_sides"] for row in timed} == {1, 10}
    assert {row["method"] for row in timed} == names | {"AMG", "SuperLU"}
    assert all(row["true_residual"] <= 1e-8 for row in timed)
    trained = [row for row in timed if "training_seconds" in row]
    assert {row["method"] for row in trained} == {diffusion.OURS, diffusion.RELAXED, *diffusion.CONTROLS}
    assert all({"setup_ms", "inference_ms", "solve_ms", "iterations"} <= set(row) for row in trained)
    assert all(any(key.startswith("pays against RIC(") for key in row) for row in trained)


def test_figures_of_long_training_do_not_count():
    assert diffusion.in_time(Side(Jacobi(), training_seconds=299.0), 42.0) == 42
    assert np.isnan(diffusion.in_time(Side(Jacobi(), training_seconds=301.0), 42.0))


def test_the_tables_of_two_levels(monkeypatch):
    monkeypatch.setattr(levels, "SIZES", {60: 1, 120: 1})
    told = session()
    levels.measure(told, 0)
    assert told.values["learned.growth"][0][0] > 0
    verdicts = [row["verdict"] for row in told.rows if "verdict" in row]
    assert len(verdicts) == 2
    assert set(verdicts) <= {"not worse", "worse"}
    growths = {row["method"] for row in told.rows if "growth_64_to_256" in row}
    assert {levels.OURS, levels.BALANCED, levels.ADDITIVE, "IC(0)"} <= growths


@pytest.mark.parametrize(
    ("module", "claim"), [(meshes, "learned.fem_heat"), (sparse_inverse, "learned.spai_elasticity")]
)
def test_the_tables_of_meshes(module, claim, monkeypatch):
    cases = tuple(case for case in meshes.CASES if case.dim == 2)
    monkeypatch.setattr(module, "CASES", cases)
    told = session()
    told.only = (claim,)
    module.measure(told, 0)
    assert list(told.values) == [claim]
    assert len(told.values[claim][0]) == 1
    verdicts = [row for row in told.rows if "verdict" in row and row["method"] == module.OURS]
    assert [row["place"] for row in verdicts] == ["as trained", "contrast x 10", "2 times finer", "4 times finer"]
    for row in verdicts:
        others = [one for one in told.rows if one["place"] == row["place"] and "verdict" not in one]
        assert {"Jacobi", "IC(0)", meshes.OWN, "AMG", "SuperLU", module.OURS} <= {one["method"] for one in others}
        assert any(one["method"].startswith("RIC(") for one in others)
        assert all(one["true_residual"] <= 1e-8 for one in others if one.get("failed") == 0)


def test_complete_factors_are_left_out_where_they_would_be_huge():
    assert "SuperLU" in meshes.classical(with_factors=True)
    assert "SuperLU" not in meshes.classical(with_factors=False)


def test_training_on_grids_and_on_meshes_changes_the_weights():
    on_meshes = meshes.training(meshes.CASES[0], meshes.THRESHOLDED, True)
    for training in (diffusion.trainings(True)[diffusion.OURS], on_meshes):
        trained = training.run(0, lambda line: None)
        fresh = CorrectedFactor().network.state_dict()
        assert any(not torch.equal(fresh[name], value) for name, value in trained.recipe.network.state_dict().items())
        assert trained.recipe.trained_on.family == type(training.family).__name__
        assert trained.seconds > 0
