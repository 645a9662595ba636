"""The recipes that start from Jacobi, for the tests of what they share."""

import torch
from learned.systems import randomised

from pdekit.learned.from_jacobi import FromJacobi
from pdekit.learned.graph_factor import GraphFactor, GraphFactorNetwork
from pdekit.learned.neural_if import NeuralIF, NeuralIFNetwork
from pdekit.learned.sparse_inverse import SparseInverse, SparseInverseNetwork

RECIPES = {
    "graph factor": lambda: GraphFactor(GraphFactorNetwork(width=8, steps=2)),
    "NeuralIF": lambda: NeuralIF(NeuralIFNetwork(blocks=2)),
    "sparse inverse": lambda: SparseInverse(SparseInverseNetwork(width=8, steps=2)),
    "sparse inverse in blocks": lambda: SparseInverse(SparseInverseNetwork(components=2, width=8, steps=2)),
}


def recipe_of(name: str, size: float | None = None, seed: int = 0) -> FromJacobi:
    """A recipe, with random weights of a size where one is given."""
    recipe = RECIPES[name]()
    if size is not None:
        randomised(recipe.network, size, seed)
    return recipe


def dense_inverse(recipe: FromJacobi, A) -> torch.Tensor:
    """``(nodes, nodes)``, the inverse with alpha = 1 of all matrices as the blocks of one."""
    graph = recipe.graph(A)
    eye = torch.eye(graph.nodes, dtype=torch.float64)
    with torch.no_grad():
        return recipe.inverse(graph, recipe.values(graph), eye)
