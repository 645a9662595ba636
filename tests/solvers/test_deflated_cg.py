"""Deflated conjugate gradients: against dense algebra, plain CG, and the promises of methods with a memory."""

import io

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import torch
from solvers.diffusion_problems import problem
from solvers.matrices import dense
from solvers.sparse_problems import laplacian, networks

from pdekit.core import InputError
from pdekit.domain import Grid
from pdekit.solvers import CG, CSR, IC0, ILU0, DenseMatrix, Jacobi, Reason, diffusion, memories, solve
from pdekit.solvers.krylov.cg import conjugate_gradients
from pdekit.solvers.krylov.directions import DeflatedDirections
from pdekit.solvers.preconditioners.multigrid import Multigrid
from pdekit.solvers.recycling.deflated_cg import DeflatedCG
from pdekit.solvers.recycling.deflated_runs import CompiledRuns, Runs, TensorRuns
from pdekit.solvers.recycling.policies import Always, Freeze, Never
from pdekit.solvers.recycling.ritz import smallest_vectors
from pdekit.solvers.recycling.space import RecycleSpace

KINDS = ["compiled", "tensor"]


def neighbours(count: int = 8, points: int = 25, *, step: float = 0.02, kind: str = "compiled"):
    """Diffusion with slowly changing smooth coefficients: a batch as CSR or as stencil, and right-hand sides."""
    wave = torch.sin(5 * torch.linspace(0, 3, points, dtype=torch.float64))
    shape = torch.outer(wave, wave)
    contrast = 2 + step * torch.arange(count, dtype=torch.float64)
    system = diffusion(Grid((points, points)), torch.exp(contrast[:, None, None] * shape), 1.0)
    A, b = system.operator, system.rhs.expand(count, -1).clone()
    return (as_csr(A) if kind == "compiled" else A), b


def as_csr(A) -> CSR:
    one = A.to_scipy((0,))
    entries = [torch.from_numpy(A.to_scipy((i,)).data) for i in range(A.batch_shape[0])]
    return CSR(torch.from_numpy(one.indptr), torch.from_numpy(one.indices), torch.stack(entries))


def residuals(A, b, x) -> torch.Tensor:
    return torch.linalg.vector_norm(b - A.matvec(x), dim=-1) / torch.linalg.vector_norm(b, dim=-1)


def holding(rows, size: int | None = None) -> RecycleSpace:
    space = RecycleSpace(size or len(rows))
    space.replace(torch.as_tensor(rows))
    return space


@pytest.mark.parametrize("kind", KINDS)
def test_with_eigenvectors_it_is_cg_on_the_rest_of_the_spectrum(kind):
    # Oracle: plain CG in the basis of all other eigenvectors. The diagonal is constant, so Jacobi changes nothing.
    matrix = laplacian(12).toarray()
    values, vectors = np.linalg.eigh(matrix)
    space = holding(vectors[:, :10].T.copy())
    b = np.random.default_rng(0).standard_normal(144)
    A = CSR.from_scipy(laplacian(12)) if kind == "compiled" else DenseMatrix(torch.from_numpy(matrix))
    found = solve(A, b, DeflatedCG(Jacobi(), update=Never(), space=space), rtol=1e-8)
    wanted = torch.tensor(1e-8 * np.linalg.norm(b))
    rest = torch.from_numpy(vectors[:, 10:].T @ b)
    oracle = (
        CG(None)
        .prepare(DenseMatrix(torch.diag(torch.from_numpy(values[10:]))))
        .iterate(DenseMatrix(torch.diag(torch.from_numpy(values[10:]))), None, rest, None, wanted)
    )
    plain = solve(A, b, CG(Jacobi()), rtol=1e-8)
    assert abs(int(found.iterations) - int(oracle.iterations)) <= 1
    assert int(found.iterations) < int(plain.iterations)
    np.testing.assert_allclose(found.x, np.linalg.solve(matrix, b), rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_of_all_dimensions_solves_at_once(kind):
    # Oracle: dense solves. The kernel rounds the vectors to float32, which leaves the space as large.
    matrix = laplacian(5)
    A = CSR.from_scipy(matrix) if kind == "compiled" else DenseMatrix(torch.from_numpy(matrix.toarray()))
    space = holding(torch.randn(25, 25, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    b = np.random.default_rng(1).standard_normal(25)
    found = solve(A, b, DeflatedCG(Jacobi(), update=Never(), space=space), rtol=1e-9)
    assert int(found.iterations) <= 1
    np.testing.assert_allclose(found.x, np.linalg.solve(matrix.toarray(), b), rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_space_of_the_first_systems_saves_iterations_in_the_rest(kind):
    A, b = neighbours(kind=kind)
    method = DeflatedCG(IC0() if kind == "compiled" else Jacobi(), vectors=12)
    found, plain = solve(A, b, method), solve(A, b, CG(method.preconditioner))
    assert bool((residuals(A, b, found.x) <= 1e-8).all())
    assert found.iterations[0] == plain.iterations[0]
    assert found.iterations[3:].double().mean() <= 2 / 3 * plain.iterations[3:].double().mean()
    torch.testing.assert_close(found.x, plain.x, rtol=1e-6, atol=1e-9)
    assert "updated in 3 of 8 systems" in found.method


@pytest.mark.parametrize("recipe", [IC0(), Jacobi(), None], ids=str)
def test_the_kernel_is_the_tensor_iteration(recipe):
    # For so many steps: later on the differences of rounding have grown to the size of the residual.
    A, b = neighbours(3, 20)
    runs = (
        CompiledRuns(A, None if recipe is None else recipe.setup(A), b, None, 1e-9, 0.0, 30),
        TensorRuns(A, recipe, b, None, 1e-9, 0.0, 30),
    )
    generator = torch.Generator().manual_seed(0)
    # The kernel rounds the vectors to float32; these are float32 numbers already.
    space = torch.randn(7, A.shape[0], generator=generator).double()
    for run in runs:
        run.solve([1, 2], space)
    mine, oracle = (run.outcome("", 0.0) for run in runs)
    assert mine.iterations[0] == 0
    assert mine.iterations.tolist() == oracle.iterations.tolist()
    torch.testing.assert_close(mine.x, oracle.x, rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(mine.history[:20], oracle.history[:20], rtol=1e-9, atol=0.0, equal_nan=True)
    torch.testing.assert_close(mine.residual[1:], torch.linalg.vector_norm(b - A.matvec(mine.x), dim=-1)[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_windows_hold_lanczos_vectors_and_their_ritz_vectors(kind):
    # Oracle: M-orthonormality, and the generalised eigenproblem of dense matrices.
    A, b = neighbours(1, 9)
    recipe = Jacobi()
    runs = (
        CompiledRuns(A, recipe.setup(A), b, None, 1e-13, 0.0, 500)
        if kind == "compiled"
        else TensorRuns(A, recipe, b, None, 1e-13, 0.0, 500)
    )
    window = runs.window(200)
    runs.solve([0], b.new_empty((0, A.shape[0])), window)
    assert window.steps == runs.iterations[0] > 12
    matrix = A.to_scipy((0,)).toarray()
    M = np.diag(np.diag(matrix))
    first = window.vectors[:8].numpy()
    np.testing.assert_allclose(first @ M @ first.T, np.eye(8), atol=1e-10)
    values = scipy.linalg.eigh(matrix, M, eigvals_only=True)
    for row in window.candidates(2)[:2].numpy():
        quotient = (row @ matrix @ row) / (row @ M @ row)
        assert np.abs(values / quotient - 1).min() < 1e-10
    row = window.candidates(1)[0].numpy()
    # b is even in both axes, so the run has seen the smallest eigenvector.
    assert (row @ matrix @ row) / (row @ M @ row) == pytest.approx(values[0], rel=1e-10)


@pytest.mark.parametrize("kind", ["definite", "hermitian definite"])
def test_ritz_vectors_of_everything_are_eigenvectors(kind):
    # Oracle: scipy.linalg.eigh of the pencil (A, M).
    matrix = dense(kind)
    A = DenseMatrix(torch.from_numpy(matrix))
    M = np.diag(np.diag(matrix)).real
    every = torch.cat([torch.eye(len(matrix), dtype=A.dtype), torch.eye(len(matrix), dtype=A.dtype)[:3]])
    found = smallest_vectors(A, Jacobi().setup(A), every, 4).numpy()
    vectors = scipy.linalg.eigh(matrix, M)[1]
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    for mine, theirs in zip(found, vectors.T[:4], strict=True):
        theirs = theirs / np.linalg.norm(theirs)
        assert abs(np.vdot(theirs, mine)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_systems_one_by_one(kind):
    A, b = neighbours(6, 17, kind=kind)
    recipe = IC0() if kind == "compiled" else Jacobi()
    together = solve(A, b, DeflatedCG(recipe, 8, space=RecycleSpace(8)))
    method = DeflatedCG(recipe, space=RecycleSpace(8))
    alone = [solve(A[i], b[i], method) for i in range(6)]
    assert together.iterations.tolist() == [int(solution.iterations) for solution in alone]
    torch.testing.assert_close(together.x, torch.stack([solution.x for solution in alone]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_matrices_and_vectors_broadcast(kind):
    A, _ = neighbours(2, 9, kind=kind)
    b = torch.randn(3, 2, A.shape[0], dtype=torch.float64)
    b[1, 1] = 0
    guess = torch.randn_like(b)
    found = solve(A, b, DeflatedCG(Jacobi(), 6), rtol=1e-11, x0=guess)
    expected = torch.stack([torch.linalg.solve(torch.from_numpy(A.to_scipy((i,)).toarray()), b[:, i].T).T
                            for i in range(2)], 1)  # fmt: skip
    torch.testing.assert_close(found.x, expected, rtol=1e-8, atol=1e-12)
    assert found.iterations[1, 1] == 0
    assert not found.x[1, 1].any()


def test_answers_do_not_depend_on_the_number_of_threads():
    A, b = neighbours(12, 33)
    before = torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            # What torch sums itself depends on its threads; the frozen space does not.
            runs.append(solve(A, b, DeflatedCG(update=Never(), space=holding(b[:2] * torch.linspace(0, 1, len(b[0]))))))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(runs[0].x, runs[1].x)


def test_tight_tolerances_are_reached():
    A, b = neighbours(5, 17)
    found = solve(A, b, DeflatedCG(vectors=8), rtol=1e-13)
    assert residuals(A, b, found.x).max() <= 1.5e-13


@pytest.mark.parametrize("kind", KINDS)
def test_what_rounding_leaves_in_the_space_is_taken_off(kind):
    # Contrast 1e10: rounding of the first residual alone has parts in the space far above the tolerance.
    points = 25
    wave = torch.sin(torch.linspace(0, 6, points, dtype=torch.float64))
    strength = torch.linspace(11.4, 11.6, 5, dtype=torch.float64)
    system = diffusion(Grid((points, points)), torch.exp(strength[:, None, None] * torch.outer(wave, wave)), 1.0)
    A = as_csr(system.operator) if kind == "compiled" else system.operator
    recipe = IC0() if kind == "compiled" else Jacobi()
    found, plain = (solve(A, system.rhs, method(recipe), rtol=1e-10) for method in (DeflatedCG, CG))
    assert "; then" not in found.method
    assert found.iterations[3:].max() < 0.7 * plain.iterations[3:].min()


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_of_another_size_is_forgotten(kind):
    space = RecycleSpace(8)
    method = DeflatedCG(Jacobi(), space=space)
    for points in (17, 13):
        A, b = neighbours(4, points, kind=kind)
        found = solve(A, b, method)
        assert bool(found.converged.all())
        assert space.basis.shape == (8, A.shape[0])
        assert "updated in 3 of 4" in found.method


@pytest.mark.parametrize("kind", KINDS)
def test_dependent_vectors_are_left_out(kind):
    A, b = neighbours(1, 17, kind=kind)
    rows = torch.randn(5, A.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    clean = solve(A, b, DeflatedCG(Jacobi(), update=Never(), space=holding(rows)))
    doubled = torch.cat([rows, rows[:2] + rows[2:4], torch.zeros(1, A.shape[0], dtype=torch.float64)])
    found = solve(A, b, DeflatedCG(Jacobi(), update=Never(), space=holding(doubled)))
    assert abs(int(found.iterations) - int(clean.iterations)) <= 1
    assert "(5 vectors)" in found.method


def test_a_space_that_is_not_finite_is_not_used():
    A, b = neighbours(1, 9)
    space = holding(torch.ones(2, A.shape[0]).double())
    space.basis.fill_(torch.nan)
    found = solve(A, b, DeflatedCG(update=Never(), space=space))
    assert "(0 vectors)" in found.method


@pytest.mark.parametrize("spoilt", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_space_that_is_not_finite_heals(kind, spoilt):
    A, b = neighbours(6, 17, kind=kind)
    spoiled, clean = RecycleSpace(8), RecycleSpace(8)
    rows = torch.randn(3, A.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    spoiled.replace(rows)
    spoiled.basis[:spoilt] = torch.nan
    found, expected = (solve(A, b, DeflatedCG(Jacobi(), space=space)) for space in (spoiled, clean))
    assert bool(torch.isfinite(spoiled.basis).all())
    assert spoiled.basis.shape == (8, A.shape[0])
    assert "updated in 3 of 6" in found.method
    if spoilt == len(rows):
        assert torch.equal(found.iterations, expected.iterations)


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_steps_are_looked_at_than_a_run_may_make(kind, monkeypatch):
    usual, sizes = Runs.window, []
    monkeypatch.setattr(Runs, "window", lambda self, size: sizes.append(size) or usual(self, min(size, 200)))
    A, b = neighbours(2, 14, kind=kind)
    n = A.shape[0]
    assert bool(solve(A, b, DeflatedCG(Jacobi(), vectors=10**7)).converged.all())
    solve(A, b, DeflatedCG(Jacobi(), vectors=10**7, max_iterations=30), throw=False)
    assert sizes == [n, n, 30, 30]


@pytest.mark.parametrize("recipe", [IC0(), Jacobi(), Multigrid()], ids=str)
def test_a_matrix_is_prepared_once(recipe, monkeypatch):
    usual, batches = type(recipe).setup, []
    monkeypatch.setattr(type(recipe), "setup", lambda self, A: batches.append(A.batch_shape) or usual(self, A))
    kind = "tensor" if recipe == Multigrid() else "compiled"
    A, b = neighbours(5, 17, kind=kind)
    solve(A, b, DeflatedCG(recipe, vectors=6))
    assert batches == ([(), (), (), (2,)] if kind == "tensor" else [(5,)])
    batches.clear()
    solve(A[0] if kind == "compiled" else A.with_values([v[0] for v in A.values]), b, DeflatedCG(recipe, vectors=6))
    assert batches == [()]


def test_it_says_where_a_space_is_lost():
    A, b = neighbours(2, 17)
    for system in (A[0], b[0]), (A, b):
        method = DeflatedCG(vectors=6)
        assert solve(*system, method).method.endswith("preconditioner, space not kept") == (system[0] is not A)
    assert "not kept" not in solve(A[0], b[0], DeflatedCG(space=RecycleSpace(6))).method
    one = A[0]
    prepared = DeflatedCG(vectors=6).prepare(one)
    solve(one, b[0], prepared)
    assert "not kept" not in solve(one, b[1], prepared).method


@pytest.mark.parametrize("kind", KINDS)
def test_an_energy_that_is_not_positive_names_the_matrix(kind):
    matrix = laplacian(6) - 2 * scipy.sparse.eye_array(36)
    A = CSR.from_scipy(matrix) if kind == "compiled" else DenseMatrix(torch.from_numpy(matrix.toarray()))
    lowest = np.linalg.eigh(matrix.toarray())[1][:, :2].T.copy()
    for space in (None, holding(lowest)):
        found = solve(A, np.ones(36), DeflatedCG(Jacobi(), space=space), throw=False)
        assert found.reason.item() is Reason.NOT_DEFINITE


def test_it_is_frozen_and_thawed():
    A, b = neighbours(60, 25, step=1e-4)
    space = RecycleSpace(10)
    method = DeflatedCG(space=space, update=Freeze(after=2, worse=1.3))
    assert "updated in 2 of 60" in solve(A, b, method).method
    basis = space.basis.clone()
    assert "updated" not in solve(A, b, method).method
    assert torch.equal(space.basis, basis)
    # Another coefficient, of which the space knows nothing.
    far = problem((25, 25), ("dd", "dd"), batch=(60,), contrast=1e4)
    other = far.operator.with_values([face[:1].expand(60, *face.shape[1:]) for face in far.operator.values])
    assert "updated in 2 of 60" in solve(as_csr(other), far.rhs, method).method
    assert "updated in 6 of 6" in solve(A[:6], b[:6], DeflatedCG(space=space, update=Always())).method


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_space_goes_on_as_if_never_stopped(kind):
    A, b = neighbours(7, 17, kind=kind)
    method = DeflatedCG(Jacobi(), space=RecycleSpace(8), update=Freeze(after=4))
    solve(A[:3], b[:3], method)
    file = io.BytesIO()
    torch.save({"space": method.space.state_dict()}, file)
    file.seek(0)
    resumed = RecycleSpace(8)
    resumed.load_state_dict(torch.load(file, weights_only=True)["space"])
    again = solve(A[3:], b[3:], DeflatedCG(Jacobi(), space=resumed, update=Freeze(after=4)))
    on = solve(A[3:], b[3:], method)
    assert torch.equal(on.x, again.x)
    assert on.method == again.method
    assert "updated in 1 of 4" in on.method


def test_without_a_memory_answers_depend_on_the_call_alone():
    A, b = neighbours(5, 17)
    method = DeflatedCG(vectors=8)
    assert memories(method) == ()
    assert torch.equal(solve(A, b, method).x, solve(A, b, method).x)
    space = RecycleSpace(8)
    assert memories(DeflatedCG(space=space)) == (space,)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_plain_cg(kind):
    A, b = neighbours(4, 9, kind=kind)
    weights = torch.randn(b.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for method in (DeflatedCG(Jacobi(), 6), CG(Jacobi())):
        leaves = [values.clone().requires_grad_() for values in A.values]
        right = b.clone().requires_grad_()
        x = solve(A.with_values(leaves), right, method, rtol=1e-12).x
        found.append(torch.autograd.grad((weights * x).sum(), [right, *leaves]))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10 * float(theirs.abs().max()))


def test_singular_matrices_with_a_known_null_space():
    system = problem((17, 17), ("nn", "nn"), batch=(5,))
    found, plain = solve(system.operator, system.rhs, DeflatedCG(Jacobi(), 8)), solve(system.operator, system.rhs)
    torch.testing.assert_close(found.x, plain.x, rtol=1e-5, atol=1e-6)
    assert found.iterations[4] < found.iterations[0]
    A = as_csr(system.operator)
    space = holding(torch.cat([torch.ones(1, 17 * 17), torch.randn(3, 17 * 17)]).double())
    found = solve(A, system.rhs, DeflatedCG(Jacobi(), space=space, update=Never()))
    torch.testing.assert_close(found.x, plain.x, rtol=1e-5, atol=1e-6)
    assert "(3 vectors)" in found.method


def test_hermitian_matrices():
    A = DenseMatrix(torch.from_numpy(np.stack([dense("hermitian definite") * (1 + 0.01 * i) for i in range(4)])))
    b = torch.randn(4, A.shape[0], dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    found = solve(A, b, DeflatedCG(Jacobi(), 6), rtol=1e-11)
    torch.testing.assert_close(found.x, torch.linalg.solve(A.matrix, b), rtol=1e-8, atol=1e-10)
    assert found.iterations[3] < found.iterations[0]


def test_other_preconditioners_run_as_tensors():
    A, b = neighbours(5, 33, kind="tensor")
    found = solve(A, b, DeflatedCG(Multigrid(), 4))
    assert residuals(A, b, found.x).max() <= 1e-8


def test_a_sequence_of_a_network_with_a_second_right_hand_side():
    A = networks(60, (2,))
    b = torch.randn(5, 2, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = solve(A, b, DeflatedCG(vectors=6), rtol=1e-10)
    assert residuals(A, b, found.x).max() <= 1e-10


def test_a_solve_that_the_space_spoils_falls_back():
    A, b = neighbours(2, 17)
    prepared = DeflatedCG(max_iterations=3).prepare(A)
    assert "CG, IC(0)" in prepared.fallback().name
    assert not bool(solve(A, b, DeflatedCG(max_iterations=3), throw=False).converged.any())


def test_eigenvalues_of_the_space_are_moved_among_the_others():
    # Oracle: eigenvalues of the joined preconditioner times A by dense algebra; conjugate gradients on few eigenvalues.
    n = 40
    values = torch.cat([torch.tensor([1e-6, 1e-5, 1e-3]), torch.linspace(1, 2, n - 3)]).double()
    turn = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    A = DenseMatrix(turn @ torch.diag(values) @ turn.T)
    W = turn[:, :3].T.contiguous()
    inverse = torch.linalg.inv(W @ A.matrix @ W.T)
    r = turn[:, 3:].sum(1)
    rule = DeflatedDirections(A, W, inverse)
    rule.step(r, r, torch.tensor(True))
    shift = float(rule.shift)
    assert shift == pytest.approx(1.5)
    joined = torch.eye(n, dtype=torch.float64) + shift * W.T @ inverse @ W
    moved = torch.linalg.eigvals(joined @ A.matrix).real.sort().values
    expected = torch.cat([values[3:], values[:3] + shift]).sort().values
    torch.testing.assert_close(moved, expected, rtol=1e-8, atol=0)
    residual = A.matrix @ torch.ones(n, dtype=torch.float64)
    wanted = 1e-10 * torch.linalg.vector_norm(residual)
    deflated = conjugate_gradients(
        A, None, residual, None, wanted, 200, directions=lambda: DeflatedDirections(A, W, inverse)
    )
    plain = conjugate_gradients(A, None, residual, None, wanted, 200)
    assert int(deflated.iterations) < 20 < int(plain.iterations)


def test_what_it_refuses():
    with pytest.raises(InputError, match=r"DeflatedCG needs a symmetric matrix"):
        solve(np.array([[2.0, 1.0], [0.0, 1.0]]), np.ones(2), DeflatedCG())
    with pytest.raises(InputError, match=r"a fixed symmetric positive definite one\. FlexibleCG takes it as it is"):
        DeflatedCG(ILU0())
    with pytest.raises(InputError, match="DeflatedCG has vectors=0"):
        DeflatedCG(vectors=0)
    with pytest.raises(InputError, match="DeflatedCG has max_iterations=0"):
        DeflatedCG(max_iterations=0)
    with pytest.raises(InputError, match=r"update='always'; expected Freeze\(\), Always\(\) or Never\(\)"):
        DeflatedCG(update="always")  # pyright: ignore
    with pytest.raises(InputError, match=r"space=20; expected None or an object such as RecycleSpace\(20\)"):
        DeflatedCG(space=20)  # pyright: ignore
