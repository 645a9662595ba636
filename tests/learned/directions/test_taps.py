"""Sums over neighbours with weights at every point; oracles: loops over points, finite differences."""

import itertools

import pytest
import torch

from pdekit.learned.directions.taps import box, cross, gather


@pytest.mark.parametrize("offsets", [box(2), cross(2), box(3), cross(3)], ids=["3x3", "5", "3x3x3", "7"])
@pytest.mark.parametrize(("of_field", "of_weights"), [((), ()), ((2,), ()), ((), (2,)), ((3, 2), (2,)), ((2,), (2,))])
def test_against_a_loop_over_points(offsets, of_field, of_weights):
    lattice = (4, 3, 2)[: len(offsets[0])]
    field = torch.randn(*of_field, *lattice)
    weights = torch.randn(*of_weights, len(offsets), *lattice)
    found = gather(field, weights, offsets)
    expected = torch.zeros(*torch.broadcast_shapes(of_field, of_weights), *lattice)
    for place in itertools.product(*map(range, lattice)):
        for tap, offset in enumerate(offsets):
            other = tuple(x + step for x, step in zip(place, offset, strict=True))
            if all(0 <= x < n for x, n in zip(other, lattice, strict=True)):
                expected[(..., *place)] += weights[(..., tap, *place)] * field[(..., *other)]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("of_field", "of_weights"), [((), ()), ((2,), ()), ((3, 2), (2,)), ((), (2,))])
def test_gradients_against_finite_differences(of_field, of_weights):
    field = torch.randn(*of_field, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(*of_weights, 9, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: gather(x, w, box(2)), (field, weights))
