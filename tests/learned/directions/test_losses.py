"""The losses of directions; oracle: dense algebra in float64."""

import numpy as np
import pytest
import torch
from learned.directions.lattices import around_obstacles

from pdekit.core import InputError
from pdekit.learned.directions import ConvolutionNet, DeepDirections, DirectionNet, EnergyNorm, ResidualNorm
from pdekit.solvers import Stencil, solve
from pdekit.testing import check_device


def replayed(network, A, error, steps, memory, norm):
    """What the losses should be for one matrix, with dense matrices and directions kept in full."""
    dense, kept, left = A.to_scipy().toarray(), [], []
    geometry = network.geometry(A)
    for _ in range(steps):
        r = dense @ error
        unit = torch.from_numpy(r / np.linalg.norm(r) * len(r) ** 0.5).float()
        p = network(unit.reshape(A.lattice), geometry).detach().flatten().double().numpy()
        for direction in kept:
            p = p - direction * (direction @ dense @ p) / (direction @ dense @ direction)
        kept = [*kept, p][-memory:]
        after = error - p * (p @ r) / (p @ dense @ p)
        size = (lambda e: np.sqrt(e @ dense @ e)) if norm == "energy" else (lambda e: np.linalg.norm(dense @ e))
        left.append(size(after) / size(error))
        error = after
    return np.mean(left)


@pytest.mark.parametrize("norm", ["energy", "residual"])
@pytest.mark.parametrize("memory", [1, 2])
def test_against_dense_algebra(norm, memory):
    A, _ = around_obstacles((9, 8), 3, medium=True)
    error = torch.randn(3, 72, dtype=torch.float64)
    network = DirectionNet(2)
    loss = {"energy": EnergyNorm, "residual": ResidualNorm}[norm](steps=4, memory=memory)
    expected = np.mean([replayed(network, A[i], error[i].numpy(), 4, memory, norm) for i in range(3)])
    assert float(loss(network, A, error)) == pytest.approx(expected, rel=1e-3)
    half = A.with_values([values.float() for values in A.values])
    assert float(loss(network, half, error.float())) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("loss", [EnergyNorm(steps=3), ResidualNorm(steps=2)])
def test_neither_scale_of_errors_nor_of_matrices_matters(loss):
    A, _ = around_obstacles((9, 8), 2)
    A = A.with_values([values.float() for values in A.values])
    error, network = torch.randn(2, 72), DirectionNet(2)
    value = float(loss(network, A, error))
    assert float(loss(network, A, 1e10 * error)) == pytest.approx(value, rel=1e-3)
    smaller = A.with_values([1e-10 * values for values in A.values])
    assert float(loss(network, smaller, error)) == pytest.approx(value, rel=1e-3)


def test_gradient_against_finite_differences():
    A, _ = around_obstacles((5, 4), 1)
    error, network = torch.randn(1, 20, dtype=torch.float64), DirectionNet(2, levels=2, hidden=2)
    loss = EnergyNorm(steps=1)
    loss(network, A, error).backward()
    weight = network.makers[0][2].bias
    step = 1e-2
    for index in (4, 13):
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                weight[index] += sign * step
                values.append(float(loss(network, A, error)))
                weight[index] -= sign * step
        assert float(weight.grad[index]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.02, abs=1e-4)


def test_a_few_steps_of_training_save_iterations():
    torch.manual_seed(0)
    A, b = around_obstacles((16, 16), 16)
    network = DirectionNet(2, levels=3)
    before = solve(A, b, DeepDirections(network), rtol=1e-6).iterations
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    matrices, errors = A.with_values([values.float() for values in A.values]), solve(A, b, rtol=1e-6).x.float()
    for _ in range(25):
        optimizer.zero_grad()
        EnergyNorm(steps=3)(network, matrices, errors).backward()
        optimizer.step()
    B, c = around_obstacles((16, 16), 16, seed=1)
    unseen = solve(B, c, DeepDirections(network), rtol=1e-6).iterations
    assert unseen.double().mean() <= 0.8 * before.double().mean()


def whole_step(device):
    for kind, loss in ((DirectionNet, EnergyNorm()), (ConvolutionNet, ResidualNorm())):
        with device:
            network = kind(2)
            optimizer = torch.optim.Adam(network.parameters())
            A = Stencil([torch.ones(2, 9, 8, device=device), torch.ones(2, 8, 9, device=device)])
        optimizer.zero_grad()
        loss(network, A, torch.randn(2, 64, device=device)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def test_a_training_step_on_an_accelerator():
    check_device(whole_step)


@pytest.mark.parametrize("kind", [EnergyNorm, ResidualNorm])
@pytest.mark.parametrize("name", ["steps", "memory"])
def test_refusals(kind, name):
    with pytest.raises(InputError, match=f"{kind.__name__}.*{name}"):
        kind(**{name: 0})
