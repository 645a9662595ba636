"""solve(): agreement with independent solvers, the stopping rule, bad input."""

import pickle
import time

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from solvers.diffusion_problems import EVERY_KIND, problem

from pdekit.core import InputError
from pdekit.core.checks import check_tolerances
from pdekit.domain import Grid
from pdekit.solvers import (
    CG,
    CSR,
    Auto,
    Direct,
    Jacobi,
    Multigrid,
    NotConverged,
    Reason,
    Spectral,
    Stencil,
    diffusion,
    solve,
)


def superlu(system) -> torch.Tensor:
    """The oracle: SciPy's SuperLU, a matrix at a time; singular ones bordered by the condition of mean zero."""
    found = []
    for row in range(len(system.rhs)):
        matrix = system.operator.to_scipy((row,) if system.operator.batch_shape else ())
        b = system.rhs[row].numpy()
        if system.operator.nullspace is not None:
            one = np.ones((len(b), 1))
            matrix = scipy.sparse.block_array([[matrix, one], [one.T, None]])
            b = np.append(b, 0.0)
        found.append(scipy.sparse.linalg.spsolve(matrix.tocsc(), b)[: system.rhs.shape[-1]])
    return torch.from_numpy(np.stack(found))


@pytest.mark.parametrize(("shape", "kinds"), EVERY_KIND)
def test_methods_agree_with_superlu(shape, kinds):
    system = problem(shape, kinds)
    expected = superlu(system)
    methods = [Auto(), Direct(), CG(Jacobi())]
    if len(shape) > 1:
        methods += [CG(Multigrid()), CG(Multigrid(use_kernels=False))]
    for method in methods:
        solution = solve(system.operator, system.rhs, method, rtol=1e-12)
        assert (solution.x - expected).abs().max() <= 1e-9 * expected.abs().max(), solution.method
        assert solution.converged.all()
        assert (solution.nullspace is not None) == (system.operator.nullspace is not None)


@pytest.mark.parametrize(("shape", "kinds"), [case for case in EVERY_KIND if "r" not in "".join(case[1])])
@pytest.mark.parametrize("reaction", [None, 1.5])
def test_spectral_agrees_with_superlu(shape, kinds, reaction):
    system = problem(shape, kinds, constant=True, reaction=reaction)
    assert system.operator.batch_shape == ()
    solution = solve(system.operator, system.rhs, Spectral(), rtol=1e-12)
    expected = superlu(system)
    assert (solution.x - expected).abs().max() <= 1e-11 * expected.abs().max()
    assert solution.iterations.max() == 0


def test_spectral_takes_another_coefficient_a_sample():
    grid = Grid((9, 12))
    coefficient = torch.tensor([1.0, 7.0], dtype=torch.float64).reshape(2, 1, 1).expand(2, *grid.shape)
    system = diffusion(grid, coefficient, 1.0)
    assert solve(system.operator, system.rhs).method.startswith("Spectral")
    assert torch.allclose(solve(system.operator, system.rhs).x, superlu(system), rtol=1e-12)


def test_a_batch_gives_what_its_systems_give_alone():
    system = problem((18, 13), ("dn", "rd"), batch=(5,))
    for method in (CG(Multigrid()), CG(), Direct()):
        together = solve(system.operator, system.rhs, method, rtol=1e-10)
        for row in range(5):
            alone = solve(system.operator[row], system.rhs[row], method, rtol=1e-10)
            assert torch.allclose(together.x[row], alone.x, rtol=0, atol=1e-14)
            assert together.iterations[row] == alone.iterations


@pytest.mark.parametrize("method", [Direct(), CG(), CG(Multigrid())])
@pytest.mark.parametrize(
    ("matrices", "vectors"), [((), (3,)), ((2,), ()), ((2, 1), (3,)), ((2, 3), (3,)), ((0,), (0,))]
)
def test_batches_broadcast(method, matrices, vectors):
    coefficient = 1 + torch.rand(*matrices, 9, 8, dtype=torch.float64)
    A = diffusion(Grid((9, 8)), coefficient, 1.0).operator
    b = torch.rand(*vectors, A.shape[0], dtype=torch.float64)
    solution = solve(A, b, method)
    assert solution.x.shape[:-1] == torch.broadcast_shapes(matrices, vectors)
    assert torch.allclose(A.matvec(solution.x), b.expand(solution.x.shape), atol=1e-6)


def test_residual_is_the_true_one_of_the_returned_x():
    system = problem((40, 33), ("dd", "dn"), batch=(3,))
    for method in (CG(Multigrid()), CG(), Direct()):
        solution = solve(system.operator, system.rhs, method, rtol=1e-7)
        for row in range(3):
            b = system.rhs[row].numpy()
            missing = b - system.operator.to_scipy((row,)) @ solution.x[row].numpy()
            true = np.linalg.norm(missing) / np.linalg.norm(b)
            assert true == pytest.approx(float(solution.residual[row]), rel=1e-2, abs=1e-14)
            assert true <= 1e-7
        assert solution.history[0] == pytest.approx(np.ones(3), rel=1e-12)
        assert bool((solution.residual <= solution.tolerance).all())


def test_systems_that_have_converged_are_frozen():
    system = problem((24, 24), ("dd", "dd"), batch=(2,))
    hard = solve(system.operator, system.rhs, CG(), rtol=1e-10)
    start = torch.stack([hard.x[0], torch.zeros_like(hard.x[1])])
    again = solve(system.operator, system.rhs, CG(), rtol=1e-10, x0=start)
    assert again.iterations[0] == 0
    assert again.iterations[1] > 30
    assert torch.equal(again.x[0], hard.x[0])
    assert again.history[1:, 0].isnan().all()


def test_zero_right_hand_side_gives_zero():
    system = problem((9, 9), ("dd", "dd"))
    b = torch.stack([torch.zeros_like(system.rhs[0]), system.rhs[1]])
    for method in (CG(Multigrid()), CG(), Direct()):
        solution = solve(system.operator, b, method, x0=torch.ones_like(b))
        assert torch.equal(solution.x[0], torch.zeros_like(b[0]))
        assert solution.converged.all()


def test_absolute_tolerance():
    system = problem((9, 9), ("dd", "dd"))
    solution = solve(system.operator, system.rhs, CG(), rtol=0.0, atol=1e-3)
    assert (system.rhs - system.operator.matvec(solution.x)).norm(dim=-1).max() <= 1e-3
    assert (solution.tolerance > 0).all()


@pytest.mark.parametrize("method", [CG(Multigrid()), CG(), Direct(), Spectral()])
def test_unreachable_tolerance_is_named_quickly(method):
    system = problem((33, 33), ("dd", "dd"), constant=isinstance(method, Spectral))
    began = time.perf_counter()
    with pytest.raises(NotConverged, match="below what float64 can attain") as caught:
        solve(system.operator, system.rhs, method, rtol=1e-18)
    assert time.perf_counter() - began < 5
    assert (caught.value.solution.residual < 1e-12).all()
    assert set(caught.value.solution.reason.tolist()) == {Reason.STAGNATION}


def test_not_converged_tells_how_many_which_and_what_to_try():
    system = problem((24, 24), ("dd", "dd"), batch=(3,))
    b = torch.cat([system.rhs[:1], 0 * system.rhs[1:2], system.rhs[2:]])
    with pytest.raises(NotConverged) as caught:
        solve(system.operator, b, CG(max_iterations=5))
    message = str(caught.value)
    for part in ("2 of 3", "[0], [2]", "after 5 iterations", "wanted 1.0e-08", "iteration limit", "Multigrid()"):
        assert part in message
    assert caught.value.solution.converged.tolist() == [False, True, False]
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
    reported = solve(system.operator, b, CG(max_iterations=5), throw=False)
    assert "iteration limit" in str(reported)


def test_kinds_of_matrices_and_vectors():
    matrix = scipy.sparse.random_array((30, 30), density=0.2, rng=np.random.default_rng(0)) + 10 * scipy.sparse.eye(30)
    b = np.arange(30.0)
    expected = np.linalg.solve(matrix.toarray(), b)
    for A in (
        matrix,
        matrix.tocoo(),
        scipy.sparse.csc_matrix(matrix),
        matrix.toarray(),
        torch.from_numpy(matrix.toarray()),
    ):
        x = solve(A, b).x
        assert isinstance(x, np.ndarray)
        assert np.allclose(x, expected, rtol=1e-12)
        assert isinstance(solve(A, torch.from_numpy(b)).x, torch.Tensor)
    assert np.allclose(solve(matrix.astype(np.float32), b.astype(np.int64)).x, expected, rtol=1e-5)


def test_a_matrix_is_factored_once():
    A = CSR.from_scipy(scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(50, 50)))
    prepared = Direct().prepare(A)
    solution = solve(A, torch.ones(4, 50, dtype=torch.float64), prepared)
    assert solution.setup_seconds == 0
    assert solution.x.shape == (4, 50)
    with pytest.raises(InputError, match="prepared for another matrix"):
        solve(problem((9, 9), ("dd", "dd")).operator, torch.ones(49), prepared)


def test_report_reads_well():
    system = problem((17, 17), ("dd", "dd"), batch=(3,))
    text = str(solve(system.operator, system.rhs))
    for part in ("3 systems", "225 unknowns", "CG, multigrid", "coarsening", "3 of 3", "seconds"):
        assert part in text
    flat = problem((12, 12), ("pp", "pp"))
    assert "mean 0 over the unknowns" in str(solve(flat.operator, flat.rhs))


def test_auto_picks_by_the_table():
    def pick(shape, kinds, **options):
        return Auto().select(problem(shape, kinds, **options).operator)

    assert pick((12,), ("dd",)) == Direct()
    assert pick((12, 12), ("dd", "nn"), constant=True) == Spectral()
    assert pick((12, 12), ("dr", "dd"), constant=True) == CG(Multigrid())
    assert pick((12, 12), ("dd", "dd")) == CG(Multigrid())
    assert pick((8, 8, 8), ("dd", "dd", "nn")) == CG(Multigrid())
    assert "SuperLU" in solve(scipy.sparse.eye_array(5), np.ones(5)).method
    assert "LU" in solve(np.eye(5), np.ones(5)).method


# ---------------------------------------------------------------------------------------------------- bad input


def test_right_hand_side_that_does_not_balance():
    grid = Grid((8, 8), closed=False)
    system = diffusion(grid, 1.0, torch.ones(2, 8, 8, dtype=torch.float64))
    with pytest.raises(InputError, match=r"b\[0\] sums to 64.*null space.*subtract the mean"):
        solve(system.operator, system.rhs)


def test_nan_is_named_with_its_index():
    system = problem((9, 9), ("dd", "dd"))
    b = system.rhs.clone()
    b[1, 7] = float("nan")
    with pytest.raises(InputError, match=r"b\[1, 7\] is nan"):
        solve(system.operator, b)
    faces = [face.clone() for face in system.operator.faces]
    faces[1][0, 2, 3] = float("inf")
    with pytest.raises(InputError, match=r"A.values\[1\]\[0, 2, 3\] is inf"):
        solve(Stencil(faces), system.rhs)
    with pytest.raises(InputError, match=r"x0\[7\] is nan"):
        solve(system.operator, system.rhs, x0=b[1])


def test_shapes_that_do_not_fit():
    A = np.eye(4)
    with pytest.raises(InputError, match=r"b has shape \(4, 2\); expected \(\*batch, 4\).*pass b.T"):
        solve(A, np.ones((4, 2)))
    with pytest.raises(InputError, match=r"b has shape \(3,\)"):
        solve(A, np.ones(3))
    with pytest.raises(InputError, match="square"):
        solve(np.ones((3, 4)), np.ones(3))
    system = problem((9, 9), ("dd", "dd"), batch=(3,))
    with pytest.raises(InputError, match=r"batch shape \(2,\).*batch \(3,\)"):
        solve(system.operator, torch.ones(2, 49))
    with pytest.raises(InputError, match="Fields want flattening"):
        solve(system.operator, torch.ones(3, 7, 7))


@pytest.mark.parametrize("tolerances", [{"rtol": -1.0}, {"rtol": float("nan")}, {"rtol": 0.0}, {"atol": -1e-3}])
def test_tolerances_that_mean_nothing(tolerances):
    with pytest.raises(InputError, match="at least 0"):
        solve(np.eye(2), np.ones(2), **tolerances)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_sparse_torch_matrices():
    A = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 0.0, 4.0]], dtype=torch.float64)
    b = np.array([1.0, 2.0, 3.0])
    for sparse in (A.to_sparse(), A.to_sparse_csr()):
        given = sparse.requires_grad_()
        x = solve(given, torch.from_numpy(b)).x
        assert torch.allclose(x, torch.linalg.solve(A, torch.from_numpy(b)), rtol=1e-12)
        x.sum().backward()  # oracle: dense algebra, at the stored places
        dense = A.clone().requires_grad_()
        torch.linalg.solve(dense, torch.from_numpy(b)).sum().backward()
        assert torch.allclose(given.grad.to_dense(), dense.grad * (A != 0), rtol=1e-12)
    for bad in (torch.eye(2).to_sparse_csc(), torch.ones(2, 2, 2).to_sparse(), torch.ones(2, 3).to_sparse()):
        with pytest.raises(InputError, match="layout"):
            solve(bad, np.ones(2))


@pytest.mark.parametrize("A", [np.ones((2, 2)), scipy.sparse.csr_array(np.ones((2, 2)))])
def test_singular_matrices_are_named(A):
    with pytest.raises(NotConverged, match="the matrix is singular"):
        solve(A, np.array([1.0, 2.0]))


def test_stencils_of_two_kinds_in_one_batch():
    faces = torch.ones(2, 6, dtype=torch.float64)
    faces[1, 0] = faces[1, -1] = 0
    with pytest.raises(InputError, match=r"matrix \[1\] of the batch leads nowhere to the ground"):
        solve(Stencil([faces]), torch.ones(5))


@pytest.mark.parametrize("method", [Direct(), CG()])
def test_a_right_hand_side_whose_squares_vanish_is_refused(method):
    """||b||^2 underflows to 0 below 1e-162: x = 0 would pass as the solution. The part that is exactly 0 is fine."""
    A = np.array([[2.0, 1.0], [1.0, 3.0]])
    b = np.array([[1.0, 2.0], [0.0, 0.0]])
    with pytest.raises(InputError, match=r"b\[0\] has entries of at most 2.0e-165.*scale b"):
        solve(A, b * 1e-165, method)
    x = solve(A, b * 1e-135, method, rtol=1e-12).x * 1e135
    assert np.abs(x - np.linalg.solve(A, b.T).T).max() < 1e-12
    assert (solve(A, b * 1e-165, method, atol=1.0).residual <= 1).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"A": None}, "A is a NoneType; expected an operator, a SciPy or torch sparse matrix"),
        ({"A": scipy.sparse.linalg.aslinearoperator(np.eye(2))}, "A product alone is given as a subclass"),
        ({"b": "x"}, "b is a str"),
        ({"b": scipy.sparse.csr_array(np.ones((1, 2)))}, "b is sparse"),
        ({"rtol": "1e-8"}, "rtol='1e-8'"),
        ({"rtol": float("inf")}, "rtol=inf"),
        ({"method": "CG"}, "method is 'CG'"),
        ({"method": CG}, "method is the class CG"),
        ({"x0": np.ones((2, 2))}, r"x0 has shape \(2, 2\)"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(given, message):
    with pytest.raises(InputError, match=message):
        solve(**{"A": np.eye(2), "b": np.ones(2), **given})


@pytest.mark.parametrize(
    ("tolerances", "said"),
    [
        ({"rtol": 1.0}, "rtol=1.0; expected a number below 1"),
        ({"rtol": 5.0, "atol": 1e-3}, "expected a number below 1"),
    ],
)
def test_tolerances_that_0_would_meet_are_refused(tolerances, said):
    with pytest.raises(InputError, match=said):
        solve(np.eye(2), np.ones(2), **tolerances)


@pytest.mark.parametrize("value", [True, "1e-8", None, torch.tensor(1e-8), np.array([1e-8])])
def test_tolerances_are_numbers(value):
    with pytest.raises(InputError, match=r"rtol=.*; expected a number such as 1e-8"):
        check_tolerances(value, 0.0)
    with pytest.raises(InputError, match="atol="):
        check_tolerances(1e-8, value)
