"""Obstacles: conformance, the matrix against one written down node by node, cut-off fluid, bad input."""

import itertools

import numpy as np
import pytest
import torch

from pdekit.core import InputError
from pdekit.domain import Boundary, Grid
from pdekit.families import Darcy, Obstacles
from pdekit.fields import Constant, GaussianField, Inclusions, LogNormal, Threshold
from pdekit.solvers import AMG, CG, CSR, IC0, Direct, solve
from pdekit.testing import check_family

PERMEABILITY = LogNormal(GaussianField(alpha=2, tau=3))
MIXED = (
    Boundary("left", "neumann", 0.1),
    Boundary("right", "dirichlet", 0.5),
    Boundary("top", "robin", 2.0, coefficient=1.0),
)
FAMILIES = {
    "2-D": lambda: Obstacles(Grid((17, 14))),
    "3-D": lambda: Obstacles(Grid((9, 8, 7)), Inclusions(size=(0.1, 0.3))),
    "a random medium and source": lambda: Obstacles(
        Grid((17, 14)), coefficient=PERMEABILITY, source=GaussianField(alpha=2, tau=3), mean="arithmetic"
    ),
    "every kind of side": lambda: Obstacles(Grid((17, 14)), coefficient=PERMEABILITY, boundaries=MIXED),
    "a porous medium": lambda: Obstacles(Grid((17, 14)), Threshold(GaussianField(alpha=2, tau=12), 0, 1, level=-0.5)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_conformance(name):
    check_family(FAMILIES[name]())


def written_down(fluid, a, grid):
    """The matrix and the reached nodes, node by node: u = 0 on the sides, harmonic means, no flux into solids."""
    inner = [range(1, n - 1) for n in grid.shape]
    number = {node: i for i, node in enumerate(itertools.product(*inner))}
    weights = [1 / h**2 for h in grid.spacing]

    def neighbours(node):
        for k, weight in enumerate(weights):
            for step in (-1, 1):
                yield tuple(x + step * (j == k) for j, x in enumerate(node)), weight

    reached = {node for node in number if fluid[node] and any(other not in number for other, _ in neighbours(node))}
    edge = list(reached)
    while edge:
        for other, _ in neighbours(edge.pop()):
            if other in number and fluid[other] and other not in reached:
                reached.add(other)
                edge.append(other)
    A = np.zeros((len(number), len(number)))
    for node, row in number.items():
        if node not in reached:
            A[row, row] = 2 * sum(weights)
            continue
        for other, weight in neighbours(node):
            if other in reached or other not in number:
                flux = weight * 2 * a[node] * a[other] / (a[node] + a[other])
                A[row, row] += flux
                if other in number:
                    A[row, number[other]] -= flux
    return A, np.array([node in reached for node in number])


@pytest.mark.parametrize("shape", [(12, 9), (7, 6, 8)])
def test_matrix_and_solution_against_those_written_down(shape):
    grid = Grid(shape, tuple((0.0, 1.0 + k) for k in range(len(shape))))
    family = Obstacles(grid, Inclusions((3, 6), (0.1, 0.3)), PERMEABILITY, source=GaussianField(alpha=2, tau=3))
    inputs = family.draw(range(3), seed=2)
    system = family.system(inputs)
    solved = family.solve(inputs, rtol=1e-12)["solution"]
    for i in range(3):
        A, reached = written_down(inputs["fluid"][i].numpy() >= 0.5, inputs["coefficient"][i].numpy(), grid)
        assert 0 < reached.sum() < len(reached)
        np.testing.assert_allclose(system.operator.to_scipy((i,)).toarray(), A, rtol=1e-12, atol=1e-12)
        f = inputs["source"][(i, *[slice(1, -1)] * grid.dim)].numpy().ravel() * reached
        expected = np.linalg.solve(A, f)
        found = solved[(i, *[slice(1, -1)] * grid.dim)].numpy().ravel()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * abs(expected).max())


def test_without_obstacles_it_is_darcy():
    darcy = Darcy(Grid((13, 10)), PERMEABILITY, boundaries=MIXED)
    inputs = darcy.draw(range(2), seed=0)
    family = Obstacles(Grid((13, 10)), Constant(1.0), PERMEABILITY, boundaries=MIXED)
    own = family.inputs_from(torch.ones(13, 10), inputs["coefficient"])
    expected = darcy.solve(inputs, rtol=1e-12)["solution"]
    assert torch.allclose(family.solve(own, rtol=1e-12)["solution"], expected, rtol=0, atol=1e-10)


def test_fluid_that_is_cut_off_stays_at_rest():
    fluid = torch.ones(21, 21)
    fluid[6:15, 6:15] = 0
    fluid[8:13, 8:13] = 1
    family = Obstacles(Grid((21, 21)))
    samples = family.solve(family.inputs_from(fluid), rtol=1e-10)
    assert (samples["solution"][0, 6:15, 6:15] == 0).all()
    assert (samples["solution"][0, 1:6, 1:-1] > 0).all()
    assert family.residual(samples["solution"], samples.inputs).interior.abs().max() < 1e-8


def test_nothing_but_solid():
    family = Obstacles(Grid((9, 9)))
    assert (family.solve(family.inputs_from(torch.zeros(9, 9)), rtol=1e-8)["solution"] == 0).all()


@pytest.mark.parametrize("method", [CG(), CG(IC0()), CG(AMG()), Direct()], ids=str)
def test_other_methods_solve_it_as_a_sparse_matrix(method):
    family = FAMILIES["every kind of side"]()
    inputs = family.draw(range(2), seed=0)
    system = family.system(inputs)
    expected = family.solve(inputs, rtol=1e-11)["solution"]
    for i in range(2):
        A = CSR.from_scipy(system.operator.to_scipy((i,)))
        found = system.restore(solve(A, system.rhs[i], method, rtol=1e-10).x)
        assert torch.allclose(found, expected[i], rtol=0, atol=1e-7 * float(expected.abs().max()))


def test_the_system_is_differentiable_with_respect_to_the_coefficient():
    family = Obstacles(Grid((7, 6)), Inclusions((1, 1), (0.2, 0.3)), PERMEABILITY)
    inputs = family.draw([0], seed=0)

    def energy(a):
        system = family.system(family.inputs_from(inputs["fluid"], a))
        return (solve(system.operator, system.rhs, rtol=1e-12).x * system.rhs).sum()

    assert torch.autograd.gradcheck(energy, inputs["coefficient"].requires_grad_(), eps=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Obstacles(Grid((9, 9), closed=(True, False))), "expected a Grid with closed axes"),
        (lambda: Obstacles(Grid((9, 9)), fluid=1.0), "expected a random field such as Inclusions"),
        (lambda: Obstacles(Grid((9, 9)), coefficient="1"), "The coefficient of Obstacles is a str"),
        (lambda: Obstacles(Grid((9, 9)), coefficient=-1.0), "expected a positive number"),
        (lambda: Obstacles(Grid((9, 9)), boundaries=[Boundary("all", "neumann")]), "nothing fixes u"),
        (lambda: Obstacles(Grid((9, 9))).inputs_from(torch.ones(9, 9), source=torch.ones(9, 9)), "Given were.*fluid"),
        (lambda: Obstacles(Grid((9, 9))).inputs_from(torch.ones(8, 9)), "fluid has shape"),
        (lambda: Inclusions(count=(3, 1)), r"count is \(3, 1\); expected two numbers"),
        (lambda: Inclusions(size=(-0.1, 1)), "size is"),
        (lambda: Inclusions(bodies="ball"), "Did you mean balls"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_inclusions_are_boxes_and_balls_of_the_sizes_asked_for():
    from pdekit.core.random import Keys

    grid, keys = Grid((200, 200)), Keys(0, "train", range(40)).named("fluid")
    for bodies, share in (("boxes", 4.0), ("balls", np.pi)):
        field = Inclusions((1, 1), (0.1, 0.1), inside=2.0, outside=3.0, bodies=bodies)
        areas = (field.sample(keys, grid) == 2.0).double().mean((1, 2))
        # Oracle: the area of a square, of a disk; bodies that reach over the boundary are smaller.
        assert float(areas.max()) == pytest.approx(share * 0.01, rel=0.05)
        assert bool((areas > 0).all())
    assert bool((Inclusions((0, 0)).sample(keys, grid) == 1).all())
