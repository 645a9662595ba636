"""64 diffusion problems on one mesh at once: one pattern, one symbolic set-up, gradients through everything."""

import torch

import pdekit as pk
from pdekit import fem

mesh = pk.shapes.Disk(refinements=5).mesh()
space = fem.Space(mesh, fem.P1())

# Independent log-normal conductivities (variance 0.25), one a cell and sample: 64 matrices on one pattern.
generator = torch.Generator().manual_seed(0)
noise = torch.randn(64, mesh.n_cells, generator=generator, dtype=torch.float64)
coefficients = torch.exp(0.5 * noise).requires_grad_()
A = fem.assemble(fem.forms.diffusion, space, k=coefficients)
b = fem.assemble(fem.forms.load, space, f=1.0)
print(A)
A, b, restore = fem.eliminate(space, A, b, [pk.Boundary("boundary", "dirichlet", 0.0)])
solution = pk.solve(A, b, pk.CG(preconditioner=pk.AMG()), rtol=1e-8)
print(solution)
u = restore(solution.x)
assert u.shape == (64, mesh.n_nodes)
assert solution.residual.max() <= 1e-8

# With k = 1 it would be (1 - r^2) / 4; such a mixture conducts about like its geometric mean, which is 1.
exact = (1 - mesh.points.square().sum(dim=1)) / 4
distance = fem.norm_l2(space, u.detach().mean(dim=0) - exact) / fem.norm_l2(space, exact)
print(f"mean of the solutions: {float(distance):.1%} from (1 - r^2)/4")
assert distance < 0.05

# Which cells matter for the temperature at the centre? One backward pass: one more solve with the same preconditioner.
u[:, 0].sum().backward()
assert coefficients.grad is not None
assert coefficients.grad.sum(dim=1).max() < 0  # conducting better everywhere cools
