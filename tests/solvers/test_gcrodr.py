"""GCRO-DR against dense algebra, against itself with other spaces, and against published counts."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch
from solvers.matrices import convection, dense, helmholtz, laplacian, vectors

from pdekit.core import InputError
from pdekit.domain import Grid
from pdekit.solvers import CSR, GMRES, ILU0, Jacobi, diffusion, memories, newton, solve
from pdekit.solvers.recycling import gcrodr
from pdekit.solvers.recycling.gcrodr import GCRODR
from pdekit.solvers.recycling.harvest import harvest
from pdekit.solvers.recycling.policies import Always, Freeze, Never
from pdekit.solvers.recycling.space import RecycleSpace


def neighbours(count: int = 4, size: int = 24) -> tuple[CSR, torch.Tensor]:
    """Indefinite Helmholtz matrices of neighbouring wave numbers on one pattern, and right-hand sides."""
    matrices = [helmholtz(size, 1.6 + 0.02 * i) for i in range(count)]
    pattern = CSR.from_scipy(matrices[0]).pattern
    A = CSR(pattern, None, torch.stack([CSR.from_scipy(matrix).entries for matrix in matrices]))
    b = torch.randn(count, size**2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return A, b


def residual(A: CSR, b: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The oracle: true relative residuals by SciPy's products."""
    rows = [b[i] - torch.from_numpy(A.to_scipy((i,)) @ x[i].numpy()) for i in range(len(b))]
    return torch.linalg.vector_norm(torch.stack(rows), dim=-1) / torch.linalg.vector_norm(b, dim=-1)


@pytest.mark.parametrize("kind", ["general", "symmetric", "hermitian", "complex symmetric", "complex"])
@pytest.mark.parametrize("update", [Always(), Freeze(after=1), Never()], ids=str)
def test_agrees_with_dense_algebra(kind, update):
    A, b = dense(kind), vectors(kind)
    method = GCRODR(Jacobi(), restart=12, vectors=4, update=update)
    solution = solve(A, b, method, rtol=1e-11)
    assert np.abs(solution.x - np.linalg.solve(A, b.T).T).max() < 1e-9
    assert solution.converged.all()


@pytest.mark.parametrize("update", [Always(), Freeze(after=2)], ids=str)
def test_recycled_solves_meet_the_tolerance_of_fresh_ones_in_fewer_iterations(update):
    A, b = neighbours(6)
    recycled = solve(A, b, GCRODR(ILU0(), 30, 15, update=update), rtol=1e-9)
    fresh = solve(A, b, GMRES(ILU0(), 30), rtol=1e-9)
    assert residual(A, b, recycled.x).max() <= 1e-9
    assert (recycled.iterations[3:] < 0.5 * fresh.iterations[3:]).all()
    assert "GCRO-DR(30, 15), ILU(0)" in recycled.method


def test_a_batch_is_its_systems_one_by_one_with_one_space():
    A, b = neighbours()
    together = solve(A, b, GCRODR(ILU0(), 30, 15))
    method = GCRODR(ILU0(), 30, space=RecycleSpace(15))
    for i in range(len(b)):
        alone = solve(A[i], b[i], method)
        assert torch.equal(alone.x, together.x[i])
        assert alone.iterations == together.iterations[i]
        steps = len(alone.history)
        assert torch.equal(alone.history, together.history[:steps, i])
        assert together.history[steps:, i].isnan().all()
    again = solve(A, b, GCRODR(ILU0(), 30, 15))  # without a space, answers depend on the call alone
    assert torch.equal(again.x, together.x)


def test_one_matrix_with_many_right_hand_sides_and_axes():
    A, b = convection(16), np.random.default_rng(0).standard_normal((2, 3, 256))
    solution = solve(A, b, GCRODR(restart=20, vectors=8))
    assert solution.x.shape == (2, 3, 256)
    assert np.abs(b - solution.x @ A.toarray().T).max() < 1e-6
    assert (solution.iterations.reshape(-1)[3:] < solution.iterations[0, 0]).all()


def test_a_stale_space_is_bound_anew():
    # SciPy's gcrotmk takes the images as they are: with those of another matrix it diverges.
    first, second = (convection(16, peclet) for peclet in (5.0, 80.0))
    b = np.ones(256)
    kept: list = []
    scipy.sparse.linalg.gcrotmk(first, b, rtol=1e-8, m=10, k=6, CU=kept, discard_C=False)
    wrong, _ = scipy.sparse.linalg.gcrotmk(second, b, rtol=1e-8, maxiter=20, m=10, k=6, CU=kept, discard_C=False)
    assert not np.linalg.norm(b - second @ wrong) <= np.linalg.norm(b)
    space = RecycleSpace(10)
    method = GCRODR(restart=20, space=space, update=Freeze(after=1))
    solve(first, b, method)
    ours = solve(second, b, method)
    assert np.linalg.norm(b - second @ ours.x) <= 1e-8 * 16


def test_a_useless_space_costs_a_few_products_but_no_system():
    A, b = convection(16), np.ones(256)
    space = RecycleSpace(10)
    space.replace(torch.eye(256, dtype=torch.float64)[:10])
    spoilt = solve(A, b, GCRODR(ILU0(), 30, space=space, update=Never()))
    plain = solve(A, b, GMRES(ILU0(), 30))
    assert spoilt.converged
    assert int(spoilt.iterations) < 2 * int(plain.iterations)


def test_a_space_serves_another_preconditioner():
    A, b = neighbours(2)
    space = RecycleSpace(15)
    first = solve(A[0], b[0], GCRODR(ILU0(), 30, space=space, update=Always()))
    jacobi = GCRODR(Jacobi(), 30, space=space, update=Never())
    helped = solve(A[1], b[1], jacobi)
    alone = solve(A[1], b[1], GCRODR(Jacobi(), 30, 15, update=Always()))
    assert first.converged
    assert int(helped.iterations) < 0.6 * int(alone.iterations)


def test_the_solution_within_the_space_is_free():
    A, b = convection(16), np.random.default_rng(3).standard_normal(256)
    x = np.linalg.solve(A.toarray(), b)
    space = RecycleSpace(4)
    space.replace(torch.from_numpy(np.stack([x, np.ones(256)])))
    solution = solve(A, b, GCRODR(restart=20, space=space, update=Never()))
    assert solution.iterations == 0
    assert np.abs(solution.x - x).max() < 1e-12


def test_state_goes_on_identically(tmp_path):
    A, b = neighbours(6)
    whole = solve(A, b, GCRODR(ILU0(), 30, 15, update=Freeze(after=2)))
    space = RecycleSpace(15)
    solve(A[:3], b[:3], GCRODR(ILU0(), 30, space=space, update=Freeze(after=2)))
    torch.save(space.state_dict(), tmp_path / "space.pt")
    loaded = RecycleSpace(15)
    loaded.load_state_dict(torch.load(tmp_path / "space.pt", weights_only=True))
    rest = solve(A[3:], b[3:], GCRODR(ILU0(), 30, space=loaded, update=Freeze(after=2)))
    assert torch.equal(rest.x, whole.x[3:])
    assert torch.equal(rest.iterations, whole.iterations[3:])


def test_what_a_cycle_leaves_is_harmonic_ritz():
    # Oracle: the dense generalised eigenproblem (A Z)^H (A Z p - theta Z p) = 0, complex pairs among its solutions.
    for kind in ("general", "complex"):
        A = torch.from_numpy(dense(kind))
        rows = torch.randn(12, 40, dtype=A.dtype, generator=torch.Generator().manual_seed(1))
        images = rows @ A.mT
        outer = torch.linalg.qr(images.mT)[0].mT
        vectors, orthonormal = harvest(rows, outer, outer.conj() @ images.mT, 5)
        assert torch.allclose(vectors @ A.mT, orthonormal, atol=1e-10)
        assert torch.allclose(orthonormal @ orthonormal.mH, torch.eye(len(vectors), dtype=A.dtype), atol=1e-12)
        Z, AZ = rows.mT.numpy(), images.mT.numpy()
        values, modes = scipy.linalg.eig(AZ.conj().T @ AZ, AZ.conj().T @ Z)
        order = np.argsort(np.abs(values))
        smallest = (Z @ modes)[:, order[:4]]
        inside = np.linalg.lstsq(vectors.mT.numpy(), smallest)[0]
        # Four of five: the last may be half of a pair.
        assert np.abs(vectors.mT.numpy() @ inside - smallest).max() < 1e-9 * np.abs(smallest).max()
        assert kind == "complex" or np.iscomplex(values).any()


def test_gradients_go_through_the_adjoint():
    # Oracle: dense algebra by autograd.
    entries, b = torch.from_numpy(dense("general")), torch.from_numpy(vectors("general"))
    space = RecycleSpace(4)
    found = []
    for run in (
        lambda A: solve(A, b, GCRODR(Jacobi(), 12, space=space), rtol=1e-12).x,
        lambda A: b @ torch.linalg.inv(A).mT,
    ):
        leaf = entries.clone().requires_grad_()
        (run(leaf) ** 2).sum().backward()
        found.append(leaf.grad)
    assert torch.allclose(*found, atol=1e-8 * float(found[1].abs().max()))
    before = space.basis.clone()
    symmetric = torch.from_numpy(dense("symmetric")).requires_grad_()
    solve(symmetric, b, GCRODR(Jacobi(), 12, space=space), rtol=1e-12).x.sum().backward()
    assert symmetric.grad.isfinite().all()
    assert not torch.equal(before, space.basis)


def test_newton_recycles_from_step_to_step():
    A = torch.from_numpy(laplacian(20).toarray())
    pattern = CSR.from_scipy(laplacian(20))

    def residual(u):
        return pattern.matvec(u) + 0.02 * u.exp() - 1e-2

    def jacobian(u):
        return CSR.from_scipy(scipy.sparse.csr_array((A + torch.diag(0.02 * u.exp())).numpy()))

    space = RecycleSpace(10)
    method = GCRODR(ILU0(), 20, space=space)
    start = np.zeros(400)
    first = newton(residual, start, jacobian, method=method, rtol=1e-10)
    again = newton(residual, start, jacobian, method=method, rtol=1e-10)
    assert memories(method) == (space,)
    assert np.abs(first.x - again.x).max() < 1e-8
    assert int(again.linear_iterations) < int(first.linear_iterations)
    assert np.linalg.norm(residual(torch.from_numpy(again.x))) <= 1e-10 * np.linalg.norm(residual(torch.zeros(400)))


def test_grids_and_their_null_space():
    coefficient, source = torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    system = diffusion(Grid((16, 16), closed=False), 0.1 + coefficient[:1], source).balanced()
    solution = solve(system.operator, system.rhs, GCRODR(restart=20, vectors=8), rtol=1e-10)
    assert solution.x.mean(-1).abs().max() < 1e-10 * solution.x.abs().max()
    assert (system.rhs - system.operator.matvec(solution.x)).norm() <= 1e-9 * system.rhs.norm()
    assert solution.iterations[2] < solution.iterations[0]


def test_a_lost_system_goes_to_plain_gmres_and_says_so():
    A, b = convection(16), np.random.default_rng(0).standard_normal(256)
    space = RecycleSpace(19)
    space.replace(torch.randn(19, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    lost = solve(A, b, GCRODR(ILU0(), restart=20, space=space, update=Never(), max_iterations=20))
    assert lost.converged
    assert "GCRO-DR(20, 19)" in lost.method
    assert "; then GMRES(20)" in lost.method


def test_what_is_not_finite_is_not_learnt(monkeypatch):
    def spoiled(*args):
        found = harvest(*args)
        assert found is not None
        found[0][0, 3], found[1][1, 5] = torch.nan, torch.inf
        return found

    A, b = neighbours(1)
    space = RecycleSpace(15)
    with monkeypatch.context() as patch:
        patch.setattr(gcrodr, "harvest", spoiled)
        solve(A[0], b[0], GCRODR(ILU0(), 30, space=space), throw=False)
    assert space.basis is not None
    assert 0 < len(space.basis) <= 13
    assert bool(torch.isfinite(space.basis).all())
    space.basis[:, 0] = torch.nan
    for _ in range(2):
        assert solve(A[0], b[0], GCRODR(ILU0(), 30, space=space)).converged
    assert bool(torch.isfinite(space.basis).all())


def test_it_says_where_a_space_is_lost():
    A, b = neighbours(2)
    method = GCRODR(ILU0(), 30, 15)
    assert solve(A[0], b[0], method).method.endswith("preconditioner, space not kept")
    assert "not kept" not in solve(A, b, method).method
    assert "not kept" not in solve(A[0], b[0], GCRODR(ILU0(), 30, space=RecycleSpace(15))).method


def test_what_it_refuses():
    with pytest.raises(InputError, match=r"restart=20 and a space of 20 vectors, which leaves no steps .* such as 40"):
        GCRODR(restart=20)
    with pytest.raises(InputError, match="restart=40 and a space of 50 vectors"):
        GCRODR(space=RecycleSpace(50))
    for space in (20, RecycleSpace):
        with pytest.raises(InputError, match=r"GCRODR has space=.*; expected None or an object such as RecycleSpace"):
            GCRODR(space=space)
    for update in (None, "always", Freeze):
        with pytest.raises(InputError, match=r"GCRODR has update=.*; expected Freeze\(\), Always\(\) or Never\(\)"):
            GCRODR(update=update)
    for name in ("restart", "vectors", "max_iterations"):
        with pytest.raises(InputError, match=f"GCRODR has {name}=2.5; expected a whole number"):
            GCRODR(**{name: 2.5})


def test_the_space_ages():
    A, b = neighbours(2)
    far = CSR.from_scipy(helmholtz(24, 2.3))
    space = RecycleSpace(15)
    method = GCRODR(ILU0(), 30, space=space, update=Freeze(after=1), max_iterations=3000)
    for matrix in (A[0], A[1]):
        solve(matrix, b[0], method)
    assert not method.update.updates(space.record)
    solve(far, b[0], method)
    assert method.update.updates(space.record)


# --------------------------------------------------------------------------------------- published counts


def darcy(size: int, seed: int) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """True Darcy as in reference/solvers.md 8.4: 5-point flux form, arithmetic means on faces, h^2 f with f = 1.

    The coefficient is exp(g), g a periodic Gaussian field of spectrum sqrt(2) tau^(alpha - 1) (4 pi^2 |k|^2 +
    tau^2)^(-alpha / 2), alpha 2.5, tau 7, on size + 2 points a side, whose outer ring supplies the boundary faces.
    """
    points = size + 2
    k = np.fft.fftfreq(points, 1 / points)
    square = 4 * np.pi**2 * (k[:, None] ** 2 + k**2)
    amplitude = 2**0.5 * 7.0**1.5 * (square + 49.0) ** -1.25
    amplitude[0, 0] = 0.0
    noise = np.random.default_rng(seed).standard_normal((2, points, points)) / 2**0.5
    field = np.fft.ifft2(amplitude * (noise[0] + 1j * noise[1])).real * points**2
    numbers = np.arange(size**2).reshape(size, size)
    parts = []
    for axis in (0, 1):
        moved, along = np.moveaxis(np.exp(field), axis, 0), np.moveaxis(numbers, axis, 0)
        faces = 0.5 * (moved[1:, 1:-1] + moved[:-1, 1:-1])
        parts += [(along, along, faces[:-1] + faces[1:])]
        parts += [(along[1:], along[:-1], -faces[1:-1]), (along[:-1], along[1:], -faces[1:-1])]
    rows, columns, values = (np.concatenate([part[k].ravel() for part in parts]) for k in range(3))
    matrix = scipy.sparse.coo_array((values, (rows, columns)), shape=(size**2, size**2))
    return scipy.sparse.csr_array(matrix), np.full(size**2, (points - 1.0) ** -2)


def test_reference_counts_of_true_darcy():
    # Oracle: another implementation, n = 2500, without preconditioner: GCRO-DR(40, 20) 102 once it has learnt.
    method = GCRODR(restart=40, update=Always(), space=RecycleSpace(20))
    counts = [int(solve(*darcy(50, seed), method, rtol=1e-8).iterations) for seed in range(8)]
    assert np.mean(counts[2:]) == pytest.approx(102, rel=0.15)
    assert counts[0] > 1.8 * np.mean(counts[2:])
