"""The equations of `bench recycling` are those it names; the sequences run, on few unknowns."""

from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from pdekit.bench import recycling
from pdekit.bench.harness import Session
from pdekit.bench.recycling import sequences
from pdekit.bench.recycling.equations import NonlinearDiffusion, convection, helmholtz, impedance, smooth
from pdekit.bench.recycling.tally import Tally
from pdekit.solvers import newton, solve


def order_of(errors: list[float]) -> np.ndarray:
    return np.log2(np.array(errors[:-1]) / errors[1:])


@pytest.mark.parametrize("dim", [2, 3])
def test_helmholtz_converges_to_the_equation(dim):
    """Oracle: u = sin(pi x) sin(pi y) (sin(pi z)), an eigenfunction for dim pi^2."""
    errors = []
    for size in (7, 15, 31):
        matrix, _ = next(helmholtz((size,) * dim, 0.7, 0.0, np.random.default_rng(0)))
        line = np.sin(np.pi * np.arange(1, size + 1) / (size + 1))
        u = line
        for _ in range(dim - 1):
            u = np.multiply.outer(u, line)
        f = (dim * np.pi**2 - (1.4 * np.pi) ** 2) * u.ravel() / (size + 1) ** 2
        errors.append(float(np.abs(solve(matrix, f, rtol=1e-10).x - u.ravel()).max()))
    assert (order_of(errors) > 1.8).all()


def test_waves_leave_through_the_impedance_boundary():
    """Oracle: the plane wave exp(i k x) meets -u'' = k^2 u everywhere and u' = i k u on the right."""
    errors = []
    for size in (32, 64, 128):
        matrix, _ = next(impedance(size, 1.0, 0.0, np.random.default_rng(0)))
        k, x = 2 * np.pi, (np.arange(size) + 0.5) / size
        wave = np.repeat(np.exp(1j * k * x), size).reshape(size, size)
        left = (matrix @ wave.ravel()).reshape(size, size)[:, 1:-1] * size
        errors.append(float(np.abs(left[-1]).max()))  # the flux through the right side is that of the wave
        assert np.abs(left[1:-1]).max() < 50 / size**2
        assert abs(matrix - matrix.T).max() == 0
    assert (order_of(errors) > 0.9).all()


def test_convection_is_skew_and_of_mean_speed_1():
    """Oracle: a flow without sources neither gains nor loses energy."""
    matrices = [matrix for matrix, _ in islice(convection(48, 50.0, 0.98, np.random.default_rng(0)), 3)]
    laplacian = next(helmholtz((48, 48), 0.0, 0.0, np.random.default_rng(0)))[0]
    for matrix in matrices:
        flow = (matrix - laplacian).toarray()
        assert np.abs(flow + flow.T).max() < 1e-14
        along, across = np.diagonal(flow, 48).reshape(47, 48)[:, :-1], np.diagonal(flow, 1)
        across = np.append(across, 0.0).reshape(48, 48)[:-1, :-1]
        assert 2 * 49 / 50.0 * np.sqrt(np.mean(along**2 + across**2)) == pytest.approx(1.0, rel=0.1)
    assert 0 < abs(matrices[1] - matrices[0]).max() < abs(matrices[0] - laplacian).max()


@pytest.mark.parametrize("exponential", [True, False])
def test_nonlinear_diffusion_has_its_jacobian_and_converges(exponential):
    """Oracles: differences of the residual; u = sin(pi x) sin(pi y) with its source."""
    problem, zero = NonlinearDiffusion(9, exponential), torch.zeros(81, dtype=torch.float64)
    u, v = torch.randn(2, 81, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slope = (problem.residual(u + 1e-6 * v, zero) - problem.residual(u - 1e-6 * v, zero)) / 2e-6
    assert torch.allclose(problem.jacobian(u).matvec(v), slope, atol=1e-7)
    errors = []
    for size in (7, 15, 31):
        problem = NonlinearDiffusion(size, exponential)
        t = torch.arange(1, size + 1, dtype=torch.float64) / (size + 1)
        x, y = torch.meshgrid(t, t, indexing="ij")
        s, c = torch.sin, torch.cos
        u = s(torch.pi * x) * s(torch.pi * y)
        square = torch.pi**2 * ((c(torch.pi * x) * s(torch.pi * y)) ** 2 + (s(torch.pi * x) * c(torch.pi * y)) ** 2)
        k, derivative = (u.exp(), u.exp()) if exponential else (1 + u * u, 2 * u)
        f = (2 * torch.pi**2 * k * u - derivative * square).reshape(-1)
        found = newton(partial(problem.residual, f=f), torch.zeros(size**2, dtype=torch.float64), problem.jacobian)
        errors.append(float((torch.as_tensor(found.x) - u.reshape(-1)).abs().max()))
    assert (order_of(errors) > 1.8).all()


def test_smooth_fields_have_deviation_1():
    rng = np.random.default_rng(0)
    assert np.mean([smooth(16, rng) ** 2 for _ in range(400)]) == pytest.approx(1.0, rel=0.15)


class InThisProcess:
    """Does the work of processes in this one, one after the other."""

    def __init__(self, work, parts):
        self.work, self.parts = work, parts

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self):
        return [self.work(part) for part in self.parts]


def test_the_sequences(monkeypatch):
    monkeypatch.setattr(sequences, "Processes", InThisProcess)
    monkeypatch.setattr(sequences, "NEWTON_SIDE", 20)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    small = {sequences.WAVES: (helmholtz, (9, 9, 9), 0.8, 0.02), sequences.QUICK: (convection, 20, 50.0, 0.98)}
    cases = {
        name: sequences.Case(partial(*small[name]) if name in small else None, 20, 8, 2, 3, exponential=True)
        for name in (*small, "Newton, conductivity exp(u)")
    }
    monkeypatch.setattr(sequences, "CASES", cases)
    session = Session(recycling.BENCHMARK, quick=True, say=lambda line: None)
    sequences.measure(session, 0)
    assert set(session.values) == {claim.id for claim in sequences.CLAIMS} == set(sequences.AGAINST)
    assert {row["case"] for row in session.rows} == set(cases)
    assert len(session.rows) == 3 * 5
    assert all(row["failed"] == 0 and row["true_residual"] <= 1e-8 for row in session.rows)
    assert all(row["systems"] == 2 for row in session.rows)
    only = Session(recycling.BENCHMARK, only=("recycling.newton",), say=lambda line: None)
    sequences.measure(only, 0)
    assert set(only.values) == {"recycling.newton"}
    assert {row["systems"] for row in only.rows} == {6}


def test_a_claim_about_a_case_with_a_failure_is_not_measured():
    assert np.isnan(sequences._seconds(Tally([1.0, 2.0], [5, 5], [1e-9, 1e-3], [True, False])))
    assert sequences._seconds(Tally([1.0, 2.0], [5, 5], [1e-9, 1e-9], [True, True])) == 1.5
