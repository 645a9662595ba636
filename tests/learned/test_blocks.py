"""Block graphs against dense matrices."""

import numpy as np
import pytest
import torch
from solvers.mesh_problems import elasticity
from solvers.sparse_problems import dense, networks

from pdekit.learned.blocks import BlockGraph
from pdekit.learned.graphs import MatrixGraph
from pdekit.solvers import CSR
from pdekit.solvers.operators.csr import Points


def assembled(blocks: BlockGraph, values: torch.Tensor) -> np.ndarray:
    """The dense matrix in the order of nodes and their components, with empty places for what was eliminated."""
    d = blocks.components
    matrix = np.zeros((blocks.nodes, d, blocks.nodes, d))
    for (source, target), block in zip(blocks.edge_index.T.tolist(), values.numpy(), strict=True):
        assert not matrix[target, :, source].any(), "a block comes once"
        matrix[target, :, source] = block.reshape(d, d)
    return matrix.reshape(blocks.nodes * d, -1)


def ragged() -> CSR:
    """Elasticity with one component of some points eliminated."""
    A, _ = elasticity(1)
    kept = np.delete(np.arange(A.shape[0]), [3, 6, 9])
    one = CSR.from_scipy(A.to_scipy()[kept][:, kept])
    one.geometry = A.geometry[torch.from_numpy(kept)]
    return one


@pytest.mark.parametrize("make", [lambda: elasticity(1)[0], ragged])
def test_blocks_are_the_matrix(make):
    A = make()
    graph = MatrixGraph.of([A, A])
    blocks = BlockGraph.of(graph, 2)
    places = (blocks.node * 2 + blocks.slot).numpy()
    whole = assembled(blocks, blocks.scatter(graph.entries))
    expected = np.kron(np.eye(2), dense(A))
    np.testing.assert_allclose(whole[np.ix_(places, places)], expected, atol=1e-14)
    whole[np.ix_(places, places)] = 0
    assert not whole.any(), "nothing lies at the places of what was eliminated"
    assert blocks.nodes == 2 * len(torch.unique(A.geometry.points, dim=0))
    back = blocks.gather(blocks.scatter(graph.entries))
    assert torch.equal(back[:, 0], graph.entries)
    assert torch.equal(back[:, 1], graph.entries)
    x = torch.randn(graph.nodes)
    assert torch.equal(blocks.by_component(x).flatten()[places], x)
    assert torch.count_nonzero(blocks.by_component(x)) == graph.nodes


def test_gathered_are_the_entries_of_both_triangles():
    """From blocks of which each entry tells its place."""
    A, _ = elasticity(1)
    graph = MatrixGraph.of(A)
    blocks = BlockGraph.of(graph, 2)
    places = (blocks.node * 2 + blocks.slot).numpy()
    names = torch.arange(blocks.edge_index.shape[1] * 4, dtype=torch.float64).reshape(-1, 4) + 1
    named = assembled(blocks, names)
    found = blocks.gather(names)
    rows, cols = places[graph.rows], places[graph.cols]
    np.testing.assert_array_equal(found[:, 0], named[rows, cols])
    np.testing.assert_array_equal(found[:, 1], named[cols, rows])


def test_scalar_fields_have_their_entries_as_blocks():
    A = networks(batch=(2,))
    graph = MatrixGraph.of(A)
    blocks = BlockGraph.of(graph, 1)
    whole = assembled(blocks, blocks.scatter(graph.entries))
    np.testing.assert_array_equal(whole[:30, :30], dense(A)[0])
    np.testing.assert_array_equal(whole[30:, 30:], dense(A)[1])
    names = torch.arange(blocks.edge_index.shape[1], dtype=torch.float64).reshape(-1, 1) + 1
    named, found = assembled(blocks, names), blocks.gather(names)
    np.testing.assert_array_equal(found[:, 0], named[graph.rows, graph.cols])
    np.testing.assert_array_equal(found[:, 1], named[graph.cols, graph.rows])


def test_fields_by_component_have_nodes_of_their_own():
    """All first components before all second ones: no two unknowns follow each other at a point, and none is lost."""
    A, _ = elasticity(1)
    order = torch.argsort(A.geometry.component, stable=True)
    other = CSR.from_scipy(A.to_scipy()[order.numpy()][:, order.numpy()])
    other.geometry = Points(*(part[order] for part in (A.geometry.points, A.geometry.component)))
    blocks = BlockGraph.of(MatrixGraph.of(other), 2)
    assert blocks.nodes == A.shape[0]
    whole = assembled(blocks, blocks.scatter(MatrixGraph.of(other).entries))
    places = (blocks.node * 2 + blocks.slot).numpy()
    np.testing.assert_allclose(whole[np.ix_(places, places)], dense(other), atol=1e-14)
