"""scikit-fem's own assembly on our meshes, with our numbering of degrees of freedom."""

import numpy as np
import skfem
import torch
from scipy.spatial import cKDTree

from pdekit.domain import Box, Interval, Mesh, Rectangle
from pdekit.fem import P0, P1, P2, Q0, Q1, Q2, Space, Vector

MESHES = {"line": skfem.MeshLine1, "triangle": skfem.MeshTri1, "quad": skfem.MeshQuad1, "tetra": skfem.MeshTet1,
          "hexahedron": skfem.MeshHex1}  # fmt: skip
ELEMENTS = {
    ("line", 0): skfem.ElementLineP0, ("line", 1): skfem.ElementLineP1, ("line", 2): skfem.ElementLineP2,
    ("triangle", 0): skfem.ElementTriP0, ("triangle", 1): skfem.ElementTriP1, ("triangle", 2): skfem.ElementTriP2,
    ("tetra", 0): skfem.ElementTetP0, ("tetra", 1): skfem.ElementTetP1, ("tetra", 2): skfem.ElementTetP2,
    ("quad", 0): skfem.ElementQuad0, ("quad", 1): skfem.ElementQuad1, ("quad", 2): skfem.ElementQuad2,
    ("hexahedron", 0): skfem.ElementHex0, ("hexahedron", 1): skfem.ElementHex1, ("hexahedron", 2): skfem.ElementHex2,
}  # fmt: skip
PAIRS = [
    ("line", P0()), ("line", P1()), ("line", P2()), ("triangle", P0()), ("triangle", P1()), ("triangle", P2()),
    ("tetra", P0()), ("tetra", P1()), ("tetra", P2()), ("quad", Q0()), ("quad", Q1()), ("quad", Q2()),
    ("hexahedron", Q0()), ("hexahedron", Q1()), ("hexahedron", Q2()),
]  # fmt: skip
HEXAHEDRON = [6, 5, 2, 7, 1, 4, 3, 0]
"""Our vertex (VTK's order) for each of scikit-fem's: theirs begin at (1, 1, 1)."""


def distorted(kind: str, cells: int = 2, size: float = 0.15) -> Mesh:
    """A unit box in cells of a kind, every node moved a little."""
    shape = {1: lambda: Interval(cells), 2: lambda: Rectangle(cells, kind=kind), 3: lambda: Box(cells, kind=kind)}
    dim = {"line": 1, "triangle": 2, "quad": 2}.get(kind, 3)
    mesh = shape[dim]().mesh()
    shift = np.random.default_rng(3).uniform(-size / cells, size / cells, tuple(mesh.points.shape))
    return mesh.with_points(mesh.points + torch.from_numpy(shift))


class Oracle:
    """scikit-fem's basis for a space of ours."""

    def __init__(self, space: Space, boundary: str | None = None):
        self.space, kind = space, space.mesh.kind
        cells = space.mesh.cells.numpy().T
        if kind == "hexahedron":
            cells = cells[HEXAHEDRON]
        options = {"sort_t": False} if kind in ("triangle", "tetra", "line") else {}
        self.mesh = MESHES[kind](
            np.ascontiguousarray(space.mesh.points.numpy().T), np.ascontiguousarray(cells), **options
        )
        element = ELEMENTS[kind, space.scalar.degree]()
        if isinstance(space.element, Vector):
            element = skfem.ElementVector(element)
        if boundary is None:
            self.basis = skfem.CellBasis(self.mesh, element, intorder=space.quadrature_order)
        else:
            middle = space.mesh.points[space.mesh.facets[space.mesh.boundary(boundary)]].mean(1).numpy()
            theirs = self.mesh.p[:, self.mesh.facets].mean(axis=1).T
            facets = cKDTree(theirs).query(middle)[1]
            self.basis = skfem.FacetBasis(self.mesh, element, facets=facets, intorder=space.quadrature_order)
        self.order = self._order()

    def _order(self) -> np.ndarray:
        """scikit-fem's number of each of our degrees of freedom."""
        dofs, d = self.basis.dofs, self.space.components
        component = np.zeros(self.basis.N)
        for table in (dofs.nodal_dofs, dofs.edge_dofs, dofs.facet_dofs, dofs.interior_dofs):
            if table.size:
                component[table] = np.arange(len(table))[:, None] % d
        theirs = np.column_stack([self.basis.doflocs.T, component])
        ours = np.column_stack([self.space.dof_points.numpy(), self.space.geometry.component.numpy()])
        distance, order = cKDTree(theirs).query(ours)
        assert distance.max() < 1e-10
        assert sorted(order) == list(range(self.basis.N))
        return order

    def matrix(self, form, **coefficients) -> np.ndarray:
        return skfem.BilinearForm(form).assemble(self.basis, **coefficients).toarray()[np.ix_(self.order, self.order)]

    def vector(self, form, **coefficients) -> np.ndarray:
        return skfem.LinearForm(form).assemble(self.basis, **coefficients)[self.order]

    def cellwise(self, values: np.ndarray) -> np.ndarray:
        """Values by cell at the quadrature points: components first, as scikit-fem has them."""
        items = values[self.basis.tind] if self.basis.tind is not None else values
        return np.broadcast_to(
            np.moveaxis(items, 0, -1)[..., None], (*items.shape[1:], len(items), self.basis.X.shape[-1])
        )
