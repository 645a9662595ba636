"""Systems one after the other. Oracles: dense algebra, and a loop of single calls."""

import numpy as np
import pytest
import torch
from solvers.mesh_problems import disk
from solvers.sparse_problems import dense, laplacian, networks, nonsymmetric

from pdekit.core import InputError
from pdekit.domain import Boundary, Grid
from pdekit.solvers import (
    AMG,
    CG,
    CSR,
    GMRES,
    IC0,
    ILU0,
    MINRES,
    Auto,
    Chain,
    Direct,
    Jacobi,
    KeptFactor,
    KeptTransfers,
    Multigrid,
    NotConverged,
    Reason,
    diffusion,
    memories,
    solve,
)
from pdekit.solvers.operators.applied import LinearOperator


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def walk(count: int, refinements: int = 3, seed: int = 0) -> CSR:
    """Neighbouring matrices on the disk."""
    rng = np.random.default_rng(seed)
    steps = [rng.standard_normal(4 * 4**refinements) for _ in range(2)]
    angles = 0.1 * np.arange(count)[:, None]
    return disk(refinements, np.exp(0.5 * (np.cos(angles) * steps[0] + np.sin(angles) * steps[1])))


@pytest.mark.parametrize("warm_start", [True, False])
@pytest.mark.parametrize("method", [CG(IC0()), GMRES(ILU0(), restart=10), MINRES(), Direct(), Auto()], ids=str)
@pytest.mark.parametrize("shape", [(4, 30), (30,), (2, 4, 30), (3, 1, 30)])
def test_every_system_of_a_batch(shape, method, warm_start):
    A, b = networks(batch=(4,)), random(*shape)
    solution = solve(A, b, Chain(method, warm_start), rtol=1e-11)
    expected = np.linalg.solve(dense(A), np.broadcast_to(b.numpy(), (*solution.x.shape[:-2], 4, 30))[..., None])[..., 0]
    assert solution.x.shape == expected.shape
    assert np.allclose(solution.x, expected, rtol=1e-8, atol=1e-9)
    assert solution.history.shape[1:] == solution.iterations.shape == solution.residual.shape
    begun = solution.history[0].flatten()
    for row, steps, residual in zip(
        solution.history.flatten(1).T, solution.iterations.flatten(), solution.residual.flatten(), strict=True
    ):
        assert torch.isfinite(row[: steps + 1]).all()
        if method != Direct() and not isinstance(method, Auto):
            assert torch.isnan(row[steps + 1 :]).all()
            assert row[steps] == pytest.approx(float(residual), rel=1e-3, abs=1e-13)
    assert bool(np.isclose(begun, 1).all()) == (not warm_start)


@pytest.mark.parametrize("method", [Direct(), GMRES(ILU0()), Auto()], ids=str)
def test_dense_and_complex_matrices(method):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 8, 8)) + 8 * np.eye(8)
    b = rng.standard_normal((3, 8)) + 1j * rng.standard_normal((3, 8))
    if not isinstance(method, GMRES):
        found = solve(A, b, Chain(method), rtol=1e-12)
        assert np.allclose(found.x, np.linalg.solve(A, b[..., None])[..., 0], rtol=1e-10)
    sparse = nonsymmetric(batch=(3,), complex_=True)
    b = torch.complex(random(3, 30), random(3, 30, seed=1))
    expected = np.linalg.solve(dense(sparse), b.numpy()[..., None])[..., 0]
    assert np.allclose(solve(sparse, b, Chain(method), rtol=1e-12).x, expected, rtol=1e-9)


@pytest.mark.parametrize("method", [CG(), MINRES(), GMRES(restart=7)], ids=str)
def test_systems_that_have_stopped_are_frozen(method):
    A, b = laplacian(12), np.random.default_rng(0).standard_normal((2, 144))
    good = solve(A, b, Chain(method), rtol=1e-10)
    start = np.stack([good.x[0], np.zeros(144)])
    again = solve(A, b, Chain(method), rtol=1e-10, x0=start)
    assert again.iterations[0] == 0
    assert np.array_equal(again.x[0], good.x[0])
    assert again.history[1:, 0].isnan().all()
    assert (solve(A, 0 * b, Chain(method), x0=start).x == 0).all()


def test_stencils_without_ground():
    grid, side = Grid((17, 17)), [Boundary(name, "neumann", 0.0) for name in ("left", "right", "bottom", "top")]
    coefficient = torch.exp(random(3, 17, 17))
    source = random(17, 17)
    system = diffusion(grid, coefficient, source - source.mean(), side, reaction=None)
    b = system.rhs - system.rhs.mean(-1, keepdim=True)
    solution = solve(system.operator, b, Chain(CG(Multigrid())), rtol=1e-10)
    for i in range(3):
        expected = np.linalg.pinv(system.operator.to_scipy((i,)).toarray(), rcond=1e-10) @ b[i].numpy()
        assert np.allclose(solution.x[i], expected, atol=1e-7 * np.abs(expected).max())
    assert solution.nullspace is not None


def test_memories_go_from_system_to_system_as_in_calls_of_their_own():
    A = walk(6, refinements=4)
    b = torch.ones(6, A.shape[0], dtype=torch.float64)
    kept = KeptTransfers()
    chain = Chain(CG(AMG(kept=kept)), warm_start=False)
    assert memories(chain) == (kept,)
    together = solve(A, b, chain)
    kept.reset()
    alone = [solve(A[i], b[i], chain.method) for i in range(6)]
    assert torch.equal(together.x, torch.stack([torch.as_tensor(one.x) for one in alone]))
    assert together.iterations.tolist() == [int(one.iterations) for one in alone]
    assert together.method == (
        "one by one, each from the start: CG, AMG (classical, 3 levels, Gauss-Seidel) preconditioner; "
        "CG, AMG (classical, 3 levels, Gauss-Seidel; transfers kept) preconditioner"
    )
    assert 0 < together.setup_seconds < together.setup_seconds + together.solve_seconds


def test_a_warm_start_is_the_best_multiple_of_the_solution_before():
    A = walk(5)
    b = torch.ones(A.shape[0], dtype=torch.float64)
    found = solve(A, b, Chain(CG(IC0())))
    x = solve(A[0], b, CG(IC0())).x
    for i in range(1, 5):
        image = A[i].matvec(x)
        guess = x * (image @ b) / (image @ image)
        one = solve(A[i], b, CG(IC0()), x0=guess)
        x = one.x
        assert torch.allclose(found.x[i], x, rtol=1e-12)
        assert int(found.iterations[i]) == int(one.iterations)
        assert found.history[0, i] == pytest.approx(float(one.history[0]))
        assert found.history[0, i] < 0.5
    scaled = solve(A.with_values([A.entries[:1] * torch.tensor([[1.0], [1e4]])]), b, Chain(CG(IC0())))
    assert scaled.iterations.tolist()[1] == 0
    assert "from the solution before" in scaled.method


def test_of_several_right_hand_sides_each_starts_from_its_own():
    A, b = walk(2), random(3, 1, walk(1).shape[0])
    found = solve(A, b, Chain(CG(IC0())), rtol=1e-10)
    for k in range(3):
        x = torch.as_tensor(solve(A[0], b[k, 0], CG(IC0()), rtol=1e-10).x)
        image = A[1].matvec(x)
        factor = (image @ b[k, 0]) / (image @ image)
        rest = torch.linalg.vector_norm(b[k, 0] - factor * image) / torch.linalg.vector_norm(b[k, 0])
        assert found.history[0, k, 1] == pytest.approx(float(rest), rel=1e-6)


def test_the_matrix_is_prepared_once_for_all_its_right_hand_sides():
    kept = KeptFactor()
    A = networks()
    found = solve(A, random(5, 30), Chain(Direct(kept=kept)), rtol=1e-12)
    assert np.allclose(found.x, np.linalg.solve(dense(A), random(5, 30).numpy().T).T, rtol=1e-9)
    assert "factors kept" not in found.method
    assert found.method.startswith("one by one, from the solution before: Direct, SuperLU")


def test_a_guess_is_taken_where_it_is_better():
    A, b = walk(3), torch.ones(walk(1).shape[0], dtype=torch.float64)
    exact = torch.as_tensor(solve(A, b, Direct(), rtol=1e-12).x)
    known = exact.clone()
    known[0] *= -3.0
    known[1] *= 50.0
    with_guess, without = (solve(A, b, Chain(CG(IC0())), x0=x0) for x0 in (known, None))
    assert with_guess.history[0, 0] > 1
    assert with_guess.history[0, 1] == pytest.approx(float(without.history[0, 1]), rel=1e-5)
    assert int(with_guess.iterations[2]) == 0
    cold = solve(A, b, Chain(CG(IC0()), warm_start=False), x0=known)
    assert float(cold.history[0, 1]) > 10


def test_one_that_fails_leaves_the_others_alone():
    A = walk(4)
    entries = A.entries.clone()
    entries[1] = -entries[1]
    spoiled, b = CSR(A.pattern, None, entries), torch.ones(A.shape[0], dtype=torch.float64)
    solution = solve(spoiled, b, Chain(CG(Jacobi())), throw=False)
    assert solution.converged.tolist() == [True, False, True, True]
    assert solution.reason[1] is Reason.NOT_DEFINITE
    reference = solve(A[2], b, CG(Jacobi()), x0=None)
    assert torch.allclose(solution.x[2], torch.as_tensor(reference.x), rtol=1e-6)
    assert solution.history[0, 2] < 0.9
    with pytest.raises(NotConverged, match=r"\[1\]: "):
        solve(spoiled, b, Chain(CG(Jacobi())))


def test_what_needs_no_solve_is_not_prepared():
    A, b = walk(3), torch.zeros(3, walk(1).shape[0], dtype=torch.float64)
    b[1] = 1.0
    kept = KeptFactor()
    solution = solve(A, b, Chain(Direct(kept=kept)))
    assert torch.equal(solution.x[[0, 2]], b[[0, 2]])
    assert len(kept) == 2  # the first, which is prepared with the method, and the second
    empty = solve(A[:0], b[:0], Chain(Direct()))
    assert empty.x.shape == (0, A.shape[0])


@pytest.mark.parametrize("matrix", [networks(6, (2,)), nonsymmetric(6, (2,))], ids=["symmetric", "not"])
@pytest.mark.parametrize("method", [GMRES(), Direct(kept=KeptFactor())], ids=str)
def test_gradients_of_first_and_second_order(matrix, method):
    places = matrix.rows * 6 + matrix.indices
    symmetric = matrix.pattern.transposed[0] is matrix.pattern

    def by_chain(entries, b):
        return solve(CSR(matrix.pattern, None, entries), b, Chain(method), rtol=1e-13).x

    def by_algebra(entries, b):
        full = entries.new_zeros(2, 36).index_copy(1, places, entries).reshape(2, 6, 6)
        return torch.linalg.solve(full, b.unsqueeze(-1)).squeeze(-1)

    found = []
    for function in (by_chain, by_algebra):
        entries, b = matrix.entries.clone().requires_grad_(), random(2, 6).requires_grad_()
        mirrored = entries.index_select(-1, matrix.pattern.transposed[1]) if symmetric else entries
        x = function((entries + mirrored) / 2, b)
        first = torch.autograd.grad((x**2).sum(), (entries, b), create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first), (entries, b))
        found.append((*first, *second))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-10)


class Products(LinearOperator):
    """A batch of diagonal matrices that do not show their entries."""

    def __init__(self, *batch: int):
        self.batch = batch

    shape, dtype, device = (3, 3), torch.float64, torch.device("cpu")
    tags = frozenset()

    @property
    def batch_shape(self):
        return self.batch

    def matvec(self, x):
        return 2.0 * x.expand(torch.broadcast_shapes(x.shape, (*self.batch, 3)))


def test_matrices_that_cannot_be_told_apart_are_refused():
    b = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(solve(Products(), b, Chain(GMRES())).x, b / 2)
    with pytest.raises(InputError, match="batch of 2 matrices without stored entries, which cannot be told apart"):
        solve(Products(2), b, Chain(GMRES()))


@pytest.mark.parametrize(("given", "said"), [(CG, "the class CG"), (IC0(), r"IC0\("), (None, "None")])
def test_what_is_no_method_is_refused(given, said):
    with pytest.raises(InputError, match=rf"Chain has method={said}.*; expected an object such as CG\(AMG\(\)\)"):
        Chain(given)


@pytest.mark.parametrize("given", ["no", None, 1])
def test_a_warm_start_is_wanted_or_not(given):
    with pytest.raises(InputError, match=f"Chain has warm_start={given!r}; expected True or False"):
        Chain(CG(), warm_start=given)


def test_a_matrix_that_the_method_does_not_take_is_refused_when_it_is_prepared():
    with pytest.raises(InputError, match="CG needs a symmetric matrix"):
        Chain(CG()).prepare(nonsymmetric(5, (2,)))
    solution = solve(laplacian(5), np.ones(25), Chain(CG(AMG())))
    assert isinstance(solution.x, np.ndarray)
