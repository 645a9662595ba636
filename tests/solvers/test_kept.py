"""Transfers and factors kept from call to call: they give what fresh ones give, and are given up when they do not.

Oracles: dense algebra, fresh hierarchies, scaling (a V-cycle of c A is 1/c times that of A).
"""

import copy
import io
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from solvers.matrices import convection
from solvers.mesh_problems import anisotropic, disk, elasticity
from solvers.sparse_problems import applied, diffusion, laplacian, nonsymmetric

from pdekit.core import InputError
from pdekit.solvers import AMG, CG, CSR, GMRES, Direct, KeptFactor, KeptTransfers, Method, memories, solve
from pdekit.solvers.amg import hierarchy
from pdekit.testing import check_preconditioner

KINDS = ["classical", "aggregation"]


def neighbours(count: int, *, correlation: float = 0.99, refinements: int = 4, seed: int = 0) -> CSR:
    """On the disk, a log-normal coefficient that walks slowly."""
    rng = np.random.default_rng(seed)
    walk = [rng.standard_normal(4 * 4**refinements)]
    for _ in range(count - 1):
        walk.append(correlation * walk[-1] + (1 - correlation**2) ** 0.5 * rng.standard_normal(len(walk[0])))
    return disk(refinements, np.exp(0.5 * np.stack(walk)))


def ones(A) -> torch.Tensor:
    return torch.ones(A.shape[0], dtype=torch.float64)


def one_by_one(A: CSR, method: Method, rtol: float = 1e-10) -> list:
    return [solve(A[i], ones(A), method, rtol=rtol) for i in range(len(A.entries))]


def through_a_file(memory, into):
    """What torch.save and torch.load without pickles leave of a memory."""
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    into.load_state_dict(torch.load(file, weights_only=True))
    return into


@pytest.fixture
def coarsenings(monkeypatch) -> list:
    """One entry for each time that a matrix is coarsened."""
    calls, usual = [], hierarchy.build
    monkeypatch.setattr(hierarchy, "build", lambda *args: calls.append(1) or usual(*args))
    return calls


# -------------------------------------------------------------------------------------------- transfers


@pytest.mark.parametrize("smoother", ["gauss-seidel", "chebyshev"])
@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_solved_as_with_fresh_hierarchies(kind, smoother, coarsenings):
    A = neighbours(8)
    kept = one_by_one(A, CG(AMG(kind, smoother=smoother, kept=KeptTransfers())))
    assert len(coarsenings) == 1
    fresh = one_by_one(A, CG(AMG(kind, smoother=smoother)))
    assert len(coarsenings) == 9
    for i, (ours, theirs) in enumerate(zip(kept, fresh, strict=True)):
        expected = np.linalg.solve(A[i].to_scipy().toarray(), np.ones(A.shape[0]))
        assert np.linalg.norm(ours.x.numpy() - expected) < 1e-8 * np.linalg.norm(expected)
        assert int(ours.iterations) <= max(1.3 * int(theirs.iterations), int(theirs.iterations) + 1)
        assert ("transfers kept" in ours.method) == (i > 0)


def test_neighbours_on_a_grid():
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((2, 34, 34))
    method, fresh = CG(AMG(kept=KeptTransfers())), CG(AMG())
    for angle in np.linspace(0.0, 0.3, 5):
        A, b = diffusion(np.exp(0.5 * (np.cos(angle) * first + np.sin(angle) * last))), rng.standard_normal(32 * 32)
        ours, theirs = solve(A, b, method, rtol=1e-10), solve(A, b, fresh, rtol=1e-10)
        expected = np.linalg.solve(A.toarray(), b)
        assert np.linalg.norm(ours.x - expected) < 1e-8 * np.linalg.norm(expected)
        assert int(ours.iterations) <= int(theirs.iterations) + 1
    assert "transfers kept" in ours.method


@pytest.mark.parametrize("smoother", ["gauss-seidel", "chebyshev"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_every_level_is_that_of_the_new_matrix(kind, smoother):
    """A V-cycle of c A is 1/c times that of A, and it does not matter which neighbours came between."""
    A = neighbours(4, refinements=3)
    recipe = AMG(kind, smoother=smoother, coarse_size=10, kept=KeptTransfers())
    first = applied(recipe.setup(A[0]))
    assert len(recipe.setup(A[0]).shared.levels) > 2
    for i in (1, 2, 3):
        recipe.setup(A[i])
    scaled = recipe.setup(A[0] * 1024.0)
    assert "transfers kept" in scaled.name
    assert np.array_equal(1024.0 * applied(scaled), first)
    cycle = applied(recipe.setup(A[3]))
    assert np.abs(cycle - cycle.T).max() < 1e-12 * np.abs(cycle).max()
    assert np.linalg.eigvalsh(cycle).min() > 0
    error = np.eye(A.shape[0]) - cycle @ A[3].to_scipy().toarray()
    assert np.abs(np.linalg.eigvals(error)).max() < 0.9


@pytest.mark.parametrize("smoother", ["gauss-seidel", "chebyshev"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_refreshed_hierarchy_keeps_the_promises_of_a_preconditioner(kind, smoother):
    A = neighbours(4, refinements=3)
    recipe = AMG(kind, smoother=smoother, coarse_size=20, kept=KeptTransfers())
    recipe.setup(A[0])
    assert "transfers kept" in recipe.setup(A[1:]).name
    check_preconditioner(recipe, A[1:])


def test_it_works_in_other_methods_and_through_gradients():
    A = neighbours(3, refinements=3)
    kept = KeptTransfers()
    for i in range(3):
        expected = np.linalg.solve(A[i].to_scipy().toarray(), np.ones(A.shape[0]))
        assert np.allclose(solve(A[i], ones(A), GMRES(AMG(kept=kept)), rtol=1e-11).x, expected, rtol=1e-7)
    entries = A[2].entries.clone().requires_grad_()
    x = solve(CSR(A.pattern, None, entries), ones(A), CG(AMG(kept=kept)), rtol=1e-12).x
    x.sum().backward()
    multiplier = np.linalg.solve(A[2].to_scipy().toarray(), np.ones(A.shape[0]))
    expected = -multiplier[A.rows] * x.detach().numpy()[A.indices]
    assert np.allclose(entries.grad, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())


def test_vector_fields_keep_their_modes(coarsenings):
    A, modes = elasticity(3)
    A.near_nullspace = torch.from_numpy(modes)
    method = CG(AMG(kept=KeptTransfers()))
    for factor in (1.0, 1.1):
        solve(A * factor, ones(A), method)
    assert len(coarsenings) == 1
    A.near_nullspace = torch.from_numpy(modes[:, :2].copy())
    assert "transfers kept" not in solve(A, ones(A), method).method
    assert len(coarsenings) == 2


def test_another_pattern_or_device_or_recipe_is_coarsened_anew():
    kept = KeptTransfers()
    for matrix in (laplacian(20), laplacian(21), laplacian(20)):
        assert "transfers kept" not in solve(matrix, np.ones(matrix.shape[0]), CG(AMG(kept=kept))).method
    for recipe in (AMG("aggregation", kept=kept), AMG(strength=0.3, kept=kept), AMG(smoother="chebyshev", kept=kept)):
        assert "transfers kept" not in solve(laplacian(20), np.ones(400), CG(recipe)).method
    assert "transfers kept" in solve(laplacian(20), np.ones(400), CG(recipe)).method


@pytest.mark.parametrize(("kind", "known", "other"), [("classical", 4.0, 0.2), ("aggregation", 0.2, 3.5)])
def test_matrices_that_transfers_do_not_cover_are_coarsened_anew(kind, known, other):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 3, 4 * 4**5))
    A, B = (disk(5, np.exp(size * some)) for size, some in zip((known, other), noise, strict=True))
    kept = KeptTransfers()
    method = CG(AMG(kind, kept=kept))
    for one in (A[0], B[0]):
        assert "transfers kept" not in solve(one, ones(A), method).method
    kept.reset()
    assert "transfers kept" not in solve(A[0], ones(A), method).method
    both = CSR(A.pattern, None, torch.cat([A.entries[:1], A.entries[:1], B.entries[:1]]))
    assert "; 2 of 3 matrices take transfers kept" in solve(both, ones(A), method).method
    both = CSR(A.pattern, None, torch.cat([A.entries[:1], B.entries]))
    assert "transfers kept" not in solve(both, ones(A), method).method


@pytest.mark.parametrize("kind", KINDS)
def test_rough_neighbours_keep_their_transfers(kind, coarsenings):
    """Log-normal from cell to cell, of variance 4: the rule for batches, 3 in 100, would coarsen every one anew."""
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((2, 4 * 4**5))
    A = disk(5, np.exp(2.0 * np.stack([np.cos(angle) * first + np.sin(angle) * last for angle in 0.1 * np.arange(5)])))
    kept = one_by_one(A, CG(AMG(kind, kept=KeptTransfers())))
    assert len(coarsenings) == 1
    for ours, theirs in zip(kept, one_by_one(A, CG(AMG(kind))), strict=True):
        assert int(ours.iterations) <= max(1.3 * int(theirs.iterations), int(theirs.iterations) + 1)


def stretched(*ratios: float) -> CSR:
    """Conductivities that are so many times smaller across the x axis than along it."""
    parts = [anisotropic(5, ratio, np.zeros(1)) for ratio in ratios]
    return CSR(parts[0].pattern, None, torch.cat([part.entries for part in parts]))


def test_a_slow_solve_makes_the_next_matrix_coarsened_anew(coarsenings):
    """All unknowns stay well covered, but the interpolation goes the wrong way, and iterations rise by 1.8."""
    A = stretched(1.0, 0.2, 0.2, 0.2)
    kept = one_by_one(A, CG(AMG("classical", kept=KeptTransfers())))
    assert ["transfers kept" in one.method for one in kept] == [False, True, False, True]
    assert len(coarsenings) == 2
    fresh = one_by_one(A, CG(AMG("classical")))
    assert int(kept[1].iterations) > 1.3 * int(kept[0].iterations)
    assert int(kept[2].iterations) == int(kept[3].iterations) == int(fresh[3].iterations)


def test_a_system_that_is_far_too_slow_is_set_up_anew_at_once():
    A = stretched(1.0, 0.05, 0.05)
    first, second, third = one_by_one(A, CG(AMG("classical", kept=KeptTransfers())))
    fresh = solve(A[1], ones(A), CG(AMG("classical")), rtol=1e-10)
    assert "transfers kept) preconditioner, set up anew for 1 slow systems" in second.method
    assert int(second.iterations) <= 2 * int(first.iterations) + int(fresh.iterations) + 2
    assert "transfers kept" not in third.method
    assert int(third.iterations) == int(fresh.iterations)


def test_restarts_from_rounding_errors_say_nothing_about_transfers():
    A = neighbours(3)
    kept = KeptTransfers()
    one_by_one(A[:2], CG(AMG(kept=kept)))
    patience = kept.patience
    x = solve(A[2], ones(A), CG(AMG(kept=kept)), rtol=1e-10).x
    assert solve(A[2], ones(A), CG(AMG(kept=kept)), x0=x, rtol=0.5e-10).iterations > 0
    assert kept.patience == patience < np.inf


def test_a_limit_of_iterations_says_nothing_against_transfers():
    """Trials that are cut off must not cost the hierarchy, nor start a second one."""
    A = neighbours(3)
    kept = KeptTransfers()
    one_by_one(A[:1], CG(AMG(kept=kept)))
    short = solve(A[1], ones(A), CG(AMG(kept=kept), max_iterations=3), rtol=1e-10, throw=False)
    assert int(short.iterations) == 3
    assert not short.converged
    assert "transfers kept" in solve(A[2], ones(A), CG(AMG(kept=kept))).method


@pytest.mark.parametrize("rtol", [0.5, 1e-1, 1e-3])
def test_few_iterations_are_no_reason_to_coarsen_anew(rtol, coarsenings):
    A = neighbours(8)
    one_by_one(A, CG(AMG(kept=KeptTransfers())), rtol)
    assert len(coarsenings) == 1


def test_one_slow_system_of_a_batch_does_not_cost_the_others_their_transfers():
    A = stretched(1.0, 0.9, 0.8, 0.05)
    method = CG(AMG("classical", kept=KeptTransfers()))
    solve(A[0], ones(A), method)
    assert "set up anew for 1 slow" in solve(A, ones(A), method).method
    assert "transfers kept" in solve(A[1], ones(A), method).method
    assert "set up anew for 2 slow" in solve(A[[0, 3, 3]], ones(A), method).method
    assert "transfers kept" not in solve(A[1], ones(A), method).method


def test_a_batch_after_a_batch(coarsenings):
    A = neighbours(9)
    method = CG(AMG(kept=KeptTransfers()))
    first = solve(A[:5], ones(A), method)
    second = solve(A[5:], ones(A), method)
    assert "5 of 5 matrices share transfers" in first.method
    assert "4 of 4 matrices take transfers kept" in second.method
    assert len(coarsenings) == 1
    assert "of an earlier call" in str(method.preconditioner.setup(A[:5]))
    for i in range(5, 9):
        expected = np.linalg.solve(A[i].to_scipy().toarray(), np.ones(A.shape[0]))
        assert np.allclose(second.x[i - 5], expected, rtol=1e-6)


def test_a_failed_solve_or_set_up_is_not_kept(monkeypatch):
    kept, good = KeptTransfers(), CSR.from_scipy(laplacian(20))
    method = CG(AMG(kept=kept))
    solve(good, ones(good), method)
    held = kept.state_dict()
    spoiled = good.entries.clone()
    spoiled[7] = torch.nan
    with pytest.raises(InputError, match="is nan"):
        solve(CSR(good.pattern, None, spoiled), ones(good), method)
    assert torch.equal(kept.state_dict()["entries"], held["entries"])
    indefinite = CSR.from_scipy(laplacian(20) - 0.2 * scipy.sparse.eye_array(400))
    assert not solve(indefinite, ones(good), method, throw=False).converged
    assert kept.state_dict() == {}

    def fails(*args):
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(hierarchy, "build", fails)
        with pytest.raises(MemoryError):
            solve(good, ones(good), method)
    assert kept.state_dict() == {}
    assert solve(good, ones(good), method).converged
    assert kept.state_dict() != {}


def test_transfers_that_fail_a_solve_do_not_lose_it(monkeypatch):
    A = neighbours(2)
    method = CG(AMG(kept=KeptTransfers()), max_iterations=25)
    solve(A[0], ones(A), method)
    usual = hierarchy.Transfers.refresh
    first = AMG(kept=method.preconditioner.kept).setup(A[0]).shared

    def spoiled(self, entries, values):
        return usual(self, entries, values) and self is not first

    monkeypatch.setattr(hierarchy.Transfers, "refresh", spoiled)
    solution = solve(A[1], ones(A), method)
    assert re.search(r"transfers kept\) preconditioner; then CG, AMG \([^;]*\) preconditioner$", solution.method)


@pytest.mark.parametrize("kind", KINDS)
def test_transfers_survive_a_file(kind):
    A = neighbours(6)
    kept = KeptTransfers()
    through = one_by_one(A, CG(AMG(kind, kept=kept)))
    kept.reset()
    one_by_one(A[:3], CG(AMG(kind, kept=kept)))
    resumed = through_a_file(kept, KeptTransfers())
    again = through_a_file(resumed, KeptTransfers())  # not used in between
    assert again.patience == kept.patience < np.inf
    for ours, theirs in zip(one_by_one(A[3:], CG(AMG(kind, kept=again))), through[3:], strict=True):
        assert torch.equal(ours.x, theirs.x)
        assert ours.method == theirs.method
    assert through_a_file(KeptTransfers(), kept).state_dict() == {}


def test_a_state_for_another_pattern_is_left_alone():
    kept = KeptTransfers()
    solve(laplacian(20), np.ones(400), CG(AMG(kept=kept)))
    other = through_a_file(kept, KeptTransfers())
    assert "transfers kept" not in solve(laplacian(19), np.ones(361), CG(AMG(kept=other))).method
    assert other.state_dict()["fingerprint"] != kept.state_dict()["fingerprint"]
    with pytest.raises(InputError, match=r"has the entries a; expected entries, fingerprint, rate, as KeptTransfers"):
        kept.load_state_dict({"a": 1})


def told(entries, **other) -> dict:
    return {"fingerprint": "a", "entries": entries, "rate": None} | other


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (5, "state is 5; expected a dictionary with entries, fingerprint, rate"),
        (None, "state is None"),
        (told([1.0]), r"entries: \[1.0\]; expected a tensor \(nnz,\)"),
        (told(None), "entries: None"),
        (told(torch.ones(2, 2).double()), r"entries: a tensor \(2, 2\) of type torch.float64"),
        (told(torch.ones(2)), r"entries: a tensor \(2,\) of type torch.float32"),
        (told(torch.full((2,), torch.nan).double()), r"entries\[0\] is nan"),
        (told(torch.ones(2).double(), rate="x"), "rate: 'x'; expected None or a number of at least 0"),
        (told(torch.ones(2).double(), rate=float("nan")), "rate: nan"),
        (told(torch.ones(2).double(), fingerprint=None), "fingerprint: None; expected a string"),
    ],
)
def test_a_state_of_transfers_that_is_refused_changes_nothing(wrong, said):
    kept = KeptTransfers()
    solve(laplacian(20), np.ones(400), CG(AMG(kept=kept)))
    with pytest.raises(InputError, match=said):
        kept.load_state_dict(wrong)
    assert "transfers kept" in solve(laplacian(20), np.ones(400), CG(AMG(kept=kept))).method


def test_a_state_with_too_few_entries_is_forgotten():
    kept = KeptTransfers()
    solve(laplacian(20), np.ones(400), CG(AMG(kept=kept)))
    state = kept.state_dict()
    kept.load_state_dict({**state, "entries": state["entries"][:-1]})
    assert "transfers kept" not in solve(laplacian(20), np.ones(400), CG(AMG(kept=kept))).method
    assert "transfers kept" in solve(laplacian(20), np.ones(400), CG(AMG(kept=kept))).method


def test_transfers_that_cannot_be_made_again_are_forgotten(monkeypatch):
    from pdekit.solvers.amg import transfers

    kept = KeptTransfers()
    solve(laplacian(20), np.ones(400), CG(AMG(kept=kept)))
    kept.load_state_dict(kept.state_dict())
    with monkeypatch.context() as patch:
        patch.setattr(transfers, "build", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            solve(laplacian(20), np.ones(400), CG(AMG(kept=kept)))
    assert kept.state_dict() == {}


def test_printed_they_say_what_they_hold(factored):
    kept, factors = KeptTransfers(), KeptFactor(3)
    assert [str(kept), str(factors)] == ["KeptTransfers(): no transfers", "KeptFactor(matrices=3): no matrices"]
    solve(laplacian(40), np.ones(1600), CG(AMG(kept=kept)))
    assert str(kept) == "KeptTransfers(): transfers for matrices of 1,600 unknowns"
    again = "KeptTransfers(): transfers to be made again for matrices of 7,840 entries"
    assert str(through_a_file(kept, KeptTransfers())) == again
    solve(laplacian(5), np.ones(25), Direct(kept=factors))
    assert str(factors) == "KeptFactor(matrices=3): 1 matrix of 25 unknowns, 1 of them factored"
    solve(laplacian(6), np.ones(36), Direct(kept=factors))
    held = "KeptFactor(matrices=3): 2 matrices of 25 to 36 unknowns, 0 of them factored"
    assert str(through_a_file(factors, KeptFactor(3))) == held
    solve(np.eye(4), np.ones(4), Direct(kept=factors))
    assert str(factors).endswith("3 matrices of 4 to 36 unknowns, 3 of them factored")
    assert repr(kept) == "KeptTransfers()"
    assert repr(factors) == "KeptFactor(matrices=3)"


def test_arguments_are_checked_and_memories_found():
    kept, factors = KeptTransfers(), KeptFactor(2)
    assert memories(CG(AMG(kept=kept))) == (kept,)
    assert memories(Direct(kept=factors)) == (factors,)
    assert str(CG(AMG(kept=kept)).preconditioner).endswith("kept=KeptTransfers())")
    assert str(Direct(kept=factors)) == "Direct(kept=KeptFactor(matrices=2))"
    with pytest.raises(InputError, match=r"AMG has kept=True; expected None or an object such as KeptTransfers\(\)"):
        AMG(kept=True)
    with pytest.raises(InputError, match="reuse=False and kept transfers"):
        AMG(reuse=False, kept=kept)
    with pytest.raises(InputError, match=r"Direct has kept=.*KeptTransfers.*expected None or an object such as Kept"):
        Direct(kept=kept)
    with pytest.raises(InputError, match="KeptFactor has matrices=0"):
        KeptFactor(0)


# ---------------------------------------------------------------------------------------------- factors


@pytest.fixture
def factored(monkeypatch) -> list:
    """One entry for each matrix that SuperLU factors."""
    calls, usual = [], scipy.sparse.linalg.splu
    monkeypatch.setattr(
        scipy.sparse.linalg, "splu", lambda *args, **options: calls.append(1) or usual(*args, **options)
    )
    return calls


@pytest.mark.parametrize("matrix", [laplacian(9), convection(9, 5.0), convection(9, 5.0) + 1j * laplacian(9)])
def test_a_matrix_met_before_is_not_factored_again(matrix, factored):
    method = Direct(kept=KeptFactor())
    for seed in range(3):
        b = np.random.default_rng(seed).standard_normal(81)
        solution = solve(matrix.copy(), b, method, rtol=1e-12)
        assert np.allclose(solution.x, np.linalg.solve(matrix.toarray(), b), rtol=1e-10)
        assert solution.method == ("Direct, SuperLU" if seed == 0 else "Direct, SuperLU, factors kept")
    assert len(factored) == 1
    near = matrix.copy()
    near.data[17] *= 1 + 1e-15
    assert "kept" not in solve(near, np.ones(81), method).method
    assert len(factored) == 2


def test_entries_changed_in_place_are_noticed(factored):
    A, method = CSR.from_scipy(laplacian(9)), Direct(kept=KeptFactor())
    before = solve(A, ones(A), method).x
    A.entries *= 2.0
    assert torch.allclose(solve(A, ones(A), method).x, before / 2)
    assert len(factored) == 2


def test_only_so_many_matrices_are_kept(factored):
    method = Direct(kept=KeptFactor(2))

    def meet(factor: float) -> bool:
        return "kept" in solve(factor * laplacian(5), np.ones(25), method).method

    assert [meet(f) for f in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0)] == [False, False, True, False, True, False]
    assert len(method.kept) == 2


def test_batches_recognise_each_matrix(factored):
    A = CSR.from_scipy(laplacian(6))
    method = Direct(kept=KeptFactor(4))
    scales = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    solve(A.with_values([scales * A.entries]), ones(A), method)
    found = solve(
        A.with_values([torch.flip(scales, (0,)) * A.entries * torch.tensor([[1.0], [1], [5]])]), ones(A), method
    )
    assert found.method == "Direct, SuperLU, 2 of 3 factors kept"
    assert len(factored) == 4
    assert torch.allclose(found.x[2], solve(A, ones(A), Direct()).x / 5)


def test_gradients_take_the_same_factor(factored):
    A, method = nonsymmetric(20), Direct(kept=KeptFactor())
    for _ in range(2):
        entries = A.entries.clone().requires_grad_()
        x = solve(CSR(A.pattern, None, entries), ones(A), method, rtol=1e-12).x
        x.sum().backward()
        multiplier = np.linalg.solve(A.to_scipy().toarray().T, np.ones(20))
        assert np.allclose(entries.grad, -multiplier[A.rows] * x.detach().numpy()[A.indices], rtol=1e-9)
    assert len(factored) == 1


def test_dense_matrices_are_recognised_too(monkeypatch):
    calls, usual = [], torch.linalg.lu_factor_ex
    monkeypatch.setattr(torch.linalg, "lu_factor_ex", lambda *args: calls.append(1) or usual(*args))
    rng, method = np.random.default_rng(0), Direct(kept=KeptFactor())
    A = rng.standard_normal((3, 12, 12))
    for _ in range(2):
        b = rng.standard_normal((3, 12))
        solution = solve(A, b, method)
        assert np.allclose(solution.x, np.linalg.solve(A, b[..., None])[..., 0])
    assert solution.method == "Direct, dense LU, factors kept"
    assert len(calls) == 1
    A[1, 3] = A[1, 4]
    solve(A, np.ones(12), method, throw=False)
    assert len(method.kept) == 1


def test_a_singular_matrix_is_not_kept(factored):
    kept = KeptFactor()
    matrix = laplacian(3)
    matrix.data[matrix.indptr[4] : matrix.indptr[5]] = matrix.data[matrix.indptr[3] : matrix.indptr[4]][0]
    matrix = scipy.sparse.csr_array(np.where(np.arange(9)[:, None] == 4, matrix.toarray()[3], matrix.toarray()))
    assert not solve(matrix, np.ones(9), Direct(kept=kept), throw=False).converged
    assert len(kept) == 0


def test_factors_survive_a_file_as_matrices(factored):
    kept = KeptFactor(2)
    for factor in (1.0, 2.0, 3.0):
        solve(factor * laplacian(5), np.ones(25), Direct(kept=kept))
    other = through_a_file(kept, KeptFactor(2))
    assert len(other) == 2
    first = solve(3.0 * laplacian(5), np.ones(25), Direct(kept=other))
    assert first.method == "Direct, SuperLU"
    assert solve(3.0 * laplacian(5), np.ones(25), Direct(kept=other)).method == "Direct, SuperLU, factors kept"
    assert len(through_a_file(kept, KeptFactor(1))) == 1
    with pytest.raises(InputError, match=r"has the entries none; expected matrices, as KeptFactor.state_dict\(\)"):
        kept.load_state_dict({})
    kept.reset()
    assert len(kept) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (None, "state is None; expected a dictionary with matrices"),
        (5, "state is 5"),
        ({"matrices": None}, "matrices: None; expected a list, as KeptFactor"),
        ({"matrices": [1]}, r"matrices\[0\]: 1; expected tensors \[indptr, indices, data\] or \[dense\]"),
        ({"matrices": [[[1.0]]]}, r"matrices\[0\]: \[\[1.0\]\]"),
        ({"matrices": [[]]}, r"matrices\[0\]: \[\]"),
        ({"matrices": [[torch.ones(3).double()]]}, r"matrices\[0\]"),
        ({"matrices": [[torch.eye(3).double()], [torch.eye(3)]]}, r"matrices\[1\]"),
        ({"matrices": [[torch.ones(3).double()] * 3]}, r"matrices\[0\]"),
    ],
)
def test_a_state_of_factors_that_is_refused_changes_nothing(wrong, said, factored):
    kept = KeptFactor()
    solve(laplacian(5), np.ones(25), Direct(kept=kept))
    with pytest.raises(InputError, match=said):
        kept.load_state_dict(wrong)
    assert solve(laplacian(5), np.ones(25), Direct(kept=kept)).method == "Direct, SuperLU, factors kept"


def test_copies_leave_the_factors_behind(factored):
    """A factor can neither be copied nor sent to another process."""
    kept = KeptFactor()
    solve(laplacian(5), np.ones(25), Direct(kept=kept))
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert len(other) == 1
        assert solve(laplacian(5), np.ones(25), Direct(kept=other)).method == "Direct, SuperLU"
    assert solve(laplacian(5), np.ones(25), Direct(kept=kept)).method == "Direct, SuperLU, factors kept"


def test_two_ways_of_pivoting_are_kept_side_by_side(factored):
    """Pivots from the diagonal were not accurate enough, so both factors serve each solve."""
    from solvers.test_direct import treacherous

    method = Direct(kept=KeptFactor(1))
    for seed in range(2):
        b = np.random.default_rng(seed).standard_normal(12)
        solution = solve(treacherous(), b, method, rtol=1e-13)
        assert np.allclose(solution.x, np.linalg.solve(treacherous().toarray(), b), rtol=1e-10)
        made = len(factored)
    assert made == len(method.kept._known[0][1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_factors_that_are_no_longer_kept_are_freed():
    A = CSR.from_scipy(laplacian(60))
    method = Direct(kept=KeptFactor(1))

    def held() -> float:
        for factor in range(1, 25):
            solve(A * float(factor), ones(A), method)
        return int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

    first = held()
    assert held() - first < 20
