"""First guesses from a basis of earlier solutions: what they save, where they save nothing, what they never cost."""

import io

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.matrices import dense, helmholtz, vectors
from solvers.mesh_problems import lognormal
from solvers.parametrised import parameters, thermal_block
from solvers.test_krylov import FITTING

from pdekit.core import InputError
from pdekit.domain import Grid
from pdekit.solvers import (
    AMG,
    CG,
    CSR,
    GMRES,
    IC0,
    DenseMatrix,
    Direct,
    Jacobi,
    Multigrid,
    ReducedBasis,
    ReducedGuess,
    Stencil,
    diffusion,
    memories,
    pod,
    solve,
)
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.recycling.deflated_cg import DeflatedCG
from pdekit.solvers.recycling.gcrodr import GCRODR
from pdekit.solvers.recycling.policies import Never
from pdekit.solvers.reduced.reduced_guess import reduced_guess
from pdekit.solvers.solution import Reason
from pdekit.testing import check_device

# ------------------------------------------------------------------------------------------ what is gained


@pytest.mark.parametrize(("method", "part"), [(CG(IC0()), 0.35), (CG(AMG()), 0.5), (CG(), 0.35)])
def test_iterations_saved_where_parameters_are_few(method, part):
    A, b = thermal_block(parameters(160, 0), 32)
    plain, guessed = solve(A, b, method), solve(A, b, ReducedGuess(method))
    assert guessed.converged.all()
    assert torch.equal(guessed.iterations[:4], plain.iterations[:4])  # from nothing
    later = slice(64, None)
    assert guessed.iterations[later].sum() < part * plain.iterations[later].sum()
    assert "guess from a reduced basis (0 to 19 vectors, taken 155 of 160 times)" in guessed.method


def test_nothing_is_gained_for_random_fields():
    A = lognormal(4, 1.0, 96)
    b = torch.ones(A.shape[0], dtype=torch.float64)
    plain, guessed = solve(A, b, CG(IC0())), solve(A, b, ReducedGuess(CG(IC0())))
    saved = 1 - float(guessed.iterations[64:].sum() / plain.iterations[64:].sum())
    assert -0.05 < saved < 0.15


def test_a_basis_goes_from_call_to_call():
    basis = ReducedBasis(snapshots=32)
    method = ReducedGuess(CG(IC0()), basis)
    A, b = thermal_block(parameters(80, 0))
    for k in range(0, 40, 5):
        assert solve(A[k : k + 5], b, method).converged.all()
    assert basis.frozen
    assert basis.count == 32
    found, plain = solve(A[40:], b, method), solve(A[40:], b, CG(IC0()))
    assert found.iterations.sum() < 0.35 * plain.iterations.sum()
    assert memories(method) == (basis,)
    assert repr(method) == "ReducedGuess(method=CG(preconditioner=IC0(" + repr(method).split("IC0(", 1)[1]


def test_without_a_basis_answers_depend_on_the_call_alone():
    method = ReducedGuess(CG(IC0()))
    A, b = thermal_block(parameters(20, 0), 10)
    first = solve(A, b, method)
    solve(A[3:], 2 * b, method)
    again = solve(A, b, method)
    assert torch.equal(first.x, again.x)
    assert first.method == again.method
    fewer = solve(A[:10], b, method)  # nor on what comes later, but for the order of sums
    assert torch.equal(fewer.iterations, first.iterations[:10])
    assert torch.allclose(fewer.x, first.x[:10], rtol=1e-10)
    assert memories(method) == ()


# -------------------------------------------------------------------------------------------- what it is


@pytest.mark.parametrize("kind", ["definite", "hermitian definite", "general", "complex"])
def test_the_guess_is_the_best_in_its_norm(kind):
    # Oracle: dense algebra. Galerkin for Hermitian matrices, least squares of the residual for others.
    A = np.stack([dense(kind, seed=seed) for seed in range(3)])
    b = vectors(kind)
    rows = pod(vectors(kind, count=6, seed=5)).basis
    found, taken = reduced_guess(rows, DenseMatrix(torch.from_numpy(A)), torch.from_numpy(b))
    V = rows.numpy().T
    for k in range(3):
        if "definite" in kind:
            y = np.linalg.solve(V.conj().T @ A[k] @ V, V.conj().T @ b[k])
        else:
            y = np.linalg.lstsq(A[k] @ V, b[k])[0]
        better = np.linalg.norm(b[k] - A[k] @ V @ y) < np.linalg.norm(b[k])
        assert bool(taken[k]) == better
        assert np.allclose(found[k].numpy(), V @ y if better else 0)


def test_a_guess_is_never_worse_than_what_there_was():
    # Galerkin in an indefinite matrix may go anywhere.
    A = CSR.from_scipy(helmholtz(12, 1.5))
    rng = torch.Generator().manual_seed(3)
    b = torch.randn(300, 144, generator=rng, dtype=torch.float64)
    for seed in range(5):
        rows = torch.linalg.qr(torch.randn(144, 3, generator=rng, dtype=torch.float64))[0].mT
        for start in (None, 1e-3 * torch.randn(300, 144, generator=rng, dtype=torch.float64)):
            before = b if start is None else b - A.matvec(start)
            found, taken = reduced_guess(rows, A, b, start)
            after = (b - A.matvec(found)).norm(dim=-1)
            assert (after <= before.norm(dim=-1)).all()
            assert torch.equal(after < before.norm(dim=-1), taken)
        assert not taken.all(), seed


def test_a_guess_improves_the_one_that_was_given():
    A, b = thermal_block(parameters(30, 0), 12)
    x = solve(A, b, Direct()).x
    basis = ReducedBasis()
    basis.add(x[:16])
    method = ReducedGuess(CG(), basis)
    near = x[16:] * (1 + 1e-3 * torch.rand_like(x[16:]))
    both, alone = solve(A[16:], b, method, x0=near), solve(A[16:], b, CG(), x0=near)
    assert both.iterations.sum() <= alone.iterations.sum()
    assert (solve(A[16:], b, method, x0=x[16:]).iterations == 0).all()


def test_large_batches_are_projected_in_pieces(monkeypatch):
    A, b = thermal_block(parameters(12, 0), 10)
    rows = torch.linalg.qr(torch.randn(81, 4, dtype=torch.float64))[0].mT
    right = b.expand(2, 12, 81)
    whole = reduced_guess(rows, A, right)
    monkeypatch.setattr("pdekit.solvers.reduced.reduced_guess._MOST", 5 * 4 * 81)
    for one, other in zip(reduced_guess(rows, A, right), whole, strict=True):
        assert torch.allclose(one.double(), other.double(), atol=1e-13)


# ------------------------------------------------------------------------------- every kind of matrix and batch


@pytest.mark.parametrize(("kind", "inner"), [(kind, methods[0]) for kind, methods in FITTING.items()])
def test_it_agrees_with_dense_algebra(kind, inner):
    A = np.stack([dense(kind, seed=seed) for seed in range(9)])
    b = vectors(kind, count=9)
    solution = solve(A, b, ReducedGuess(inner, ReducedBasis(snapshots=6)), rtol=1e-11)
    assert solution.converged.all()
    assert np.abs(solution.x - np.linalg.solve(A, b[..., None])[..., 0]).max() < 1e-9
    one = solve(A[0], b, ReducedGuess(inner), rtol=1e-11)
    assert np.abs(one.x - np.linalg.solve(A[0], b.T).T).max() < 1e-9


def test_batches_that_broadcast():
    A, b = thermal_block(parameters(3, 0), 8)
    right = b * torch.rand(5, 3, 49, dtype=torch.float64)
    solution = solve(A, right, ReducedGuess(CG(IC0())), rtol=1e-10)
    assert solution.x.shape == (5, 3, 49)
    assert (right - A.matvec(solution.x)).norm(dim=-1).max() < 1e-9 * float(b.norm())
    assert solution.history.shape[1:] == (5, 3)
    direct = solve(A, right, ReducedGuess(Direct()), rtol=1e-10)
    assert torch.allclose(direct.x, solution.x, rtol=1e-7)
    assert solve(A[0], b, ReducedGuess(Direct())).x.shape == (49,)
    alone, plain = solve(A[0], b, ReducedGuess(CG())), solve(A[0], b, CG())
    assert torch.equal(alone.history, plain.history)
    parts = solve(A, right * (1 + 2j), ReducedGuess(CG()), rtol=1e-10)
    assert torch.allclose(parts.x, (1 + 2j) * solution.x, rtol=1e-7)


def test_stencils_and_null_spaces():
    generator = torch.Generator().manual_seed(0)
    amount = torch.rand(24, 1, 1, generator=generator, dtype=torch.float64)
    a = torch.where(Grid((17, 17), closed=False).points()[..., 0] < 0.5, 1.0, 1 + 9 * amount)
    source = torch.rand(17, 17, generator=generator, dtype=torch.float64)
    system = diffusion(Grid((17, 17), closed=False), a, source).balanced()
    found = solve(system.operator, system.rhs, ReducedGuess(CG(Multigrid())), rtol=1e-9)
    plain = solve(system.operator, system.rhs, CG(Multigrid()), rtol=1e-9)
    assert found.x.mean(-1).abs().max() < 1e-15
    assert torch.allclose(found.x, plain.x, atol=1e-7 * float(plain.x.abs().max()))
    assert found.iterations[16:].sum() < 0.5 * plain.iterations[16:].sum()


def test_gradients_and_zero_right_hand_sides():
    A, b = thermal_block(parameters(10, 0), 8)
    entries = A.entries.clone().requires_grad_()
    solve(A.with_values([entries]), b, ReducedGuess(CG(IC0())), rtol=1e-11).x.sum().backward()
    other = A.entries.clone().requires_grad_()
    solve(A.with_values([other]), b, Direct()).x.sum().backward()
    assert torch.allclose(entries.grad, other.grad, rtol=1e-6, atol=1e-12)
    basis = ReducedBasis()
    zero = solve(A, 0 * b, ReducedGuess(CG(), basis))
    assert (zero.x == 0).all()
    assert basis.count == 0


def test_a_space_that_is_wrong_costs_no_solve():
    A, b = thermal_block(parameters(6, 0), 8)
    basis = ReducedBasis()
    basis.basis, basis.count = torch.full((2, 49), torch.nan).double(), 64
    solution = solve(A, b, ReducedGuess(CG(), basis))
    assert "2 vectors, taken 0 of 6 times" in solution.method
    basis.basis = basis.basis[:0]
    assert "0 vectors, taken 0 of 6 times" in solve(A, b, ReducedGuess(CG(), basis)).method
    assert basis.as_recycle_space().basis is None
    failing = solve(A, b, ReducedGuess(CG(max_iterations=2)), throw=False)
    assert not failing.converged.any()
    assert "then CG" in failing.method


# --------------------------------------------------------------------------------------- what is not learnt from


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_solutions_whose_norm_is_beyond_all_numbers_are_directions_like_others(kind):
    # Oracle: the same solutions scaled down.
    x = torch.randn(6, 30, dtype=kind)
    huge, small = ReducedBasis(size=4, snapshots=6), ReducedBasis(size=4, snapshots=6)
    huge.add(x * 1e300)
    small.add(x * 1e-300)
    assert huge.count == small.count == 6
    assert torch.allclose(huge.basis.mH @ huge.basis, small.basis.mH @ small.basis, atol=1e-13)
    rows = huge.basis @ huge.basis.mH
    assert torch.allclose(rows, torch.eye(4, dtype=kind), atol=1e-13)


def test_huge_solutions_leave_a_basis_that_serves():
    A, b = thermal_block(parameters(20, 0), 8)
    basis = ReducedBasis()
    method = ReducedGuess(Direct(), basis)
    solve(A[:8] * 1e-200, b, method)
    assert basis.count == 8
    found = solve(A[8:], b, method)
    assert "taken 12 of 12 times" in found.method


class Believing(Method):
    """Calls whatever comes of a dense solve converged, as direct methods do."""

    def prepare(self, A):
        return _Believed(A)


class _Believed(Prepared):
    def run(self, b, x0, rtol, atol):
        x = torch.linalg.solve_ex(self.operator.matrix, b.unsqueeze(-1))[0].squeeze(-1)
        x[1::3] = torch.nan
        x[2::3] += 1.0
        met = torch.zeros(len(b), dtype=torch.int64)
        return Outcome(x, met, met + Reason.CONVERGED.code, None, None, "believing")


def test_only_what_solves_its_system_is_learnt():
    rows = np.stack([dense("definite", seed=seed) for seed in range(12)])
    A, b = torch.from_numpy(rows), torch.from_numpy(vectors("definite", count=12))
    basis = ReducedBasis()
    found = solve(A, b, ReducedGuess(Believing(), basis), throw=False)
    assert found.converged.sum() == basis.count
    assert 0 < basis.count < 12
    kept = basis.state_dict()["snapshots"]
    exact = torch.linalg.solve(A, b)
    exact = exact / exact.norm(dim=-1, keepdim=True)
    assert ((kept @ exact.mT).amax(-1) - 1).abs().max() < 1e-8  # each is one of the solutions
    assert solve(A, b, ReducedGuess(CG(), basis)).converged.all()


@pytest.mark.parametrize("stored", ["dense", "sparse"])
def test_numerically_singular_matrices_teach_nothing(stored):
    # A factorisation of matrices of rank 5 finds no pivot of exactly 0, and says nothing.
    parts = torch.randn(2, 9, 6, 5, dtype=torch.float64)
    A = parts[0] @ parts[1].mT
    one = CSR.from_scipy(scipy.sparse.csr_array(np.ones((6, 6))))
    matrices = DenseMatrix(A) if stored == "dense" else CSR(one.pattern, None, A.reshape(9, 36))
    b = torch.rand(9, 6, dtype=torch.float64)
    basis = ReducedBasis()
    method = ReducedGuess(Direct(), basis)
    assert not solve(matrices, b, method, throw=False).converged.any()
    assert basis.count == 0
    good = torch.diag(torch.arange(1.0, 7.0, dtype=torch.float64))
    assert solve(good, b, method).converged.all()
    assert basis.count == 9


# ------------------------------------------------------------------------------------------------- the memory


def test_the_basis_learns_at_doubling_intervals_and_freezes():
    x = torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64))[0]
    basis = ReducedBasis(size=50, snapshots=20)
    sizes = []
    for row in x:
        basis.add(5 * row)
        sizes.append(0 if basis.basis is None else len(basis.basis))
    assert sizes == [0] * 3 + [4] * 4 + [8] * 8 + [16] * 4 + [20] * 21
    assert basis.due == 0
    at_once = ReducedBasis(size=50, snapshots=20)
    at_once.add(x)
    projector = at_once.basis.mT @ at_once.basis
    assert torch.allclose(projector, basis.basis.mT @ basis.basis, atol=1e-13)
    assert torch.allclose(projector @ x[3], x[3], atol=1e-13)
    at_once.reset()
    assert at_once.basis is None
    assert at_once.due == 4


def test_a_basis_is_saved_and_goes_on():
    A, b = thermal_block(parameters(30, 0), 10)
    first, copy = ReducedBasis(snapshots=16), ReducedBasis(snapshots=16)
    solve(A[:10], b, ReducedGuess(CG(), first))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    copy.load_state_dict(torch.load(file, weights_only=True))
    one, other = (solve(A[10:], b, ReducedGuess(CG(), basis)) for basis in (first, copy))
    assert torch.equal(one.x, other.x)
    assert one.method == other.method
    assert copy.frozen
    assert torch.equal(copy.basis, first.basis)
    with pytest.raises(InputError, match=r"The state holds vectors; expected basis, count, snapshots, as of a Red"):
        copy.load_state_dict({"vectors": 3})


def test_states_are_copies():
    basis = ReducedBasis()
    basis.add(torch.eye(6, dtype=torch.float64)[:5])
    state = basis.state_dict()
    copy = ReducedBasis()
    copy.load_state_dict(state)
    for name in ("basis", "snapshots"):
        state[name].fill_(torch.nan)
    for one in (basis, copy):
        assert one.basis.isfinite().all()
        assert one.state_dict()["snapshots"].isfinite().all()


def test_states_that_were_tampered_with_are_refused():
    basis = ReducedBasis()
    basis.add(torch.eye(6, dtype=torch.float64)[:5])
    state = basis.state_dict()
    for change, said in (
        ({"basis": state["basis"] * torch.nan}, r"basis in the state of a ReducedBasis\[0, 0\] is nan"),
        (
            {"basis": state["basis"][0]},
            r"basis in .* has shape \(6,\), float64; expected a tensor of shape \(size, 6\)",
        ),
        ({"basis": state["basis"][:, :4]}, r"has shape \(4, 4\), float64; expected a tensor of shape \(size, 6\)"),
        ({"basis": state["basis"].float()}, r"has shape \(4, 6\), float32; expected .* float64"),
        ({"basis": state["basis"].tolist()}, "basis in the state of a ReducedBasis is a list"),
        ({"snapshots": state["snapshots"][:3]}, r"snapshots .* \(3, 6\), float64; expected a tensor of shape \(5, n\)"),
        ({"snapshots": state["snapshots"].int()}, "float64 or complex128"),
        ({"count": -1}, "has count=-1; expected a whole number of at least 0"),
        ({"count": torch.nan}, "has count=nan; expected a whole number"),
        ({"basis": None, "snapshots": None}, "count=5, but neither a basis nor snapshots"),
    ):
        copy = ReducedBasis()
        with pytest.raises(InputError, match=said):
            copy.load_state_dict({**state, **change})
        assert copy.count == 0
        assert copy.basis is None


def test_another_kind_of_vectors_starts_it_afresh():
    basis = ReducedBasis()
    method = ReducedGuess(CG(), basis)
    A, b = thermal_block(parameters(8, 0), 10)
    solve(A, b, method)
    assert basis.count == 8
    A, b = thermal_block(parameters(5, 0), 8)
    assert "started afresh, 0 to 4 vectors" in solve(A, b, method).method
    assert basis.basis.shape == (4, 49)
    solve(dense("hermitian definite"), vectors("hermitian definite"), method)
    assert basis.count == 3


def test_it_serves_as_a_space_to_deflate_with():
    A, b = thermal_block(parameters(40, 0), 16)
    basis = ReducedBasis()
    basis.add(solve(A[:32], b, Direct()).x)
    space = basis.as_recycle_space(12)
    assert space.vectors == 12
    assert torch.equal(space.basis, basis.basis[:12])
    plain = solve(A[39], b, GMRES(restart=30))
    assert int(solve(A[39], b, GCRODR(restart=30, space=space)).iterations) < 0.5 * int(plain.iterations)
    assert ReducedBasis().as_recycle_space().basis is None
    fixed = DeflatedCG(IC0(), update=Never(), space=basis.as_recycle_space())
    deflated, plain = solve(A[32:], b, fixed), solve(A[32:], b, CG(IC0()))
    assert deflated.iterations.sum() < 0.35 * plain.iterations.sum()


def test_what_they_refuse():
    one = torch.ones(2, 3, dtype=torch.float64)
    for given, said in (
        (lambda: ReducedBasis(size=0), "ReducedBasis has size=0; expected at least 1"),
        (lambda: ReducedBasis(snapshots=2.5), "ReducedBasis has snapshots=2.5; expected a whole number"),
        (lambda: ReducedBasis(tolerance=1.0), "ReducedBasis has tolerance=1.0; expected a number from 0"),
        (lambda: ReducedBasis().add(one.numpy()), "x is a ndarray; expected a tensor"),
        (lambda: ReducedBasis().add(one[0, 0]), r"x has shape \(\); expected a tensor"),
        (lambda: ReducedBasis().add(one * torch.nan), r"x\[0, 0\] is nan"),
        (lambda: ReducedBasis().add(torch.tensor([[1.0, torch.inf]])), r"x\[0, 1\] is inf"),
        (lambda: ReducedGuess(Jacobi()), "ReducedGuess has method=Jacobi.*expected an object such as CG"),
        (lambda: ReducedGuess(CG(), 20), "ReducedGuess has basis=20; expected a ReducedBasis"),
        (lambda: solve(dense("general"), vectors("general"), ReducedGuess(CG())), "CG needs a symmetric matrix"),
    ):
        with pytest.raises(InputError, match=said):
            given()


# ------------------------------------------------------------------------------------------------ other devices


def guess_there(device):
    with device:
        A = Stencil([torch.ones(3, 6, 5).double(), torch.ones(3, 5, 6).double()], grounded=True)
        b, rows = torch.ones(3, 25).double(), torch.ones(4, 25).double()
    found, taken = reduced_guess(rows, A, b)
    assert found.device.type == taken.device.type == device.type


def test_on_an_accelerator():
    check_device(guess_there)
