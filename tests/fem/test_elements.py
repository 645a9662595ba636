"""Reference elements, and spaces of them."""

import numpy as np
import pytest
import torch
from fem.oracle import PAIRS, distorted

from pdekit.core.errors import InputError
from pdekit.domain import Box, Interval, Rectangle
from pdekit.domain.topology import KINDS
from pdekit.fem import P0, P1, P2, Q0, Q1, Q2, Space, Vector
from pdekit.fem.elements import reference


@pytest.mark.parametrize(("kind", "element"), PAIRS, ids=str)
def test_basis_functions_are_1_at_their_node_and_sum_to_1(kind, element):
    found = reference(element, kind)
    values, _ = found.tabulate(found.nodes)
    np.testing.assert_allclose(values, np.eye(len(found.nodes)), atol=1e-14)
    inside = np.random.default_rng(0).dirichlet(np.ones(KINDS[kind].dim + 1), 5)[:, 1:]
    values, gradients = found.tabulate(inside)
    np.testing.assert_allclose(values.sum(1), 1.0)
    np.testing.assert_allclose(gradients.sum(1), 0.0, atol=1e-13)


@pytest.mark.parametrize(("kind", "element"), PAIRS, ids=str)
def test_gradients_of_basis_functions_are_their_slopes(kind, element):
    found, step = reference(element, kind), 1e-6
    inside = np.random.default_rng(1).dirichlet(np.ones(KINDS[kind].dim + 1), 4)[:, 1:]
    _, gradients = found.tabulate(inside)
    for axis in range(KINDS[kind].dim):
        shift = step * np.eye(KINDS[kind].dim)[axis]
        slope = (found.tabulate(inside + shift)[0] - found.tabulate(inside - shift)[0]) / (2 * step)
        np.testing.assert_allclose(gradients[..., axis], slope, atol=1e-8)


@pytest.mark.parametrize(("kind", "element"), PAIRS, ids=str)
def test_degrees_of_freedom_are_shared_by_place(kind, element):
    space = Space(distorted(kind), element)
    corners = space.mesh.points[space.mesh.cells]
    geometry = reference(P1() if space.mesh.cell_kind.simplex else Q1(), kind).tabulate(space.reference.nodes)[0]
    placed = torch.einsum("qk,ckd->cqd", torch.from_numpy(geometry), corners)
    torch.testing.assert_close(space.dof_points[space.cell_dofs], placed)
    assert len(torch.unique(space.dof_points.round(decimals=9), dim=0)) == space.n_dofs
    assert torch.equal(torch.unique(space.cell_dofs), torch.arange(space.n_dofs))


def test_first_order_degrees_of_freedom_are_the_nodes():
    for mesh, element in ((Rectangle(3).mesh(), P1()), (Box(2, kind="hexahedron").mesh(), Q1())):
        space = Space(mesh, element)
        assert space.node_dofs is mesh.cells
        assert space.dof_points.data_ptr() == mesh.points.data_ptr() or torch.equal(space.dof_points, mesh.points)
    second = Space(Rectangle(3).mesh(), P2())
    assert torch.equal(second.dof_points[:16], second.mesh.points)
    constant = Space(Interval(5).mesh(), P0())
    assert torch.equal(constant.cell_dofs[:, 0], torch.arange(5))


def test_vector_degrees_of_freedom_are_interleaved():
    scalar, vector = (Space(Rectangle(2).mesh(), e) for e in (P2(), Vector(P2())))
    assert vector.n_dofs == 2 * scalar.n_dofs
    assert torch.equal(vector.cell_dofs[:, 0::2], 2 * scalar.cell_dofs)
    assert torch.equal(vector.cell_dofs[:, 1::2], 2 * scalar.cell_dofs + 1)
    assert torch.equal(vector.dofs("left")[::2], 2 * scalar.dofs("left"))
    u = vector.interpolate(lambda x: (x[0], -x[1]))
    assert torch.equal(u[0::2], scalar.dof_points[:, 0])
    assert torch.equal(u[1::2], -scalar.dof_points[:, 1])
    assert torch.equal(vector.interpolate((1.0, 2.0))[:4], torch.tensor([1.0, 2.0, 1.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize(("kind", "element"), [pair for pair in PAIRS if pair[1].degree], ids=str)
def test_boundary_degrees_of_freedom_are_those_on_the_side(kind, element):
    dim = KINDS[kind].dim
    shape = {1: lambda: Interval(3), 2: lambda: Rectangle(3, kind=kind), 3: lambda: Box(2, kind=kind)}[dim]()
    space = Space(shape.mesh(), element)
    for name, axis, value in (("left", 0, 0.0), ("right", 0, 1.0), ("top", 1, 1.0))[: 2 if dim == 1 else 3]:
        expected = torch.nonzero((space.dof_points[:, axis] - value).abs() < 1e-12)[:, 0]
        assert torch.equal(space.dofs(name), expected)
    edge = ((space.dof_points < 1e-12) | (space.dof_points > 1 - 1e-12)).any(1)
    assert torch.equal(space.dofs("all"), torch.nonzero(edge)[:, 0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: Space(m, Q1()), "Q1 does not exist on triangles; expected P1()"),
        (lambda m: Space(m, Vector(Q2())), "Q2 does not exist on triangles; expected P2()"),
        (lambda m: Space(Rectangle(2, kind="quad").mesh(), P1()), "expected Q1()"),
        (lambda m: Space(m, P1), r"the class P1; expected an object such as P1\(\)"),
        (lambda m: Space(m, "P1"), "expected P1()"),
        (lambda m: Space(None, P1()), "mesh is a NoneType; expected a Mesh"),
        (lambda m: Space(m, P1(), quadrature_order=-1), "expected a degree from 0 to 20"),
        (lambda m: Vector(Vector(P1())), "expected a scalar element"),
        (lambda m: Space(m, P1()).dofs("lft"), "no boundary 'lft'. Did you mean left"),
        (lambda m: Space(m, P1()).boundary("lft"), "no boundary 'lft'. Did you mean left"),
        (lambda m: Space(m, P0()).dofs("left"), "P0 has no degree of freedom on the boundary 'left'"),
        (lambda m: Space(m, P1()).interpolate(lambda x: x[:, :1]), r"expected \(9,\)"),
        (lambda m: Space(m, P1()).interpolate(lambda x: (x[0], x[1])), "values of rank 1; P1 needs one number"),
        (lambda m: Space(m, Vector(P1())).interpolate(lambda x: x[0]), "values of rank 0; .* needs dim components"),
        (lambda m: Space(m, P1()).interpolate(lambda x: "zero"), "answered with a str; expected numbers"),
    ],
)
def test_what_makes_no_space_is_explained(make, message):
    with pytest.raises(InputError, match=message):
        make(Rectangle(2).mesh())


def test_constants_exist_on_cells_of_any_kind_and_a_shape_stands_for_its_mesh():
    for element in (P0(), Q0()):
        assert Space(Rectangle(2), element).n_dofs == 8
        assert Space(Rectangle(2, kind="quad"), element).n_dofs == 4
    assert str(Space(Rectangle(2), P2())) == "Space(P2 on 8 triangles, 25 degrees of freedom)"


@pytest.mark.parametrize("kind", ["line", "triangle", "quad", "tetra", "hexahedron"])
def test_a_mesh_alone_has_elements_of_first_order(kind):
    shapes = {"line": Interval(3), "tetra": Box(1), "hexahedron": Box(1, kind="hexahedron")}
    mesh = (shapes.get(kind) or Rectangle(2, kind=kind)).mesh()
    assert Space(mesh).element == (Q1() if kind in ("quad", "hexahedron") else P1())


@pytest.mark.parametrize("element", [P1(), P2(), Vector(P2())], ids=str)
def test_values_at_the_nodes_are_those_that_a_mesh_writes(element, tmp_path):
    mesh = Rectangle(2).mesh()
    space = Space(mesh, element)
    values = (lambda x: (x[0], x[1] ** 2)) if space.rank else (lambda x: x[0] * x[1])
    u = space.interpolate(values)
    expected = torch.stack(values(mesh.points.T), -1) if space.rank else values(mesh.points.T)
    assert torch.equal(space.at_nodes(u), expected)
    assert torch.equal(space.at_nodes(torch.stack([u, 2 * u]).numpy()), torch.stack([expected, 2 * expected]))
    mesh.write(tmp_path / "u.vtu", {"u": space.at_nodes(u)})
    if element == P2():
        with pytest.raises(InputError, match=r"order 2 the first 9 values .* space.at_nodes\(u\)"):
            mesh.write(tmp_path / "u.vtu", {"u": u})
