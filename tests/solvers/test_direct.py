"""Sparse factors: batches, accuracy of pivots from the diagonal, null spaces (oracle: dense algebra)."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.matrices import convection, helmholtz, laplacian

from pdekit.solvers import CG, CSR, GMRES, MINRES, Direct, NotConverged, solve
from pdekit.solvers.direct.superlu import SuperLU


def batch(*matrices) -> CSR:
    """Sparse matrices of one pattern."""
    parts = [CSR.from_scipy(matrix) for matrix in matrices]
    return CSR(parts[0].pattern, None, torch.stack([part.entries for part in parts]))


@pytest.mark.parametrize("threads", [1, 2])
def test_each_matrix_of_a_batch(threads):
    A = batch(*(convection(9, peclet) for peclet in (1.0, 5.0, 25.0)))
    b = torch.rand(2, 3, 81, dtype=torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        solution = solve(A, b, Direct(), rtol=1e-13)
    finally:
        torch.set_num_threads(before)
    for row in range(3):
        expected = np.linalg.solve(A.to_scipy((row,)).toarray(), b[:, row].numpy().T).T
        assert np.abs(solution.x[:, row].numpy() - expected).max() < 1e-12
    assert solution.method == "Direct, SuperLU"


@pytest.mark.parametrize("waves", [0.9, 2.2, 3.6])
def test_indefinite_helmholtz(waves):
    A, b = helmholtz(30, waves), np.random.default_rng(0).standard_normal(900)
    signs = np.sign(np.linalg.eigvalsh(A.toarray()))
    assert (signs < 0).any()
    assert (signs > 0).any()
    solution = solve(A, b, Direct(), rtol=1e-11)
    assert np.abs(solution.x - np.linalg.solve(A.toarray(), b)).max() < 1e-9 * np.abs(solution.x).max()


def treacherous(pairs: int = 6) -> scipy.sparse.csr_array:
    """Symmetric, with pivots on the diagonal just large enough to be taken, each of which amplifies the next."""
    n = 2 * pairs
    A = np.zeros((n, n))
    for k in range(n - 1):
        A[k, k + 1] = A[k + 1, k] = 1.0
    A[np.arange(n), np.arange(n)] = 1.1e-3
    A[0, n - 1] = A[n - 1, 0] = 0.7
    return scipy.sparse.csr_array(A)


def test_pivots_that_were_too_small_are_chosen_again():
    A, b = treacherous(), np.random.default_rng(0).standard_normal((2, 12))
    factors = SuperLU(CSR.from_scipy(A))
    assert factors.diagonal_pivots
    again = factors.fallback()
    assert again is not None
    assert again.fallback() is None
    assert not again.diagonal_pivots
    x = again.run(torch.from_numpy(b), None, 1e-8, 0.0).x.numpy()
    assert np.abs(x - np.linalg.solve(A.toarray(), b.T).T).max() < 1e-13
    assert solve(A, b, Direct(), rtol=1e-13).converged.all()


def test_the_fallback_is_taken_for_the_systems_that_need_it_and_named(monkeypatch):
    good, bad = laplacian(4), laplacian(4)
    A = batch(good, bad)
    usual = SuperLU._factor

    def spoiled(self, indices):
        usual(self, indices)
        if self.diagonal_pivots:
            self.factors[(1,)] = _Useless()

    monkeypatch.setattr(SuperLU, "_factor", spoiled)
    b = torch.rand(2, 16, dtype=torch.float64)
    solution = solve(A, b, Direct(), rtol=1e-13)
    assert solution.method == "Direct, SuperLU; then Direct, SuperLU and full pivoting for 1 of 2 systems"
    assert np.allclose(solution.x.numpy(), np.linalg.solve(good.toarray(), b.numpy().T).T, rtol=1e-12)
    assert solution.setup_seconds > 0


class _Useless:
    def solve(self, b, trans="N"):
        return -b


def test_a_singular_matrix_in_a_batch_leaves_the_others_alone():
    singular = laplacian(3)
    for row in (3, 4):  # both say only what the unknown 4 is
        places = slice(singular.indptr[row], singular.indptr[row + 1])
        singular.data[places] = singular.indices[places] == 4
    with pytest.raises(NotConverged, match=r"\[1\]: .*the matrix is singular") as caught:
        solve(batch(laplacian(3), singular), torch.ones(2, 9, dtype=torch.float64), Direct())
    assert caught.value.solution.converged.tolist() == [True, False]


# ------------------------------------------------------------------------------------------- null spaces


def with_null_space(columns: np.ndarray, indefinite: bool = False) -> CSR:
    """A random symmetric matrix that maps the columns to 0."""
    n = len(columns)
    basis = np.linalg.qr(columns)[0]
    rng = np.random.default_rng(0)
    B = rng.standard_normal((n, n))
    B = B + B.T + 8 * np.eye(n) if indefinite else B @ B.T / n + np.eye(n)
    project = np.eye(n) - basis @ basis.T
    matrix = project @ B @ project
    one = CSR.from_scipy(scipy.sparse.csr_array((matrix + matrix.T) / 2))
    return CSR(one.pattern, None, one.entries, nullspace=torch.from_numpy(basis))


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("method", [Direct(), CG(), MINRES(), GMRES()])
def test_null_spaces_of_any_dimension(k, method):
    A = with_null_space(np.random.default_rng(1).standard_normal((30, k)))
    basis = A.nullspace.numpy()
    b = np.random.default_rng(2).standard_normal((4, 30))
    b -= b @ basis @ basis.T
    solution = solve(A, b, method, rtol=1e-10)
    expected = b @ np.linalg.pinv(A.to_scipy().toarray(), rcond=1e-10).T
    assert np.abs(solution.x - expected).max() < 1e-8
    assert np.abs(solution.x @ basis).max() < 1e-12
    assert solution.nullspace.startswith(f"{k} dimensions")
    if method == Direct():
        assert f"{'one unknown' if k == 1 else f'{k} unknowns'} fixed" in solution.method


def test_the_unknowns_fixed_tell_the_null_space_apart():
    """Modes that live on two far parts of the unknowns: fixing any two unknowns of one part would not do."""
    columns = np.zeros((20, 2))
    columns[:10, 0], columns[10:, 1] = 1.0, 1.0
    A = with_null_space(columns, indefinite=True)
    b = np.random.default_rng(2).standard_normal(20)
    b -= A.nullspace.numpy() @ (A.nullspace.numpy().T @ b)
    assert solve(A, b, Direct(), rtol=1e-10).method == "Direct, SuperLU with 2 unknowns fixed"


def test_gradients_through_a_null_space():
    A = with_null_space(np.random.default_rng(1).standard_normal((8, 2)))
    basis = A.nullspace
    b = torch.rand(8, dtype=torch.float64, requires_grad=True)

    def x(b):
        return solve(A, b - basis @ (basis.mT @ b), Direct(), rtol=1e-12).x

    assert torch.autograd.gradcheck(x, (b,))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_factors_are_freed():
    """SciPy never frees a factor that dies in another thread than its own: 2 MB a matrix were lost."""
    A = CSR.from_scipy(laplacian(60))
    matrices = CSR(A.pattern, None, A.entries.expand(8, -1).contiguous())
    b = torch.ones(3600, dtype=torch.float64)

    def held() -> float:
        for _ in range(6):
            solve(matrices, b, Direct())
        return int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

    first = held()
    assert held() - first < 20
