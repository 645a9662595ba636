"""What the networks promise; oracles: dense matrices, a multigrid cycle of dense matrices."""

import itertools

import numpy as np
import pytest
import torch
from learned.directions.lattices import around_obstacles
from learned.directions.networks_to_test import randomised

from pdekit.core import InputError
from pdekit.learned.directions import ConvolutionNet, DirectionNet
from pdekit.learned.directions.geometry import Conductors, halved, spread
from pdekit.solvers import Stencil

each_dimension = pytest.mark.parametrize("shape", [(12, 9), (6, 5, 7)], ids=["2-D", "3-D"])


@each_dimension
def test_conductors_are_the_matrix(shape):
    A, _ = around_obstacles(shape, medium=True)
    found = Conductors.of(A)
    d = len(shape)
    for i in range(2):
        dense = A.to_scipy((i,)).toarray()
        dense /= dense.diagonal().max()
        fluid = abs(dense).sum(1) > dense.diagonal()
        couplings = found.couplings[i].sum(0).flatten().numpy()
        np.testing.assert_allclose(couplings, -np.tril(dense, -1).sum(1) - np.triu(dense, 1).sum(1), atol=1e-6)
        np.testing.assert_allclose(
            (couplings + found.ground[i].flatten().numpy())[fluid], dense.diagonal()[fluid], 1e-5
        )
        assert (found.share[i].flatten().numpy() == fluid).all()
    assert found.ground.shape == (2, *shape)
    assert found.couplings.shape == (2, 2 * d, *shape)


@pytest.mark.parametrize("lattice", [(8, 12), (7, 5), (6, 9, 11), (1, 8)])
def test_coarse_conductors_of_a_box_are_finite_volumes_of_its_cells(lattice):
    # Oracle: area of the common side over the distance of the centres; the centre of a cell of its own is its point.
    d = len(lattice)
    A = Stencil([torch.ones(*(n + (k == j) for j, n in enumerate(lattice))) for k in range(d)])
    scale, largest = Conductors.of(A), 2 * d
    centres = [np.arange(n) + 1.0 for n in lattice]
    widths = [np.ones(n) for n in lattice]
    ends = [n + 1.0 for n in lattice]
    while True:
        for k in range(d):
            area = np.ones(())
            for j in range(d):
                area = area[..., None] * (np.ones(len(widths[j])) if j == k else widths[j])
            distances = np.diff(centres[k]).reshape(-1, *(1,) * (d - 1 - k))
            expected = np.broadcast_to(area.take(range(len(centres[k]) - 1), k) / distances, scale.inner[k].shape)
            np.testing.assert_allclose(largest * scale.inner[k], expected, rtol=1e-5)
            if lattice[k] > 1:
                to_walls = np.array([centres[k][0], ends[k] - centres[k][-1]]).reshape(-1, *(1,) * (d - 1 - k))
                expected = np.broadcast_to(area.take([0, -1], k) / to_walls, scale.walls[k].shape)
                np.testing.assert_allclose(largest * scale.walls[k], expected, rtol=1e-5)
        assert (scale.share == 1).all()
        # Beyond a cell of its own the cells differ in size, which coarser ones do not know.
        if max(scale.share.shape) <= 2 or any(len(w) > 1 and w[-1] != w[0] for w in widths):
            break
        scale = scale.coarser()
        centres = [np.array([part.mean() for part in np.split(c, range(2, len(c), 2))]) for c in centres]
        widths = [np.array([part.sum() for part in np.split(w, range(2, len(w), 2))]) for w in widths]


def test_halving_and_spreading():
    field = torch.randn(2, 5, 4)
    summed = halved(field, [-2, -1])
    assert summed.shape == (2, 3, 2)
    torch.testing.assert_close(summed.sum((1, 2)), field.sum((1, 2)))
    back = spread(summed, (5, 4))
    # Oracle: each is the adjoint of the other.
    other = torch.randn(2, 3, 2)
    torch.testing.assert_close((summed * other).sum(), (field * spread(other, (5, 4))).sum())
    assert back[0, 4, 3] == summed[0, 2, 1]


def plain_cycle(scale):
    """The dense matrix of a multigrid cycle for the conductors of one matrix, by recursion."""
    lattice = scale.share.shape
    places = list(itertools.product(*map(range, lattice)))
    number = {place: i for i, place in enumerate(places)}
    couplings = scale.couplings.double()
    A = np.zeros((len(places),) * 2)
    for place in places:
        steps = [tuple(s * (j == k) for j in range(len(lattice))) for k in range(len(lattice)) for s in (-1, 1)]
        for tap, step in enumerate(steps):
            other = tuple(x + s for x, s in zip(place, step, strict=True))
            if other in number:
                A[number[place], number[other]] -= couplings[(tap, *place)]
        A[number[place], number[place]] += couplings[(slice(None), *place)].sum() + scale.ground[place]
    coupled = A.diagonal() > 0
    diagonal = np.where(coupled, A.diagonal(), 1.0)
    smoother = np.diag(0.8 * coupled / diagonal)
    inverse = smoother
    if max(lattice) > 2:
        coarse = scale.coarser()
        cells = list(itertools.product(*map(range, coarse.share.shape)))
        sums = np.zeros((len(cells), len(places)))
        for place in places:
            sums[cells.index(tuple(x // 2 for x in place)), number[place]] = 1
        linear = np.zeros_like(A)
        for place, other in itertools.product(places, places):
            distance = [abs(x - y) for x, y in zip(place, other, strict=True)]
            if max(distance) <= 1:
                linear[number[place], number[other]] = coupled[number[place]] * np.prod(
                    [0.5 / (1 + x) for x in distance]
                )
        left = np.eye(len(places)) - A @ inverse
        inverse = inverse + linear @ sums.T @ plain_cycle(coarse) @ sums @ left
    return inverse + smoother @ (np.eye(len(places)) - A @ inverse)


@each_dimension
def test_untrained_network_is_a_multigrid_cycle(shape):
    A, b = around_obstacles(shape, medium=True)
    network = DirectionNet(len(shape))
    found = network(b.float().reshape(2, *shape), network.geometry(A)).flatten(1).detach()
    for i in range(2):
        expected = plain_cycle(Conductors.of(A[i])) @ b[i].numpy()
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=2e-5 * abs(expected).max())


@each_dimension
@pytest.mark.parametrize("systems", [(), (2,), (3, 2)])
def test_kernels_are_the_torch_operations(shape, systems):
    A, _ = around_obstacles(shape, medium=True)
    network = randomised(DirectionNet(len(shape), levels=2))
    r = torch.randn(*systems, *shape)
    slow = network.geometry(A)
    with torch.no_grad():
        quick = network.geometry(A)
        assert quick.fused is not None
        assert slow.fused is None
        found, expected = network(r, quick), network(r, slow)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@each_dimension
def test_linear_in_the_residual_but_not_in_the_matrix(shape):
    A, _ = around_obstacles(shape)
    network = randomised(DirectionNet(len(shape), levels=2))
    geometry = network.geometry(A)
    x, y = torch.randn(2, 2, *shape)
    torch.testing.assert_close(
        network(2.0 * x - 3.0 * y, geometry),
        2.0 * network(x, geometry) - 3.0 * network(y, geometry),
        rtol=1e-3,
        atol=1e-4,
    )
    network = randomised(ConvolutionNet(len(shape), width=4))
    geometry = network.geometry(A)
    assert not torch.allclose(network(2.0 * x, geometry), 2.0 * network(x, geometry), rtol=1e-2)


@each_dimension
@pytest.mark.parametrize("kind", [DirectionNet, ConvolutionNet])
def test_points_that_are_coupled_to_nothing_keep_to_themselves(shape, kind):
    A, _ = around_obstacles(shape)
    network = randomised(kind(len(shape)))
    geometry, solid = network.geometry(A), Conductors.of(A).share == 0
    r = torch.randn(2, *shape)
    assert solid.any()
    assert torch.equal(network(r, geometry)[solid], r[solid])
    if kind is DirectionNet:  # the published one reads whatever is there
        fluid_only = network(torch.where(solid, 0.0, r), geometry)
        assert torch.equal(network(r, geometry)[~solid], fluid_only[~solid])


@pytest.mark.parametrize("kind", [DirectionNet, ConvolutionNet])
def test_residuals_and_matrices_broadcast(kind):
    A, _ = around_obstacles((8, 6), 3)
    network = randomised(kind(2))
    geometry = network.geometry(A)
    r = torch.randn(4, 3, 8, 6)
    many = network(r, geometry)
    for i in range(3):
        one = network.geometry(A[i])
        torch.testing.assert_close(network(r[:, i], one), many[:, i], rtol=1e-3, atol=1e-5 * float(many.abs().max()))
        torch.testing.assert_close(network(r[0, i], one), many[0, i], rtol=1e-3, atol=1e-5 * float(many.abs().max()))


def test_a_factor_of_the_matrix_does_not_matter():
    A, b = around_obstacles((8, 6), 2)
    network = randomised(DirectionNet(2))
    scaled = A.with_values([1e30 * values for values in A.values])
    r = b.float().reshape(2, 8, 6)
    torch.testing.assert_close(network(r, network.geometry(A)), network(r, network.geometry(scaled)))


def test_sizes():
    # Kernels of 9 taps: 3 at the finest scale, 4 at the others, from 7 channels by way of 8.
    assert sum(weight.numel() for weight in DirectionNet(2).parameters()) == 3 * (7 * 8 * 9 + 8) + 9 * (27 + 2 * 36)
    assert repr(DirectionNet(3, levels=4)) == "DirectionNet(dim=3, levels=4, hidden=8)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DirectionNet(4), "DirectionNet has dim=4; expected 2 or 3"),
        (lambda: DirectionNet(2, levels=1), "levels=1; expected 2 or more"),
        (lambda: ConvolutionNet(1), "ConvolutionNet has dim=1"),
        (lambda: ConvolutionNet(2, width=0), "width=0"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()
