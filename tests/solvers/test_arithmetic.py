"""Sums, multiples and products of sparse matrices, and what is kept of them. Oracle: SciPy and dense algebra."""

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.matrices import convection, laplacian

from pdekit import fem
from pdekit.core import InputError
from pdekit.domain import Rectangle
from pdekit.solvers import CG, CSR, Direct, NotConverged, Stencil, Tag, solve
from pdekit.solvers.operators.csr import Points

A = CSR.from_scipy(convection(4))
B = CSR(A.pattern, None, A.entries**2)
X = torch.linspace(-1, 1, 16, dtype=torch.float64)
DEFINITE = frozenset({Tag.SYMMETRIC, Tag.HERMITIAN, Tag.POSITIVE_DEFINITE})


def dense(matrix: CSR, index: tuple[int, ...] = ()) -> np.ndarray:
    return matrix.to_scipy(index).toarray()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lambda: 2.0 * A, lambda a, b: 2 * a),
        (lambda: A * 3, lambda a, b: 3 * a),
        (lambda: np.float64(0.1) * A, lambda a, b: 0.1 * a),
        (lambda: torch.tensor(0.1, dtype=torch.float64) * A, lambda a, b: 0.1 * a),
        (lambda: A / 7, lambda a, b: a / 7),
        (lambda: -A, lambda a, b: -a),
        (lambda: A - B, lambda a, b: a - b),
        (lambda: A + 1j * B, lambda a, b: a + 1j * b),
    ],
)
def test_sums_and_multiples(found, expected):
    np.testing.assert_allclose(dense(found()), expected(dense(A), dense(B)), rtol=1e-15)


def test_a_step_for_each_matrix():
    dt = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64, requires_grad=True)
    step = B + dt * A
    assert step.batch_shape == (3,)
    np.testing.assert_allclose(dense(step, (2,)), dense(B) + 0.4 * dense(A), rtol=1e-15)
    (step @ X).sum().backward()
    np.testing.assert_allclose(dt.grad, np.full(3, (dense(A) @ X.numpy()).sum()), rtol=1e-12)
    assert torch.equal((dt.detach().numpy() * A).entries, (dt * A).entries)
    assert (A[None] * torch.ones(16)).batch_shape == (16,)


@pytest.mark.parametrize("make", [lambda: A, lambda: CSR(A.pattern, None, torch.stack([A.entries, B.entries]))])
def test_products_are_of_the_kind_of_the_vector(make):
    one = make()
    assert torch.equal(one @ X, one.matvec(X))
    product = one @ X.numpy()
    assert isinstance(product, np.ndarray)
    assert np.array_equal(product, one.matvec(X).numpy())
    assert (A @ np.arange(16)).dtype == np.float64  # whole numbers too
    assert np.array_equal((Stencil([torch.ones(6)]) @ np.ones(5))[1:-1], np.zeros(3))


def test_sums_and_multiples_are_differentiable():
    def f(a, b, c):
        return (CSR(A.pattern, None, a) / c - CSR(A.pattern, None, b) * c) @ X

    c = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    values = [v.entries.clone().requires_grad_() for v in (A, B)]
    assert torch.autograd.gradcheck(f, (*values, c))


def test_what_multiples_and_sums_keep():
    points = Points(torch.rand(9, 2, dtype=torch.float64), torch.zeros(9, dtype=torch.int64))
    near = torch.ones(9, 1, dtype=torch.float64)
    plain = CSR.from_scipy(laplacian(3))
    one = CSR(plain.pattern, None, plain.entries, tags=DEFINITE, near_nullspace=near, geometry=points)
    assert (2 * one).tags == DEFINITE
    assert (-one).tags == DEFINITE - {Tag.POSITIVE_DEFINITE}
    assert (torch.tensor([1.0, 0.0]) * one).tags == DEFINITE - {Tag.POSITIVE_DEFINITE}
    assert (1j * one).tags == {Tag.SYMMETRIC}
    half = CSR(
        plain.pattern, None, plain.entries, tags=DEFINITE - {Tag.POSITIVE_DEFINITE} | {Tag.POSITIVE_SEMIDEFINITE}
    )
    assert Tag.POSITIVE_DEFINITE in (half + one).tags
    assert (half + half).tags == half.tags
    assert (half - one).tags == {Tag.SYMMETRIC, Tag.HERMITIAN}
    assert (one / 3).geometry is points
    assert (one - 2 * one).near_nullspace is near


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: A * X, r"The factor has shape \(16,\), as vectors have: .* A @ x is the product"),
        (lambda: A[None][[0, 0]] * torch.ones(3), r"shape \(3,\), which does not go with the batch \(2,\)"),
        (lambda: A @ torch.ones(15), r"x has shape \(15,\); expected \(\*batch, 16\)"),
        (lambda: A @ np.ones((16, 3)), r"columns want transposing: pass x.T"),
        (lambda: A @ B, "x is a CSR"),
    ],
)
def test_what_cannot_be_multiplied_is_explained(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


@pytest.mark.parametrize("wrong", [lambda: A * None, lambda: A * B, lambda: A + 1.0, lambda: A - 1.0, lambda: A / None])
def test_what_has_no_meaning_is_a_type_error(wrong):
    with pytest.raises(TypeError, match="unsupported operand"):
        wrong()


# ------------------------------------------------------------------------------------------- matrices of SciPy


def insulated(size: int) -> scipy.sparse.csr_array:
    """The five-point stencil without any ground: the Laplacian of a graph."""
    off = laplacian(size) - scipy.sparse.diags_array(laplacian(size).diagonal())
    return scipy.sparse.csr_array(off - scipy.sparse.diags_array(off.sum(1)))


def test_a_stated_null_space_is_made_orthonormal():
    two = scipy.sparse.block_diag([insulated(3), insulated(4)]).tocsr()
    first = np.arange(25) < 9
    one = CSR.from_scipy(
        two, nullspace=np.stack([first * 3.0, np.ones(25)], 1), tags=DEFINITE, near_nullspace=np.ones(25)
    )
    assert one.near_nullspace.shape == (25, 1)
    assert one.tags == DEFINITE
    b = np.where(np.arange(25) % 2, 1.0, -1.0)
    b[first] -= b[first].mean()
    b[~first] -= b[~first].mean()
    x = solve(one, b, Direct()).x
    np.testing.assert_allclose(two @ x, b, atol=1e-8)
    np.testing.assert_allclose([x[first].sum(), x[~first].sum()], 0, atol=1e-10)
    assert CSR.from_scipy(insulated(3), nullspace=torch.ones(9)).nullspace.dtype == torch.float64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nullspace": np.ones(8)}, r"nullspace has shape \(8,\); expected \(9, k\)"),
        ({"nullspace": np.ones((1, 9))}, "pass its transpose"),
        ({"nullspace": np.ones((9, 2))}, "2 columns of nullspace are dependent"),
        ({"nullspace": np.stack([np.ones(9), np.arange(9)], 1)}, "does not map nullspace to 0: of the column 1"),
        ({"near_nullspace": np.full(9, np.nan)}, "near_nullspace"),
        ({"near_nullspace": "ones"}, "near_nullspace is a str"),
    ],
)
def test_a_wrong_null_space_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        CSR.from_scipy(insulated(3), **given)


# ------------------------------------------------------------------------------------------- constants


@pytest.mark.parametrize("method", [(), (Direct(),), (CG(),)])
def test_constants_are_found(method):
    """Oracle: the pseudo-inverse."""
    matrix, b = insulated(6), np.random.default_rng(0).standard_normal(36)
    with pytest.raises(InputError, match=r"sums to .* constants in its null space"):
        solve(matrix, b, *method)
    b -= b.mean()
    solution = solve(matrix, b, *method, rtol=1e-10)
    np.testing.assert_allclose(solution.x, np.linalg.pinv(matrix.toarray()) @ b, atol=1e-8)
    assert "mean 0" in solution.nullspace


def test_constants_of_each_part_are_found():
    two = scipy.sparse.block_diag([insulated(3), insulated(4)]).tocsr()
    b = np.ones(25)
    b[:9] = -16 / 9
    with pytest.raises(InputError, match="constants on 9 connected unknowns"):
        solve(two, b)
    assert CSR.from_scipy(two).nullspace.shape == (25, 2)


def test_constants_of_batches_and_of_assembled_matrices():
    one = CSR.from_scipy(insulated(4))
    grounded = one.entries.clone()
    grounded[0] += 1
    batch = CSR(one.pattern, None, torch.stack([one.entries, 1e3 * one.entries, grounded]))
    assert batch.nullspace is None
    assert batch[:2].nullspace.shape == (16, 1)
    assert (3 * one).nullspace.shape == (16, 1)
    space = fem.Space(Rectangle(cells=4).mesh(), fem.P2())
    K, f = fem.assemble(fem.forms.diffusion, space, k=1.0), fem.assemble(fem.forms.load, space, f=lambda x: x[0] - 0.5)
    assert "constants" in solve(K, f).nullspace
    M = fem.assemble(fem.forms.mass, space)
    assert (M + 1e-3 * K).nullspace is None


def test_only_constants_are_taken_for_a_null_space():
    cut = insulated(3)
    cut[0, 0] += 1e-9
    assert CSR.from_scipy(cut).nullspace is None
    assert CSR.from_scipy(scipy.sparse.csr_array(np.array([[1.0, -1.0], [0.0, 0.0]]))).nullspace is None
    drift = scipy.sparse.csr_array(np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]]))
    assert CSR.from_scipy(drift).nullspace is None  # not symmetric
    space = fem.Space(Rectangle(cells=2).mesh(), fem.Vector(fem.P1()))
    body = fem.assemble(fem.forms.elasticity, space, lam=1.0, mu=1.0)
    assert body.nullspace is None  # it has rotations too
    assert CSR.from_scipy(body.to_scipy()).nullspace is None
    with pytest.raises((NotConverged, InputError)):
        solve(body, torch.ones(space.n_dofs, dtype=torch.float64), Direct())


def test_other_values_have_properties_of_their_own():
    """What was found of the old entries says nothing of new ones; what was stated stays."""
    ring = CSR.from_scipy(scipy.sparse.csr_array([[1.0, -1.0], [-1.0, 1.0]]))
    assert ring.hermitian
    assert ring.nullspace is not None
    regular = ring.with_values([torch.tensor([2.0, -1.0, -1.0, 2.0], dtype=torch.float64)])
    assert regular.nullspace is None
    np.testing.assert_allclose(solve(regular, np.array([1.0, 0.0])).x, [2 / 3, 1 / 3], rtol=1e-7)
    skewed = ring.with_values([torch.tensor([2.0, 1.0, -1.0, 2.0], dtype=torch.float64)])
    assert not skewed.hermitian
    stated = CSR(ring.pattern, None, ring.entries, tags=DEFINITE).with_values([2 * ring.entries])
    assert stated.tags == DEFINITE
