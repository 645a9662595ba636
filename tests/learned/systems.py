"""Matrices shared by the tests of learned preconditioners."""

import numpy as np
import torch
from solvers.sparse_problems import diffusion
from torch import nn

from pdekit.learned.graphs import MatrixGraph
from pdekit.solvers import CSR


def lognormal(size: int, count: int = 1, seed: int = 0, variance: float = 0.5) -> list[CSR]:
    """Set-up of reference/solvers.md 10: five-point diffusion over h^2, arithmetic faces, covariance exp(-(d/0.05)^2).

    The field is a sum of 1,000 random waves.
    """
    rng, axis, matrices = np.random.default_rng(seed), np.arange(size + 2) / (size + 1), []
    for _ in range(count):
        waves, phases = rng.standard_normal((2, 1000)) * np.sqrt(2) / 0.05, rng.uniform(0, 2 * np.pi, 1000)
        along = [np.exp(1j * axis[:, None] * wave) for wave in waves]
        field = ((along[0] * np.exp(1j * phases)) @ along[1].T).real * np.sqrt(2 / 1000)
        matrices.append(CSR.from_scipy(diffusion(np.exp(np.sqrt(variance) * field)) * (size + 1) ** 2))
    return matrices


def batched(matrices: list[CSR]) -> CSR:
    """Matrices of one pattern as a batch."""
    return CSR(matrices[0].pattern, None, torch.stack([A.entries for A in matrices]))


class Given(nn.Module):
    """Gives the corrections it was made with, whatever the graph; without weights."""

    def __init__(self, values: torch.Tensor):
        super().__init__()
        self.values = values

    def forward(self, graph: MatrixGraph) -> torch.Tensor:
        return self.values


def randomised(network: nn.Module, size: float = 0.3, seed: int = 0) -> nn.Module:
    """The network with random numbers for all its weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(size * torch.randn(weight.shape, generator=generator))
    return network
