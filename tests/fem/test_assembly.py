"""Matrices and vectors equal scikit-fem's own."""

import numpy as np
import pytest
import torch
from fem.oracle import PAIRS, Oracle, distorted
from skfem.helpers import ddot, div, dot, mul, sym_grad

from pdekit.fem import Space, Vector, assemble, cellwise, forms

rng = np.random.default_rng(0)


def close(ours, theirs):
    scale = abs(theirs).max()
    assert abs(ours - theirs).max() <= 1e-12 * max(scale, 1e-3)


@pytest.mark.parametrize(("kind", "element"), PAIRS, ids=str)
def test_forms_of_scalar_fields_equal_scikit_fem(kind, element):
    mesh = distorted(kind)
    space, d = Space(mesh, element), mesh.dim
    oracle = Oracle(space)
    k, c = rng.uniform(0.5, 2, (2, 3, mesh.n_cells))
    K, velocity = rng.normal(size=(3, mesh.n_cells, d, d)), rng.normal(size=(3, mesh.n_cells, d))
    batch = {
        "k": assemble(forms.diffusion, space, k=torch.from_numpy(k)),
        "K": assemble(forms.diffusion, space, k=cellwise(torch.from_numpy(K), rank=2)),
        "c": assemble(forms.mass, space, c=torch.from_numpy(c)),
        "r": assemble(forms.reaction, space, c=torch.from_numpy(c)),
        "v": assemble(forms.advection, space, velocity=cellwise(torch.from_numpy(velocity), rank=1)),
        "f": assemble(forms.load, space, f=torch.from_numpy(c)),
    }
    for i in range(3):
        at = {name: oracle.cellwise(values[i]) for name, values in (("k", k), ("K", K), ("c", c), ("v", velocity))}
        theirs = {
            "k": oracle.matrix(lambda u, v, w: w["a"] * dot(u.grad, v.grad), a=at["k"]),
            "K": oracle.matrix(lambda u, v, w: dot(mul(w["a"], u.grad), v.grad), a=at["K"]),
            "c": oracle.matrix(lambda u, v, w: w["a"] * u * v, a=at["c"]),
            "v": oracle.matrix(lambda u, v, w: dot(w["a"], u.grad) * v, a=at["v"]),
        }
        theirs["r"] = theirs["c"]
        for name, expected in theirs.items():
            close(batch[name].to_scipy((i,)).toarray(), expected)
        close(batch["f"][i].numpy(), oracle.vector(lambda v, w: w["a"] * v, a=at["c"]))
