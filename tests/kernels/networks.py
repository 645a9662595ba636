"""Resistor networks on lattices for the tests of this folder."""

import numpy as np
import torch

from pdekit.domain import Grid
from pdekit.fields import GaussianField, LogNormal, Matern, Threshold
from pdekit.solvers import Stencil, diffusion

# two letters an axis, lower and upper side: g grounded, o open (Neumann), p periodic; s adds a sink (reaction)
NETWORKS = {
    "dirichlet": ((31, 24), ("gg", "gg"), ""),
    "neumann": ((24, 31), ("oo", "oo"), ""),
    "mixed": ((27, 26), ("go", "og"), ""),
    "periodic": ((24, 20), ("pp", "pp"), ""),
    "odd ring": ((13, 17), ("pp", "oo"), ""),
    "prime rings": ((13, 19), ("pp", "pp"), "s"),
    "sink": ((29, 22), ("oo", "oo"), "s"),
    "flat": ((3, 41), ("gg", "oo"), ""),
    "tiny": ((4, 3), ("gg", "og"), ""),
    "dirichlet 3-D": ((12, 15, 10), ("gg", "gg", "gg"), ""),
    "neumann 3-D": ((9, 12, 11), ("oo", "oo", "oo"), ""),
    "periodic 3-D": ((8, 6, 10), ("pp", "pp", "pp"), ""),
    "mixed 3-D": ((7, 12, 9), ("pp", "go", "og"), "s"),
}


def network(shape, sides, sink="", contrast=4.0, batch=1, seed=0):
    """Faces, sink and periodic flags; conductances are log-uniform over `contrast`, independent link by link."""
    rng = np.random.default_rng(seed)
    faces = []
    for k, side in enumerate(sides):
        face = contrast ** rng.random((batch, *(n + (j == k) for j, n in enumerate(shape))))
        along = np.moveaxis(face, 1 + k, 0)
        for end, letter in ((0, side[0]), (-1, side[1])):
            along[end] *= letter != "o"
        if side == "pp":
            along[-1] = along[0]
        faces.append(face)
    return faces, rng.random((batch, *shape)) if sink else None, tuple(side == "pp" for side in sides)


def stencil(faces, sink, periodic):
    """The same as an operator, whose SciPy matrix is the oracle."""
    return Stencil([torch.from_numpy(f) for f in faces], None if sink is None else torch.from_numpy(sink), periodic)


def right_hand_side(A, seed=0):
    """Random, without the part that a singular matrix cannot reach; (batch, *lattice)."""
    b = np.random.default_rng(seed).standard_normal((*A.batch_shape, *A.lattice))
    if A.nullspace is not None:
        b -= b.mean(axis=tuple(range(1, b.ndim)), keepdims=True)
    return b


COEFFICIENTS = {
    "contrast 4": Threshold(GaussianField(alpha=2, tau=3), low=3, high=12),
    "log-normal": LogNormal(Matern(length=0.1, smoothness=0.5, variance=4)),
    "contrast 1e4": Threshold(GaussianField(alpha=2, tau=3), low=1, high=1e4),
}


def darcy(kind, shape, batch=2):
    """Faces and right-hand side of Darcy problems with zero Dirichlet sides."""
    from pdekit.families import Darcy

    family = Darcy(Grid(shape), coefficient=COEFFICIENTS[kind])
    coefficient = family.draw(range(batch), seed=0)["coefficient"]
    system = diffusion(Grid(shape), coefficient, 1.0)
    A = system.operator
    return [f.numpy() for f in A.faces], A.periodic, system.rhs.reshape(batch, *A.lattice).numpy()
