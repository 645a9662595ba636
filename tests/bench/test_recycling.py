"""`pdekit bench recycling` has the matrices that it says; small versions, whose figures are no evidence."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from bench.gcrodr import gcrodr

from pdekit.bench import recycling
from pdekit.bench.harness import Session
from pdekit.bench.recycling import matrices, orders, published
from pdekit.bench.recycling.tally import Tally, joined
from pdekit.solvers import GCRODR, GMRES, Always, RecycleSpace, solve


def dense(kind, a):
    if kind == "Darcy":
        return matrices.darcy(a).operator.to_scipy().toarray()
    return {"published": matrices.published, "L diag(a)": matrices.corrected}[kind](a).toarray()


@pytest.fixture(scope="module")
def fields():
    return matrices.coefficients(50, 4, 0)


def test_coefficients_are_those_published(fields):
    """std(log a) of 0.18 to 0.20 and values of about 0.6 to 1.6 (reference 4b)."""
    assert fields.shape == (4, 52, 52)
    assert 0.14 < float(matrices.coefficients(50, 32, 1).log().std()) < 0.22
    assert 0.4 < float(fields.min()) < float(fields.max()) < 2.5
    assert float((fields[:, 0] - fields[:, -1]).abs().max()) < 0.3  # one step of the period apart


def test_the_published_matrix_has_the_rows_of_its_code(fields):
    """Oracle: the loops of the published code, row by row (reference 4b)."""
    side = 5
    a = fields[0, : side + 2, : side + 2]
    inside = a[1:-1, 1:-1].ravel()
    expected = np.zeros((side**2, side**2))
    for k in range(side**2):
        expected[k, k] = 4 * inside[k]
        if k % side > 0:
            expected[k, k - 1] = -inside[k - 1]
        if k % side < side - 1:
            expected[k, k + 1] = -inside[k + 1]
        if k + side < side**2:
            expected[k, k + side] = -inside[k + side]
        if k >= side:
            expected[k, k - side] = -(
                inside[k - side - 2] if k - side >= 2 else a.ravel()[(side + 2) + 1 + k - side - 2]
            )
    assert np.array_equal(dense("published", a), expected)


def test_the_published_matrix_is_neither_symmetric_nor_definite(fields):
    """Smallest eigenvalues of both signs, and solutions of both signs for f = 1 (reference 4b)."""
    for a in fields[:2]:
        A = matrices.published(a).tocsc()
        assert abs(A - A.T).max() > 0.1
        small = scipy.sparse.linalg.eigs(A, 6, sigma=0, return_eigenvectors=False).real
        assert small.min() < 0 < small.max()
        assert np.abs(small).min() < 0.02
        u = scipy.sparse.linalg.spsolve(A, np.full(2500, 1 / 49**2))
        assert u.min() < 0 < u.max()


def test_without_the_slip_it_is_a_scaled_laplacian(fields):
    """Smallest eigenvalue of 0.0073 to 0.0078, positive solutions (reference 4b)."""
    a = fields[0]
    A = matrices.corrected(a).tocsc()
    L = (A @ scipy.sparse.diags_array(1 / a[1:-1, 1:-1].ravel().numpy())).tocsc()
    assert abs(L - L.T).max() < 1e-15
    smallest = {name: scipy.sparse.linalg.eigs(M, 1, sigma=0)[0].real.item() for name, M in {"A": A, "L": L}.items()}
    assert smallest["L"] == pytest.approx(4 - 4 * np.cos(np.pi / 51))
    assert 0.005 < smallest["A"] < 0.01
    u = scipy.sparse.linalg.spsolve(A, np.full(2500, 1 / 49**2))
    assert u.min() > 0
    assert 0.03 < u.max() < 0.2


def test_the_darcy_matrix_is_symmetric_positive_and_monotone(fields):
    a = fields[0, :14, :14]
    A = dense("Darcy", a)
    assert np.array_equal(A, A.T)
    assert np.linalg.eigvalsh(A)[0] > 0
    assert np.linalg.inv(A).min() > 0
    h = 1 / 13
    assert A[0, 1] * h**2 == pytest.approx(-float(a[1, 1] + a[1, 2]) / 2)  # a cell's neighbour to the right
    assert A[0, 0] * h**2 == pytest.approx(float(4 * a[1, 1] + a[0, 1] + a[2, 1] + a[1, 0] + a[1, 2]) / 2)


@pytest.mark.parametrize("kind", matrices.KINDS)
def test_gcrodr_counts_as_the_published_algorithm_does(kind):
    """Oracle: the published algorithm in NumPy; rounding tells the two apart by a few steps in a hundred."""
    a = matrices.coefficients(24, 6, 0)
    b, U, ours, theirs = np.ones(24**2), None, [], []
    method = GCRODR(restart=40, update=Always(), space=RecycleSpace(20), max_iterations=10_000)
    for one in a:
        A = dense(kind, one)
        _, U, count = gcrodr(A, b, U, rtol=1e-6)
        theirs.append(count)
        ours.append(int(solve(A, b, method, rtol=1e-6).iterations))
    assert sum(ours) == pytest.approx(sum(theirs), rel=0.06)
    assert sum(ours[1:]) / 5 < 0.8 * ours[0]


def test_convection_is_upwinded_and_conservative():
    a, psi = orders.flows(12, 2, 0)
    for peclet in orders.PECLET:
        A = orders.convection(a[0], psi[0], peclet).toarray()
        assert np.linalg.inv(A).min() > 0
        inner = np.s_[1:-1, 1:-1]
        for axis in (0, 1):  # constants are in the kernel, and what flows out of a cell flows into others
            assert np.abs(A.sum(axis).reshape(12, 12)[inner]).max() < 1e-12
        assert np.abs(A - A.T).max() > 0.05 * peclet * 0.1


def test_the_convection_matrix_converges_to_the_equation():
    """Oracle: u = sin(pi x) sin(pi y) under a = 1 and a rigid rotation's stream function; upwinding has order 1."""
    errors = []
    for side in (31, 63, 127):
        t = torch.linspace(0, 1, side + 2, dtype=torch.float64)
        x, y = torch.meshgrid(t, t, indexing="ij")
        psi = 0.3 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
        u = torch.sin(torch.pi * x) * torch.sin(torch.pi * y)
        # along axis 0 the flux is the difference of psi along axis 1, and the negative one along axis 0
        speed = 0.6 * (y - 0.5), -0.6 * (x - 0.5)
        slope = (torch.cos(torch.pi * x) * torch.sin(torch.pi * y), torch.sin(torch.pi * x) * torch.cos(torch.pi * y))
        f = 2 * torch.pi**2 * u + 10 * torch.pi * (speed[0] * slope[0] + speed[1] * slope[1])
        A = orders.convection(torch.ones_like(u), psi, 10)
        rhs = (f[1:-1, 1:-1] / (side + 1) ** 2).ravel().numpy()
        found = solve(A, rhs, rtol=1e-10).x
        errors.append(float(np.abs(found - u[1:-1, 1:-1].ravel().numpy()).max()))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (rates > 0.85).all()


def test_the_worst_order_is_longer_than_the_drawn_one():
    keys = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    lengths = {name: float(keys[order(keys)].diff(dim=0).norm(dim=1).sum()) for name, order in orders.ORDERS.items()}
    assert lengths["sorted"] < 0.7 * lengths["drawn"]
    assert lengths["worst"] > 1.1 * lengths["drawn"]
    for order in orders.ORDERS.values():
        assert sorted(order(keys).tolist()) == list(range(60))


def test_failures_are_counted_and_not_averaged_in():
    tally = Tally([1.0, 9.0, 3.0], [10, 1000, 20], [1e-9, 1e-2, 1e-8], [True, False, True])
    assert tally.summary() == {
        "systems": 3, "failed": 1, "iterations": 15, "milliseconds": 2000.0, "mean_milliseconds": 2000.0,
        "true_residual": 1e-8,
    }  # fmt: skip
    none = Tally([1.0], [10], [1e-2], [False])
    assert np.isnan([none.mean_iterations, none.mean_seconds, none.median_seconds]).all()
    assert np.isnan(recycling.BENCHMARK.claims[0].worst([0.0, abs(none.mean_iterations / 131 - 1)]))


def test_what_another_method_finished_is_a_failure():
    A, b = np.diag([1.0, 2.0, 1e9]), np.ones(3)
    good = solve(A, b, GMRES(), rtol=1e-10)
    tally = Tally()
    tally.add(good, 2.0)
    tally.add(dataclasses.replace(good, method="GCRO-DR(40,20); then GMRES(40)"), 4.0)
    assert tally.converged == [True, False]
    whole = joined([{"a": tally}, {"a": tally, "b": tally}])
    assert whole["a"].converged == [True, False] * 2
    assert whole["b"].seconds == [2.0, 4.0]


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


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(published, "Processes", InThisProcess)
    monkeypatch.setattr(orders, "Processes", InThisProcess)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(orders, "TURN", 2)
    return Session(recycling.BENCHMARK, quick=True, say=lambda line: None)


def test_the_published_table(session):
    published.measure(session, 0)
    assert set(session.values) == {claim.id for claim in published.CLAIMS}
    table = [row for row in session.rows if "iterations" in row]
    expected = {(kind, method) for kind in matrices.KINDS for method in ("GCRO-DR(40,20)", *published.ANY)}
    expected |= {("Darcy", method) for method in published.SYMMETRIC} | {("L diag(a)", "sine transforms of a u")}
    assert {(row["matrix"], row["method"]) for row in table} == expected
    assert {row["order"] for row in table} == {12**2, 20**2}
    assert all(row["true_residual"] <= row["rtol"] for row in table if row["failed"] < row["systems"])
    assert {row["rtol"] for row in table} == set(published.TOLERANCES)
    verdicts = [row for row in session.rows if "verdict" in row]
    assert len(verdicts) == 2 * 3 * 3
    assert all((row["recycling_over_fastest"] < 1) == (row["verdict"] == "recycling wins") for row in verdicts)


def test_orders_and_batches(session):
    orders.measure(session, 0)
    assert not session.values  # none of it is a claim
    assert {row["systems_in_order"] for row in session.rows if "systems_in_order" in row} == set(orders.ORDERS)
    assert all(row["failed"] == 0 for row in session.rows)
    drawn = [row for row in session.rows if row.get("systems_in_order") == "drawn"]
    assert all(row["iterations_over_drawn"] == row["seconds_over_drawn"] == 1 for row in drawn)
    single = {row["method"]: row["iterations"] for row in session.rows if "one by one" in row["method"]}
    batched = {row["method"]: row["iterations"] for row in session.rows if "batched" in row["method"]}
    assert len(single) == len(batched) == 6
    # The same systems by the same methods, but for rounding.
    assert list(single.values()) == pytest.approx(list(batched.values()), rel=0.1)


def test_the_parts_are_joined():
    ids = [claim.id for claim in recycling.BENCHMARK.claims]
    assert len(set(ids)) == len(ids)
    assert {"recycling.published_2500", "recycling.published_6400", "recycling.darcy_cg"} <= set(ids)
    assert {claim.bound for claim in published.CLAIMS} == {0.10, 0.15}
