"""Families of matrices with few parameters, assembled by scikit-fem, for tests of reduced bases."""

from functools import lru_cache

import numpy as np
import scipy.sparse as sp
import skfem
import torch

from pdekit.solvers import CSR


@skfem.BilinearForm
def _stiffness(u, v, w):
    return w.k * (u.grad[0] * v.grad[0] + u.grad[1] * v.grad[1])


@skfem.BilinearForm
def _mass(u, v, w):
    return u * v


@skfem.LinearForm
def _load(v, w):
    return v


@lru_cache
def _square(cells: int):
    line = np.linspace(0, 1, cells + 1)
    mesh = skfem.MeshTri.init_tensor(line, line)
    return mesh, skfem.Basis(mesh, skfem.ElementTriP1())


def _of(parts: list[sp.csr_array], kept: np.ndarray) -> tuple[CSR, torch.Tensor]:
    """Matrices of the pattern that all parts share, and the entries of each part there."""
    pattern = sp.csr_array(sum(abs(part) for part in parts))[kept][:, kept]
    pattern.sort_indices()
    entries = []
    for part in parts:
        wide = sp.csr_array(sp.csr_array(part)[kept][:, kept] + 0 * pattern)
        wide = sp.csr_array((np.asarray(wide[pattern.nonzero()]).ravel(), pattern.indices, pattern.indptr))
        entries.append(wide.data)
    return CSR.from_scipy(pattern), torch.from_numpy(np.stack(entries))


@lru_cache
def _blocks(cells: int):
    mesh, basis = _square(cells)
    middle = mesh.p[:, mesh.t].mean(1)
    number = (middle[0] > 0.5) + 2 * (middle[1] > 0.5)
    values = skfem.CellBasis(mesh, skfem.ElementTriP0(), quadrature=basis.quadrature)
    parts = [_stiffness.assemble(basis, k=values.interpolate((number == q).astype(float))) for q in range(4)]
    kept = mesh.interior_nodes()
    one, entries = _of(parts, kept)
    return one.pattern, entries, torch.from_numpy(_load.assemble(basis)[kept])


def thermal_block(mu: torch.Tensor, cells: int = 20) -> tuple[CSR, torch.Tensor]:
    """-div(k grad u) = 1 on the unit square, u = 0 around, k constant on each of 2 x 2 blocks; P1.

    The demonstration of pyMOR, whose parameters ``mu (*batch, 4)`` run from 0.1 to 1.
    """
    pattern, parts, b = _blocks(cells)
    return CSR(pattern, None, mu @ parts), b


def parameters(count: int, seed: int) -> torch.Tensor:
    """Random ones of the thermal block."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 1, (count, 4)))


def bump(mu: torch.Tensor, cells: int = 16) -> tuple[CSR, torch.Tensor]:
    """-div(k grad u) = 1 with k = 0.2 + exp(-20 |x - mu|^2), ``mu (count, 2)`` inside the square: not affine in mu."""
    mesh, basis = _square(cells)
    kept, matrices = mesh.interior_nodes(), []
    for place in mu.numpy():

        def k(w, place=place):
            return 0.2 + np.exp(-20 * ((w.x[0] - place[0]) ** 2 + (w.x[1] - place[1]) ** 2))

        form = skfem.BilinearForm(lambda u, v, w, k=k: k(w) * (u.grad[0] * v.grad[0] + u.grad[1] * v.grad[1]))
        A = sp.csr_array(form.assemble(basis))[kept][:, kept]
        A.sort_indices()
        matrices.append(A)
    first = CSR.from_scipy(matrices[0])
    entries = torch.from_numpy(np.stack([A.data for A in matrices]))
    return CSR(first.pattern, None, entries), torch.from_numpy(_load.assemble(basis)[kept])


@lru_cache
def _waves(cells: int):
    mesh, basis = _square(cells)
    stiff, mass = _stiffness.assemble(basis, k=1.0), _mass.assemble(basis)
    edge = _mass.assemble(skfem.FacetBasis(mesh, skfem.ElementTriP1()))
    one, entries = _of([sp.csr_array(part) for part in (stiff, mass, edge)], np.arange(mesh.nvertices))
    return one.pattern, entries, mesh.p


def waves(k: torch.Tensor, cells: int = 16) -> tuple[CSR, torch.Tensor]:
    """-u'' - k^2 u with an impedance condition du/dn = i k u all around: complex, indefinite, affine in k and k^2.

    The right-hand side is a plane wave of wave number k along x, so that it depends on k, and not affinely.
    """
    pattern, (stiff, mass, edge), points = _waves(cells)
    entries = stiff + 0j - k[:, None] ** 2 * mass - 1j * k[:, None] * edge
    b = torch.exp(1j * k[:, None] * torch.from_numpy(points[0]))
    return CSR(pattern, None, entries), b
