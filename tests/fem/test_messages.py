"""Forms and coefficients that cannot be assembled are explained."""

import pytest
import torch

from pdekit.core.errors import InputError
from pdekit.domain import Boundary, Interval, Rectangle
from pdekit.fem import (
    P0,
    P1,
    P2,
    Field,
    Space,
    Vector,
    assemble,
    cellwise,
    dot,
    eliminate,
    error_l2,
    forms,
    inner,
    natural,
    nodal,
    norm_l2,
    trace,
    uniform,
)

SPACE = Space(Rectangle(cells=(3, 2)).mesh(), P1())
CELLS, NODES = 12, 12
LINE = Space(Interval(5).mesh(), P1())
VECTOR = Space(Rectangle(cells=(3, 2)).mesh(), Vector(P1()))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda u, v, w: u.grad, "gives a vector at every point; expected a scalar: dot"),
        (lambda u, v, w: u.grad * v.grad, "gives a vector"),
        (lambda u, v, w: 1.0, "gives the number 1.0; expected products with u and v"),
        (lambda u, v, w: None, "gives a NoneType"),
        (lambda v, w: w.x[0], "does not depend on v"),
        (lambda u, v, w: v.value, "does not depend on u"),
        (lambda u, v, w: u.value, "does not depend on v"),
        (lambda u, v, w: u.value**2 * v.value, "is not linear in u; .* fem.Field"),
        (lambda u, v, w: (1 + u.value) * v.value, "is not linear in u"),
        (lambda v, w: torch.exp(v.value), "is not linear in v"),
        (lambda u, v, w: abs(u.value) * v.value, "is not linear in u"),
        (lambda u, v, w: torch.relu(u.value) * v.value, "is not linear in u"),
        (lambda u, v, w: torch.sqrt(dot(u.grad, u.grad)) * v.value, "is not linear in u"),
        (lambda u, v, w: u.value * abs(v.value), "is not linear in v"),
        (lambda v, w: torch.sqrt(dot(v.grad, v.grad)), "is not linear in v"),
        (lambda u, v, w: dot(u.value, v.grad), "dot of a scalar and a vector; .* Scalars are multiplied"),
        (lambda u, v, w: inner(u.value, v.grad), "inner of a scalar and a vector"),
        (lambda u, v, w: trace(u.grad) * v.value, "The trace of a vector; expected a matrix"),
        (lambda u, v, w: u.grad.T, "The transpose of a vector"),
        (lambda u, v, w: u.grad[2] * v.value, "Component 2 of a vector with 2"),
        (lambda u, v, w: u.value[0] * v.value, r"\[0\] of a scalar"),
        (lambda u, v, w: torch.sum(u.grad) * v.value, "torch.sum was called on values at quadrature points"),
        (lambda u, v, w: torch.ones(2, 3, 4) * u.value, r"A tensor of shape \(2, 3, 4\) inside a form"),
        (lambda u, v, w: u.value * v.value if u.value > 0 else v.value, "no single answer; expected torch.where"),
        (lambda u, v, w: dot("u", v.grad), "dot was given a str"),
        (lambda u, v, w: w.n[0] * u.value * v.value, r"asks for the normal w.n inside .*space.boundary"),
        (lambda u: u, r"takes \(u\); expected \(u, v, w\) for a matrix or \(v, w\)"),
        (lambda a, b, c, d: a, r"takes \(a, b, c, d\)"),
        ("diffusion", "form is 'diffusion'; expected a function"),
    ],
)
def test_forms(form, message):
    with pytest.raises(InputError, match=message):
        assemble(form, SPACE)


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        ({}, r"asks for the coefficient 'k'; expected assemble\(form, space, k=...\). None were given"),
        ({"K": 1.0}, "asks for the coefficient 'k'.*Known: K"),
        ({"k": 1.0, "kk": 2.0}, "does not use the coefficient 'kk'. Did you mean k"),
        ({"k": torch.ones(5)}, r"k has shape \(5,\); expected \(\*batch, 40\) by cells or \(\*batch, 30\) by nodes"),
        ({"k": torch.ones(40, 1)}, r"shape \(40, 1\)"),
        ({"k": cellwise(torch.ones(40), rank=1)}, r"fem.cellwise\(values, rank=1\) .* expected \(\*batch, 40, 2\)"),
        ({"k": nodal(torch.ones(40))}, r"fem.nodal\(values, rank=0\) .* expected \(\*batch, 30\)"),
        ({"k": uniform(torch.ones(3), rank=2)}, r"expected \(\*batch, 2, 2\)"),
        ({"k": torch.full((40,), float("nan"))}, r"The coefficient k\[0\] is nan"),
        ({"k": float("inf")}, "The coefficient k.* is inf"),
        ({"k": "one"}, "The coefficient k is a str; expected a number, a tensor, a Field or a function"),
        ({"k": lambda x: x[0] / 0}, r"The coefficient k, at the points,.* is (nan|-inf|inf)"),
        ({"k": lambda x: x}, r"The coefficient k answered with the shape \(2, "),
        ({"k": torch.ones(3, 40), "f": torch.ones(2, 40)}, "(does not use|batch|broadcast)"),
    ],
)
def test_coefficients(coefficients, message):
    with pytest.raises(InputError, match=message):
        assemble(forms.diffusion, Space(Rectangle(cells=(5, 4)).mesh(), P1()), **coefficients)


def test_shapes_with_two_meanings_are_asked_about():
    assert (SPACE.mesh.n_cells, SPACE.mesh.n_nodes) == (CELLS, NODES)
    with pytest.raises(InputError, match=r"more than one meaning .*fem.cellwise\(values, rank=0\) or fem.nodal"):
        assemble(forms.diffusion, SPACE, k=torch.ones(12))
    by_cells = assemble(forms.diffusion, SPACE, k=cellwise(torch.arange(1.0, 13)))
    by_nodes = assemble(forms.diffusion, SPACE, k=nodal(torch.arange(1.0, 13)))
    assert not torch.allclose(by_cells.entries, by_nodes.entries)


def test_a_function_of_another_space_needs_its_space():
    second = Space(LINE.mesh, P1())
    with pytest.raises(InputError, match=r"Field was given \(4,\); expected a tensor \(\*batch, 6\)"):
        Field(second, torch.ones(4))
    other = Space(Interval(6).mesh(), P1())
    with pytest.raises(InputError, match="is a Field on another mesh"):
        assemble(forms.mass, LINE, c=Field(other, torch.ones(7)))
    with pytest.raises(InputError, match=r"11 is the number of degrees of freedom: Field\(space, values\)"):
        assemble(forms.mass, Space(LINE.mesh, P2()), c=torch.ones(11))
    with pytest.raises(InputError, match=r"One number for each sample is fem.uniform"):
        assemble(forms.mass, LINE, c=torch.ones(3))


def test_scalars_where_vectors_are_due():
    with pytest.raises(InputError, match="inner of a scalar and a vector"):
        assemble(forms.load, VECTOR, f=1.0)
    with pytest.raises(InputError, match="dot of a scalar and a vector"):
        assemble(forms.advection, SPACE, velocity=1.0)


def test_other_arguments():
    with pytest.raises(InputError, match="space is a Mesh; expected a Space"):
        assemble(forms.mass, SPACE.mesh)
    with pytest.raises(InputError, match="no budget"):
        assemble(forms.mass, SPACE, memory="much")


def test_values_that_a_form_makes_infinite_are_found():
    with pytest.raises(InputError, match=r"The form <lambda>, assembled,\[\d+\] is (nan|-inf)"):
        assemble(lambda u, v, w: torch.log(w.c) * u.value * v.value, LINE, c=torch.zeros(5))


CONDITION = Boundary("left", "dirichlet", 0.0)
A, B = assemble(forms.diffusion, SPACE, k=1.0), assemble(forms.load, SPACE, f=1.0)
U = SPACE.interpolate(1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: eliminate(SPACE, A, B, CONDITION), r"boundaries is one Boundary; expected a list \[Boundary\("),
        (lambda: eliminate(SPACE, A, B, {"left": 0.0}), "boundaries is {'left': 0.0}; expected a list"),
        (lambda: eliminate(SPACE, A, B, ["left"]), "boundaries holds 'left'; expected a list"),
        (lambda: eliminate(SPACE, A, B, [CONDITION], components=[0]), r"components is \[0\]; expected numbers by"),
        (lambda: natural(SPACE.mesh, []), "space is a Mesh; expected a Space"),
        (lambda: natural(SPACE, Boundary("left", "neumann", 1.0)), r"one Boundary; .* 'neumann'"),
        (lambda: norm_l2(SPACE.mesh, U), "space is a Mesh; expected a Space"),
        (lambda: norm_l2(SPACE, 0.0), r"u has shape \(\)"),
        (lambda: norm_l2(SPACE, "u"), "u is a str"),
        (lambda: error_l2(SPACE, U, U), r"exact has shape \(12,\); .* norm_l2\(space, u - v\)"),
        (lambda: error_l2(SPACE, U, "x"), "answered with a str"),
        (lambda: Field(SPACE.mesh, U), "Field was given a Mesh; expected a Space"),
        (lambda: SPACE.evaluate(U, [0.5, 0.5]), r"points has shape \(2,\); expected \(points, 2\)"),
        (lambda: SPACE.evaluate(U, "here"), "points is a ndarray of type <U4"),
        (lambda: SPACE.at_nodes(U[:3]), r"u has shape \(3,\)"),
        (lambda: Space(SPACE.mesh, P0()).at_nodes(torch.ones(SPACE.mesh.n_cells)), "P0 has one value a cell"),
    ],
)
def test_arguments_of_another_kind(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


@pytest.mark.parametrize("element", [P0(), P1(), P2(), Vector(P1())])
def test_forms_of_functions_of_place_are_checked_too(element):
    """Those that are not kept, for their closure or a function among their coefficients, are tried all the same."""
    space, factor = Space(SPACE.mesh, element), 3.0
    with pytest.raises(InputError, match="is not linear in u"):
        assemble(lambda u, v, w: factor * inner(abs(u.value), v.value), space)
    with pytest.raises(InputError, match="is not linear in v"):
        assemble(lambda u, v, w: torch.sqrt(w.k) * inner(u.value, abs(v.value)), space, k=lambda x: 1 + x[0])
    A = assemble(lambda u, v, w: factor * torch.sqrt(w.k) * inner(u.value, v.value), space, k=lambda x: 1 + x[0])
    assert bool(torch.isfinite(A.entries).all())
