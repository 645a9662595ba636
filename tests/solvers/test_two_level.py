"""Two-level preconditioners against dense algebra and the counts of the reference."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from solvers.mesh_problems import disk, elasticity, lognormal
from solvers.sparse_problems import applied, dense, diffusion, laplacian, networks, nonsymmetric, tridiagonal

from pdekit.core.errors import InputError
from pdekit.solvers import AMG, CG, CSR, IC0, ICT, ILU0, Jacobi, Stencil, TwoLevel, solve
from pdekit.solvers.krylov.cg import conjugate_gradients
from pdekit.solvers.operators.csr import Points
from pdekit.solvers.preconditioners.aggregates import aggregates
from pdekit.solvers.preconditioners.coarse_space import CoarseSpace, coarse_space
from pdekit.solvers.preconditioners.two_level import combined
from pdekit.testing import check_preconditioner

FORMS = ("additive", "balanced")


def log_normal_diffusion(m: int, seed: int = 0) -> CSR:
    """The set-up of `reference/solvers.md`, section 10: m x m unknowns, 1/h^2, covariance exp(-(d/0.05)^2) / 2."""
    x = np.arange(m + 2) / (m + 1)
    eigenvalues, vectors = np.linalg.eigh(np.exp(-((x[:, None] - x) ** 2) / 0.05**2))
    root = vectors * np.sqrt(np.maximum(eigenvalues, 0))
    g = 0.5**0.5 * root @ np.random.default_rng(seed).standard_normal((m + 2, m + 2)) @ root.T
    return CSR.from_scipy((m + 1) ** 2 * diffusion(np.exp(g)))


def counts(A: CSR, recipe, atol: float) -> float:
    """Iterations from a random guess to an absolute norm of the recurrence's residual, the mean of four systems."""
    rng = np.random.default_rng(1)
    b, x0 = torch.from_numpy(rng.standard_normal((2, 4, A.shape[0])))
    outcome = conjugate_gradients(A, recipe.setup(A), b, x0, torch.full((4,), atol, dtype=torch.float64), 1000)
    return float(outcome.iterations.double().mean())


def test_both_forms_are_what_dense_algebra_gives():
    A = networks(60, (2,))
    space = coarse_space(A, aggregate=6)
    Z, fine = space.basis.toarray(), applied(IC0().setup(A))
    for i in range(2):
        matrix, basis = dense(A)[i], Z[60 * i : 60 * (i + 1)]
        basis = basis[:, abs(basis).sum(0) > 0]
        assert 5 <= basis.shape[1] <= 20
        Q = basis @ np.linalg.solve(basis.T @ matrix @ basis, basis.T)
        beside = np.eye(60) - Q @ matrix
        for form, expected in (("additive", fine[i] + Q), ("balanced", Q + beside @ fine[i] @ beside.T)):
            M = applied(TwoLevel(aggregate=6, form=form).setup(A))[i]
            np.testing.assert_allclose(M, expected, atol=1e-13 * abs(expected).max())


def test_the_columns_are_smoothed_by_a_step_of_jacobi():
    A = CSR.from_scipy(laplacian(16))
    plain, smooth = (coarse_space(A, smoothed=smoothed).basis.toarray() for smoothed in (False, True))
    inner = np.arange(256).reshape(16, 16)[1:-1, 1:-1].ravel()  # beside a wall rows sum to less
    expected = plain - 0.66 * laplacian(16) @ plain / 4
    np.testing.assert_allclose(smooth[inner], expected[inner], atol=1e-15)


def group_of(A: CSR, aggregate: int) -> np.ndarray:
    columns = aggregates(A, aggregate)
    assert (np.diff(columns.indptr) == 1).all()
    np.testing.assert_allclose(columns @ (columns.T @ np.ones(A.shape[0])), 1.0)
    return columns.indices


def test_a_lattice_falls_into_boxes():
    expected = np.kron(np.arange(8).reshape(2, 4), np.ones((8, 8), dtype=int))
    two = sp.kronsum(tridiagonal(32), tridiagonal(16))
    np.testing.assert_array_equal(group_of(CSR.from_scipy(two), 64).reshape(16, 32), expected)
    three = CSR.from_scipy(sp.kronsum(laplacian(8), tridiagonal(12)))
    np.testing.assert_array_equal(np.bincount(group_of(three, 64)), 64)
    assert len(set(group_of(three, 64).reshape(12, 8, 8)[4:8, :4, 4:].ravel())) == 1


def test_a_lattice_is_known_by_its_points_in_any_order():
    order = np.random.default_rng(0).permutation(256)
    A = CSR.from_scipy(laplacian(16)[order][:, order])
    x, y = np.divmod(order, 16)
    A.geometry = Points(torch.from_numpy(np.stack([x, y], 1) / 17), torch.zeros(256, dtype=torch.int64))
    straight = group_of(CSR.from_scipy(laplacian(16)), 64)
    np.testing.assert_array_equal(group_of(A, 64), straight[order])


def test_what_a_pattern_keeps_is_found_anew_for_other_points_and_null_spaces():
    A = CSR.from_scipy(laplacian(8))
    modes = torch.randn(64, 2, dtype=torch.float64)
    points = Points(torch.randn(64, 2, dtype=torch.float64), torch.zeros(64, dtype=torch.int64))
    for given in ({}, {"near_nullspace": modes}, {"geometry": points}, {"nullspace": modes[:, :1]}, {}):
        again, fresh = (CSR(*pattern, A.entries, **given) for pattern in ((A.pattern, None), (A.indptr, A.indices)))
        assert abs(coarse_space(again, 8).basis - coarse_space(fresh, 8).basis).max() == 0
        assert coarse_space(A, 8).size == 9


@pytest.mark.parametrize("aggregate", [10, 64, 300])
def test_aggregates_of_a_mesh_are_connected_and_about_as_large_as_wanted(aggregate):
    A = disk(5, np.ones(4 * 4**5))
    group = group_of(A, aggregate)
    sizes = np.bincount(group)
    assert aggregate / 2.8 <= sizes.mean() <= aggregate * 2.8
    for g in range(len(sizes)):
        members = np.flatnonzero(group == g)
        assert sp.csgraph.connected_components(A.to_scipy()[members][:, members])[0] == 1


def test_rigid_body_modes_lie_in_the_coarse_space():
    A, modes = elasticity(4)
    informed = CSR(A.pattern, None, A.entries, geometry=A.geometry, near_nullspace=torch.from_numpy(modes))
    T = aggregates(informed, 32)
    np.testing.assert_allclose(T @ (T.T @ modes), modes, atol=1e-12)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    found = [int(solve(matrix, b, CG(TwoLevel(Jacobi(), aggregate=32))).iterations) for matrix in (A, informed)]
    assert found[1] < 0.8 * found[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fine", [IC0(), Jacobi(), AMG(coarse_size=10)])
def test_it_keeps_the_promises_of_a_preconditioner(fine, form):
    check_preconditioner(TwoLevel(fine, aggregate=6, form=form), networks(batch=(2,)))


@pytest.mark.parametrize("form", FORMS)
def test_of_a_singular_matrix_it_approximates_the_pseudo_inverse(form):
    A = disk(4, np.exp(0.5 * np.random.default_rng(0).standard_normal((2, 4 * 4**4))), dirichlet=False)
    check_preconditioner(TwoLevel(Jacobi(), form=form), A)


def test_several_parts_without_ground():
    one = disk(3, np.ones(4 * 4**3), dirichlet=False).to_scipy()
    n = one.shape[0]
    parts = np.zeros((2 * n + 25, 2))
    parts[:n, 0] = parts[n : 2 * n, 1] = 1
    A = CSR.from_scipy(sp.block_diag([one, 1e3 * one, laplacian(5)]), nullspace=parts)
    x = torch.randn(A.shape[0], dtype=torch.float64)
    assert bool(solve(A, A.matvec(x), CG(TwoLevel(Jacobi()))).converged)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_small_matrices(n):
    A = networks(n) if n else CSR.from_scipy(sp.csr_array((0, 0)))
    assert solve(A, np.ones(n), CG(TwoLevel())).x.shape == (n,)
    none = networks(8, (0,))
    assert solve(none, torch.zeros(0, 8, dtype=torch.float64), CG(TwoLevel())).x.shape == (0, 8)


def test_a_matrix_meets_several_vectors_of_an_axis():
    A = networks(40, (2, 1))
    x = torch.randn(3, 2, 5, 40, dtype=torch.float64)
    apart = torch.stack([coarse_space(A[i, 0], aggregate=5).apply(x[:, i]) for i in range(2)], 1)
    torch.testing.assert_close(coarse_space(A, aggregate=5).apply(x), apart, rtol=0, atol=1e-13)


def test_joined_spaces_serve_vectors_through_all_matrices():
    A, B = CSR.from_scipy(laplacian(12)), lognormal(3, 0.5, 1)[0]
    one, two = coarse_space(A, 16), coarse_space(B, 16)
    x = torch.randn(2, A.shape[0] + B.shape[0], dtype=torch.float64)
    expected = torch.cat([one.apply(x[:, : A.shape[0]]), two.apply(x[:, A.shape[0] :])], -1)
    torch.testing.assert_close(CoarseSpace.join([one, two]).apply(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_finite_differences(form):
    A = networks(8, (2,))
    space, diagonal = coarse_space(A, aggregate=3), A.diagonal()
    x = torch.randn(2, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: combined(form, lambda r: r / diagonal, space, A.matvec, x), x)
    assert torch.autograd.gradcheck(TwoLevel(aggregate=3, form=form).setup(A).matvec, x)


@pytest.mark.parametrize(("form", "expected"), [("additive", (36, 75)), ("balanced", (26, 54))])
def test_iterations_are_those_of_the_reference(form, expected):
    """`reference/solvers.md`, section 10: 64^2, one other matrix of the same law, to 1e-3 and 1e-12."""
    A = log_normal_diffusion(64)
    alone = [counts(A, IC0(), atol) for atol in (1e-3, 1e-12)]
    np.testing.assert_allclose(alone, (74, 124), rtol=0.05)
    found = [counts(A, TwoLevel(form=form), atol) for atol in (1e-3, 1e-12)]
    np.testing.assert_allclose(found, expected, rtol=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_iterations_hardly_grow_with_the_grid(form):
    coarse, fine = (counts(log_normal_diffusion(m), TwoLevel(form=form), 1e-8) for m in (64, 128))
    assert fine <= 1.15 * coarse


@pytest.mark.parametrize("fine", [IC0(shift="auto"), ICT(shift="auto"), Jacobi()])
def test_on_meshes_of_elasticity_it_takes_fewer_iterations(fine):
    A, modes = elasticity(5)
    A = CSR(A.pattern, None, A.entries, geometry=A.geometry, near_nullspace=torch.from_numpy(modes))
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    alone, both = (int(solve(A, b, CG(recipe)).iterations) for recipe in (fine, TwoLevel(fine)))
    assert both <= 0.7 * alone


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TwoLevel(form="multiplicative"), "form='multiplicative'; expected one of balanced, additive"),
        (lambda: TwoLevel(aggregate=0), "aggregate=0"),
        (lambda: TwoLevel(IC0), "fine=.*expected a preconditioner such as IC0"),
        (lambda: TwoLevel(ILU0()), "fine=ILU0.*not symmetric"),
        (lambda: coarse_space(Stencil([torch.ones(4).double()])), "needs a CSR.*Use Multigrid"),
        (lambda: coarse_space(nonsymmetric()), "symmetric matrices.*Use ILU0"),
        (lambda: coarse_space(-networks()), "Z\\^T A Z has a pivot that is not positive.*MINRES"),
        (lambda: coarse_space(CSR.from_scipy(sp.csr_array([[0.0, 1.0], [1.0, 2.0]]))), "row 0 stores no diagonal"),
    ],
)
def test_what_cannot_be_used_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
