"""The hierarchy of lattices, and the extension of odd rings (oracle: dense elimination)."""

import itertools
import math

import numpy as np
import pytest
from kernels.networks import network, stencil

from pdekit.kernels.extension import extend_field, extend_network, open_small_rings, restrict_field
from pdekit.kernels.plan import DENSE_UNKNOWNS, periodic_extension, plan_levels


@pytest.mark.parametrize("grounded", list(itertools.product((False, True), repeat=2)))
def test_every_size_is_coarsened_to_a_small_lattice(grounded):
    for n, m in itertools.product(range(1, 70, 3), (1, 2, 7, 37, 421)):
        plan = plan_levels((n, m), (False, False), (grounded, (True, True)), ((n + 1) ** 2, (m + 1) ** 2))
        assert plan[0].shape == (n, m)
        assert math.prod(plan[-1].shape) <= DENSE_UNKNOWNS
        assert plan[-1].coarsest
        for fine, coarse in itertools.pairwise(plan):
            for k in range(2):
                halved = (fine.shape[k] - fine.offset[k] + 1) // 2
                assert coarse.shape[k] == (halved if fine.coarsened[k] else fine.shape[k])


def test_the_axis_that_conducts_better_is_coarsened_first():
    shapes = [level.shape for level in plan_levels((100, 37), (False,) * 2, ((True, True),) * 2, (7.3, 1.0))]
    assert shapes[1] == (50, 37)
    assert shapes[2] == (25, 18)


@pytest.mark.parametrize("n", [7, 9, 13, 31, 61, 97, 421])
def test_extended_rings_can_be_halved(n):
    extension = periodic_extension(n)
    length = extension.length
    assert n <= length <= 4 * n / 3
    while length % 2 == 0:
        length //= 2
    assert length <= 7
    assert all(periodic_extension(m) is None for m in (2, 4, 6, 8, 12, 40, 96, 448))


@pytest.mark.parametrize(("shape", "sides"), [((5, 3), ("pp", "gg")), ((5, 7), ("pp", "pp")), ((3, 2, 5), ("pp",) * 3)])
def test_eliminating_the_dummies_gives_the_ring_back(shape, sides):
    faces, sink, periodic = network(shape, sides, "s")
    original = stencil(faces, sink, periodic).to_scipy((0,)).toarray()
    faces, periodic = open_small_rings(faces, periodic)
    extensions = [periodic_extension(n) if p else None for n, p in zip(shape, periodic, strict=True)]
    faces, sink = extend_network(faces, sink, extensions)
    A = stencil(faces, sink, periodic)
    matrix = A.to_scipy((0,)).toarray()
    numbers = np.arange(matrix.shape[0]).reshape(A.lattice)
    real = restrict_field(numbers, extensions).ravel()
    dummy = np.setdiff1d(numbers.ravel(), real)
    dummy = dummy[matrix[dummy, dummy] > 0]  # crossings of two dummy lines are isolated
    kept, off = matrix[np.ix_(real, real)], matrix[np.ix_(real, dummy)]
    schur = kept - off @ np.linalg.solve(matrix[np.ix_(dummy, dummy)], off.T)
    np.testing.assert_allclose(schur, original, rtol=1e-12, atol=1e-12)
    # and interpolating a field makes the residual at the dummies vanish
    x = extend_field(np.random.default_rng(0).random((1, *shape)), extensions, interpolate=True).ravel()
    np.testing.assert_allclose((matrix @ x)[dummy], 0, atol=1e-12)
