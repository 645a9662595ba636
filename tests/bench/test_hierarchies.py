"""`pdekit bench recycling`, kept hierarchies: neighbours are what it says, and every method solves the same systems."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from pdekit.bench import recycling
from pdekit.bench.harness import Session
from pdekit.bench.recycling import hierarchies
from pdekit.domain import Disk, Grid


@pytest.mark.parametrize("domain", [Grid((40, 40)), Disk(refinements=4).mesh()])
def test_logarithms_of_neighbours_are_correlated(domain):
    """Of standard deviation 1 in all; apart by sqrt(2 (1 - 0.99)) of it from one system to the next."""
    logarithms = hierarchies.neighbours(domain, 40, seed=0).log().flatten(1)
    steps = (logarithms[1:] - logarithms[:-1]).square().mean().sqrt()
    assert float(steps / 0.02**0.5) == pytest.approx(1.0, abs=0.15)
    assert 0.5 < float(logarithms.std()) < 1.5
    other = hierarchies.neighbours(domain, 40, seed=0, number=1).log().flatten(1)
    assert abs(float(torch.corrcoef(torch.stack([logarithms[0], other[0]]))[0, 1])) < 0.99


def test_a_chain_is_of_new_matrices_of_one_pattern():
    first, second = hierarchies.systems(hierarchies.Part("darcy", 0, 0, 2))
    assert first.matrix.pattern is second.matrix.pattern
    assert first.stencil is not None
    A, b = first.matrix.to_scipy(), first.rhs.numpy()
    assert A.shape == (128**2, 128**2)
    x = scipy.sparse.linalg.spsolve(A.tocsc(), b)
    assert np.linalg.norm(b - first.stencil.matvec(torch.from_numpy(x)).numpy()) < 1e-10 * np.linalg.norm(b)
    assert 0 < float((first.matrix.entries - second.matrix.entries).norm() / first.matrix.entries.norm()) < 0.5


class Here:
    """In place of processes: one chain in this one, twice."""

    def __init__(self, work, parts):
        self.work, self.part = work, parts[0]

    def __call__(self):
        return [self.work(self.part)] * 2

    def __enter__(self):
        return self

    def __exit__(self, *_):
        torch.set_num_threads(self.threads)

    threads = torch.get_num_threads()


def test_the_quick_version_fills_the_table(monkeypatch):
    monkeypatch.setattr(hierarchies, "Processes", Here)
    session = Session(recycling.BENCHMARK, quick=True, only=("recycling.amg_refresh_disk",), say=lambda line: None)
    hierarchies.measure(session, 0)
    assert [result["id"] for result in session.results()] == ["recycling.amg_refresh_disk"]
    rows = {row["method"]: row for row in session.rows}
    assert {row["problem"] for row in session.rows} == {"disk"}
    assert rows["CG(AMG(kept))"]["coarsened"] == 2
    assert rows["CG(AMG())"]["coarsened"] == 6
    assert all(row["failed"] == 0 and row["systems"] == 6 and row["true_residual"] <= 1e-8 for row in rows.values())
    assert rows["CG(AMG(kept))"]["iterations"] <= 1.3 * rows["CG(AMG())"]["iterations"] + 1
