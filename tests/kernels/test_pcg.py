"""The fused kernel: against SuperLU, its stopping rule, its reasons, and that a sample's bits are its own."""

import numpy as np
import pytest
import scipy.sparse.linalg
from kernels.networks import NETWORKS, darcy, network, right_hand_side, stencil

from pdekit.kernels import pcg


def case(name, contrast=4.0, batch=1):
    faces, sink, periodic = network(*NETWORKS[name], contrast=contrast, batch=batch)
    A = stencil(faces, sink, periodic)
    return faces, sink, periodic, right_hand_side(A), A


@pytest.mark.parametrize("coarsening", ["averaged", "galerkin"])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_superlu(name, coarsening):
    faces, sink, periodic, b, A = case(name)
    result = pcg.solve(faces, sink, periodic, b, rtol=1e-11, coarsening=coarsening)
    assert result.reason.tolist() == [pcg.CONVERGED]
    assert result.coarsening == (coarsening,)
    assert result.singular.tolist() == [A.nullspace is not None]
    matrix, rhs = A.to_scipy((0,)), b.ravel()
    if result.singular[0]:  # pin one unknown, then take the mean out
        x = np.zeros(len(rhs))
        x[1:] = scipy.sparse.linalg.spsolve(matrix[1:, 1:].tocsc(), rhs[1:])
        x -= x.mean()
    else:
        x = scipy.sparse.linalg.spsolve(matrix.tocsc(), rhs)
    np.testing.assert_allclose(result.x.ravel(), x, rtol=0, atol=1e-9 * abs(x).max())
    true = np.linalg.norm(rhs - matrix @ result.x.ravel())
    rounding = 1e-15 * scipy.sparse.linalg.norm(matrix) * np.linalg.norm(x)
    np.testing.assert_allclose(result.residual, true, rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("kind", "shape", "most", "coarsening"),
    [
        ("contrast 4", (64, 64), 12, "averaged"),
        ("contrast 4", (100, 37), 13, "averaged"),
        ("contrast 4", (131, 97), 13, "averaged"),
        ("contrast 4", (31, 32, 33), 14, "averaged"),
        ("log-normal", (127, 127), 22, None),
        ("contrast 1e4", (67, 67), 18, "galerkin"),
        ("contrast 1e4", (128, 61), 20, "galerkin"),
        ("contrast 1e4", (32, 29, 32), 27, "galerkin"),
    ],
)
def test_iterations_and_the_automatic_choice(kind, shape, most, coarsening):
    faces, periodic, b = darcy(kind, shape)
    result = pcg.solve(faces, None, periodic, b, rtol=1e-8)
    assert (result.reason == pcg.CONVERGED).all()
    assert result.iterations.max() <= most
    assert coarsening is None or set(result.coarsening) == {coarsening}
    assert (result.residual <= 1e-8 * np.linalg.norm(b.reshape(len(b), -1), axis=1)).all()


@pytest.mark.parametrize(("strong", "most"), [(0, 18), (1, 28)])
def test_iterations_with_an_odd_ring_and_an_axis_that_conducts_better(strong, most):
    faces, sink, periodic = network((120, 101), ("oo", "pp"), contrast=10.0)
    faces[strong] *= 30
    b = right_hand_side(stencil(faces, sink, periodic))
    for coarsening in ("averaged", "galerkin"):
        assert pcg.solve(faces, sink, periodic, b, coarsening=coarsening).iterations[0] <= most


def test_averaged_coarsening_is_not_enough_at_high_contrast():
    faces, periodic, b = darcy("contrast 1e4", (67, 67), batch=1)
    assert pcg.solve(faces, None, periodic, b, coarsening="averaged").iterations[0] > 60


def test_iterations_hardly_grow():
    small, large = (
        pcg.solve(faces, None, periodic, b).iterations.max()
        for faces, periodic, b in (darcy("contrast 4", (n, n), batch=4) for n in (64, 256))
    )
    assert large <= 1.3 * small


def test_a_sample_has_the_same_bits_whatever_its_batch_position_and_thread():
    faces, _, periodic, b, _ = case("mixed", batch=6)
    rough, _, _, _, _ = case("mixed", contrast=1e6, batch=6)
    faces = [np.concatenate([f, g]) for f, g in zip(faces, rough, strict=True)]
    b = np.concatenate([b, b])
    together = pcg.solve(faces, None, periodic, b, threads=2)
    assert set(together.coarsening) == {"averaged", "galerkin"}
    order = np.random.default_rng(1).permutation(len(b))
    mixed = pcg.solve([f[order] for f in faces], None, periodic, b[order], threads=3)
    np.testing.assert_array_equal(mixed.x, together.x[order])
    for i in (0, 5, 7):
        alone = pcg.solve([f[i : i + 1] for f in faces], None, periodic, b[i : i + 1], threads=1)
        np.testing.assert_array_equal(alone.x[0], together.x[i])
        assert alone.iterations[0] == together.iterations[i]


def test_one_matrix_for_many_right_hand_sides():
    faces, sink, periodic, b, _ = case("dirichlet")
    both = pcg.solve(faces, sink, periodic, np.concatenate([b, 2 * b]))
    np.testing.assert_array_equal(both.x[1], 2 * both.x[0])


@pytest.mark.parametrize("name", ["dirichlet", "periodic", "odd ring", "tiny", "mixed 3-D"])
def test_first_guess(name):
    faces, sink, periodic, b, _ = case(name)
    cold = pcg.solve(faces, sink, periodic, b, rtol=1e-10)
    exact = pcg.solve(faces, sink, periodic, b, cold.x, rtol=1e-9)
    assert exact.iterations[0] == 0
    np.testing.assert_allclose(exact.x, cold.x, atol=1e-14 * abs(cold.x).max())
    warm = pcg.solve(faces, sink, periodic, b, cold.x * 1.001, rtol=1e-10)
    assert warm.reason[0] == pcg.CONVERGED
    assert warm.iterations[0] < cold.iterations[0] or name == "tiny"


def test_history_begins_with_the_guess_and_ends_with_the_true_residual():
    faces, sink, periodic, b, A = case("dirichlet", batch=2)
    b[1] *= 0
    b[1, 3, 4] = 1
    guess = np.ones_like(b)
    result = pcg.solve(faces, sink, periodic, b, guess, rtol=1e-9)
    for i in range(2):
        first = np.linalg.norm(b[i].ravel() - A.to_scipy((i,)) @ guess[i].ravel())
        steps = result.iterations[i]
        np.testing.assert_allclose(result.history[0, i], first, rtol=1e-12)
        assert result.history[steps, i] == result.residual[i]
        assert np.isnan(result.history[steps + 1 :, i]).all()
        assert not np.isnan(result.history[: steps + 1, i]).any()
    assert len(result.history) == result.iterations.max() + 1


def test_a_zero_right_hand_side_has_the_zero_solution():
    faces, sink, periodic, b, _ = case("dirichlet")
    result = pcg.solve(faces, sink, periodic, 0 * b, b)
    assert result.reason[0] == pcg.CONVERGED
    assert result.iterations[0] == 0
    assert not result.x.any()


def test_absolute_tolerance():
    faces, sink, periodic, b, _ = case("dirichlet")
    result = pcg.solve(faces, sink, periodic, b, rtol=0.0, atol=1e-3)
    assert result.reason[0] == pcg.CONVERGED
    assert 1e-7 < result.residual[0] <= 1e-3


@pytest.mark.parametrize("name", ["dirichlet", "neumann", "tiny", "odd ring"])
def test_reasons(name):
    faces, sink, periodic, b, A = case(name)
    if name != "tiny":
        short = pcg.solve(faces, sink, periodic, b, max_iterations=2)
        assert short.reason[0] == pcg.MAX_ITERATIONS
        assert short.iterations[0] == 2
        assert short.history.shape == (3, 1)
    assert pcg.solve(faces, sink, periodic, b, rtol=1e-30).reason[0] == pcg.STAGNATED
    bad = [f.copy() for f in faces]
    bad[1][0, 1, 1] = np.nan
    result = pcg.solve(bad, sink, periodic, b)
    assert result.reason[0] == pcg.NOT_FINITE
    assert np.isnan(result.residual[0])
    wrong = b.copy()
    wrong[0, 1, 2] = np.inf
    assert pcg.solve(faces, sink, periodic, wrong).reason[0] == pcg.NOT_FINITE
    assert pcg.solve([-f for f in faces], sink, periodic, b).reason[0] == pcg.BREAKDOWN
    inconsistent = pcg.solve(faces, sink, periodic, b + 1)
    assert inconsistent.reason[0] == (pcg.INCONSISTENT if A.nullspace is not None else pcg.CONVERGED)


def test_a_bad_sample_does_not_touch_the_others():
    faces, sink, periodic, b, _ = case("dirichlet", batch=5)
    clean = pcg.solve(faces, sink, periodic, b, threads=1)
    faces[0][2, 3, 3] = np.nan
    b[1, 0, 0] = np.inf
    faces[1][3] *= -1
    spoilt = pcg.solve(faces, sink, periodic, b, threads=1)
    assert (spoilt.reason != pcg.CONVERGED).tolist() == [False, True, True, True, False]
    np.testing.assert_array_equal(spoilt.x[[0, 4]], clean.x[[0, 4]])


def test_an_empty_batch():
    faces, sink, periodic, b, _ = case("dirichlet", batch=2)
    result = pcg.solve([f[:0] for f in faces], sink, periodic, b[:0])
    assert result.x.shape == (0, 31, 24)
    assert result.history.shape == (1, 0)
