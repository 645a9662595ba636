"""The benchmark of Auto runs, on matrices that are what they are said to be; its figures here are no evidence."""

import numpy as np
import pytest

from pdekit.bench import auto, auto_table
from pdekit.bench.harness import run
from pdekit.solvers import Tag


@pytest.mark.parametrize("shape", [(9, 8), (5, 4, 6)])
@pytest.mark.parametrize("kind", list(auto_table.METHODS))
def test_the_matrices_are_what_they_are_called(kind, shape):
    A = auto_table.Case(kind, shape, 2).matrices(0)
    dense = A.to_scipy((1,)).toarray()
    assert (Tag.SYMMETRIC in A.tags) == (kind != "convection")
    eigenvalues = np.linalg.eigvals(dense).real
    assert (eigenvalues.min() < 0 < eigenvalues.max()) == (kind == "Helmholtz")
    if kind != "Helmholtz":
        assert (np.linalg.inv(dense) >= 0).all()  # M-matrices
        assert dense.sum(1).min() > -1e-12
    assert not np.array_equal(dense, A.to_scipy((0,)).toarray())


def test_regret_is_defined_whoever_converges():
    seconds = {"Auto": 3.0, "Direct": 2.0, "MINRES": 1.0}
    assert auto_table._regret(seconds, {"Auto": True, "Direct": True, "MINRES": True}) == 3.0
    assert auto_table._regret(seconds, {"Auto": True, "Direct": True, "MINRES": False}) == 1.5
    assert auto_table._regret(seconds, {"Auto": True, "Direct": False, "MINRES": False}) == 0.0
    assert auto_table._regret(seconds, {"Auto": False, "Direct": False, "MINRES": False}) == np.inf


def test_a_small_run():
    report = run(auto.BENCHMARK, quick=True, only=["auto.table"], say=lambda line: None)
    assert [claim["id"] for claim in report["claims"]] == ["auto.table"]
    assert {row["matrix"].split()[0] for row in report["rows"]} == set(auto_table.METHODS)
    assert all(row["true_residual"] <= 1e-8 for row in report["rows"] if row["converged"])
    assert sum(row["auto"] for row in report["rows"]) == 3
