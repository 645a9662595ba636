"""A plain training loop, for tests that train."""

from typing import TypeVar

import torch

from pdekit.learned.base import LearnedPreconditioner
from pdekit.learned.graphs import MatrixGraph
from pdekit.learned.losses import PreconditionerLoss
from pdekit.solvers import CSR, Direct, solve

Recipe = TypeVar("Recipe", bound=LearnedPreconditioner)


def trained(
    recipe: Recipe, matrices: list[CSR], loss: PreconditionerLoss, steps: int, *, rate: float = 5e-3, batch: int = 8
) -> Recipe:
    """The recipe after so many steps of Adam, on solutions with three right-hand sides N(0, I) a matrix."""
    graphs = [recipe.graph(A) for A in matrices]
    right = [torch.randn(3, A.shape[0], dtype=torch.float64) for A in matrices]
    solutions = [solve(A, b, Direct()).x for A, b in zip(matrices, right, strict=True)]
    optimizer = torch.optim.Adam(recipe.network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randperm(len(matrices))[:batch].tolist()
        graph = MatrixGraph.join([graphs[k] for k in chosen])
        x, b = (torch.cat([vectors[k] for k in chosen], -1) for vectors in (solutions, right))
        optimizer.zero_grad()
        loss(recipe, graph, x, b).backward()
        torch.nn.utils.clip_grad_norm_(recipe.network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return recipe
