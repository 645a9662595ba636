"""One entry point for linear systems: a SciPy matrix, then a batch of matrix-free stencils with gradients."""

import numpy as np
import scipy.sparse
import torch

import pdekit as pk

# A SciPy matrix and a NumPy vector: -u'' = 1 on 200 interior points of the unit interval.
n = 200
h = 1 / (n + 1)
A = scipy.sparse.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1]) / h**2
solution = pk.solve(A.tocsr(), np.ones(n), rtol=1e-10)
print(solution)
x = np.linspace(h, 1 - h, n)
assert np.allclose(np.asarray(solution.x), x * (1 - x) / 2, atol=1e-9)  # exact: the scheme is, for quadratics

# Four random diffusion operators on one lattice of 63 x 63 unknowns, as networks of resistors (conductance per face).
generator = torch.Generator().manual_seed(0)
faces = [
    1 + 9 * torch.rand(4, 64, 63, generator=generator, dtype=torch.float64),
    1 + 9 * torch.rand(4, 63, 64, generator=generator, dtype=torch.float64),
]
faces = [face.requires_grad_() for face in faces]
network = pk.Stencil(faces)
b = torch.ones(4, 63 * 63, dtype=torch.float64)
solution = pk.solve(network, b, pk.CG(pk.Multigrid()), rtol=1e-10)
print(solution)
residual = (b - network.matvec(solution.x)).norm(dim=-1) / b.norm(dim=-1)
assert residual.max() <= 1e-10
assert solution.iterations.max() <= 25

# Gradients come from the implicit function theorem: one more solve, whatever the method did inside.
solution.x.mean().backward()
assert all(face.grad.max() <= 1e-12 for face in faces)  # more conductance, lower potential everywhere
