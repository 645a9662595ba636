"""Matrices on unstructured meshes, assembled by scikit-fem, for tests of algebraic multigrid."""

from functools import lru_cache

import numpy as np
import scipy.sparse as sp
import skfem
import torch
from skfem.models.elasticity import lame_parameters, linear_elasticity

from pdekit.solvers import CSR
from pdekit.solvers.operators.csr import Points


@lru_cache
def _cells(refinements: int, dim: int):
    mesh = skfem.MeshTri.init_circle(refinements) if dim == 2 else skfem.MeshTet.init_ball(refinements)
    basis = skfem.CellBasis(mesh, skfem.ElementTriP1() if dim == 2 else skfem.ElementTetP1())
    constant = skfem.ElementTriP0() if dim == 2 else skfem.ElementTetP0()
    return mesh, basis, skfem.CellBasis(mesh, constant, quadrature=basis.quadrature)


@skfem.BilinearForm
def _stiffness(u, v, w):
    return w.k * sum(u.grad[i] * v.grad[i] for i in range(len(u.grad)))


def disk(refinements: int, coefficients: np.ndarray, *, dim: int = 2, dirichlet: bool = True) -> CSR:
    """Stiffness matrices of P1 on the disk (``dim=3``: the ball), ``coefficients (*batch, cells)``."""
    mesh, basis, cellwise = _cells(refinements, dim)
    kept = mesh.interior_nodes() if dirichlet else np.arange(mesh.nvertices)
    matrices = []
    for k in coefficients.reshape(-1, mesh.nelements):
        A = sp.csr_array(_stiffness.assemble(basis, k=cellwise.interpolate(k)))[kept][:, kept]
        A.sort_indices()
        matrices.append(A)
    first = CSR.from_scipy(matrices[0])
    entries = torch.from_numpy(np.stack([A.data for A in matrices])).reshape(*coefficients.shape[:-1], -1)
    return CSR(first.pattern, None, entries)


def anisotropic(refinements: int, ratio: float, angles: np.ndarray) -> CSR:
    """On the disk, with conductivity ``ratio`` across the direction of each angle and 1 along it."""
    _, basis, _ = _cells(refinements, 2)
    kept, matrices = basis.mesh.interior_nodes(), []
    plain = _stiffness.assemble(basis, k=1.0)
    for angle in angles:
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        tensor = np.outer(along, along) + ratio * np.outer(across, across)

        @skfem.BilinearForm
        def form(u, v, w, tensor=tensor):
            return sum(tensor[i, j] * u.grad[j] * v.grad[i] for i in range(2) for j in range(2))

        matrices.append(sp.csr_array(form.assemble(basis) + 1e-30 * plain)[kept][:, kept])
    first = CSR.from_scipy(matrices[0])
    return CSR(first.pattern, None, torch.from_numpy(np.stack([CSR.from_scipy(A).entries for A in matrices])))


def lognormal(refinements: int, variance: float, count: int, *, dim: int = 2, seed: int = 0) -> CSR:
    """A batch with independent log-normal coefficients in the cells."""
    cells = _cells(refinements, dim)[0].nelements
    noise = np.random.default_rng(seed).standard_normal((count, cells))
    return disk(refinements, np.exp(variance**0.5 * noise), dim=dim)


def two_materials(refinements: int, contrast: float, count: int, *, dim: int = 2, seed: int = 0) -> CSR:
    """A batch whose coefficient is 1 or ``contrast``, by the sign of a random smooth function."""
    mesh = _cells(refinements, dim)[0]
    centres = mesh.p[:, mesh.t].mean(axis=1)
    rng = np.random.default_rng(seed)
    waves, phases = rng.uniform(3, 12, (count, 8, dim)), rng.uniform(0, 2 * np.pi, (count, 8, 1))
    return disk(refinements, np.where(np.sin(waves @ centres + phases).sum(1) > 0, contrast, 1.0), dim=dim)


def elasticity(refinements: int) -> tuple[CSR, np.ndarray]:
    """A disk that is held below, with the places of its unknowns; and its rigid-body modes ``(n, 3)``."""
    mesh = skfem.MeshTri.init_circle(refinements)
    basis = skfem.CellBasis(mesh, skfem.ElementVector(skfem.ElementTriP1()))
    places, component = np.zeros((basis.N, 2)), np.zeros(basis.N, dtype=np.int64)
    for axis in range(2):
        places[basis.nodal_dofs[axis]] = mesh.p.T
        component[basis.nodal_dofs[axis]] = axis
    turn = np.where(component == 0, -places[:, 1], places[:, 0])
    modes = np.stack([component == 0, component == 1, turn], axis=1).astype(np.float64)
    kept = np.flatnonzero(places[:, 1] > -0.6)
    matrix = sp.csr_array(linear_elasticity(*lame_parameters(1.0, 0.3)).assemble(basis))[kept][:, kept]
    A = CSR.from_scipy(matrix)
    where = Points(torch.from_numpy(places[kept]), torch.from_numpy(component[kept]))
    return CSR(A.pattern, None, A.entries, geometry=where), modes[kept]
