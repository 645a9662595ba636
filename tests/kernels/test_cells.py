"""Patterns of cells and products with one sparse matrix, against SciPy."""

import numpy as np
import pytest
import scipy.sparse

from pdekit.kernels.sparse.pattern import cell_pattern, find_places, group
from pdekit.kernels.sparse.routing import route, take

rng = np.random.default_rng(0)


def cells(count, k, n):
    return np.stack([rng.choice(n, k, replace=False) for _ in range(count)]).astype(np.int32)


@pytest.mark.parametrize(("count", "k", "n"), [(40, 3, 30), (7, 27, 90), (3, 81, 300), (1, 1, 1)])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_pattern_of_cells_is_that_of_the_sum_of_their_blocks(count, k, n, threads):
    dofs = cells(count, k, n)
    rows, columns = np.repeat(dofs, k, axis=1).ravel(), np.tile(dofs, (1, k)).ravel()
    values = rng.normal(size=(count, k, k))
    matrix = scipy.sparse.coo_array((values.ravel(), (rows, columns)), shape=(n, n)).tocsr()
    matrix.sort_indices()
    indptr, indices = cell_pattern(dofs, n, threads)
    np.testing.assert_array_equal(indptr, matrix.indptr)
    np.testing.assert_array_equal(indices, matrix.indices)
    places = find_places(indptr, indices, dofs, threads)
    np.testing.assert_array_equal(indices[places], np.broadcast_to(dofs[:, None, :], places.shape))
    starts, order = group(places.reshape(-1), len(indices))
    summed = route(starts, order, np.empty(0), values.reshape(1, -1), threads)[0]
    np.testing.assert_allclose(summed, matrix.data, rtol=1e-13, atol=1e-14)


def test_groups_are_stable():
    keys = rng.integers(0, 5, 100).astype(np.int32)
    starts, order = group(keys, 6)
    np.testing.assert_array_equal(order, np.argsort(keys, kind="stable"))
    np.testing.assert_array_equal(starts, np.searchsorted(np.sort(keys), np.arange(7)))


@pytest.mark.parametrize("vectors", [1, 3, 4, 9])
@pytest.mark.parametrize("threads", [1, 2])
def test_products_equal_scipy_and_do_not_depend_on_their_neighbours(vectors, threads):
    matrix = scipy.sparse.random_array((3000, 500), density=0.3, format="csr", rng=rng)
    x = rng.normal(size=(vectors, 500))
    starts, columns = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    out = route(starts, columns, matrix.data, x, threads)
    np.testing.assert_allclose(out, (matrix @ x.T).T, rtol=1e-12, atol=1e-12)
    alone = [route(starts, columns, matrix.data, row[None], 1)[0] for row in x]
    assert np.array_equal(out, np.stack(alone))
    np.testing.assert_array_equal(take(columns[:50], x, threads), x[:, columns[:50]])
    assert route(starts, columns, matrix.data, x[:0], threads).shape == (0, 3000)
