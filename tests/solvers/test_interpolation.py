"""Proper orthogonal decomposition and empirical interpolation, against dense algebra and what theory promises."""

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.parametrised import bump, parameters, thermal_block

from pdekit.core import InputError
from pdekit.solvers import CSR, DenseMatrix, EmpiricalInterpolation, MatrixInterpolation, pod
from pdekit.solvers.reduced.matrix_interpolation import norm_bound

rng = np.random.default_rng(0)


def snapshots(count: int, n: int, decay: float, kind=np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Rows with known singular values, and those."""
    draw = np.random.default_rng(count)

    def random(*shape):
        real = draw.standard_normal(shape)
        return real + 1j * draw.standard_normal(shape) if kind == np.complex128 else real

    left, right = (np.linalg.qr(random(size, count))[0] for size in (count, n))
    values = decay ** np.arange(count)
    return (left * values) @ right.conj().T, values


def energy(n: int, kind=np.float64) -> np.ndarray:
    B = np.random.default_rng(1).standard_normal((n, n))
    B = B + 1j * np.random.default_rng(2).standard_normal((n, n)) if kind == np.complex128 else B
    return B @ B.conj().T / n + np.eye(n)


# ------------------------------------------------------------------------- proper orthogonal decomposition


@pytest.mark.parametrize("kind", [np.float64, np.complex128])
def test_the_basis_is_that_of_the_singular_vectors(kind):
    # Oracle: NumPy's singular value decomposition, and the sum of squares that it says is cut off.
    rows, _ = snapshots(12, 60, 0.5, kind)
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    found = pod(rows, size=5)
    assert np.allclose(found.values.numpy(), values, atol=1e-14)
    basis = found.basis.numpy()
    assert np.abs(basis @ basis.conj().T - np.eye(5)).max() < 1e-14
    assert np.allclose(np.abs(np.sum(basis.conj() * right[:5], 1)), 1)
    cut = rows - rows @ basis.conj().T @ basis
    assert np.linalg.norm(cut) ** 2 == pytest.approx((values[5:] ** 2).sum())


@pytest.mark.parametrize("kind", [np.float64, np.complex128])
def test_the_basis_in_an_energy_norm(kind):
    # Oracle: the Euclidean decomposition of the snapshots times the dense Cholesky factor of the product.
    rows, _ = snapshots(12, 60, 0.5, kind)
    M = energy(60, kind)
    found = pod(rows, size=5, inner=DenseMatrix(torch.from_numpy(M)))
    factor = np.linalg.cholesky(M)
    assert np.allclose(found.values.numpy(), np.linalg.svd(rows.conj() @ factor)[1], atol=1e-13)
    basis = found.basis.numpy()
    assert np.abs(basis.conj() @ M @ basis.T - np.eye(5)).max() < 1e-13
    cut = rows - (rows @ M.T @ basis.conj().T) @ basis
    squares = np.einsum("ci,ij,cj->", cut.conj(), M, cut).real
    assert squares == pytest.approx(float((found.values[5:] ** 2).sum()))


def test_the_energy_norm_takes_any_matrix_but_no_batch():
    rows, _ = snapshots(6, 60, 0.5)
    M = torch.from_numpy(energy(60))
    exact = pod(rows, inner=DenseMatrix(M)).values
    for same in (M, scipy.sparse.csr_array(M.numpy())):
        assert torch.allclose(pod(rows, inner=same).values, exact, rtol=1e-12)
    with pytest.raises(InputError, match=r"inner is a .*; expected one Hermitian"):
        pod(rows, inner=DenseMatrix(M[None]))


@pytest.mark.parametrize("inner", [None, DenseMatrix(torch.from_numpy(energy(60)))])
def test_small_directions_are_found_below_the_root_of_rounding(inner):
    # Oracle: singular values by construction (in the energy norm: those of the rows times the Cholesky factor).
    rows, exact = snapshots(14, 60, 0.1)
    if inner is not None:
        exact = np.linalg.svd(rows @ np.linalg.cholesky(inner.matrix.numpy()))[1]
    found = pod(rows, tolerance=0.0, inner=inner)
    assert np.abs(found.values.numpy() / exact - 1)[:12].max() < 1e-2  # down to 1e-11 of the first
    gram = rows @ rows.T if inner is None else rows @ inner.matrix.numpy() @ rows.T
    squared = np.sqrt(np.abs(np.linalg.eigvalsh(gram)[::-1]))
    assert np.abs(squared / exact - 1)[10:12].min() > 0.5  # the negative control: from the Gram matrix, noise


def test_how_many_vectors_are_kept():
    rows, values = snapshots(12, 60, 0.1)
    for tolerance, size in ((0.5, 1), (2e-3, 3), (2e-6, 6)):
        found = pod(rows, tolerance=tolerance)
        assert len(found.basis) == size
        assert (values[size:] ** 2).sum() <= tolerance**2 * (values**2).sum() < (values[size - 1 :] ** 2).sum()
    assert len(pod(rows, size=4, tolerance=0.5).basis) == 1
    assert len(pod(np.ones((5, 7))).basis) == 1
    assert len(pod(np.zeros((5, 7))).basis) == 0
    assert pod(np.eye(9)[:5].repeat(3, 0), inner=DenseMatrix(torch.eye(9, dtype=torch.float64))).basis.shape == (5, 9)


@pytest.mark.parametrize("inner", [None, DenseMatrix(torch.from_numpy(energy(30)))])
def test_a_batch_of_snapshots(inner):
    rows = torch.from_numpy(np.stack([snapshots(8, 30, decay)[0] for decay in (0.5, 0.7)]))
    both = pod(rows, size=3, inner=inner)
    for k in range(2):
        alone = pod(rows[k], size=3, inner=inner)
        assert torch.allclose(both.basis[k].mT @ both.basis[k], alone.basis.mT @ alone.basis, atol=1e-12)
        assert torch.allclose(both.values[k], alone.values, rtol=1e-12)


@pytest.mark.parametrize("size", [1e-250, 1e154, 1e307])
@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_snapshots_of_any_size_have_the_same_basis(size, kind):
    # Oracle: by construction, the squares of whose entries are 0 or infinite.
    found = pod(size * torch.eye(3, 5, dtype=kind))
    assert found.basis.shape == (3, 5)
    assert torch.allclose(found.basis.abs().sum(0), torch.tensor([1.0, 1, 1, 0, 0], dtype=torch.float64))
    assert torch.allclose(found.values / size, torch.ones(3, dtype=torch.float64))
    both = pod(torch.stack([size * torch.eye(3, 5, dtype=kind), torch.eye(3, 5, dtype=kind)]))
    assert torch.allclose(both.values / torch.tensor([[size], [1.0]], dtype=torch.float64), torch.ones(2, 3).double())


def test_what_pod_refuses():
    for given, said in (
        (lambda: pod(np.ones(3)), r"snapshots has shape \(3,\); expected \(\*batch, count, n\)"),
        (lambda: pod(np.array([[1.0, np.nan]])), r"snapshots\[0, 1\] is nan"),
        (lambda: pod(np.ones((3, 0))), r"snapshots has shape \(3, 0\); expected"),
        (lambda: pod(np.eye(2), size=0), "pod has size=0; expected at least 1"),
        (lambda: pod(np.eye(2), tolerance=2.0), "pod has tolerance=2.0; expected a number from 0"),
        (lambda: pod(np.eye(2), inner=DenseMatrix(torch.eye(3))), "Hermitian positive definite matrix of order 2"),
        (lambda: pod(np.eye(2), inner=DenseMatrix(-torch.eye(2).double())), "inner is not positive definite"),
    ):
        with pytest.raises(InputError, match=said):
            given()


# ------------------------------------------------------------------------------- empirical interpolation


def test_a_family_with_fixed_parts_is_reproduced():
    # Oracle: the functions themselves. Four parts with any factors, 30 of them for training.
    parts = rng.standard_normal((4, 500))
    found = EmpiricalInterpolation(rng.uniform(-1, 1, (30, 4)) @ parts)
    assert len(found) == 4
    new = torch.from_numpy(rng.uniform(-5, 5, (1000, 4)) @ parts)
    error = (found.interpolate(new[:, found.points]) - new).abs().max() / new.abs().max()
    assert error < 1e-12


def waves(k, r):
    return torch.exp(1j * k[:, None] * r)


def test_waves_are_approximated_exponentially_well():
    # Theory: exp(ikr) is entire in k and r, so that its width decays faster than exponentially.
    r = torch.linspace(0, 1, 400, dtype=torch.float64)
    new = waves(torch.from_numpy(rng.uniform(1, 10, 300)), r)
    sizes, errors = np.arange(3, 14), []
    for size in sizes:
        found = EmpiricalInterpolation(waves(torch.linspace(1, 10, 200, dtype=torch.float64), r), size=int(size))
        errors.append(float((found.interpolate(new[:, found.points]) - new).abs().max()))
    slope, start = np.polyfit(sizes, np.log10(errors), 1)
    assert slope < -1.1  # decades a term
    assert np.abs(np.log10(errors) - start - slope * sizes).max() < 0.8  # a line, over 12 decades
    assert errors[0] > 0.1
    assert errors[-1] < 1e-11


def test_the_factors_come_from_well_conditioned_triangles():
    r = torch.linspace(0, 1, 300, dtype=torch.float64)
    samples = waves(torch.linspace(1, 10, 150, dtype=torch.float64), r)
    found = EmpiricalInterpolation(samples, tolerance=1e-13)
    d = len(found)
    at = samples[found.chosen][:, found.points]
    assert torch.linalg.cond(at) > 1e12  # what the factors are not solved with
    for triangle in (found.at_points, found.at_chosen):
        assert torch.equal(triangle, triangle.tril())
        assert torch.allclose(triangle.diagonal(), torch.ones(d, dtype=at.dtype))
        assert triangle.abs().max() <= 1 + 1e-12
        assert torch.linalg.cond(triangle) < 1e3
    product = found.at_chosen @ torch.diag(found.pivots) @ found.at_points.mT
    assert torch.allclose(product, at, atol=1e-14, rtol=0)
    everywhere = found.coefficients(samples[:, found.points])
    assert everywhere.abs().max() < 3
    assert torch.allclose(everywhere @ at, samples[:, found.points], atol=1e-13, rtol=0)
    few = EmpiricalInterpolation(samples, size=8)
    assert torch.allclose(few.coefficients(few.terms[:, few.points]), torch.eye(8, dtype=at.dtype), atol=1e-10, rtol=0)


def test_the_errors_told_are_those_of_the_training_set():
    x = torch.linspace(0, 1, 200, dtype=torch.float64)
    samples = 1 / (1 + 30 * (x - torch.linspace(0, 1, 60, dtype=torch.float64)[:, None]) ** 2)
    whole = EmpiricalInterpolation(samples, tolerance=1e-8)
    assert float(whole.errors[-1]) <= 1e-8 < float(whole.errors[-2])
    for size in (1, 5, 9):
        found = EmpiricalInterpolation(samples, size=size)
        error = (found.interpolate(samples[:, found.points]) - samples).abs().max() / samples.max()
        assert float(error) == pytest.approx(float(whole.errors[size]), rel=1e-6)
        assert torch.equal(found.points, whole.points[:size])
    assert len(set(whole.points.tolist())) == len(whole) == len(set(whole.chosen.tolist()))


def test_batches_and_one_function():
    found = EmpiricalInterpolation(np.array([[0.0, 2.0, 1.0]]))
    assert found.points.tolist() == [1]
    assert found.interpolate(torch.tensor([4.0])).tolist() == [0.0, 4.0, 2.0]
    assert found.coefficients(torch.ones(3, 5, 1)).shape == (3, 5, 1)
    assert str(found) == "EmpiricalInterpolation(1 terms of 3 points, error 0.0e+00)"


def line(n: int) -> scipy.sparse.dia_array:
    return scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))


def test_states_are_copies():
    found = MatrixInterpolation(thermal_block(parameters(6, 0), cells=6)[0])
    state = found.state_dict()
    copy = MatrixInterpolation.from_state_dict(state)
    for tensor in (state["indptr"], state["indices"], *state["interpolation"].values()):
        tensor.zero_()
    new, _ = thermal_block(parameters(5, 1), cells=6)
    for one in (found, copy):
        assert torch.allclose(one.combine(one.pick(new)).entries, new.entries, atol=1e-13)


def test_states_that_were_tampered_with_are_refused():
    found = MatrixInterpolation(thermal_block(parameters(6, 0), cells=6)[0])
    state = found.state_dict()
    inner = state["interpolation"]
    assert MatrixInterpolation.from_state_dict(state).error == found.error
    far = inner["points"].clone()
    far[1] = 10_000
    for change, said in (
        ({"terms": inner["terms"].tolist()}, "terms in the state of a EmpiricalInterpolation is a list"),
        ({"terms": inner["terms"][0]}, r"terms .* expected a tensor of shape \(d, points\)"),
        ({"terms": inner["terms"] * torch.nan}, r"terms in .*\[0, 0\] is nan"),
        ({"terms": 2 * inner["terms"]}, "The triangles in the state .* are off by"),
        ({"points": far}, r"points in .* runs from \d+ to 10000; expected numbers from 0 to"),
        ({"points": inner["points"] * 0}, "points in .* names one twice"),
        ({"points": inner["points"].double()}, r"points .* has shape \(4,\), float64; expected .* int64"),
        ({"points": inner["points"][:3]}, r"points .* has shape \(3,\), int64; expected a tensor of shape \(4,\)"),
        ({"chosen": inner["chosen"] - 10}, "chosen in .* runs from -"),
        ({"errors": -inner["errors"]}, r"has errors=.*; expected none below 0"),
        ({"errors": inner["errors"][1:]}, r"errors .* expected a tensor of shape \(5,\)"),
        ({"pivots": inner["pivots"].to(torch.complex128)}, r"pivots .* complex128; expected .* float64"),
        ({"pivots": 1.1 * inner["pivots"]}, "are off by"),
        ({"at_points": inner["at_points"] * 0}, "are off by"),
    ):
        with pytest.raises(InputError, match=said):
            MatrixInterpolation.from_state_dict({**state, "interpolation": {**inner, **change}})
    for change, said in (
        ({"error": -1.0}, "has error=-1.0; expected a number of at least 0"),
        ({"error": torch.nan}, "has error=nan; expected a number of at least 0"),
        ({"error": [0.0]}, r"has error=\[0.0\]; expected a number"),
        ({"indptr": [0, 1]}, "indptr in the state of a MatrixInterpolation is a list"),
        ({"indices": state["indices"][1:]}, r"indices .* expected a tensor of shape"),
        ({"interpolation": 3}, "The state holds a int; expected chosen"),
    ):
        with pytest.raises(InputError, match=said):
            MatrixInterpolation.from_state_dict({**state, **change})


def test_what_interpolation_refuses():
    for given, said in (
        (lambda: EmpiricalInterpolation(np.ones(3)), r"samples has shape \(3,\); expected \(parameters, points\)"),
        (lambda: EmpiricalInterpolation(np.zeros((2, 3))), "samples are 0 everywhere"),
        (lambda: EmpiricalInterpolation(np.array([[np.inf]])), r"samples\[0, 0\] is inf"),
        (lambda: EmpiricalInterpolation(np.eye(2), tolerance=1.0), "has tolerance=1.0; expected a number from 0"),
        (lambda: EmpiricalInterpolation(np.eye(2), size=0), "has size=0; expected at least 1"),
        (lambda: EmpiricalInterpolation(np.eye(2)).interpolate(torch.ones(3)), r"values has shape \(3,\); expected"),
        (lambda: MatrixInterpolation(thermal_block(parameters(2, 0))[0][0]), r"batch \(\); expected a CSR with one"),
        (lambda: MatrixInterpolation(np.eye(3)), "matrices is a ndarray; expected a CSR.*or a list of SciPy matrices"),
        (lambda: MatrixInterpolation([]), "matrices is an empty list"),
        (
            lambda: MatrixInterpolation([line(3), np.eye(3)]),
            r"matrices\[1\] is a dense matrix of order 3; expected one",
        ),
        (lambda: MatrixInterpolation([line(3), line(4)]), r"matrices\[1\] is a sparse .* of order 3, like the first"),
        (
            lambda: MatrixInterpolation([CSR.from_scipy(line(3))[None]]),
            r"matrices\[0\] is a batch \(1,\); expected one",
        ),
    ):
        with pytest.raises(InputError, match=said):
            given()


# ----------------------------------------------------------------------------------------------- matrices


def test_the_thermal_block_is_reproduced_from_four_entries():
    # Oracle: matrices assembled by scikit-fem for the same parameters.
    found = MatrixInterpolation(thermal_block(parameters(20, 0))[0])
    assert len(found) == 4
    assert found.places.shape == (4, 2)
    new, _ = thermal_block(parameters(1000, 1))
    picked = found.pick(new)
    row, column = found.places[2].tolist()
    assert float(picked[5, 2]) == new.to_scipy((5,))[row, column]
    error = (found.combine(picked).entries - new.entries).abs().max() / new.entries.abs().max()
    assert error < 1e-12


@pytest.mark.parametrize("complex_part", [1.0, 1j])
def test_a_list_of_scipy_matrices_is_taken_on_the_union_of_their_patterns(complex_part):
    # Oracle: the matrices themselves. Three parts of different patterns, of which each matrix has two.
    parts = [line(8), scipy.sparse.eye_array(8, k=3), complex_part * scipy.sparse.eye_array(8, k=-5)]
    factors = [(1.0, 2.0, 0.0), (1.0, 0.0, 3.0), (0.0, 1.0, 1.0), (2.0, 0.0, 1.0)]
    each = [sum(f * A for f, A in zip(row, parts, strict=True) if f) for row in factors]
    found = MatrixInterpolation(
        [scipy.sparse.csr_array(each[0]), CSR.from_scipy(each[1]), *map(scipy.sparse.coo_array, each[2:])]
    )
    assert len(found) == 3
    assert found.pattern.nnz == 22 + 5 + 3
    new = 0.3 * parts[0] - 0.7 * parts[1] + 1.9 * parts[2]
    assert np.allclose(found.combine(found.pick(new)).to_scipy().toarray(), new.toarray(), atol=1e-14)
    for k, A in enumerate(each):
        assert np.allclose(found.combine(found.pick(A)).to_scipy().toarray(), A.toarray(), atol=1e-14), k


def test_a_family_without_fixed_parts_is_approximated():
    # Oracle: the largest singular value of what interpolation leaves over, by dense algebra.
    places = torch.cartesian_prod(*[torch.linspace(0, 1, 9, dtype=torch.float64)] * 2)
    training, _ = bump(places)
    errors = []
    new, _ = bump(torch.from_numpy(np.random.default_rng(5).uniform(0, 1, (20, 2))))
    for size in (10, 30, 60):
        found = MatrixInterpolation(training, size=size)
        errors.append(float((found.combine(found.pick(new)).entries - new.entries).abs().max()))
        left = found.combine(found.pick(training)) - training
        norms = [np.linalg.norm(left.to_scipy((k,)).toarray(), 2) for k in range(0, 81, 8)]
        assert max(norms) <= found.error
        assert found.error == float(norm_bound(left).max())
    assert errors[1] < 0.3 * errors[0]
    assert errors[2] < 0.1 * errors[1]


def test_the_bound_of_the_norm():
    A = rng.standard_normal((5, 12, 12)) * (rng.uniform(size=(12, 12)) < 0.4) * (1 + 1j)
    for one in A:
        bound = float(norm_bound(CSR.from_scipy(scipy.sparse.csr_array(one))))
        assert np.linalg.norm(one, 2) <= bound <= 12**0.5 * np.linalg.norm(one, 2)
    assert float(norm_bound(CSR.from_scipy(-3 * scipy.sparse.eye_array(4)))) == 3


def test_matrices_of_another_pattern_are_refused():
    found = MatrixInterpolation(thermal_block(parameters(6, 0), cells=6)[0])
    other, _ = thermal_block(parameters(1, 0), cells=8)
    with pytest.raises(InputError, match=r"patterns do not fit together: matrices of order 49 and 25"):
        found.pick(other)
    full = scipy.sparse.csr_array(np.ones((25, 25)))
    with pytest.raises(InputError, match=r"the entry \(0, 2\) is stored in one matrix only"):
        found.pick(full)
    same = CSR(found.pattern.indptr.clone(), found.pattern.indices.clone(), found.terms.entries)
    assert torch.equal(found.pick(same), found.terms.entries[:, found.entries])
    places = found.places[:2].numpy()  # entries that are not stored are 0
    few = scipy.sparse.csr_array(([2.0, 3.0], (places[:, 0], places[:, 1])), shape=(25, 25))
    assert found.pick(few).tolist() == [2.0, 3.0, 0.0, 0.0]
