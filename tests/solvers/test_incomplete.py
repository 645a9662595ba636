"""Incomplete factorisations against dense algebra, SciPy's complete ones, and published iteration counts."""

import numpy as np
import pytest
import scipy.sparse as sp

from pdekit.solvers import CG, CSR, solve
from pdekit.solvers.preconditioners.ic0 import IC0


def laplacian(m: int) -> sp.csr_array:
    """The five-point Laplacian on m x m interior points, 4 on the diagonal."""
    line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m))
    one = sp.eye_array(m)
    return sp.csr_array(sp.kron(one, line) + sp.kron(line, one))


@pytest.mark.parametrize(("m", "counts"), [(32, (15, 24, 31)), (64, (25, 40, 58))])
def test_ic0_needs_the_iterations_of_the_reference(m, counts):
    """reference/solvers.md 8.4: b = 1, relative residual 1e-3, 1e-6, 1e-9."""
    A = CSR.from_scipy(laplacian(m))
    found = [int(solve(A, np.ones(m * m), CG(IC0()), rtol=rtol).iterations) for rtol in (1e-3, 1e-6, 1e-9)]
    assert np.abs(np.subtract(found, counts)).max() <= 1


def test_ic0_has_the_first_entries_of_the_reference():
    """reference/solvers.md 8.4."""
    L = IC0().setup(CSR.from_scipy(laplacian(5))).lower().toarray()
    np.testing.assert_allclose([L[0, 0], L[1, 0], L[1, 1]], [2, -0.5, 1.936492], rtol=1e-6)
