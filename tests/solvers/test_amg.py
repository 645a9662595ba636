"""Algebraic multigrid against PyAMG's iterations and weights, SciPy's products, dense algebra."""

import numpy as np
import pyamg
import pytest
import scipy.sparse as sp
import torch
from solvers.mesh_problems import disk, elasticity, lognormal, two_materials
from solvers.sparse_problems import applied, dense, laplacian, networks, nonsymmetric, tridiagonal

from pdekit.core.errors import InputError
from pdekit.kernels.sparse import amg_cycle as at
from pdekit.solvers import AMG, CG, CSR, FlexibleCG, Stencil, solve
from pdekit.solvers.amg.hierarchy import Hierarchy
from pdekit.testing import check_preconditioner

EVERY = [
    pytest.param(AMG(kind=kind, smoother=smoother, coarse_size=10), id=f"{kind}, {smoother}")
    for kind in ("classical", "aggregation")
    for smoother in ("gauss-seidel", "chebyshev")
]
FORWARD, BACKWARD = ("gauss_seidel", {"sweep": "forward"}), ("gauss_seidel", {"sweep": "backward"})


def iterations(A: CSR, recipe: AMG, seed: int = 0) -> torch.Tensor:
    b = torch.from_numpy(np.random.default_rng(seed).standard_normal(A.shape[0]))
    return solve(A, b, CG(recipe)).iterations


def pyamg_iterations(hierarchy: pyamg.MultilevelSolver, seed: int = 0) -> int:
    b = np.random.default_rng(seed).standard_normal(hierarchy.levels[0].A.shape[0])
    history: list[float] = []
    hierarchy.solve(b, tol=1e-8, accel="cg", residuals=history)
    return len(history) - 1


def matrices(P: Hierarchy, index: int, level: int) -> tuple[sp.csr_array, sp.csr_array]:
    """The matrix and the interpolation of one level of one hierarchy, read out of the flat arrays."""
    transfers, numbers = P.transfers(index), P._numbers[index]
    table = transfers.table.reshape(-1, at.COLUMNS)
    t, below = table[level], table[level + 1]

    def part(pointers: int, columns: int, values: np.ndarray, shape: tuple[int, int]) -> sp.csr_array:
        indptr = transfers.index[t[pointers] : t[pointers] + shape[0] + 1]
        return sp.csr_array((values, transfers.index[t[columns] :][: len(values)], indptr), shape=shape)

    n = int(t[at.N])
    entries = P._entries[index] if level == 0 else numbers[t[at.A_VAL] :][: t[at.NNZ]]
    weights = numbers[t[at.P_VAL] :][: t[at.WEIGHTS]]
    return part(at.A_PTR, at.A_IND, entries, (n, n)), part(at.P_PTR, at.P_IND, weights, (n, int(below[at.N])))


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize(
    "A",
    [
        pytest.param(networks(60, (2, 3)), id="networks"),
        pytest.param(CSR.from_scipy(laplacian(20)), id="laplacian"),
        pytest.param(lognormal(3, 1.0, 2), id="disk"),
    ],
)
def test_it_keeps_the_promises_of_a_preconditioner(recipe, A):
    check_preconditioner(recipe, A)


@pytest.mark.parametrize("recipe", EVERY)
def test_every_coarse_matrix_is_the_galerkin_product_of_its_own_numbers(recipe):
    A = lognormal(4, 1.0, 3)
    P = recipe.setup(A)
    levels = len(P.shared.levels)
    assert levels >= 3
    for index in range(3):
        for level in range(levels - 2):
            fine, transfer = matrices(P, index, level)
            coarse, _ = matrices(P, index, level + 1)
            expected = transfer.T @ fine @ transfer
            assert abs(coarse - expected).max() <= 1e-14 * abs(expected).max()


def test_weights_are_those_of_pyamg_for_the_same_splitting():
    A = two_materials(4, 100.0, 1)[0]
    P = AMG(kind="classical").setup(A)
    matrix, transfer = A.to_scipy(), matrices(P, 0, 0)[1]
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    strong = pyamg.strength.classical_strength_of_connection(matrix, 0.1, norm="min")
    coarse = P.shared.first.coarse.astype(np.int32)
    expected = pyamg.classical.interpolate.classical_interpolation(matrix, strong, coarse)
    assert abs(transfer - expected).max() <= 1e-13


@pytest.mark.parametrize("recipe", EVERY)
def test_constants_are_interpolated_exactly_where_rows_sum_to_0(recipe):
    A = disk(4, np.ones(4 * 4**4), dirichlet=False)
    weights = matrices(recipe.setup(A), 0, 0)[1]
    sums = weights @ np.ones(weights.shape[1])
    if recipe.kind == "classical":
        np.testing.assert_allclose(sums, 1.0, atol=1e-12)
    else:  # each column of an aggregate of m unknowns holds 1 / sqrt(m)
        group = recipe.setup(A).shared.first.group
        np.testing.assert_allclose(weights @ np.sqrt(np.bincount(group)), 1.0, atol=1e-12)


@pytest.mark.parametrize(("refinements", "variance"), [(5, 0.25), (5, 4.0)])
def test_iterations_are_those_of_pyamg(refinements, variance):
    A = lognormal(refinements, variance, 1)[0]
    matrix = sp.csr_matrix(A.to_scipy())
    classical = pyamg.ruge_stuben_solver(
        matrix, strength=("classical", {"theta": 0.1, "norm": "min"}), CF=("RS", {"second_pass": True}),
        interpolation="classical", presmoother=FORWARD, postsmoother=BACKWARD, max_coarse=100,
    )  # fmt: skip
    assert abs(int(iterations(A, AMG(kind="classical"))) - pyamg_iterations(classical)) <= 1
    aggregation = pyamg.smoothed_aggregation_solver(
        matrix, strength=("symmetric", {"theta": 0.05}), presmoother=FORWARD, postsmoother=BACKWARD, max_coarse=100,
        improve_candidates=None,
    )  # fmt: skip
    assert abs(int(iterations(A, AMG(kind="aggregation"))) - pyamg_iterations(aggregation)) <= 2


def test_iterations_hardly_grow_with_the_mesh():
    coarse, fine = (float(iterations(lognormal(r, 0.25, 2), AMG()).double().mean()) for r in (4, 6))
    assert fine <= 1.3 * coarse


@pytest.mark.parametrize("dim", [2, 3])
def test_high_contrast_costs_few_iterations_more(dim):
    refinements = 5 if dim == 2 else 3
    plain = iterations(two_materials(refinements, 1.0, 1, dim=dim), AMG())
    assert int(iterations(two_materials(refinements, 1e4, 3, dim=dim), AMG()).max()) <= int(plain.max()) + 5


def test_rigid_body_modes_reduce_the_iterations_of_elasticity():
    A, modes = elasticity(5)
    plain, translations = CSR(A.pattern, None, A.entries), A
    informed = CSR(A.pattern, None, A.entries, geometry=A.geometry, near_nullspace=torch.from_numpy(modes))
    found = [int(iterations(matrix, AMG(kind="aggregation"))) for matrix in (plain, translations, informed)]
    assert found[2] < 0.8 * found[1] < 0.8 * found[0]
    blocks = sp.bsr_matrix(A.to_scipy(), blocksize=(2, 2))
    oracle = pyamg.smoothed_aggregation_solver(blocks, B=modes, presmoother=FORWARD, postsmoother=BACKWARD)
    assert found[2] <= pyamg_iterations(oracle) + 4
    assert "aggregation" in AMG().setup(informed).name
    assert "aggregation" in AMG().setup(translations).name


def test_aggregates_reproduce_the_near_null_space():
    A, modes = elasticity(4)
    informed = CSR(A.pattern, None, A.entries, geometry=A.geometry, near_nullspace=torch.from_numpy(modes))
    first = AMG().setup(informed).shared.first
    columns = np.concatenate([np.flatnonzero(first.nodes == g) for g in first.group])
    tentative = sp.csr_array((first.values, columns, first.t_ptr), shape=(len(modes), len(first.nodes)))
    np.testing.assert_allclose(tentative @ first.near, modes, atol=1e-12)


@pytest.mark.parametrize("recipe", EVERY)
def test_of_a_singular_matrix_it_approximates_the_pseudo_inverse(recipe):
    A = disk(4, np.exp(0.5 * np.random.default_rng(0).standard_normal((2, 4 * 4**4))), dirichlet=False)
    n = A.shape[0]
    A = CSR(A.pattern, None, A.entries, nullspace=torch.full((n, 1), n**-0.5, dtype=torch.float64))
    check_preconditioner(recipe, A)
    b = torch.randn(n, dtype=torch.float64)
    solution = solve(A, b - b.mean(), CG(recipe), rtol=1e-10)
    expected = np.linalg.pinv(A.to_scipy((1,)).toarray()) @ (b - b.mean()).numpy()
    np.testing.assert_allclose(solution.x[1].numpy(), expected, atol=1e-8 * abs(expected).max())


@pytest.mark.parametrize("recipe", EVERY)
def test_several_parts_without_ground(recipe):
    one = disk(3, np.ones(4 * 4**3), dirichlet=False).to_scipy()
    n = one.shape[0]
    A = CSR.from_scipy(sp.block_diag([one, 1e3 * one, laplacian(5)]))
    parts = torch.zeros(A.shape[0], 2, dtype=torch.float64)
    parts[:n, 0] = parts[n : 2 * n, 1] = n**-0.5
    A = CSR(A.pattern, None, A.entries, nullspace=parts)
    x = torch.randn(A.shape[0], dtype=torch.float64)
    assert bool(solve(A, A.matvec(x), CG(recipe)).converged)


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_small_matrices_are_solved_directly(recipe, n):
    A = CSR.from_scipy(tridiagonal(n))
    P = AMG(recipe.kind, smoother=recipe.smoother).setup(A)
    np.testing.assert_allclose(applied(P), np.linalg.inv(dense(A)), rtol=1e-12)


def test_no_unknowns_and_no_matrices():
    empty = CSR.from_scipy(sp.csr_array((0, 0)))
    assert solve(empty, np.zeros(0), CG(AMG())).x.shape == (0,)
    none = networks(8, (0,))
    assert solve(none, torch.zeros(0, 8, dtype=torch.float64), CG(AMG())).x.shape == (0, 8)
    assert "no matrix" in str(AMG().setup(none))


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("n", [5, 2000])
def test_diagonal_matrices(recipe, n):
    entries = 10.0 ** np.linspace(-10, 10, n)
    A = CSR.from_scipy(sp.diags_array(entries))
    solution = solve(A, np.ones(n), CG(AMG(recipe.kind)))
    np.testing.assert_allclose(solution.x, 1 / entries, rtol=1e-8)
    assert int(solution.iterations) == 1


@pytest.mark.parametrize("recipe", EVERY)
def test_a_matrix_that_cannot_be_coarsened_is_smoothed(recipe):
    """Positive entries off the diagonal are no strong connections of classical coarsening; of aggregation with a
    strength of 1 nothing is."""
    A = CSR.from_scipy(abs(laplacian(25)) + 0.5 * sp.eye_array(625))
    alone = AMG(recipe.kind, strength=1.0, smoother=recipe.smoother)
    P = alone.setup(A)
    assert len(P.shared.levels) == 1
    check_preconditioner(alone, A)
    assert int(iterations(A, alone)) < int(solve(A, np.ones(625), CG()).iterations)
    if recipe.smoother == "chebyshev":
        x = torch.randn(1, 625, dtype=torch.float64)
        torch.testing.assert_close(P._apply_tensors(x, torch.tensor([0])), P.matvec(x), rtol=1e-12, atol=1e-14)


def test_rows_decoupled_by_elimination_stay_out_of_the_way():
    matrix = sp.lil_array(laplacian(30))
    for i in range(0, 900, 7):
        matrix[i, :] = 0
        matrix[:, i] = 0
        matrix[i, i] = 1e6
    assert int(iterations(CSR.from_scipy(matrix.tocsr()), AMG())) <= 12


def test_any_number_of_vectors_for_one_or_many_matrices():
    A = networks(40, (3,))
    P = AMG(coarse_size=5).setup(A)
    x = torch.randn(4, 3, 40, dtype=torch.float64)
    every = P.matvec(x)
    for i in range(3):
        assert torch.equal(every[:, i], P.matvec(x[:, i : i + 1].expand(4, 3, 40))[:, i])
    one = AMG(coarse_size=5).setup(A[0])
    assert one.matvec(x).shape == (4, 3, 40)


def test_gradients_pass_through_the_cycle():
    P = AMG(coarse_size=5).setup(networks(40, (2,)))
    x = torch.randn(3, 1, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(P.matvec, x)


@pytest.mark.parametrize("kind", ["classical", "aggregation"])
def test_tensor_operations_give_the_cycle_of_the_kernels(kind):
    A = lognormal(4, 1.0, 3)
    P = AMG(kind, smoother="chebyshev", coarse_size=20).setup(A)
    x, owner = torch.randn(6, A.shape[0], dtype=torch.float64), torch.tensor([0, 1, 2, 2, 0, 1])
    kernels, tensors = P._apply_kernels(x, owner), P._apply_tensors(x, owner)
    assert float((kernels - tensors).norm() / kernels.norm()) <= 1e-12


def test_tensor_operations_where_matrices_do_not_share_and_where_they_are_singular():
    A = disk(3, np.exp(np.random.default_rng(0).standard_normal((3, 4 * 4**3))), dirichlet=False)
    P = AMG(smoother="chebyshev", coarse_size=20, reuse=False).setup(A)
    x = torch.randn(3, A.shape[0], dtype=torch.float64)
    x = x - x.mean(-1, keepdim=True)
    kernels, tensors = P.matvec(x), P._apply_tensors(x, torch.arange(3))
    assert float((kernels - tensors).norm() / kernels.norm()) <= 1e-12


def test_it_prints_its_levels():
    P = AMG().setup(lognormal(4, 0.25, 3))
    report = str(P)
    assert P.name.startswith("AMG (classical, ")
    assert "3 of 3 matrices share transfers" in P.name
    for word in ("mean of the 3 matrices", "operator complexity", "grid complexity", f"{P.shape[0]:,}", "entries"):
        assert word in report
    assert len(report.splitlines()) == 6 + len(P.shared.levels)


@pytest.mark.parametrize(
    ("recipe", "A", "match"),
    [
        (dict(kind="ruge"), None, "kind='ruge'; expected one of auto, classical, aggregation"),
        (dict(smoother="sor"), None, "smoother='sor'; expected one of auto, gauss-seidel, chebyshev"),
        (dict(strength=1.5), None, "strength=1.5; expected a number from 0 to 1"),
        (dict(coarse_size=0), None, "coarse_size=0; expected at least 1"),
        ({}, Stencil([torch.ones(9, dtype=torch.float64)]), "needs a CSR.*Use Multigrid"),
        ({}, nonsymmetric(), "does not equal its transpose. Use ILU0"),
        ({}, CSR.from_scipy(tridiagonal(5, 1j, -1j)), "AMG takes real matrices.*Use ILU0"),
        ({}, CSR.from_scipy(sp.csr_array([[0.0, 1], [1, 0]])), "row 0 stores no diagonal entry"),
    ],
)
def test_what_does_not_fit_is_refused(recipe, A, match):
    with pytest.raises(InputError, match=match):
        AMG(**recipe).setup(A)


def test_entries_that_are_not_finite_are_named():
    A = networks(10, (2,))
    assert A.hermitian  # found while all are finite
    A.entries[1, 3] = torch.nan
    with pytest.raises(InputError, match=r"A\[1, 3\] is nan"):
        AMG().setup(A)


def test_outside_the_fused_kernel_a_matrix_that_is_not_definite_is_named():
    A = networks(40, (2,))
    A.entries[1] *= -1
    with pytest.raises(InputError, match="Matrix 1 has a diagonal entry that is not positive"):
        AMG().setup(A).matvec(torch.ones(40, dtype=torch.float64))
    assert bool(solve(A[:1], torch.ones(1, 40, dtype=torch.float64), FlexibleCG(AMG())).converged)
