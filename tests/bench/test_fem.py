"""`pdekit bench fem` measures what it claims; small versions, whose figures are no evidence."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from pdekit.bench import fem, fem_peers
from pdekit.bench.harness import Session
from pdekit.domain.shapes import Ball, Disk
from pdekit.solvers import Direct, solve


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(fem, "DISK", Disk(refinements=3))
    monkeypatch.setattr(fem, "BALL", Ball(refinements=2))
    monkeypatch.setattr(fem, "GROWTH", (3, 4))


def session(*only, **how):
    return Session(fem.BENCHMARK, quick=True, only=only, say=lambda line: None, **how)


@pytest.mark.parametrize("shape", [Disk(refinements=3), Ball(refinements=2)])
def test_scikit_fem_gets_the_problems_that_we_solve(shape):
    """Oracle: SuperLU on what scikit-fem assembled and condensed."""
    import skfem

    mesh = shape.mesh()
    k = fem.coefficients(mesh, 2, seed=0)
    u, _, _ = fem.Problems(mesh).solve(k, Direct())
    part = fem._parts(mesh, k)[1]
    basis, stiffness, load, fixed = fem_peers._prepared(part)
    matrix = stiffness.assemble(basis, k=part.coefficients[0][:, None])
    inner, rhs, x, free = skfem.condense(matrix, load, D=fixed)
    x[free] = scipy.sparse.linalg.spsolve(inner.tocsc(), rhs)
    assert np.abs(u[1].numpy() - x).max() <= 1e-10 * np.abs(x).max()


def test_scikit_fem_and_pyamg_meet_the_tolerance():
    mesh = Disk(refinements=3).mesh()
    split = fem_peers.solve_all(fem._parts(mesh, fem.coefficients(mesh, 4, seed=0))[0])
    assert max(split.residuals) <= 1e-8
    assert min(split.iterations) >= 1
    assert min(split.assembly, split.elimination, split.solve) > 0


def test_disk_and_tets_compare_all_sides(small):
    pytest.importorskip("apxchol", reason="needs the bench extra")
    run = session("fem.disk", "fem.tets")
    fem.measure(run)
    assert {result["id"] for result in run.results()} == {"fem.disk", "fem.tets"}
    solvers = {row["solver"] for row in run.rows}
    assert {
        "pdekit Auto()",
        "pdekit CG(AMG())",
        "pdekit CG(IC0())",
        "scikit-fem + PyAMG",
        "superlu, solve only",
    } <= solvers


def test_stages_are_medians_of_the_rounds_that_count(small, monkeypatch):
    pytest.importorskip("apxchol", reason="needs the bench extra")
    rounds = (900.0, 1.0, 5.0, 2.0)  # a warm-up, and three whose median is 2
    ours, theirs = [], []

    def timed(problems, k, method):
        u, solution, stages = untimed(problems, k, method)
        ours.append(method)
        return u, solution, dict.fromkeys(stages, rounds[ours.count(method) - 1])

    class InThisProcess:
        def __init__(self, work, parts):
            self.work, self.parts, self.calls = work, parts, iter(rounds)
            theirs.append(self)

        def __call__(self):
            took = dict.fromkeys(("assembly", "elimination", "solve"), next(self.calls))
            return [dataclasses.replace(self.work(part), **took) for part in self.parts]

        def close(self):
            pass

    untimed = fem.Problems.solve
    monkeypatch.setattr(fem.Problems, "solve", timed)
    monkeypatch.setattr(fem, "Processes", InThisProcess)
    monkeypatch.setattr(fem, "COUNT", {"disk": 2})
    run = Session(fem.BENCHMARK, quick=False, only=("fem.disk",), say=lambda line: None)
    fem._compare(run, "disk", fem.DISK.mesh(), 0)
    assert len(theirs) == 3
    stages = {row["solver"]: [row[f"{stage}_ms"] for stage in ("assembly", "elimination", "solve")] for row in run.rows}
    assert len(stages) == 7
    assert set(map(tuple, stages.values())) == {(1e3, 1e3, 1e3)}  # 2 s for 2 problems


def test_tensormesh_assembles_our_matrix():
    pytest.importorskip("tensormesh", reason="needs the bench extra")
    mesh = Disk(refinements=2).mesh()
    k = fem.coefficients(mesh, 1, seed=0)
    theirs = fem_peers.tensormesh_assembler(mesh)(k[0])
    ours = fem.Problems(mesh).assemble(k).to_scipy((0,)).toarray()
    assert np.abs(theirs.to_dense().numpy() - ours).max() <= 1e-12 * np.abs(ours).max()


def test_growth_compares_the_smallest_disk_with_the_others(small):
    run = session("fem.amg_growth")
    fem.measure(run)
    counts = [row["iterations"] for row in run.rows]
    assert run.results()[0]["value"] == counts[1] / counts[0]


def test_reuse_compares_the_same_matrices(small, monkeypatch):
    counts = iter([[12, 9, 10, 11, 8, 8, 8, 8], *([n] for n in (10, 9, 10, 11, 8, 8, 8, 8))])
    monkeypatch.setattr(fem, "_iterations", lambda *_: next(counts))
    run = session("fem.reuse")
    fem.measure(run)
    assert run.results()[0]["value"] == 1.2


def test_the_large_problem_runs_in_a_process_of_its_own(monkeypatch):
    run = session("fem.million_seconds", "fem.million_gb")
    fem.measure(run)
    (row,) = run.rows
    assert row["nodes"] == 202**2
    assert row["true_residual"] <= 1e-8
    assert {result["id"] for result in run.results()} == {"fem.million_seconds", "fem.million_gb"}
    assert 0.1 < row["peak_gb"] < 4


def test_a_side_that_misses_the_tolerance_is_an_error(small, monkeypatch):
    pytest.importorskip("apxchol", reason="needs the bench extra")
    monkeypatch.setattr(fem, "RTOL", 1e-30)
    monkeypatch.setattr(fem, "solve", lambda A, b, method, rtol: solve(A, b, method, rtol=1e-8))
    with pytest.raises(RuntimeError, match=r"pdekit Auto\(\) stopped at a true residual of .*; expected 1e-30"):
        fem._compare(session("fem.disk"), "disk", fem.DISK.mesh(), 0)


def test_a_missing_residual_is_not_reached():
    assert not fem.Found([1e-9, float("nan")], [1, 1], {}).reached
    assert fem.Found([1e-9, 1e-10], [1, 1], {}).reached


def test_coefficients_are_log_normal():
    k = fem.coefficients(Disk(refinements=6).mesh(), 4, seed=0).log()
    assert abs(float(k.mean())) < 0.01
    assert abs(float(k.var()) - 0.25) < 0.01
    assert not torch.equal(k[0], k[1])
