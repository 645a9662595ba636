"""Boundary conditions: which side gets which."""

import pytest

from pdekit.core import InputError
from pdekit.domain import Boundary, Grid, resolve_boundaries


def kinds(grid, *boundaries):
    return {side: boundary.kind for side, boundary in resolve_boundaries(grid, boundaries).items()}


def test_defaults_and_all():
    assert kinds(Grid((3, 3))) == dict.fromkeys(("left", "right", "bottom", "top"), "dirichlet")
    mixed = Grid((3, 4, 3), closed=(True, False, True))
    assert kinds(mixed, Boundary("all", "neumann"), Boundary("back", "dirichlet", 1.0)) == {
        "left": "neumann",
        "right": "neumann",
        "bottom": "periodic",
        "top": "periodic",
        "back": "dirichlet",
        "front": "neumann",
    }


def test_each_side_keeps_its_value():
    resolved = resolve_boundaries(Grid((3,)), [Boundary("all", "robin", 2.0, coefficient=3.0)])
    assert resolved["right"] == Boundary("right", "robin", 2.0, 3.0)


def test_refusals():
    with pytest.raises(InputError, match="has no side 'top'"):
        kinds(Grid((3,)), Boundary("top", "neumann"))
    with pytest.raises(InputError, match=r"no side 'lfet'\. Did you mean left"):
        kinds(Grid((3,)), Boundary("lfet", "neumann"))
    with pytest.raises(InputError, match="'left' is given twice"):
        kinds(Grid((3,)), Boundary("left", "neumann"), Boundary("left", "dirichlet"))
    with pytest.raises(InputError, match=r"needs an open \(closed=False\) axis x"):
        kinds(Grid((3,)), Boundary("left", "periodic"))
    with pytest.raises(InputError, match="needs a closed axis x"):
        kinds(Grid((3,), closed=False), Boundary("left", "dirichlet"))
    with pytest.raises(InputError, match="has no coefficient"):
        Boundary("left", "robin")
    with pytest.raises(InputError, match="only robin takes one"):
        Boundary("left", "neumann", coefficient=1.0)
