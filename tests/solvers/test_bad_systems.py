"""Matrices and right-hand sides with which something is wrong: each named by where it is."""

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.matrices import laplacian

from pdekit.core import InputError
from pdekit.solvers import CG, CSR, GMRES, DenseMatrix, Direct, LinearSystem, solve
from pdekit.solvers.operators.csr import Points


def cleared(row: int, size: int = 5) -> scipy.sparse.csr_array:
    A = laplacian(size)
    A.data[A.indptr[row] : A.indptr[row + 1]] = 0.0
    return A


@pytest.mark.parametrize("form", [lambda A: A, scipy.sparse.csr_array.toarray])
@pytest.mark.parametrize("method", [CG(), Direct(), GMRES()])
def test_a_row_of_zeros_is_named(form, method):
    with pytest.raises(InputError, match=r"Row 17 of A is zero \(1 of 25 rows are\)"):
        solve(form(cleared(17)), np.ones(25), method)


def test_a_row_of_zeros_that_is_not_stored():
    A = scipy.sparse.coo_array(([1.0, 2.0, 3.0], ([0, 2, 3], [0, 2, 3])), shape=(4, 4))
    with pytest.raises(InputError, match="Row 1 of A is zero"):
        solve(A, np.ones(4))


def test_a_row_of_zeros_in_a_batch():
    good, bad = CSR.from_scipy(laplacian(5)), CSR.from_scipy(cleared(17))
    A = CSR(good.pattern, None, torch.stack([good.entries, bad.entries]))
    with pytest.raises(InputError, match=r"Row 17 of the matrix \[1\] of A is zero \(1 of 50"):
        solve(A, torch.ones(25, dtype=torch.float64))


def test_zeros_on_the_diagonal_are_no_rows_of_zeros():
    A = scipy.sparse.csr_array(np.array([[0.0, 2.0], [4.0, 0.0]]))
    assert solve(A, np.array([2.0, 4.0])).x.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("form", [lambda A: A, scipy.sparse.csr_array.toarray])
@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, np.nan)])
def test_entries_that_are_not_finite_are_named_by_row_and_column(form, value):
    A = laplacian(5).astype(type(value))
    A[12, 7] = value
    with pytest.raises(InputError, match=r"A\[12, 7\] is .*(nan|inf).* \(1 of"):
        solve(form(A), np.ones(25))


def test_entries_of_a_batch_that_are_not_finite():
    A = CSR.from_scipy(laplacian(5))
    entries = A.entries.repeat(3, 1)
    entries[2, (A.rows == 12) & (A.indices == 7)] = np.nan
    with pytest.raises(InputError, match=r"A\[2, 12, 7\] is nan"):
        solve(CSR(A.pattern, None, entries), torch.ones(25, dtype=torch.float64))


@pytest.mark.parametrize("value", [np.nan, complex(1, np.inf)])
def test_loads_that_are_not_finite(value):
    b = np.ones((2, 25), dtype=type(value))
    b[1, 7] = value
    with pytest.raises(InputError, match=r"b\[1, 7\] is .*(nan|inf)"):
        solve(laplacian(5), b)


def test_columns_as_scipy_users_have_them():
    with pytest.raises(InputError, match=r"b has shape \(25, 1\).*It is a column.*pass b\[:, 0\]"):
        solve(laplacian(5), np.ones((25, 1)))
    with pytest.raises(InputError, match=r"b has shape \(25, 3\).*pass b.T"):
        solve(laplacian(5), np.ones((25, 3)))
    with pytest.raises(InputError, match=r"A has shape \(25, 24\); expected a square matrix"):
        solve(laplacian(5)[:, :24], np.ones(25))


# ------------------------------------------------------------------------------------------- null spaces


def free_body(dim: int = 2, nodes: int = 8) -> CSR:
    """A matrix with the rigid motions of random points in its null space, and the points."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((nodes, dim))
    n = nodes * dim
    component = np.tile(np.arange(dim), nodes)
    modes = [(component == k) * 1.0 for k in range(dim)]
    for i in range(dim):
        for j in range(i + 1, dim):
            place = np.repeat(points, dim, axis=0)
            modes.append((component == j) * place[:, i] - (component == i) * place[:, j])
    basis = np.linalg.qr(np.stack(modes, 1))[0]
    project = np.eye(n) - basis @ basis.T
    one = CSR.from_scipy(scipy.sparse.csr_array(project))
    geometry = Points(torch.from_numpy(np.repeat(points, dim, axis=0)), torch.from_numpy(component))
    return CSR(one.pattern, None, one.entries, nullspace=torch.from_numpy(basis), geometry=geometry)


def test_forces_that_do_not_balance_are_named():
    A = free_body()
    b = torch.zeros(2, 16, dtype=torch.float64)
    b[1, 0], b[1, 2] = 2.0, 1.0  # along x
    with pytest.raises(InputError, match=r"b\[1\] has the inner product 3 with the translation along x, .*rotation"):
        solve(A, b)
    b[1, 2] = -2.0
    with pytest.raises(InputError, match=r"b\[1\] has the inner product [-.\d]+ with the rotation in the plane xy,"):
        solve(A, b)


@pytest.mark.parametrize(("dim", "count"), [(2, 3), (3, 6)])
def test_forces_in_balance(dim, count):
    A = free_body(dim)
    b = A.matvec(torch.rand(8 * dim, dtype=torch.float64))
    solution = solve(A, b)
    assert solution.nullspace.startswith(f"{count} dimensions (translation along x, translation along y")
    assert solution.nullspace.count("rotation") == {2: 1, 3: 3}[dim]


def test_parts_that_are_not_connected_are_named():
    parts = scipy.sparse.block_diag([np.array([[1.0, -1.0], [-1.0, 1.0]])] * 2, format="csr")
    A = CSR.from_scipy(parts)
    basis = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64) / 2**0.5
    A = CSR(A.pattern, None, A.entries, nullspace=basis)
    with pytest.raises(InputError, match=r"constants on 2 connected unknowns \(the first is 2\)"):
        solve(A, torch.tensor([0.5, 0.5, -0.5, -0.5], dtype=torch.float64))
    assert solve(A, torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=torch.float64)).converged


def test_a_null_space_without_names():
    basis = torch.linalg.qr(torch.rand(6, 2, dtype=torch.float64))[0]
    A = DenseMatrix(torch.eye(6, dtype=torch.float64) - basis @ basis.mT)
    sparse = CSR.from_scipy(scipy.sparse.csr_array(A.matrix.numpy()))
    sparse = CSR(sparse.pattern, None, sparse.entries, nullspace=basis)
    with pytest.raises(InputError, match=r"with the column 0 of the null space, .*2 dimensions"):
        solve(sparse, torch.ones(6, dtype=torch.float64))


def test_a_null_space_that_the_adjoint_does_not_share():
    walk = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-2.0, 0.0, 2.0]])  # A 1 = 0, but not 1 A = 0
    for matrix in (walk, walk * (1 + 1j)):
        A = CSR.from_scipy(scipy.sparse.csr_array(matrix))
        A = CSR(A.pattern, None, A.entries, nullspace=torch.full((3, 1), 3**-0.5, dtype=torch.float64))
        with pytest.raises(InputError, match="its adjoint does not share"):
            solve(A, torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("factor", [1.0, 1 + 1j])
def test_a_null_space_of_an_unsymmetric_matrix(factor):
    ring = (np.eye(7) - np.roll(np.eye(7), 1, axis=1)) * factor  # a flow round a ring
    A = CSR.from_scipy(scipy.sparse.csr_array(ring))
    A = CSR(A.pattern, None, A.entries, nullspace=torch.full((7, 1), 7**-0.5, dtype=torch.float64))
    b = torch.rand(7, dtype=A.dtype)
    b = (b - b.mean()).requires_grad_()
    solution = solve(A, b, rtol=1e-12)
    expected = np.linalg.pinv(ring) @ b.detach().numpy()
    assert np.abs(solution.x.detach().numpy() - expected).max() < 1e-12
    g = torch.rand(7, dtype=A.dtype)
    solution.x.backward(g)
    assert np.abs(b.grad.numpy() - np.linalg.pinv(ring).conj().T @ g.numpy()).max() < 1e-12


def test_a_system_is_balanced_by_a_rigid_motion():
    A = free_body()
    shares = torch.rand(16, dtype=torch.float64) + 0.5
    for share in (None, shares):
        system = LinearSystem(A, torch.rand(3, 16, dtype=torch.float64), lambda u: u, lambda u: u, share)
        assert solve(A, system.balanced().rhs).converged.all()
        taken = system.rhs - system.balanced().rhs
        motion = taken if share is None else taken / share
        assert (motion - motion @ A.nullspace @ A.nullspace.mT).abs().max() < 1e-12


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_scipy_matrices_whose_arrays_make_none(form):
    for change, said in (
        (lambda A: A.indptr.__setitem__(2, 99), "indptr of a .* must hold 26 starts"),
        (lambda A: A.indptr.__setitem__(-1, 10**6), "indptr of a .* must hold 26 starts"),
        (lambda A: A.indices.__setitem__(3, 25), "indices of a .* run from 0 to 25; expected 0 to 24"),
        (lambda A: A.indices.__setitem__(3, -1), "indices of a .* run from -1 to 24"),
    ):
        A = laplacian(5).asformat(form)
        change(A)
        with pytest.raises(InputError, match=said):
            solve(A, np.ones(25))
