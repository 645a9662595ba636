"""How scikit-fem, PyAMG and TensorMesh do what `pdekit bench fem` does; every import is inside a function.

The work of a peer is a module-level function of one part, so that single-threaded processes can share a batch
(`timing.Processes`). What does not change between problems (mesh, basis, boundary dofs) is prepared once, before the
clock starts, on every side.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import scipy.sparse

from pdekit.bench.peers import SOLVERS
from pdekit.domain import Mesh

__all__ = ["Part", "Split", "assemble_all", "solve_all", "solve_assembled", "tensormesh_assembler"]


@dataclass(frozen=True, eq=False)
class Part:
    """A share of a batch of -div(k grad u) = 1, u = 0 on the boundary.

    Args:
        points: ``(nodes, dim)``.
        cells: ``(cells, dim + 1)``.
        coefficients: ``(problems, cells)``.
        rtol: of the true residual.
    """

    points: np.ndarray
    cells: np.ndarray
    coefficients: np.ndarray
    rtol: float


@dataclass(frozen=True)
class Split:
    """What a peer's process reports: seconds by stage, and for each problem residual and iterations."""

    assembly: float
    elimination: float
    solve: float
    residuals: tuple[float, ...]
    iterations: tuple[int, ...]


@lru_cache(maxsize=1)
def _prepared(part: Part) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """Basis, form, load and boundary dofs: what all problems of a part share."""
    import skfem

    helpers: Any = import_module("skfem.helpers")
    kind, element = (
        (skfem.MeshTri, skfem.ElementTriP1()) if part.points.shape[1] == 2 else (skfem.MeshTet, skfem.ElementTetP1())
    )
    mesh = kind(np.ascontiguousarray(part.points.T), np.ascontiguousarray(part.cells.T))
    # P1 gradients are constant: one point per cell integrates the stiffness matrix of cell coefficients exactly.
    basis = skfem.Basis(mesh, element, intorder=0)
    stiffness: Any = skfem.BilinearForm(lambda u, v, w: w["k"] * helpers.dot(helpers.grad(u), helpers.grad(v)))
    unit: Any = skfem.LinearForm(lambda v, w: v)
    load = unit.assemble(skfem.Basis(mesh, element, intorder=1))
    return basis, stiffness, load, basis.get_dofs().flatten()


def assemble_all(part: Part) -> int:
    """Assemble every stiffness matrix of the part with scikit-fem; the number of stored entries of the last."""
    basis, stiffness, _, _ = _prepared(part)
    entries = 0
    for k in part.coefficients:
        entries = stiffness.assemble(basis, k=k[:, None]).nnz
    return entries


def solve_all(part: Part) -> Split:
    """Assemble, condense and solve every problem of the part: scikit-fem, then PyAMG's Ruge-Stuben CG as in `peers`."""
    import skfem

    basis, stiffness, load, fixed = _prepared(part)
    seconds = [0.0, 0.0, 0.0]
    residuals, iterations = [], []
    for k in part.coefficients:
        start = time.perf_counter()
        matrix = stiffness.assemble(basis, k=k[:, None])
        assembled = time.perf_counter()
        system: Any = skfem.condense(matrix, load, D=fixed)
        inner, rhs, x, free = system
        condensed = time.perf_counter()
        x[free], steps = SOLVERS["pyamg"](inner.tocsr(), rhs, part.rtol)
        done = time.perf_counter()
        for stage, took in enumerate((assembled - start, condensed - assembled, done - condensed)):
            seconds[stage] += took
        residuals.append(float(np.linalg.norm(rhs - inner @ x[free]) / np.linalg.norm(rhs)))
        iterations.append(steps)
    return Split(seconds[0], seconds[1], seconds[2], tuple(residuals), tuple(iterations))


def solve_assembled(part: tuple[str, list[tuple[scipy.sparse.csr_array, np.ndarray]], float]) -> Split:
    """Solve systems that pdekit assembled and eliminated, with one of the solvers of `peers`."""
    name, systems, rtol = part
    residuals, iterations = [], []
    start = time.perf_counter()
    for matrix, rhs in systems:
        x, steps = SOLVERS[name](matrix, rhs, rtol)
        residuals.append(float(np.linalg.norm(rhs - matrix @ x) / np.linalg.norm(rhs)))
        iterations.append(steps)
    return Split(0.0, 0.0, time.perf_counter() - start, tuple(residuals), tuple(iterations))


def tensormesh_assembler(mesh: Mesh) -> Callable[[Any], Any]:
    """TensorMesh's assembler of the stiffness matrix of one coefficient per triangle, on all cores by torch."""
    import meshio
    import torch

    package = import_module("tensormesh")

    class Stiffness(package.ElementAssembler):
        def forward(self, gradu, gradv, k):
            return k * (gradu @ gradv)

    points, cells = mesh.points.numpy(), mesh.cells.numpy()
    theirs = package.Mesh(meshio.Mesh(points, [("triangle", cells)]))
    assembler = Stiffness.from_mesh(theirs, quadrature_order=1)

    def assemble(k: torch.Tensor) -> Any:
        return assembler(theirs.points, element_data={"k": k})

    return assemble
