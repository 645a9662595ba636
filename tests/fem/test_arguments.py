"""Arguments of wrong types and shapes, and functions of the user that fail, are explained."""

import numpy as np
import pytest
import torch

from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary, Rectangle
from pdekit.fem import P1, Field, Space, assemble, eliminate, error_l2, forms, natural, norm_l2

SPACE = Space(Rectangle(cells=3).mesh(), P1())
A, b = assemble(forms.diffusion, SPACE, k=1.0), assemble(forms.load, SPACE, f=1.0)
LEFT = [Boundary("left", "dirichlet", 0.0)]
CELLS = torch.ones(18, dtype=torch.float64)


def robin(coefficient):
    return lambda: natural(SPACE, [Boundary("left", "robin", 1.0, coefficient=coefficient)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (robin(-1.0), "coefficient of the boundary 'left' is negative"),
        (
            robin(lambda x: x[1] - 0.5),
            r"coefficient of the boundary 'left' is -0\.\d+ at \(0, 0\.\d+\), which is negative",
        ),
        (robin("y - 5"), r"coefficient of the boundary 'left' is -4\.\d+ at \(0, "),
        (robin(Expression("-1 - x")), r"is -1 at \(0, "),
        (robin({"a": 1}), "coefficient of the boundary 'left' is a dict; expected a number"),
        (robin(lambda x: x[7]), r"coefficient of the boundary 'left' failed with IndexError"),
        (lambda: natural(SPACE, [Boundary("left", "neumann", lambda x: x.gone)]), "failed with AttributeError: .*gone"),
        (lambda: assemble(forms.diffusion, SPACE, k=lambda x: x[7]), "The coefficient k failed with IndexError"),
        (lambda: assemble(lambda u, v, w: u.gard * v.value, SPACE), "form <lambda> failed with AttributeError: .*gard"),
        (lambda: assemble(lambda v, w: 1 / 0, SPACE), "form <lambda> failed with ZeroDivisionError"),
        (lambda: SPACE.interpolate(lambda x: x[7]), "The function to interpolate failed with IndexError"),
        (
            lambda: eliminate(SPACE, A, b, [Boundary("left", "dirichlet", lambda x: x[9])]),
            "The value of the boundary 'left' failed with IndexError",
        ),
        (
            lambda: assemble(
                lambda u, v, w: w.k * w.c * u.value * v.value, SPACE, k=CELLS.repeat(2, 1), c=CELLS.repeat(3, 1)
            ),
            r"The batches of the coefficients do not fit: k \(2,\), c \(3,\); expected shapes that broadcast",
        ),
        (
            lambda: assemble(lambda v, w: w.x * v.value, SPACE, x=3.0),
            "named 'x', which w.x has another",
        ),
        (lambda: assemble(lambda v, w: w.n * v.value, SPACE, n=3.0), "A coefficient is named 'n'"),
        (lambda: assemble(lambda v, w: w.get * v.value, SPACE, get=3.0), "A coefficient is named 'get'"),
        (lambda: assemble(forms.diffusion, SPACE, k=CELLS.to_sparse()), "k is a sparse tensor; expected a dense one"),
        (lambda: SPACE.boundary(["left"]), "no boundary"),
        (lambda: SPACE.dofs(["left"]), "no boundary"),
        (lambda: Field(None, None), "Field was given a NoneType"),
        (lambda: norm_l2(SPACE, "a"), "u is a str"),
        (lambda: norm_l2(None, torch.ones(16)), "space is a NoneType"),
        (lambda: error_l2(SPACE, torch.ones(16), lambda x: x[5]), "The exact solution failed with IndexError"),
        (lambda: eliminate(SPACE, A, b, None), "boundaries is None; expected a list"),
        (lambda: eliminate(SPACE, A, b, LEFT[0]), "boundaries is one Boundary; expected a list"),
        (
            lambda: eliminate(SPACE, A, b, LEFT, components={"left": 0}),
            r"components\['left'\] is 0; expected numbers",
        ),
        (lambda: eliminate(SPACE, A, b, LEFT, components=[0]), r"components is \[0\]; expected numbers by boundary"),
        (
            lambda: eliminate(SPACE, A, b.repeat(3, 1), [Boundary("left", "dirichlet", torch.ones(2, 4))]),
            r"batches do not fit each other: A \(\), b \(3,\), the values of the boundaries \(2,\)",
        ),
        (lambda: eliminate(SPACE, A, b, LEFT).restore(np.ones(12)), "restore was given a ndarray; expected a tensor"),
        (lambda: eliminate(SPACE, A, b, LEFT).restore(None), "restore was given a NoneType"),
        (lambda: eliminate(SPACE, A, b, LEFT).reduce(None), "reduce was given a NoneType"),
    ],
)
def test_messages(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_the_error_of_a_function_is_kept():
    with pytest.raises(InputError) as caught:
        assemble(forms.load, SPACE, f=lambda x: x[7])
    assert isinstance(caught.value.__cause__, IndexError)


def test_batches_without_samples_and_parts_without_facets():
    assert assemble(forms.diffusion, SPACE, k=torch.ones(0, 18)).entries.shape == (0, A.entries.shape[-1])
    nobody = assemble(lambda u, v, w: torch.exp(w.k) * u.value * v.value, SPACE, k=torch.ones(0, 18))
    assert nobody.entries.shape == (0, A.entries.shape[-1])
    assert assemble(forms.load, SPACE, f=torch.ones(0, 18)).shape == (0, 16)
    empty = Space(SPACE.mesh.with_names({"none": []}), P1()).boundary("none")
    found = assemble(forms.load, empty, f=torch.ones(5, 16))
    assert found.shape == (5, 16)
    assert not bool(found.any())
