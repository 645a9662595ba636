"""The benchmarks run and measure what they claim; small versions, whose figures are no evidence."""

import numpy as np
import pytest

from pdekit.bench import generation, multigrid, peers
from pdekit.bench.harness import Session, run
from pdekit.core.errors import MissingPeer
from pdekit.families import Darcy


def systems(count=2):
    family = generation.darcy(17)
    return generation._assembled(family, family.draw(range(count), seed=0))


@pytest.mark.parametrize("name", list(peers.SOLVERS))
def test_each_peer_meets_the_tolerance(name):
    """Oracle: dense elimination."""
    if name != "superlu":
        pytest.importorskip(name)
    solved = peers.solve_all((name, systems(), 1e-8))
    assert len(solved.residuals) == 2
    assert max(solved.residuals) <= 1e-8
    matrix, rhs = systems(1)[0]
    x, _ = peers.SOLVERS[name](matrix, rhs, 1e-8)
    expected = np.linalg.solve(matrix.toarray(), rhs)
    assert np.linalg.norm(x - expected) <= 1e-6 * np.linalg.norm(expected)


def test_the_peers_get_the_systems_that_we_solve():
    family = generation.darcy(17)
    inputs = family.draw(range(2), seed=0)
    samples = family.solve(inputs, rtol=1e-10)
    assert max(generation._true_residuals(generation._assembled(family, inputs), samples)) <= 1e-10


def test_generation_measures_every_size_and_the_file(monkeypatch):
    monkeypatch.setattr(generation, "BATCHES", {17: 4})
    monkeypatch.setattr(generation, "SOLVERS", {"superlu": peers.superlu})
    session = Session(generation.BENCHMARK, quick=True, say=lambda line: None)
    monkeypatch.setattr(session, "wants", lambda *ids: "generation.best_17" in ids)
    monkeypatch.setattr(session, "record", lambda claim, value, seed: session.values.update({claim: value}))
    generation.measure(session)
    assert session.values["generation.best_17"] > 0
    assert [row["solver"] for row in session.rows] == ["pdekit", "superlu"]
    assert all(row["true_residual"] <= 1e-8 for row in session.rows)


def test_a_side_that_misses_the_tolerance_is_an_error():
    session = Session(generation.BENCHMARK, say=lambda line: None)
    with pytest.raises(RuntimeError, match=r"superlu stopped at a true residual of 1.0e-06"):
        generation._row(session, 17, 0, 1, "superlu", {"superlu": 1.0}, [1e-6], [0])


def test_multigrid_counts_the_worst_case(monkeypatch):
    monkeypatch.setattr(multigrid, "SIZES_2D", ((17, 17), (33, 21)))
    monkeypatch.setattr(multigrid, "SIZES_3D", ((9, 9, 9), (11, 9, 10)))
    monkeypatch.setattr(multigrid, "GROWTH", {2: (17, 33), 3: (9, 11)})
    report = run(multigrid.BENCHMARK, say=lambda line: None)
    found = {claim["id"]: claim for claim in report["claims"]}
    assert set(found) == {f"multigrid.{kind}{suffix}" for kind in multigrid.BOUNDS for suffix in ("", "_3d")}
    plane = [row for row in report["rows"] if row["coefficient"] == "contrast4" and row["shape"].count("x") == 1]
    counts = [row["iterations"] for row in plane]
    assert found["multigrid.contrast4"]["value"] == max(counts)
    assert all("multigrid" in row["method"] for row in report["rows"])


def test_growth_compares_the_named_sizes(monkeypatch):
    monkeypatch.setattr(multigrid, "GROWTH", {2: (17, 33), 3: (9, 11)})
    monkeypatch.setattr(multigrid, "_iterations", lambda session, kind, shape, seed: shape[0])
    monkeypatch.setattr(multigrid, "SIZES_2D", ((17, 17), (20, 20), (33, 33)))
    monkeypatch.setattr(multigrid, "SIZES_3D", ())
    report = run(multigrid.BENCHMARK, only=["multigrid.growth"], say=lambda line: None)
    assert [claim["value"] for claim in report["claims"]] == [33 / 17]


def test_the_listed_sizes_are_those_of_the_claims():
    sides = [n for shape in multigrid.SIZES_2D for n in shape]
    assert len(multigrid.SIZES_2D) == 20
    assert max(sides) == 511
    assert {(63, 63), (64, 64), (256, 256), (100, 37), (421, 421)} <= set(multigrid.SIZES_2D)
    assert {n for shape in multigrid.SIZES_3D for n in shape} >= {32, 96}
    assert isinstance(generation.darcy(64), Darcy)


def test_generation_without_its_peers_says_how_to_install_them(monkeypatch):
    monkeypatch.setattr("pdekit.bench.harness.util.find_spec", lambda name: None)
    with pytest.raises(MissingPeer, match=r"pip install 'pyamg>=5.2' 'apxchol>=0.2'"):
        run(generation.BENCHMARK, say=lambda line: None)
