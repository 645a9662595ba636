"""Incomplete factorisations against dense algebra, complete factors, and the reference's iteration counts."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from solvers.sparse_problems import (
    KERSHAW,
    applied,
    dense,
    diffusion,
    laplacian,
    networks,
    nonsymmetric,
    on_pattern,
    tridiagonal,
)

from pdekit.core.errors import InputError
from pdekit.solvers import CG, CSR, Stencil, solve
from pdekit.solvers.preconditioners.ic0 import IC0
from pdekit.solvers.preconditioners.ict import ICT
from pdekit.solvers.preconditioners.ilu0 import ILU0
from pdekit.testing import check_preconditioner


def ic0(A: np.ndarray, relaxation: float = 0.0) -> np.ndarray:
    """The textbook: dense Cholesky by outer products; what falls beside the pattern goes to the diagonal, in part."""
    A, stored = A.copy(), A != 0
    L = np.zeros_like(A)
    for j in range(len(A)):
        L[j:, j] = A[j:, j] / np.sqrt(A[j, j])
        update = np.outer(L[j + 1 :, j], L[j + 1 :, j])
        beside = np.where(stored[j + 1 :, j + 1 :], 0, update)
        A[j + 1 :, j + 1 :] -= update - beside + relaxation * np.diag(beside.sum(0))
    return L


def ict(A: np.ndarray, threshold: float, fill: int | None) -> np.ndarray:
    """Left-looking by columns, dropping in each column before it is used."""
    root, L = np.sqrt(np.diag(A)), np.zeros_like(A)
    for j in range(len(A)):
        column = A[j:, j] - L[j:, :j] @ L[j, :j]
        below = column[1:]
        below[np.abs(below) < threshold * root[j] * root[j + 1 :]] = 0
        if fill is not None:
            most = np.count_nonzero(A[j + 1 :, j]) + fill
            below[np.argsort(-np.abs(below) / root[j + 1 :], kind="stable")[most:]] = 0
        L[j:, j] = column / np.sqrt(column[0])
    return L


def ilu0(A: np.ndarray) -> np.ndarray:
    """The product L U of the textbook's IKJ variant."""
    LU, stored = A.copy(), A != 0
    for i in range(len(A)):
        for k in range(i):
            if stored[i, k]:
                LU[i, k] /= LU[k, k]
                LU[i, k + 1 :] -= LU[i, k] * LU[k, k + 1 :] * stored[i, k + 1 :]
    return (np.tril(LU, -1) + np.eye(len(A))) @ np.triu(LU)


@pytest.mark.parametrize(("m", "counts"), [(32, (15, 24, 31)), (64, (25, 40, 58))])
def test_ic0_needs_the_iterations_of_the_reference(m, counts):
    """reference/solvers.md 8.4: b = 1, relative residual 1e-3, 1e-6, 1e-9."""
    A = CSR.from_scipy(laplacian(m))
    found = [int(solve(A, np.ones(m * m), CG(IC0()), rtol=rtol).iterations) for rtol in (1e-3, 1e-6, 1e-9)]
    assert np.abs(np.subtract(found, counts)).max() <= 1


def test_ic0_has_the_first_entries_of_the_reference():
    """reference/solvers.md 8.4."""
    L = IC0().setup(CSR.from_scipy(laplacian(5))).lower().toarray()
    np.testing.assert_allclose([L[0, 0], L[1, 0], L[1, 1]], [2, -0.5, 1.936492], rtol=1e-6)


@pytest.mark.parametrize("relaxation", [0.0, 0.6, 0.97])
def test_ic0_of_a_batch_equals_the_textbook(relaxation):
    A = networks(batch=(3,))
    P = IC0(relaxation=relaxation).setup(A)
    for i, matrix in enumerate(dense(A)):
        expected = ic0(matrix, relaxation)
        np.testing.assert_allclose(P.lower(i).toarray(), expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(applied(P)[i], np.linalg.inv(expected @ expected.T), rtol=1e-10, atol=1e-12)


def test_full_relaxation_keeps_the_row_sums():
    A = networks()
    L = IC0(relaxation=1.0).setup(A).lower()
    np.testing.assert_allclose(L @ (L.T @ np.ones(30)), dense(A).sum(-1), atol=1e-12)


def test_another_order_of_elimination_is_a_permuted_matrix():
    A = networks(batch=(2,))
    P = IC0(relaxation=0.5, ordering="cuthill-mckee").setup(A)
    order = A.pattern.cuthill_mckee
    assert sorted(order.tolist()) == list(range(30))
    assert order.tolist() != list(range(30))
    for i, matrix in enumerate(dense(A)):
        L = ic0(matrix[np.ix_(order, order)], 0.5)
        expected = np.empty((30, 30))
        expected[np.ix_(order, order)] = L @ L.T
        found = P.lower(i).toarray()
        np.testing.assert_allclose(found[np.ix_(order, order)], L, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(applied(P)[i], np.linalg.inv(expected), rtol=1e-10, atol=1e-12)
    check_preconditioner(IC0(ordering="cuthill-mckee"), A)


def test_cuthill_mckee_mends_a_numbering_that_jumps_about():
    A, b = laplacian(40), np.ones(1600)
    mixed = np.random.default_rng(0).permutation(1600)
    counts = [
        int(solve(matrix, b, CG(IC0(relaxation=0.97, ordering=ordering))).iterations)
        for matrix, ordering in [
            (A, "natural"), (A[mixed][:, mixed], "cuthill-mckee"), (A[mixed][:, mixed], "natural")
        ]
    ]  # fmt: skip
    assert abs(counts[0] - counts[1]) <= 2
    assert counts[2] > 1.8 * counts[0]


def test_relaxed_ic0_needs_the_iterations_of_the_reference():
    """reference/solvers.md 10, 64^2: five-point diffusion / h^2, log-normal with covariance exp(-(d / 0.05)^2) and
    variance 0.5, random x0 and f, absolute residual 1e-3, -6, -9, -12. Single fields differ by 4 iterations.
    """
    rng = np.random.default_rng(0)
    axis = np.arange(66) / 65
    waves, phases = rng.standard_normal((2000, 2)) * np.sqrt(2) / 0.05, rng.uniform(0, 2 * np.pi, 2000)
    field = sum(np.cos(a * axis[:, None] + b * axis + c) for (a, b), c in zip(waves, phases, strict=True))
    A = CSR.from_scipy(diffusion(np.exp(np.sqrt(0.5) * field * np.sqrt(2 / 2000))) * 65**2)
    x0, b = rng.standard_normal((2, 4096))
    for relaxation, counts in [(0.0, (74, 94, 110, 124)), (0.97, (40, 50, 61, 69))]:
        found = solve(A, b, CG(IC0(relaxation=relaxation)), rtol=0, atol=1e-12, x0=x0, throw=False)
        norms = found.history.numpy() * np.linalg.norm(b)
        steps = [int(np.argmax(norms <= atol)) for atol in (1e-3, 1e-6, 1e-9, 1e-12)]
        assert np.abs(np.subtract(steps, counts)).max() <= 2


@pytest.mark.parametrize("recipe", [IC0(), ICT(), ILU0()])
def test_factors_of_a_tridiagonal_matrix_are_exact(recipe):
    A = tridiagonal(40)
    P = recipe.setup(CSR.from_scipy(A))
    np.testing.assert_allclose(applied(P), np.linalg.inv(A.toarray()), rtol=1e-12)
    if recipe.symmetric:
        assert int(solve(A, np.ones(40), CG(recipe)).iterations) == 1


@pytest.mark.parametrize(("threshold", "fill"), [(0.0, None), (0.02, None), (0.0, 1), (0.01, 2), (1.0, 0), (9.0, None)])
def test_ict_equals_dense_algebra(threshold, fill):
    A = networks(batch=(2,))
    P = ICT(threshold, fill).setup(A)
    for i, matrix in enumerate(dense(A)):
        expected = np.linalg.cholesky(matrix) if threshold == 0 and fill is None else ict(matrix, threshold, fill)
        np.testing.assert_allclose(P.lower(i).toarray(), expected, rtol=1e-10, atol=1e-13)
        indptr, indices, _ = P.factors(i)
        assert all((np.diff(indices[a:b]) > 0).all() for a, b in pairwise(indptr))


def test_ict_does_not_depend_on_the_scaling_of_unknowns():
    A = networks()
    scale = np.random.default_rng(1).lognormal(size=30)
    scaled = on_pattern(scale[:, None] * dense(A) * scale, dense(A) != 0)
    L, other = (ICT(0.02).setup(M).lower().toarray() for M in (A, scaled))
    np.testing.assert_allclose(other, scale[:, None] * L, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("complex_", [False, True])
def test_ilu0_and_its_transpose_equal_the_textbook(complex_):
    A = nonsymmetric(batch=(2,), complex_=complex_)
    P = ILU0().setup(A)
    inverse = np.linalg.inv(np.stack([ilu0(matrix) for matrix in dense(A)]))
    turned = inverse.swapaxes(-1, -2)
    for operator, expected in [
        (P, inverse), (P.transpose(), turned), (P.adjoint(), turned.conj()), (P.adjoint().transpose(), inverse.conj()),
        (P.transpose().transpose(), inverse),
    ]:  # fmt: skip
        np.testing.assert_allclose(applied(operator), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("recipe", [IC0(), IC0(relaxation=0.9), ICT(), ICT(0.05, 1)])
def test_promises_of_symmetric_factors(recipe):
    check_preconditioner(recipe, networks(batch=(2,)))


def test_promises_of_ilu0():
    check_preconditioner(ILU0(), nonsymmetric(batch=(2, 2)))


def test_vectors_broadcast_with_the_batch():
    A = networks(batch=(2, 3))
    P = IC0().setup(A)
    inverse, x = applied(P), np.random.default_rng(0).standard_normal((4, 2, 3, 30))
    for v in (x, x[0], x[:, :1], x[0, 0, 0]):
        np.testing.assert_allclose(
            P.matvec(torch.from_numpy(v)).numpy(), np.einsum("...ij,...j", inverse, v), atol=1e-12
        )


@pytest.mark.parametrize("A", [networks(8, (2,)), nonsymmetric(8, (2,)), nonsymmetric(8, (2,), complex_=True)])
def test_application_is_differentiable_twice(A):
    P = (ILU0() if A.pattern.transposed[0] is not A.pattern else IC0()).setup(A)
    x = torch.randn(3, 1, 8, dtype=A.dtype, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(P.matvec, x)
    assert torch.autograd.gradgradcheck(lambda x: P.matvec(x) ** 2, x)


def test_threads_do_not_change_results():
    A = CSR.from_scipy(laplacian(60))
    A = CSR(A.pattern, None, A.entries * torch.linspace(1, 2, 16, dtype=torch.float64)[:, None])
    x, before = torch.ones(16, 3600, dtype=torch.float64), torch.get_num_threads()
    try:
        for recipe in (IC0(), ICT(0.01), ILU0()):
            results = []
            for threads in (1, 3):
                torch.set_num_threads(threads)
                results.append(recipe.setup(A).matvec(x))
            assert torch.equal(*results)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("recipe", [IC0, ICT])
def test_a_negative_pivot_is_named_and_a_shift_is_reported(recipe):
    sound = KERSHAW + 3 * np.eye(4)
    A = on_pattern(np.stack([sound, KERSHAW, sound]), KERSHAW != 0)
    options = {} if recipe is IC0 else {"threshold": 0.0, "fill": 0}
    with pytest.raises(InputError, match=r"pivot that is not positive in row 3 of matrix \[1\].*shift=\"auto\""):
        recipe(**options).setup(A)
    P = recipe(shift="auto", **options).setup(A)
    shift = 0.001 * 2 ** np.arange(11)
    works = next(s for s in shift if np.isfinite(ic0_pivots(KERSHAW + s * np.diag(np.diag(KERSHAW)))))
    assert P.name.endswith(f"shift {works:g} in 1 of 3 matrices")
    expected = ic0(KERSHAW + works * np.diag(np.diag(KERSHAW)))
    np.testing.assert_allclose(P.lower(1).toarray(), expected, rtol=1e-12)
    np.testing.assert_allclose(P.lower(0).toarray(), ic0(sound), rtol=1e-12)
    assert recipe(shift=0.5, **options).setup(A).name.endswith("shift 0.5 in 3 of 3 matrices")
    assert bool(solve(A, torch.ones(4, dtype=torch.float64), CG(recipe(shift="auto", **options))).converged.all())


def ic0_pivots(A: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        return np.diag(ic0(A)).sum()


def test_matrices_that_no_shift_helps():
    wrong = on_pattern(np.diag([1.0, -2.0, 1.0]), np.eye(3, dtype=bool))
    for shift in (0.0, "auto"):
        with pytest.raises(InputError, match="row 1: its diagonal entry is -2"):
            IC0(shift=shift).setup(wrong)
    indefinite = np.array([[1.0, 9.0], [9.0, 1.0]])
    with pytest.raises(InputError, match="far from definite"):
        IC0(shift="auto").setup(on_pattern(indefinite, indefinite != 0))
    off = np.tril(laplacian(3).toarray(), -1) + np.triu(laplacian(3).toarray(), 1)
    insulated = on_pattern(off - np.diag(off.sum(1)), laplacian(3).toarray() != 0)  # singular; what fill adds hides it
    assert bool((applied(IC0().setup(insulated)).diagonal() > 0).all())
    with pytest.raises(InputError, match=r"IC0 with relaxation 1 meets .* row 8"):
        IC0(relaxation=1.0).setup(insulated)
    with pytest.raises(InputError, match="singular without a Dirichlet condition"):
        IC0().setup(on_pattern(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones((2, 2), dtype=bool)))


def test_ilu0_names_a_zero_pivot():
    A = np.stack([np.array([[1.0, 2.0], [2.0, 5.0]]), np.array([[1.0, 2.0], [2.0, 4.0]])])
    with pytest.raises(InputError, match=r"zero pivot in row 1 of matrix \[1\]"):
        ILU0().setup(on_pattern(A, np.ones((2, 2), dtype=bool)))


def test_what_does_not_fit_is_refused():
    class Elsewhere(CSR):
        device = torch.device("cuda")  # pyright: ignore

    A = networks(6)
    complex_ = CSR(A.pattern, None, A.entries.to(torch.complex128))
    with pytest.raises(InputError, match=r"is complex\. Use ILU0"):
        IC0().setup(complex_)
    with pytest.raises(InputError, match=r"does not equal its transpose\. Use ILU0"):
        ICT().setup(nonsymmetric(6))
    with pytest.raises(InputError, match="Multigrid"):
        IC0().setup(Stencil([torch.ones(3, dtype=torch.float64)]))
    with pytest.raises(InputError, match="Chebyshev"):
        ILU0().setup(Elsewhere(A.pattern, None, A.entries))
    with pytest.raises(InputError, match="row 1 stores no diagonal"):
        ILU0().setup(on_pattern(np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[1, 1], [1, 0]], dtype=bool)))
    with pytest.raises(InputError, match="CG cannot use the preconditioner ILU0"):
        CG(ILU0())
    for build in (
        lambda: IC0(shift=-1.0), lambda: IC0(shift="some"), lambda: IC0(relaxation=1.5), lambda: ICT(threshold=-1.0),
        lambda: ICT(fill=-1), lambda: IC0(ordering="rcm"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"expected (a number|natural)"):
            build()
    with pytest.raises(InputError, match="takes vectors of"):
        IC0().setup(A).matvec(torch.ones(6))


def test_names_say_how_large_the_factors_are():
    A = CSR.from_scipy(laplacian(10))
    assert str(IC0().setup(A)) == "IC(0), 280 entries, fill 1.0"
    assert str(ILU0().setup(A)) == "ILU(0), 460 entries, fill 1.0"
    assert str(ICT(0.0).setup(A)).startswith("ICT(0), 1,009 entries, fill 3.")
