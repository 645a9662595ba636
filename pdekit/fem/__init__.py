"""Finite elements: spaces, forms, batched assembly, elimination, norms.

Functions of place get coordinates first everywhere in this package: ``lambda x: x[1]`` is the second coordinate.
"""

from pdekit.fem import forms
from pdekit.fem.assembly import assemble
from pdekit.fem.boundary_space import BoundarySpace
from pdekit.fem.coefficients import Field, cellwise, nodal, uniform
from pdekit.fem.elements import P0, P1, P2, Q0, Q1, Q2, Element, Vector
from pdekit.fem.elimination import Eliminated, eliminate
from pdekit.fem.naturals import natural
from pdekit.fem.norms import error_h1, error_l2, norm_h1, norm_l2
from pdekit.fem.quantities import Function, Quantity, div, dot, inner, sym, trace
from pdekit.fem.space import Space

__all__ = [
    "P0", "P1", "P2", "Q0", "Q1", "Q2", "BoundarySpace", "Element", "Eliminated", "Field", "Function", "Quantity",
    "Space", "Vector", "assemble", "cellwise", "div", "dot", "eliminate", "error_h1", "error_l2", "forms", "inner",
    "natural", "nodal", "norm_h1", "norm_l2", "sym", "trace", "uniform",
]  # fmt: skip
