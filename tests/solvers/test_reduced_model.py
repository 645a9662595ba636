"""Certified reduced models: the bound against residuals and errors of full algebra, and what it falls back on."""

import io
from math import prod

import numpy as np
import pytest
import torch
from solvers.parametrised import bump, parameters, thermal_block, waves
from torch.utils._python_dispatch import TorchDispatchMode

from pdekit.core import InputError
from pdekit.solvers import (
    CG,
    CSR,
    DenseMatrix,
    Direct,
    EmpiricalInterpolation,
    MatrixInterpolation,
    ReducedModel,
    pod,
    solve,
)


def solutions(A: CSR, b: torch.Tensor) -> torch.Tensor:
    return solve(A, b, Direct(), rtol=1e-12).x


def residuals(A: CSR, b: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Relative ones, from the full matrices."""
    return (b - A.matvec(x)).norm(dim=-1) / b.norm(dim=-1)


def model_of_the_block(size: int | None = None, count: int = 40, cells: int = 20) -> ReducedModel:
    A, b = thermal_block(parameters(count, 0), cells)
    basis = pod(solutions(A, b), size, tolerance=1e-15).basis
    return ReducedModel(MatrixInterpolation(A), b, basis, affine=True)


# ----------------------------------------------------------------------------------- families with fixed parts


@pytest.mark.parametrize("size", [5, 10, 15, 20, None])
def test_the_bound_holds_for_a_thousand_random_parameters(size):
    # Oracle: the residual in full, of matrices assembled for the same parameters.
    model = model_of_the_block(size)
    A, b = thermal_block(parameters(1000, 1))
    found = model.reduced(model.matrices.pick(A))
    true = residuals(A, b, found.x)
    assert found.certified
    assert (found.residual >= true).all()
    assert (found.residual <= 1.02 * true + 1e-11).all()  # tight, down to where rounding begins
    if size is None:
        assert found.residual.max() < 1e-10


def textbook(model: ReducedModel, b: torch.Tensor, values: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The relative residual with the square of its norm expanded in inner products of b and the A_m v_i."""
    images = model.matrices.terms.matvec(model.basis[:, None]).transpose(0, 1).flatten(0, 1)
    spanning = torch.cat([b[None], images])
    beta = model.matrices.coefficients(values)
    factors = torch.cat([torch.ones(len(y), 1), -(beta[:, :, None] * y[:, None]).flatten(1)], 1)
    return torch.einsum("ki,ij,kj->k", factors, spanning @ spanning.mT, factors).abs().sqrt() / b.norm()


def test_the_bound_is_meaningful_where_the_textbook_expansion_is_noise():
    A, b = thermal_block(parameters(1000, 1))
    fine, coarse = model_of_the_block(20), model_of_the_block(10)
    values = fine.matrices.pick(A)
    found = fine.reduced(values)
    true = residuals(A, b, found.x)
    small = (true > 1e-11) & (true < 1e-9)
    assert small.sum() > 50
    assert (found.residual / true)[small].max() < 1.5
    noise = textbook(fine, b, values, found.coordinates)  # the negative control
    assert (noise / true)[small].median() > 10
    assert noise[small].median() > 1e-9
    rough = coarse.reduced(values)
    true = residuals(A, b, rough.x)
    assert true.min() > 1e-6
    assert torch.allclose(textbook(coarse, b, values, rough.coordinates), true, rtol=1e-3)


def test_snapshots_are_reproduced_to_machine_precision():
    # Oracle: dense algebra.
    model = model_of_the_block()
    A, b = thermal_block(parameters(40, 0))
    found = model.reduced(model.matrices.pick(A))
    exact = torch.from_numpy(np.stack([np.linalg.solve(A.to_scipy((k,)).toarray(), b.numpy()) for k in range(40)]))
    assert ((found.x - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 1e-12
    assert residuals(A, b, found.x).max() < 1e-12


def test_the_bound_of_the_error():
    # Oracle: dense solutions. The smallest eigenvalue is at least that for mu = 1 times the smallest of mu.
    model = model_of_the_block(12)
    mu = parameters(200, 2)
    A, b = thermal_block(mu)
    one, _ = thermal_block(torch.ones(1, 4, dtype=torch.float64))
    smallest = np.linalg.eigvalsh(one.to_scipy((0,)).toarray())[0]
    lower = smallest * mu.amin(-1)
    found = model.reduced(model.matrices.pick(A), smallest=lower)
    error = (found.x - solutions(A, b)).norm(dim=-1)
    assert found.error is not None
    assert (found.error >= error).all()
    assert "error      at most" in str(found)
    by_number = model.reduced(model.matrices.pick(A), smallest=0.1 * smallest)
    assert (by_number.error >= found.error).all()


def test_the_residual_is_the_least_in_the_space():
    # Oracle: dense least squares.
    model = model_of_the_block(8)
    A, b = thermal_block(parameters(5, 3))
    found = model.reduced(model.matrices.pick(A))
    for k in range(5):
        images = A.to_scipy((k,)).toarray() @ model.basis.numpy().T
        y = np.linalg.lstsq(images, b.numpy())[0]
        least = np.linalg.norm(b.numpy() - images @ y) / b.norm()
        assert float(found.residual[k]) == pytest.approx(float(least), rel=1e-8)


class Sizes(TorchDispatchMode):
    """The longest axis of all tensors that are made."""

    longest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor) and tensor.ndim:
                self.longest = max(self.longest, *tensor.shape)
        return made


def test_on_line_nothing_depends_on_the_size_of_the_problem():
    longest = []
    for cells in (20, 40):
        model = model_of_the_block(10, cells=cells)
        values = model.matrices.pick(thermal_block(parameters(3, 1), cells)[0])
        with Sizes() as sizes:
            found = model.reduced(values, smallest=1e-3)
        longest.append(sizes.longest)
        unknowns = (cells - 1) ** 2
        assert f"3 systems with {unknowns:,} unknowns in 10 dimensions" in str(found)
    assert longest[0] == longest[1]


def test_batches_of_any_shape():
    model = model_of_the_block(10)
    A, _ = thermal_block(parameters(6, 1))
    values = model.matrices.pick(A)
    flat = model.reduced(values)
    cube = model.reduced(values.reshape(2, 3, 4))
    assert cube.x.shape == (2, 3, 361)
    assert torch.allclose(cube.residual.flatten(), flat.residual, rtol=1e-10)
    alone = model.reduced(values[0])
    assert alone.residual.shape == ()
    assert float(alone.residual) == pytest.approx(float(flat.residual[0]), rel=1e-10)


# ------------------------------------------------------------------------------------------- other families


def test_what_is_not_affine_is_certified_by_the_full_matrix_alone():
    places = torch.cartesian_prod(*[torch.linspace(0.2, 0.8, 9, dtype=torch.float64)] * 2)
    A, b = bump(places)
    matrices = MatrixInterpolation(A, size=45)
    model = ReducedModel(matrices, b, pod(solutions(A, b), 40).basis)
    new, _ = bump(torch.from_numpy(np.random.default_rng(4).uniform(0.2, 0.8, (100, 2))))
    guessed = model.reduced(matrices.pick(new))
    assert not guessed.certified
    assert "an estimate: not known to be affine" in str(guessed)
    true = residuals(new, b, guessed.x)
    # The estimate contains the largest norm of what interpolation leaves over on the training set.
    assert (guessed.residual >= true).all()
    assert matrices.error > 1e-6
    known = model.reduced(new)
    assert known.certified
    assert torch.allclose(known.x, guessed.x)
    assert torch.allclose(known.residual, true, rtol=1e-9)
    with pytest.raises(InputError, match=r"affine=True, but combining matrices of the training set leaves"):
        ReducedModel(matrices, b, model.basis, affine=True)


def test_complex_indefinite_matrices_with_a_right_hand_side_of_their_own():
    # Oracle: the residual in full. Matrices affine in k and k^2; plane waves as right-hand sides, which are not.
    A, b = waves(torch.linspace(2, 9, 30, dtype=torch.float64))
    matrices = MatrixInterpolation(A)
    assert len(matrices) == 3
    model = ReducedModel(matrices, b, pod(solutions(A, b), tolerance=1e-14).basis)
    assert 8 < len(model.sources) < 20
    new, right = waves(torch.from_numpy(np.random.default_rng(0).uniform(2, 9, 200)))
    found = model.reduced(matrices.pick(new), right[:, model.sources.points])
    true = residuals(new, right, found.x)
    assert found.x.is_complex()
    assert not found.certified
    assert (found.residual >= true).all()
    assert found.residual.max() < 1e-8
    full = model.reduced(new, right)
    assert full.certified
    assert torch.allclose(full.residual, true, rtol=1e-6, atol=1e-15)
    with pytest.raises(InputError, match=r"b is None, but the family has \d+ right-hand sides"):
        model.reduced(matrices.pick(new))
    solution = model.solve(new, right, rtol=1e-7)
    assert solution.method == f"reduced model of {len(model)} vectors"


def test_the_bound_holds_for_complex_indefinite_matrices():
    A, b = waves(torch.linspace(2, 9, 40, dtype=torch.float64))
    x = solutions(A, b[7])
    new, _ = waves(torch.from_numpy(np.random.default_rng(0).uniform(2, 9, 300)))
    for size in (8, 14, 25):
        model = ReducedModel(MatrixInterpolation(A), b[7], pod(x, size, tolerance=1e-15).basis, affine=True)
        found = model.reduced(model.matrices.pick(new))
        true = residuals(new, b[7], found.x)
        assert found.certified
        assert (found.residual >= true).all()
        assert (found.residual <= 1.02 * true + 1e-11).all()


def test_a_matrix_that_is_singular_in_the_space_is_not_certified():
    model = model_of_the_block(5)
    found = model.reduced(torch.zeros(2, 4, dtype=torch.float64))
    assert found.residual.isinf().all()
    assert model.reduced(torch.zeros(0, 4, dtype=torch.float64)).residual.shape == (0,)


# ---------------------------------------------------------------------------------------- the certified solver


def test_systems_that_the_model_misses_go_to_the_method():
    model = model_of_the_block(12)
    mu = parameters(40, 5)
    mu[[3, 17]] = torch.tensor([40.0, 0.001, 3.0, 0.1], dtype=torch.float64)  # far outside
    A, b = thermal_block(mu)
    bounds = model.reduced(model.matrices.pick(A)).residual
    rtol = float(bounds.sort().values[-3]) * 1.01
    assert bounds[3] > rtol
    solution = model.solve(A, b, rtol=rtol, method=CG())
    assert solution.converged.all()
    assert "reduced model of 12 vectors; then CG, Jacobi preconditioner for 2 of 40 systems" in solution.method
    assert torch.nonzero(solution.iterations)[:, 0].tolist() == [3, 17]
    assert torch.allclose(solution.history[1], residuals(A, b, model.reduced(A).x), rtol=1e-6)
    tight = model.solve(A, b, rtol=1e-11, method=Direct())
    assert tight.converged.all()
    assert "Direct" in tight.method
    alone = model.solve(A[3], b, rtol=1e-9, method=CG())
    assert alone.history.shape == (int(alone.iterations) + 2,)
    one = model.solve(A[3], b.numpy(), rtol=1e-9)
    assert isinstance(one.x, np.ndarray)
    assert "for 1 of 1 systems" in one.method


def test_a_matrix_of_no_family_of_the_model_is_still_solved():
    model = model_of_the_block()
    A, b = thermal_block(parameters(3, 6))
    strange = A.with_values([A.entries + torch.rand(A.pattern.nnz, dtype=torch.float64)])
    found = model.reduced(strange)
    assert torch.allclose(found.residual, residuals(strange, b, found.x), rtol=1e-9)
    assert found.residual.min() > 1e-3
    assert model.solve(strange, b, rtol=1e-9, method=Direct()).converged.all()
    other = torch.rand(3, 361, dtype=torch.float64)
    solution = model.solve(A, other, rtol=1e-9)
    assert solution.converged.all()
    assert "for 3 of 3 systems" in solution.method


def test_gradients_go_through_the_certified_solver():
    # Oracle: the gradients of a direct solve.
    model = model_of_the_block()
    A, b = thermal_block(parameters(2, 6))
    gradients = []
    for by_model in (True, False):
        entries, right = A.entries.clone().requires_grad_(), b.clone().requires_grad_()
        matrices = A.with_values([entries])
        found = model.solve(matrices, right, rtol=1e-10) if by_model else solve(matrices, right, Direct())
        found.x.square().sum().backward()
        gradients.append((entries.grad, right.grad))
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-7 * float(theirs.abs().max()))


def test_many_right_hand_sides_of_one_matrix():
    model = model_of_the_block(12)
    A, b = thermal_block(parameters(1, 5))
    solution = model.solve(A[0], b * torch.tensor([[1.0], [-2.0], [0.0]]), rtol=1e-2)
    assert solution.method == "reduced model of 12 vectors"
    assert (solution.x[2] == 0).all()
    assert torch.allclose(solution.x[1], -2 * solution.x[0])


@pytest.mark.parametrize("affine", [True, False])
def test_a_model_is_saved_and_loaded_without_pickles(affine):
    A, b = thermal_block(parameters(20, 0)) if affine else bump(parameters(20, 0)[:, :2])
    model = ReducedModel(MatrixInterpolation(A, size=12), b, pod(solutions(A, b), 9).basis, affine=affine)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    copy = ReducedModel.from_state_dict(torch.load(file, weights_only=True))
    new = thermal_block(parameters(5, 1))[0] if affine else bump(parameters(5, 1)[:, :2])[0]
    assert torch.equal(copy.matrices.places, model.matrices.places)
    one, other = (m.reduced(model.matrices.pick(new)) for m in (model, copy))
    assert torch.equal(one.residual, other.residual)
    assert torch.equal(one.x, other.x)
    assert str(one) == str(other)
    assert str(copy) == str(model)
    assert copy.solve(new, b, rtol=1e-9, method=Direct()).converged.all()
    with pytest.raises(InputError, match="The state holds indices, indptr; expected indptr, indices, interpolation"):
        MatrixInterpolation.from_state_dict({"indptr": 0, "indices": 0})


def test_states_are_copies():
    model = model_of_the_block(6)
    state = model.state_dict()
    copy = ReducedModel.from_state_dict(state)
    state["basis"].zero_()
    state["sources"]["terms"].zero_()
    A, b = thermal_block(parameters(3, 1))
    one, other = (m.reduced(model.matrices.pick(A)) for m in (model, copy))
    assert torch.equal(one.x, other.x)
    assert (one.residual >= residuals(A, b, one.x)).all()


def test_states_that_would_make_false_certificates_are_refused():
    A, b = bump(parameters(20, 0)[:, :2])
    state = ReducedModel(MatrixInterpolation(A, size=12), b, pod(solutions(A, b), 9)).state_dict()
    matrices, basis = state["matrices"], state["basis"]
    other = EmpiricalInterpolation(torch.rand(2, 5)).state_dict()
    turned = EmpiricalInterpolation(b[None] * (1 + 1j)).state_dict()
    for change, said in (
        ({"source_error": -1.0}, "has source_error=-1.0; expected a number of at least 0"),
        ({"source_error": torch.nan}, "has source_error=nan"),
        ({"source_error": "0"}, "has source_error='0'; expected a number"),
        ({"matrices": {**matrices, "error": -1e9}}, "has error=-1000000000.0; expected a number of at least 0"),
        ({"matrices": {**matrices, "error": torch.nan}}, "has error=nan"),
        ({"affine": True}, "affine=True, but combining matrices of the training set leaves"),
        ({"affine": 0}, "has affine=0; expected True or False"),
        ({"basis": basis.tolist()}, "basis in the state of a ReducedModel is a list"),
        ({"basis": basis[:, 1:]}, r"basis .* expected a tensor of shape \(size, 225\)"),
        ({"basis": basis[:0]}, r"basis .* has shape \(0, 225\)"),
        ({"basis": basis.float()}, "float32; expected"),
        ({"basis": 2 * basis}, "is off by 3.0e.00 from orthonormal vectors"),
        (
            {"sources": other},
            r"right-hand sides in the state of a ReducedModel have shape \(2, 5\); expected \(d, 225\)",
        ),
        ({"sources": turned}, r"basis .* float64; expected a tensor of shape \(size, 225\), complex128"),
    ):
        with pytest.raises(InputError, match=said):
            ReducedModel.from_state_dict({**state, **change})


def test_a_real_model_of_complex_matrices():
    # Oracle: the residual in full.
    model = model_of_the_block()
    A, b = thermal_block(parameters(5, 1))
    damped = A.with_values([A.entries * (1 + 0.3j)])
    for found in (model.reduced(damped), model.reduced(model.matrices.pick(damped))):
        true = residuals(damped, b, found.x)
        assert found.x.is_complex()
        assert found.residual.max() < 1e-10
        assert (found.residual >= 0.999 * true).all()
    solution = model.solve(damped, b, rtol=1e-8)
    assert solution.method == f"reduced model of {len(model)} vectors"
    assert residuals(damped, b, solution.x).max() < 1e-8
    right = model.solve(A, (1 + 2j) * b, rtol=1e-8)
    assert torch.allclose(right.x, (1 + 2j) * solutions(A, b), rtol=1e-6)


def test_a_complex_model_of_real_matrices():
    A, b = thermal_block(parameters(20, 0), 8)
    damped = A.with_values([A.entries * torch.linspace(0.5, 1 + 1j, 20, dtype=torch.complex128)[:, None]])
    for size in (3, None):
        model = ReducedModel(MatrixInterpolation(damped), b, pod(solutions(damped, b.to(damped.dtype)), size))
        solution = model.solve(A, b, rtol=1e-8, method=CG())
        assert not solution.x.is_complex()
        assert residuals(A, b, solution.x).max() <= 1e-8


def test_what_pod_found_is_a_basis():
    A, b = thermal_block(parameters(6, 0), cells=6)
    found = pod(solutions(A, b))
    matrices = MatrixInterpolation(A)
    assert torch.equal(ReducedModel(matrices, b, found).basis, ReducedModel(matrices, b, found.basis).basis)


def test_numpy_and_scipy_are_taken():
    model = model_of_the_block(12)
    A, b = thermal_block(parameters(2, 5))
    found = model.reduced(A)
    by_entries = model.reduced(model.matrices.pick(A).numpy(), b.numpy()[model.sources.points.numpy()])
    assert torch.allclose(by_entries.x, found.x, rtol=1e-12)
    one = model.reduced(A.to_scipy((1,)), b.numpy())
    assert one.certified
    assert torch.allclose(one.x, found.x[1], rtol=1e-12)
    assert isinstance(model.solve(A.to_scipy((1,)), b.numpy(), rtol=1e-1).x, np.ndarray)


def test_what_models_refuse():
    A, b = thermal_block(parameters(6, 0), cells=6)
    matrices = MatrixInterpolation(A)
    n = prod(b.shape)
    basis = torch.eye(n, dtype=torch.float64)[:2]
    model = ReducedModel(matrices, b, basis)
    for given, said in (
        (lambda: ReducedModel(matrices, b[1:], basis), rf"rhs has shape \(24,\); expected \({n},\) or \(count, {n}\)"),
        (lambda: ReducedModel(matrices, b, basis[0]), rf"basis has shape \({n},\); expected \(size, {n}\)"),
        (lambda: ReducedModel(matrices, b, basis * np.nan), r"basis\[0, 0\] is nan"),
        (lambda: model.solve(DenseMatrix(torch.eye(n)), b), "dense matrix of order 25; expected sparse matrices on"),
        (lambda: model.reduced(A, torch.ones(3)), r"b has shape \(3,\); expected \(\*batch, 25\)"),
        (lambda: ReducedModel(matrices, b, basis[:0]), r"basis has shape \(0, 25\); expected at least one vector"),
        (lambda: ReducedModel(A, b, basis), "matrices is a CSR; expected a MatrixInterpolation"),
        (lambda: model.reduced(A, smallest="x"), "smallest is a str; expected"),
        (lambda: model.reduced(A, smallest=1j), "smallest is complex"),
        (
            lambda: model.reduced(A, smallest=torch.ones(4)),
            r"smallest has the batch shape \(4,\), which does not go with",
        ),
        (lambda: model.reduced(torch.ones(3, 4), torch.ones(2, 1)), r"b has the batch shape \(2,\), which does not go"),
        (lambda: ReducedModel(matrices, 0 * b, basis), "rhs is 0 everywhere"),
        (lambda: model.reduced(torch.ones(3).double()), r"values has shape \(3,\); expected \(\*batch, 4\)"),
        (lambda: model.reduced(torch.ones(4).double(), smallest=0.0), "smallest is 0.0"),
        (lambda: model.solve(thermal_block(parameters(1, 0), 8)[0], torch.ones(49)), "patterns do not fit together"),
        (lambda: model.solve(A, b, method=Direct), "method is the class Direct; expected an object"),
        (lambda: model.reduced(torch.ones(4).double() * np.nan), r"A\[0\] is nan"),
        (lambda: model.reduced(torch.ones(4).double(), torch.ones(1) * np.nan), r"b\[0\] is nan"),
        (
            lambda: model.reduced(torch.ones(4).double(), b),
            r"b has shape \(25,\); beside entries of A expected the 1 of b",
        ),
        (lambda: ReducedModel(matrices, b, basis, affine="yes"), "affine='yes'; expected True or False"),
    ):
        with pytest.raises(InputError, match=said):
            given()
    assert str(model).startswith("ReducedModel(2 vectors, MatrixInterpolation(4 matrices of order 25")
