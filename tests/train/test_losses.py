"""Losses against integrals known by hand."""

import torch

from pdekit.domain import Grid
from pdekit.train.losses import RelativeL2


def weights(*shape, **settings):
    return Grid(shape, **settings).quadrature().float()


def test_relative_l2_is_the_mean_over_samples_and_channels():
    """Oracle: constant fields, whose relative errors are known."""
    truth = torch.tensor([[1.0, 2.0], [4.0, 5.0]]).view(2, 1, 1, 2).expand(2, 5, 7, 2)
    errors = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).view(2, 1, 1, 2)
    loss = RelativeL2()(truth * (1 + errors), truth, weights(5, 7))
    assert torch.isclose(loss, torch.tensor(0.25))


def test_the_ends_of_closed_axes_count_half():
    """Oracle: the trapezoid rule by hand: sqrt(0.125 / 0.5)."""
    truth = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1)
    prediction = torch.tensor([0.5, 1.0, 0.5]).view(1, 3, 1)
    loss = RelativeL2()(prediction, truth, weights(3))
    assert torch.isclose(loss, torch.tensor(0.5))


def test_neither_units_nor_box_matter():
    prediction, truth = torch.randn(3, 6, 6, 1), torch.randn(3, 6, 6, 1)
    loss = RelativeL2()(prediction, truth, weights(6, 6))
    scaled = RelativeL2()(1e6 * prediction, 1e6 * truth, weights(6, 6, box=((0, 3), (0, 7))))
    assert torch.isclose(loss, scaled)


def test_an_exact_prediction_has_a_gradient_of_zero():
    truth = torch.randn(2, 5, 1)
    prediction = truth.clone().requires_grad_()
    loss = RelativeL2()(prediction, truth, weights(5))
    loss.backward()
    assert loss == 0
    assert torch.equal(prediction.grad, torch.zeros_like(truth))


def test_a_truth_of_zero_met_exactly_costs_nothing():
    zero = torch.zeros(1, 5, 1)
    assert RelativeL2()(zero, zero, weights(5)) == 0
    assert RelativeL2()(zero + 1, zero, weights(5)) > 1e30
