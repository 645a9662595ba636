"""Graphs of matrices against SciPy's sparse triangles."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from solvers.mesh_problems import elasticity, lognormal
from solvers.sparse_problems import dense, laplacian, networks, nonsymmetric, tridiagonal

from pdekit.core.errors import InputError
from pdekit.learned import MatrixGraph
from pdekit.solvers import CSR, IC0, ICT, Jacobi, Stencil
from pdekit.solvers.operators.csr import Points
from pdekit.solvers.preconditioners.coarse_space import coarse_space


def lower(graph: MatrixGraph, values: torch.Tensor) -> np.ndarray:
    """The lower triangles of all matrices as the blocks of one."""
    places = graph.rows.numpy(), graph.cols.numpy()
    return sp.coo_array((values.numpy(), places), shape=(graph.nodes, graph.nodes)).toarray()


@pytest.mark.parametrize("start", [None, IC0(), ICT(1e-3), ICT(0.9)])
def test_edges_are_the_entries_of_the_lower_triangles(start):
    batch, other = networks(20, (2,)), CSR.from_scipy(laplacian(5))
    graph = MatrixGraph.of([batch, other], start)
    matrices = [*dense(batch), dense(other)]
    np.testing.assert_array_equal(lower(graph, graph.entries), np.tril(sp.block_diag(matrices).toarray()))
    assert graph.count == 3
    assert graph.owner.tolist() == [0] * 20 + [1] * 20 + [2] * 25
    assert graph.node_starts == [0, 20, 40, 65]
    assert (graph.cols <= graph.rows).all()
    keys = graph.rows * graph.nodes + graph.cols
    assert (keys.diff() > 0).all(), "by row, and by column within a row"
    assert torch.equal(graph.rows[graph.diagonal], torch.arange(65))
    assert torch.equal(graph.cols[graph.diagonal], torch.arange(65))
    owner = graph.owner[graph.rows]
    assert graph.edge_starts == [0, *(1 + int(torch.nonzero(owner == i).max()) for i in range(3))]
    if start is not None:
        factors = [start.setup(batch).lower(0), start.setup(batch).lower(1), start.setup(other).lower()]
        expected = sp.block_diag(factors).toarray()
        np.testing.assert_allclose(lower(graph, graph.start), expected, rtol=1e-14)


def test_graphs_of_several_batches_are_those_of_their_matrices_joined():
    A, B = networks(12, (2,)), CSR.from_scipy(laplacian(3))
    apart = [MatrixGraph.of(one, IC0()) for one in (A[0], A[1], B)]
    joined, at_once = MatrixGraph.join([MatrixGraph.join(apart[:2]), apart[2]]), MatrixGraph.of([A, B], IC0())
    for name in ("rows", "cols", "entries", "start", "diagonal", "owner"):
        assert torch.equal(getattr(joined, name), getattr(at_once, name)), name
    assert joined.count == at_once.count == 3


def test_geometry_goes_with_the_nodes():
    A, _ = elasticity(3)
    graph = MatrixGraph.of([A, A])
    assert torch.equal(graph.points, A.geometry.points.repeat(2, 1))
    assert torch.equal(graph.component, A.geometry.component.repeat(2))


def test_the_coarse_space_is_that_of_each_matrix():
    A, B = lognormal(4, 0.5, 2), CSR.from_scipy(laplacian(16))
    graph, x = MatrixGraph.of([A, B]), torch.randn(3, 2 * A.shape[0] + 256, dtype=torch.float64)
    parts = x.split(np.diff(graph.node_starts).tolist(), -1)
    expected = torch.cat([coarse_space(one).apply(r) for one, r in zip([A[0], A[1], B], parts, strict=True)], -1)
    torch.testing.assert_close(graph.coarse.apply(x), expected, rtol=0, atol=1e-12)


def test_torch_geometric_takes_it():
    A = CSR.from_scipy(tridiagonal(3))
    A.geometry = Points(torch.arange(3.0).double()[:, None], torch.zeros(3, dtype=torch.int64))
    data = MatrixGraph.of([A, A], IC0()).data()
    assert data.edge_index[:, :5].tolist() == [[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]]  # from j to i
    assert data.num_nodes == 6
    assert data.batch.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.pos.shape == (6, 1)
    assert data.validate()


def test_a_move_leaves_out_nothing():
    graph = MatrixGraph.of(elasticity(3)[0])
    moved = graph.to("meta")
    for name in ("rows", "cols", "entries", "diagonal", "owner", "points", "component"):
        assert getattr(moved, name).device.type == "meta", name
    assert moved.start is None
    assert moved.matrices == graph.matrices


def with_row(change) -> CSR:
    matrix = laplacian(3).toarray()
    change(matrix)
    return CSR.from_scipy(sp.csr_array(matrix))


def empty(matrix):
    matrix[4], matrix[:, 4] = 0, 0


def of_dimension(dim: int) -> CSR:
    A = CSR.from_scipy(tridiagonal(4))
    A.geometry = Points(torch.zeros(4, dim, dtype=torch.float64), torch.zeros(4, dtype=torch.int64))
    return A


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MatrixGraph.of([]), "no matrices"),
        (lambda: MatrixGraph.of(Stencil([torch.ones(4).double()])), "of a CSR"),
        (lambda: MatrixGraph.of(nonsymmetric()), "does not equal its transpose. Use ILU0"),
        (lambda: MatrixGraph.of(CSR.from_scipy(tridiagonal(4, 1j, 1j))), "is complex. Use ILU0"),
        (lambda: MatrixGraph.of(with_row(empty)), "Row 4 of .* is empty.*Leave out the unknowns"),
        (lambda: MatrixGraph.of(CSR.from_scipy(sp.csr_array([[1.0, 1.0], [1.0, 0.0]]))), "row 1 stores no diagonal"),
        (lambda: MatrixGraph.of(-networks(9)), "Row 0 has -.* on the diagonal; expected a positive number"),
        (lambda: MatrixGraph.of([of_dimension(2), of_dimension(3)]), "2 dimensions and graph 1 in 3"),
        (lambda: MatrixGraph.of([networks(9), of_dimension(3)]), "Graph 0 comes without geometry"),
        (lambda: replace(MatrixGraph.of(networks(9)), matrices=()).coarse, "knows no matrices.*MatrixGraph.of"),
        (lambda: MatrixGraph.of(networks(9), Jacobi()), "start=Jacobi.* gives no factor .*; expected IC0"),
        (lambda: MatrixGraph.of(networks(9), IC0(ordering="cuthill-mckee")), 'expected ordering="natural"'),
    ],
)
def test_what_makes_no_graph_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_bad_row_of_a_batch_is_named_with_its_matrix():
    A = networks(9, (2, 2))
    entries = A.entries.clone()
    entries[1, 0, A.pattern.diagonal[0][3]] = 0.0
    with pytest.raises(InputError, match=r"Row 3 of matrix \[1, 0\] has 0 on the diagonal"):
        MatrixGraph.of(CSR(A.pattern, None, entries))
