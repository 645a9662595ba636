"""A plate of four materials, solved once and for all: 40 solves, then answers from four numbers, each certified."""

import torch

import pdekit as pk
from pdekit import fem
from pdekit.solvers import MatrixInterpolation, ReducedGuess, ReducedModel, pod

# -div(k grad u) = 1 on the unit square, u = 0 around, k between 0.1 and 1, constant on each quarter ("thermal block").
mesh = pk.shapes.Rectangle(cells=40).mesh()
space = fem.Space(mesh, fem.P1())
middles = mesh.points[mesh.cells].mean(dim=1)
quarter = (middles[:, 0] > 0.5).long() + 2 * (middles[:, 1] > 0.5).long()
load = fem.assemble(fem.forms.load, space, f=1.0)
generator = torch.Generator().manual_seed(0)


def plates(count):
    """Matrices for random conductivities, and the right-hand side; any other program could have assembled them."""
    k = 0.1 + 0.9 * torch.rand(count, 4, generator=generator, dtype=torch.float64)
    A = fem.assemble(fem.forms.diffusion, space, k=fem.cellwise(k[:, quarter]))
    A, b, _ = fem.eliminate(space, A, load, [pk.Boundary("all", "dirichlet", 0.0)])
    return A, b


# Once: solve a training set, find which entries tell the matrices apart and which directions the solutions span.
A, b = plates(40)
matrices = MatrixInterpolation(A)
print(matrices)
assert len(matrices) == 4  # it found the four materials by itself
model = ReducedModel(matrices, b, pod(pk.solve(A, b, pk.Direct(), rtol=1e-12).x).basis, affine=True)
print(model)

# Then, for each new plate: four entries of its matrix, and small dense algebra.
A, b = plates(1000)
found = model.reduced(matrices.pick(A))
print(found)
true = (b - A.matvec(found.x)).norm(dim=-1) / b.norm()
assert found.certified
assert (found.residual >= true).all()  # the bound holds ..
assert found.residual.max() < 1e-8  # .. and is worth having

# A full solver takes over where the model is not good enough; here it starts from its answer.
coarse = ReducedModel(matrices, b, model.basis[:11], affine=True)
solution = coarse.solve(A[:50], b, rtol=1e-2)
print(solution.method)
assert solution.converged.all()

# Nothing at hand but a sequence of systems: earlier solutions as first guesses for later ones.
plain, guessed = pk.solve(A, b, pk.CG(pk.IC0())), pk.solve(A, b, ReducedGuess(pk.CG(pk.IC0())))
print("iterations", int(plain.iterations.sum()), "and with first guesses", int(guessed.iterations.sum()))
assert guessed.iterations.sum() < 0.4 * plain.iterations.sum()
