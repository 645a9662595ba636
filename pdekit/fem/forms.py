"""Weak forms: plain functions of trial function u, test function v and everything else w.

A form says what is integrated. One of ``(u, v, w)`` gives a matrix, one of ``(v, w)`` a vector. ``u.value`` and
``u.grad`` are scalars, vectors or matrices at every quadrature point; ``w.x`` is the point (``w.x[0]`` its first
coordinate), ``w.n`` the outward normal on a boundary, ``w.k`` the coefficient that ``assemble`` was given as ``k``.

Example:
    >>> from pdekit.domain import Interval
    >>> from pdekit.fem import P1, Space, assemble
    >>> def screened(u, v, w):
    ...     return dot(u.grad, v.grad) + w.c * u.value * v.value
    >>> A = assemble(screened, Space(Interval(cells=2).mesh(), P1()), c=3.0)
    >>> A.to_scipy().toarray()
    array([[ 2.5 , -1.75,  0.  ],
           [-1.75,  5.  , -1.75],
           [ 0.  , -1.75,  2.5 ]])
"""

from pdekit.fem.quantities import Function, Quantity, dot, inner, sym, trace
from pdekit.fem.surroundings import Surroundings

__all__ = ["advection", "diffusion", "elasticity", "load", "mass", "reaction"]


def diffusion(u: Function, v: Function, w: Surroundings) -> Quantity:
    """``k grad u . grad v``, the weak form of ``-div(k grad u)``; k a scalar or a matrix."""
    k = w.k
    return k * dot(u.grad, v.grad) if k.rank == 0 else dot(dot(k, u.grad), v.grad)


def mass(u: Function, v: Function, w: Surroundings) -> Quantity:
    """``c u v``, the inner product of functions with weight c (1 if not given); also on boundaries, and of vectors."""
    return w.get("c", 1.0) * inner(u.value, v.value)


def reaction(u: Function, v: Function, w: Surroundings) -> Quantity:
    """``c u v``, the weak form of ``c u``; c has to be given."""
    return w.c * inner(u.value, v.value)


def advection(u: Function, v: Function, w: Surroundings) -> Quantity:
    """``(velocity . grad u) v``, the weak form of ``velocity . grad u``."""
    return dot(w.velocity, u.grad) * v.value


def elasticity(u: Function, v: Function, w: Surroundings) -> Quantity:
    """``lam div u div v + 2 mu sym(grad u) : sym(grad v)``: linear elasticity with Lamé's parameters."""
    return w.lam * trace(u.grad) * trace(v.grad) + 2 * w.mu * inner(sym(u.grad), sym(v.grad))


def load(v: Function, w: Surroundings) -> Quantity:
    """``f v``: a source, or a traction on a boundary; f a vector for vector fields."""
    return inner(w.f, v.value)
