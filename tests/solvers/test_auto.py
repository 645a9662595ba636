"""What Auto picks for sparse matrices, and that nothing is lost where its first choice fails."""

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.matrices import convection, dense, helmholtz, laplacian

from pdekit.core import InputError
from pdekit.solvers import AMG, CG, CSR, GMRES, IC0, ILU0, MINRES, Auto, Direct, LinearOperator, Tag, solve

PLANE = 116
RELAXED = IC0(shift="auto", relaxation=0.99, ordering="cuthill-mckee")
BOX = 13


def box(line, size: int = BOX) -> scipy.sparse.csr_array:
    """Kronecker sum of one matrix along the three axes."""
    one = scipy.sparse.eye_array(size)
    along = [
        scipy.sparse.kron(scipy.sparse.kron(a, b), c)
        for a, b, c in ((line, one, one), (one, line, one), (one, one, line))
    ]
    return scipy.sparse.csr_array(sum(along[1:], along[0]))


def tridiagonal(lower: float, diagonal: float, upper: float, size: int = BOX) -> scipy.sparse.csr_array:
    return scipy.sparse.diags_array(
        [lower, diagonal, upper], offsets=[-1, 0, 1], shape=(size, size), dtype=None
    ).tocsr()


SYMMETRIC, FLOW = tridiagonal(-1, 2, -1), tridiagonal(-1.5, 2.5, -1)


def shifted(A: scipy.sparse.csr_array, by: complex) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(A + by * scipy.sparse.eye_array(A.shape[0]))


CHOICES = {
    "line": (tridiagonal(-1, 2, -1, 20_000), (Direct(),)),
    "small plane": (laplacian(30), (Direct(),)),
    "plane": (laplacian(PLANE), (CG(RELAXED), Direct())),
    "wide plane": (laplacian(330), (CG(AMG()), Direct())),
    "box": (box(SYMMETRIC), (CG(RELAXED), Direct())),
    "wide box": (box(tridiagonal(-1, 2, -1, 28), 28), (CG(RELAXED), MINRES(), Direct())),
    "plane, not symmetric": (convection(PLANE), (Direct(),)),
    "box, not symmetric": (box(FLOW), (GMRES(ILU0()), Direct())),
    "box, not symmetric, zeros on the diagonal": (shifted(box(FLOW), -7.5), (Direct(),)),
    "plane, indefinite": (helmholtz(PLANE, 8), (Direct(),)),
    "box, indefinite": (shifted(box(SYMMETRIC), -3), (Direct(),)),
    "wide, indefinite": (shifted(box(tridiagonal(-1, 2, -1, 28), 28), -3), (MINRES(), Direct())),
    "box, negative definite": (-box(SYMMETRIC), (Direct(),)),
    "plane, complex symmetric": (shifted(laplacian(PLANE), 1j), (Direct(),)),
    "box, complex symmetric": (shifted(box(SYMMETRIC), 1j), (GMRES(ILU0()), Direct())),
    "box, Hermitian": (shifted(box(tridiagonal(-1j, 2, 1j)), 0), (CG(), Direct())),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name):
    matrix, expected = CHOICES[name]
    assert Auto().candidates(CSR.from_scipy(matrix)) == expected


def test_what_is_known_decides():
    plane = CSR.from_scipy(helmholtz(PLANE, 8))
    tagged = CSR(plane.pattern, None, plane.entries, tags=frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE}))
    assert Auto().select(tagged) == CG(RELAXED)
    small = CSR.from_scipy(laplacian(30))
    many = CSR(small.pattern, None, small.entries.repeat(8, 1))
    assert Auto().select(small) == Auto().select(many[:7]) == Direct()
    assert Auto().select(many) == CG(RELAXED)


@pytest.mark.parametrize("name", ["plane", "box", "box, not symmetric", "box, complex symmetric", "box, Hermitian"])
def test_choices_solve(name):
    A = CHOICES[name][0]
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    solution = solve(A, b)
    assert np.linalg.norm(b - A @ solution.x) <= 1e-8 * np.linalg.norm(b)
    assert int(solution.iterations) > 0


def test_negative_curvature_costs_no_answer():
    """A shift that leaves the diagonal and the sum of the entries positive: only CG finds out."""
    A = shifted(box(SYMMETRIC), -0.3)
    assert np.linalg.eigvalsh(A.toarray())[0] < 0
    assert Auto().candidates(CSR.from_scipy(A))[0] == CG(RELAXED)
    b = np.random.default_rng(0).standard_normal((2, BOX**3))
    solution = solve(A, b)
    assert np.abs(solution.x - np.linalg.solve(A.toarray(), b.T).T).max() < 1e-6 * np.abs(solution.x).max()
    assert solution.method.startswith("CG, IC(0)")
    assert "; then Direct, SuperLU for 2 of 2 systems" in solution.method


def test_gradients_after_a_fallback():
    free = _Product(torch.from_numpy(dense("symmetric")))
    b = torch.rand(40, dtype=torch.float64, requires_grad=True)
    solution = solve(free, b, rtol=1e-12)
    assert solution.method == "CG, no preconditioner; then MINRES, no preconditioner"
    assert torch.autograd.gradcheck(lambda b: solve(free, b, rtol=1e-13).x, (b,), fast_mode=True)


class _Product(LinearOperator):
    """A matrix known by its product alone."""

    def __init__(self, matrix, tags=frozenset({Tag.SYMMETRIC})):
        self.matrix, self._tags = matrix, tags

    shape = property(lambda self: tuple(self.matrix.shape))
    batch_shape = property(lambda self: ())
    dtype = property(lambda self: self.matrix.dtype)
    device = property(lambda self: self.matrix.device)
    tags = property(lambda self: self._tags)

    def matvec(self, x):
        return x @ self.matrix.mT


def test_products_alone():
    general = _Product(torch.from_numpy(dense("general")), frozenset())
    b = torch.rand(40, dtype=torch.float64)
    assert solve(general, b).method.startswith("GMRES")
    with pytest.raises(InputError, match=r"needs the entries.*GMRES\(\) elsewhere"):
        solve(general, b, Direct())
    definite = _Product(torch.from_numpy(dense("definite")), frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE}))
    assert Auto().candidates(definite) == (CG(),)
    assert solve(definite, b).converged


def test_width_of_patterns():
    # Oracle: the definition, for matrices whose best ordering is known.
    assert CSR.from_scipy(tridiagonal(-1, 2, -1, 50)).pattern.width == pytest.approx(49 / 50)
    assert CSR.from_scipy(scipy.sparse.eye_array(5, format="csr")).pattern.width == 0
    for size in (20, 40):
        shuffle = np.random.default_rng(0).permutation(size**2)
        width = CSR.from_scipy(laplacian(size)[shuffle][:, shuffle]).pattern.width
        assert 0.6 * size < width < 0.8 * size
    assert CSR.from_scipy(box(SYMMETRIC)).pattern.width > 0.5 * BOX**2 * 0.9
    gaps = scipy.sparse.coo_array(([1.0, 1.0], ([1, 3], [3, 1])), shape=(5, 5))
    assert CSR.from_scipy(gaps).pattern.width == pytest.approx(1 / 5)
