"""Every operator keeps the promises of LinearOperator (pdekit.testing.check_operator)."""

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.diffusion_problems import EVERY_KIND, problem
from solvers.matrices import KINDS, convection, dense

from pdekit.core import InputError
from pdekit.solvers import CSR, DenseMatrix, Jacobi, Stencil, Tag
from pdekit.solvers.preconditioners.jacobi import Diagonal
from pdekit.testing import check_operator, check_preconditioner


def unsymmetric():
    return scipy.sparse.random_array((20, 20), density=0.3, rng=np.random.default_rng(0))


def batch(*matrices) -> CSR:
    """Sparse matrices of one pattern."""
    parts = [CSR.from_scipy(scipy.sparse.csr_array(matrix)) for matrix in matrices]
    return CSR(parts[0].pattern, None, torch.stack([part.entries for part in parts]))


def with_zero_mean(matrix: np.ndarray) -> CSR:
    """A matrix that maps the constants to 0, made from any."""
    n = len(matrix)
    project = np.eye(n) - 1 / n
    one = CSR.from_scipy(scipy.sparse.csr_array(project @ matrix @ project))
    ones = torch.full((n, 1), n**-0.5, dtype=torch.float64)
    return CSR(one.pattern, None, one.entries, nullspace=ones)


OPERATORS = {
    "dense": lambda: DenseMatrix(torch.rand(2, 3, 8, 8, dtype=torch.float64)),
    "dense symmetric": lambda: DenseMatrix(torch.eye(5, dtype=torch.float64) + 0.1),
    "sparse": lambda: CSR.from_scipy(unsymmetric()),
    "sparse symmetric": lambda: CSR.from_scipy(unsymmetric() + unsymmetric().T),
    **{f"sparse {kind}": lambda kind=kind: CSR.from_scipy(scipy.sparse.csr_array(dense(kind, 9))) for kind in KINDS},
    **{f"dense {kind}": lambda kind=kind: DenseMatrix(torch.from_numpy(dense(kind, 9))) for kind in KINDS},
    "sparse complex batch": lambda: batch(unsymmetric(), 1j * unsymmetric()),
    "sparse symmetric batch": lambda: batch(dense("symmetric", 7), dense("definite", 7)),
    "sparse with a null space": lambda: with_zero_mean(dense("definite", 12)),
    "sparse, complex symmetric with a null space": lambda: with_zero_mean(dense("complex symmetric", 12)),
    "diagonal, complex": lambda: Diagonal(torch.rand(4, 6, dtype=torch.complex128)),
    "diagonal": lambda: Diagonal(torch.rand(4, 6, dtype=torch.float64)),
    "stencil with one unknown": lambda: Stencil([torch.ones(2, 1).double(), torch.ones(1, 2).double()]),
    "stencil wrapped onto itself": lambda: Stencil(
        [torch.full((2, 4), 3.0).double(), torch.ones(1, 5).double()], periodic=(True, False)
    ),
    "stencil of two unknowns in a ring": lambda: Stencil([torch.ones(3).double()], periodic=(True,)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name):
    check_operator(OPERATORS[name]())


@pytest.mark.parametrize(("shape", "kinds"), EVERY_KIND)
def test_stencils(shape, kinds):
    check_operator(problem(shape, kinds).operator)
    check_operator(problem(shape, kinds, batch=()).operator)


@pytest.mark.parametrize(("shape", "kinds"), EVERY_KIND[::3])
def test_jacobi(shape, kinds):
    check_preconditioner(Jacobi(), problem(shape, kinds).operator)


@pytest.mark.parametrize("kind", ["definite", "hermitian definite", "complex", "general"])
def test_jacobi_of_matrices(kind):
    check_preconditioner(Jacobi(), batch(dense(kind, 12) + 0.0, dense(kind, 12, seed=1)))
    check_preconditioner(Jacobi(), CSR.from_scipy(convection(6) + (0.1j * scipy.sparse.eye_array(36)).tocsr()))


def test_symmetry_is_found_from_the_entries():
    assert Tag.SYMMETRIC not in OPERATORS["dense"]().tags
    assert Tag.SYMMETRIC in OPERATORS["dense symmetric"]().tags
    assert Tag.SYMMETRIC not in OPERATORS["sparse"]().tags
    assert Tag.SYMMETRIC in OPERATORS["sparse symmetric"]().tags


def test_stencil_shapes_that_do_not_fit():
    with pytest.raises(InputError, match=r"faces\[1\] has shape \(3, 3\); expected \(3, 4\)"):
        Stencil([torch.ones(4, 3), torch.ones(3, 3)])
    with pytest.raises(InputError, match=r"sink has shape \(4,\); expected \(3,\)"):
        Stencil([torch.ones(4)], torch.ones(4))
    with pytest.raises(InputError, match="names 2 axes"):
        Stencil([torch.ones(4)], periodic=(True, False))


def test_rows_of_a_batch():
    A = problem((9, 8), ("dd", "rn"), batch=(4,)).operator
    x = torch.rand(4, A.shape[0], dtype=torch.float64)
    assert torch.equal(A[1:3].matvec(x[1:3]), A.matvec(x)[1:3])
    assert A[2].batch_shape == ()
