"""The methods that Auto(learn=True) chooses from, and what they are expected to cost."""

import time

import scipy.sparse
import torch
from solvers.matrices import convection, laplacian

from pdekit.domain import Grid
from pdekit.solvers import CG, CSR, IC0, Auto, Direct, Jacobi, diffusion, solve
from pdekit.solvers.learning.arms import arms_for, name_of
from pdekit.solvers.learning.prediction import least_seconds, limited, product_seconds


def test_arms_in_the_order_of_the_table():
    plane = CSR.from_scipy(laplacian(116))
    names = [name_of(arm) for arm in arms_for(plane, Auto().candidates(plane), False, [CG(Jacobi())])]
    assert names[-2:] == ["Direct()", "CG(Jacobi())"]
    assert len(set(names)) == len(names)
    assert "CG(AMG(kept=KeptTransfers()))" in names
    assert "CG(IC0())" in names
    assert name_of(arms_for(plane, Auto().candidates(plane), True, [])[0]).startswith("Direct(KeptFactor(")
    flow = CSR.from_scipy(convection(116))
    assert name_of(arms_for(flow, Auto().candidates(flow), False, [])[0]) == "Direct()"


def test_predictions_are_low():
    """Oracle: the clock of the machine, which no prediction may exceed by far."""
    for A, method in ((laplacian(160), Direct()), (laplacian(160), CG(IC0()))):
        A = CSR.from_scipy(A)
        b = torch.ones(A.shape[0], dtype=torch.float64)
        solve(A, b, method)
        began = time.perf_counter()
        solve(A, b, method)
        took = time.perf_counter() - began
        product = min(product_seconds(A) for _ in range(10))  # others may be using the machine
        assert least_seconds(method, A, product) < 2 * took


def test_wide_matrices_are_known_to_cost_much():
    box = CSR.from_scipy(_box(20))
    assert least_seconds(Direct(), box, 1.0) > 10 * least_seconds(CG(), box, 1.0)
    stencil = diffusion(Grid((130, 130)), coefficient=1.0 + torch.rand(130, 130), source=1.0).operator
    assert least_seconds(Direct(), stencil, 1.0) >= 100


def _box(size):
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(size, size))
    one = scipy.sparse.eye_array(size)
    kron = scipy.sparse.kron
    return kron(kron(line, one), one) + kron(kron(one, line), one) + kron(kron(one, one), line)


def test_limited_methods():
    assert limited(CG(max_iterations=5), 9) == CG(max_iterations=5)
    assert limited(Direct(), 3) is None
