"""The benchmark of SSOR's omega solves the equation it names; its figures here are no evidence."""

import numpy as np
import pytest
import scipy.sparse
import torch

from pdekit.bench import relax
from pdekit.bench.harness import run
from pdekit.solvers import CG, SSOR


def test_a_step_is_one_of_crank_nicolson():
    """Oracle: SciPy's Kronecker sums and sparse elimination."""
    heat, step, n = relax.Heat(10), 740, 9
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)) * 100
    minus_laplacian = scipy.sparse.kronsum(line, line)
    t = 0.7405
    diffusivity = -10 * np.sin(2 * np.pi * t)
    half = 0.5e-3 * diffusivity * minus_laplacian
    x, y = (axis.ravel() for axis in np.meshgrid(*2 * [np.arange(1, 10) / 10], indexing="ij"))
    radius = ((x - 0.5 - np.cos(16 * np.pi * t) / 4) ** 2 + (y - 0.5 - np.sin(16 * np.pi * t) / 4) ** 2) / 0.125**2
    source = np.where(radius < 1, 32 * np.exp(1 - 1 / (1 - np.minimum(radius, 0.999))), 0.0)
    assert source.any()
    eye, u = scipy.sparse.eye_array(n * n), heat.start().numpy()
    expected = scipy.sparse.linalg.spsolve((eye + half).tocsc(), (eye - half) @ u + 1e-3 * source)
    side = relax.Side(CG(SSOR(1.5)), heat.start())
    side.advance(heat, step)
    np.testing.assert_allclose(side.u, expected, atol=1e-7)
    assert abs(heat.matrix(step).to_scipy() - heat.stencil(step).to_scipy()).max() <= 1e-12


def test_the_first_temperature_is_a_bump_in_the_middle():
    u = relax.Heat(20).start().reshape(19, 19)
    assert u[9, 9] == 1.0
    torch.testing.assert_close(u, u.flip(0))
    torch.testing.assert_close(u, u.mT)
    assert not u[:5].any()


def test_a_small_run(monkeypatch):
    monkeypatch.setattr(relax, "POINTS", (12,))
    monkeypatch.setattr(relax, "STEPS", 30)
    report = run(relax.BENCHMARK, seeds=2, say=lambda line: None)
    assert [claim["id"] for claim in report["claims"]] == ["relax.tsallis", "relax.chebcb"]
    assert all(len(claim["per_seed"]) == 2 for claim in report["claims"])
    rows = report["rows"]
    gains = {(row["method"].split(",")[0], row["seed"]): row["gain"] for row in rows}
    assert gains["omega = 1", None] == 1.0
    assert 1.0 <= gains["best fixed omega", None] <= gains["oracle", None]
    assert gains["ChebCB", 0] == report["claims"][1]["per_seed"][0]
    assert {row["steps"] for row in rows} == {30, 2}
    curves = report["curves"]["regret"]
    assert curves["steps"] == [25, 30]
    assert set(curves) == {"steps", "omega = 1", "oracle", *relax.BANDITS}
    assert all(len(line) == 2 for line in curves.values())
    assert 0 <= curves["omega = 1"][0] <= curves["omega = 1"][1]
    assert curves["oracle"][1] <= curves["oracle"][0] <= 0


def test_one_claim_alone():
    report = run(relax.BENCHMARK, quick=True, only=["relax.chebcb"], say=lambda line: None)
    assert [claim["id"] for claim in report["claims"]] == ["relax.chebcb"]
    assert "Tsallis-INF" not in {row["method"] for row in report["rows"]}


def test_the_bandits_are_those_of_the_defaults():
    for make, _ in relax.BANDITS.values():
        assert make(0).arms == len(relax.OMEGAS) == 20
    assert (relax.OMEGAS[0], relax.OMEGAS[-1]) == (1.0, 1.95)
    assert relax.Heat(5).half(250) == pytest.approx(0.5e-3 * 0.1 * np.sin(2 * np.pi * 0.2505))
