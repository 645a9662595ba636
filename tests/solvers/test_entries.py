"""Stencils written out in compressed rows."""

import numpy as np
import pytest
import torch

from pdekit.domain import Boundary, Grid
from pdekit.solvers import CSR, DenseMatrix, Tag, diffusion
from pdekit.solvers.operators.entries import written_out

SIDES = {
    "dirichlet": (Grid((5, 6)), ()),
    "mixed": (Grid((5, 4)), (Boundary("left", "neumann"), Boundary("top", "robin", 0.0, coefficient=2.0))),
    "one end": (Grid((6,)), (Boundary("right", "neumann"),)),
    "other end": (Grid((6,)), (Boundary("left", "neumann"),)),
    "periodic": (Grid((4, 5), closed=(True, False)), ()),
    "two points around": (Grid((4, 2), closed=(True, False)), ()),
    "no ground": (Grid((4, 3), closed=False), ()),
    "space": (Grid((4, 5, 3)), (Boundary("back", "neumann"),)),
}


@pytest.fixture(params=SIDES)
def system(request):
    grid, boundaries = SIDES[request.param]
    return grid, diffusion(grid, 0.5 + torch.rand(3, *grid.shape, dtype=torch.float64), 1.0, boundaries)


def test_entries_are_those_of_the_stencil(system):
    """Oracle: products with the columns of the identity, which never form an entry."""
    A = system[1].operator
    found, columns = written_out(A), torch.eye(A.shape[0], dtype=torch.float64)
    for i in range(3):
        expected = A[i].matvec(columns).numpy()
        np.testing.assert_allclose(
            found.to_scipy((i,)).toarray(), expected, rtol=0, atol=1e-12 * np.abs(expected).max()
        )
    assert found.tags == A.tags
    assert Tag.SYMMETRIC in found.tags
    assert (found.nullspace is None) == (A.nullspace is None)


def test_unknowns_lie_where_the_system_takes_fields(system):
    """Oracle: the system's own restriction of the coordinates."""
    grid, equations = system
    geometry = written_out(equations.operator).geometry
    expected = torch.stack([equations.reduce(coordinate) for coordinate in grid.points().unbind(-1)], -1)
    assert torch.equal(geometry.points, expected)
    assert not geometry.component.any()


def test_stencils_on_one_lattice_share_a_pattern():
    a, b = (written_out(diffusion(Grid((5, 6)), value, 1.0).operator) for value in (1.0, 3.0))
    assert a.pattern is b.pattern


def test_gradients_flow_to_the_values():
    """Oracle: central differences."""

    def quadratic(a):
        matrix = written_out(diffusion(Grid((4, 4)), a, 1.0).operator)
        return matrix.entries.square().sum()

    a = (0.5 + torch.rand(4, 4, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(quadratic, (a,))


def test_others_stay_as_they_are():
    A = written_out(diffusion(Grid((4, 4)), 1.0, 1.0).operator)
    assert isinstance(A, CSR)
    for operator in (A, DenseMatrix(torch.eye(2, dtype=torch.float64))):
        assert written_out(operator) is operator
