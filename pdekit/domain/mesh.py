"""Meshes of straight-sided cells with named boundaries and regions."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from pdekit.core.errors import InputError, did_you_mean
from pdekit.domain.mesh_checks import (
    as_numbers,
    check_cells,
    check_distinct,
    check_facets,
    check_nodes,
    check_orientation,
    kind_of,
    node_table,
)
from pdekit.domain.mesh_names import check_names, facets_where
from pdekit.domain.mesh_volumes import cell_volumes, nodal_weights
from pdekit.domain.topology import KINDS, CellKind, Entities, KindName, find_entities, unique_entities

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["Mesh"]

Numbers = Mapping[str, Any]


class Mesh:
    """Straight-sided cells of one kind in 1 to 3 dimensions, with named parts of the boundary and named regions.

    A mesh never changes; two meshes are equal if they are the same object (``fingerprint`` compares contents). Facets
    are the parts of the boundary of a cell: end points of lines, sides of triangles and quads, faces of tetrahedra and
    hexahedra. All tables are computed on first use and kept.

    Args:
        points: ``(nodes, dim)`` coordinates.
        cells: ``(cells, vertices)`` node numbers, counted from 0, in VTK's order (counter-clockwise in 2-D).
        kind: ``line``, ``triangle``, ``quad``, ``tetra`` or ``hexahedron``; None: as the columns of ``cells`` tell.
        boundaries: facet numbers by name, into :attr:`facets`; :meth:`with_boundary` names facets by their place. A
            name may also stand for facets inside the domain.
        regions: cell numbers by name.
        allow_duplicates: accept two nodes at one place, as on the two sides of a crack.

    Raises:
        InputError: points that are not finite, cells that name missing nodes, are degenerate, inverted or overlap,
            nodes without a cell, two nodes at one place, numbers of facets or cells that do not exist.

    Example:
        >>> mesh = Mesh([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], [[0, 1, 2], [0, 2, 3]], "triangle")
        >>> mesh = mesh.with_boundary("floor", lambda x: x[1] == 0)
        >>> mesh
        Mesh(4 nodes, 2 triangles, boundaries: floor 1)
        >>> mesh.facets[mesh.boundary("floor")]
        tensor([[0, 1]])
        >>> float(mesh.volume)
        1.0
    """

    points: Float64[Tensor, "nodes dim"]
    cells: Int64[Tensor, "cells vertices"]
    kind: KindName
    boundaries: Mapping[str, Tensor]
    regions: Mapping[str, Tensor]
    allow_duplicates: bool

    def __init__(
        self,
        points: npt.ArrayLike | Tensor,
        cells: npt.ArrayLike | Tensor,
        kind: str | None = None,
        boundaries: Numbers | None = None,
        regions: Numbers | None = None,
        *,
        allow_duplicates: bool = False,
    ):
        x, c = as_numbers(points, np.float64, "points"), as_numbers(cells, np.int64, "cells")
        kind = kind_of(x, c) if kind is None else kind
        if not isinstance(kind, str) or kind not in KINDS:
            raise InputError(f"Mesh kind {kind!r} is unknown. {did_you_mean(str(kind), KINDS)}")
        check_nodes(x, c, KINDS[kind])
        check_orientation(x, c, KINDS[kind])
        check_cells(x, c, allow_duplicates=allow_duplicates)
        check_distinct(c, len(x))
        # Into __dict__: plain assignment is what a user is kept from.
        self.__dict__.update(
            points=torch.from_numpy(x), cells=torch.from_numpy(c), kind=kind, allow_duplicates=allow_duplicates
        )
        self._name({} if boundaries is None else boundaries, {} if regions is None else regions)

    def _name(self, boundaries: Numbers, regions: Numbers) -> None:
        count = len(self._facets.nodes) if boundaries is not None and len(boundaries) else 0
        self.__dict__["boundaries"] = check_names("boundary", boundaries, count, "facet")
        self.__dict__["regions"] = check_names("region", regions, self.n_cells, "cell")

    def __setattr__(self, name: str, value: object):
        raise AttributeError(
            f"A Mesh never changes ({name} was assigned); with_points, with_boundary and refine make new ones."
        )

    def __reduce__(self):
        named = (dict(self.boundaries), dict(self.regions))
        return partial(Mesh, allow_duplicates=self.allow_duplicates), (self.points, self.cells, self.kind, *named)

    def __repr__(self) -> str:
        parts = [f"{self.n_nodes} nodes, {self.n_cells} {self.cell_kind.plural}"]
        for what, named in (("boundaries", self.boundaries), ("regions", self.regions)):
            if named:
                parts.append(f"{what}: " + ", ".join(f"{name} {len(numbers)}" for name, numbers in named.items()))
        return f"Mesh({', '.join(parts)})"

    @property
    def cell_kind(self) -> CellKind:
        """The local numbering of a cell."""
        return KINDS[self.kind]

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.points.shape[1]

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.points.shape[0]

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.cells.shape[0]

    @property
    def shape(self) -> tuple[int]:
        """``(nodes,)``: the shape of the values of one sample at the nodes."""
        return (self.n_nodes,)

    @cached_property
    def _facets(self) -> Entities:
        cells = self.cells.numpy()
        found = unique_entities(cells, self.cell_kind.facets, self.n_nodes)
        check_facets(found, cells, self.cell_kind)
        return found

    @cached_property
    def _edges(self) -> Entities:
        if self.dim == 2:
            return self._facets
        return unique_entities(self.cells.numpy(), self.cell_kind.edges, self.n_nodes)

    @cached_property
    def facets(self) -> Int64[Tensor, "facets nodes_per_facet"]:
        """Nodes of each facet, in the order of its first cell, from which the right-hand normal points outward."""
        return torch.from_numpy(self._facets.nodes)

    @cached_property
    def cell_facets(self) -> Int64[Tensor, "cells facets_per_cell"]:
        """Facet numbers of each cell, in the order of ``cell_kind.facets``."""
        return torch.from_numpy(self._facets.of_cell)

    @cached_property
    def facet_cells(self) -> Int64[Tensor, "facets 2"]:
        """The cells on both sides of each facet; -1 second where the facet lies on the boundary."""
        return torch.from_numpy(self._facets.cells)

    @cached_property
    def edges(self) -> Int64[Tensor, "edges 2"]:
        """Nodes of each edge; in 2-D these are the facets, in 1-D the cells."""
        return torch.from_numpy(self._edges.nodes)

    @cached_property
    def cell_edges(self) -> Int64[Tensor, "cells edges_per_cell"]:
        """Edge numbers of each cell, in the order of ``cell_kind.edges``."""
        return torch.from_numpy(self._edges.of_cell)

    @cached_property
    def _boundary_facets(self) -> Int64[Tensor, " m"]:
        return torch.from_numpy(np.flatnonzero(self._facets.cells[:, 1] < 0))

    def boundary(self, name: str) -> Int64[Tensor, " m"]:
        """Facet numbers of a named part of the boundary, ``all`` being every facet of only one cell.

        Raises:
            InputError: an unknown name; the message lists the names.
        """
        if name == "all":
            return self._boundary_facets
        if not isinstance(name, str) or name not in self.boundaries:
            names = [*self.boundaries, "all"]
            raise InputError(f"The mesh has no boundary {name!r}. {did_you_mean(str(name), names)}")
        return self.boundaries[name]

    def region(self, name: str) -> Int64[Tensor, " m"]:
        """Cell numbers of a named region.

        Raises:
            InputError: an unknown name; the message lists the names.
        """
        if not isinstance(name, str) or name not in self.regions:
            known = did_you_mean(str(name), self.regions) if self.regions else "It has none."
            raise InputError(f"The mesh has no region {name!r}. {known}")
        return self.regions[name]

    @cached_property
    def volumes(self) -> Float64[Tensor, " cells"]:
        """Length, area or volume of each cell, all positive."""
        return torch.from_numpy(cell_volumes(self.points.numpy(), self.cells.numpy(), self.cell_kind))

    @cached_property
    def volume(self) -> float:
        """Length, area or volume of the mesh."""
        return float(self.volumes.sum())

    @cached_property
    def _weights(self) -> Float64[Tensor, " nodes"]:
        return torch.from_numpy(nodal_weights(self.points.numpy(), self.cells.numpy(), self.cell_kind))

    def quadrature(self, *, device: torch.device | None = None) -> Float64[Tensor, " nodes"]:
        """Integration weights of the nodes: integrals of the P1 or Q1 shape functions, which sum to the volume.

        Example:
            >>> from pdekit.domain.shapes import Interval
            >>> Interval(cells=2).mesh().quadrature()
            tensor([0.2500, 0.5000, 0.2500], dtype=torch.float64)
        """
        return self._weights.to(device) if device is not None else self._weights

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the points, the cells and the boundaries, in hexadecimal digits."""
        digest = hashlib.sha256(f"pdekit-mesh-1 {self.kind} {self.n_nodes} {self.n_cells}".encode())
        digest.update(self.points.numpy().astype("<f8", copy=False).tobytes())
        digest.update(self.cells.numpy().astype("<i8", copy=False).tobytes())
        for name in sorted(self.boundaries):
            nodes = np.sort(self.facets[self.boundaries[name]].numpy(), axis=1)
            digest.update(f"{len(name.encode())} {name} {len(nodes)}".encode())
            digest.update(nodes[np.lexsort(nodes.T)].astype("<i8").tobytes())
        return digest.hexdigest()

    def with_boundary(self, name: str, where: Callable[[Float64[Tensor, "dim m"]], Bool[Tensor, " m"]]) -> "Mesh":
        """The same mesh with a part of its boundary named, for instance ``lambda x: x[0] < 1e-9``.

        Args:
            name: of the part; one that exists is replaced.
            where: says of points, coordinates first ``(dim, m)``, whether they belong to the part; or an Expression. A
                facet does if all of its vertices and its midpoint do.

        Returns:
            A new mesh that shares the tables of this one.

        Raises:
            InputError: an answer of another shape, or no facet for which it is true.
        """
        chosen = facets_where(self.points, self.facets, self._boundary_facets, name, where)
        return self.with_names({**self.boundaries, name: chosen}, self.regions)

    def with_names(self, boundaries: Numbers, regions: Numbers | None = None) -> "Mesh":
        """The same mesh with other boundaries (and regions, unless None), by facet (and cell) numbers.

        Raises:
            InputError: numbers of facets or cells that do not exist.
        """
        new = object.__new__(Mesh)
        new.__dict__.update({key: value for key, value in self.__dict__.items() if key != "fingerprint"})
        new._name(boundaries, self.regions if regions is None else regions)
        return new

    def with_points(self, points: npt.ArrayLike | Tensor) -> "Mesh":
        """The same cells, boundaries and regions with other coordinates ``(nodes, dim)``, checked anew.

        Raises:
            InputError: another number of nodes, or points that fold a cell.
        """
        x = as_numbers(points, np.float64, "points")
        if x.shape != tuple(self.points.shape):
            raise InputError(f"with_points was given the shape {x.shape}; expected {tuple(self.points.shape)}.")
        cells = self.cells.numpy()
        check_nodes(x, cells, self.cell_kind)
        check_orientation(x, cells, self.cell_kind)
        check_cells(x, cells, allow_duplicates=self.allow_duplicates)
        new = object.__new__(Mesh)
        kept = ("cells", "kind", "boundaries", "regions", "allow_duplicates", "_facets", "_edges")
        new.__dict__.update({key: self.__dict__[key] for key in kept if key in self.__dict__})
        new.__dict__["points"] = torch.from_numpy(x)
        return new

    def find_facets(self, nodes: npt.ArrayLike | Tensor) -> Int64[Tensor, " m"]:
        """Numbers of the facets with given nodes ``(m, nodes of a facet)``, in any order of the nodes.

        Raises:
            InputError: nodes that are no facet of the mesh.
        """
        array = node_table(nodes, self._facets, "facet")
        return torch.from_numpy(find_entities(self._facets, array, self.n_nodes, "facet"))

    def find_edges(self, nodes: npt.ArrayLike | Tensor) -> Int64[Tensor, " m"]:
        """Numbers of the edges with given nodes ``(m, 2)``, in any order of the nodes.

        Raises:
            InputError: nodes that are no edge of the mesh.
        """
        array = node_table(nodes, self._edges, "edge")
        return torch.from_numpy(find_entities(self._edges, array, self.n_nodes, "edge"))

    def refine(self, times: int = 1) -> "tuple[Mesh, scipy.sparse.csr_array]":
        """Uniform refinement: each cell into 2, 4 or 8 of half the size, boundaries and regions carried over.

        Args:
            times: how often.

        Returns:
            The fine mesh, whose first nodes are those of this mesh, and the prolongation ``(fine nodes, nodes)``: the
            values of P1 or Q1 functions of this mesh at the fine nodes.

        Raises:
            InputError: no number of times, a negative one, or one that would make more than 50 million cells.
        """
        from pdekit.domain.refinement import refine

        return refine(self, times)

    @staticmethod
    def read(
        path: str | os.PathLike[str],
        *,
        drop_orphans: bool = False,
        merge_duplicates: bool = False,
        reorient: bool = False,
        straighten: bool = False,
        unnamed: bool = False,
    ) -> "Mesh":
        """Read a mesh file by its extension: Gmsh, VTU, VTK, Abaqus, Nastran, Medit, SU2 and others.

        The cells of the highest dimension make the mesh, those of one less name facets: physical groups of Gmsh, sets
        of Abaqus, integer tags of other formats (named by their number) and ``boundary:name`` arrays of our own VTU
        become boundaries and regions. A third coordinate that is constant is dropped; where all cells are turned (a
        surface seen from below) they are turned back, and so are single triangles and tetrahedra, whose order of nodes
        says nothing (scikit-fem sorts it). Everything else that is wrong is refused unless allowed here.

        Args:
            path: of the file.
            drop_orphans: leave out nodes of no cell, such as centres of circles.
            merge_duplicates: join nodes at one place, such as those of parts meshed apart.
            reorient: turn quads and hexahedra that are inverted where others are not.
            straighten: take the corners of second-order cells.
            unnamed: accept a file that names no part of the boundary; :meth:`with_boundary` names it.

        Raises:
            InputError: a file that is missing, damaged, cut off or no mesh of one kind of cells; the message names the
                elements.
        """
        from pdekit.domain.mesh_files import read_mesh

        return read_mesh(
            path, drop_orphans=drop_orphans, merge_duplicates=merge_duplicates, reorient=reorient,
            straighten=straighten, unnamed=unnamed,
        )  # fmt: skip

    def write(
        self,
        path: str | os.PathLike[str],
        fields: Mapping[str, Any] | None = None,
        times: Sequence[float] | None = None,
    ) -> None:
        """Write the mesh, and values at its nodes or cells, in the format of the extension.

        VTU (for ParaView), VTK, XDMF and MSH (for Gmsh) are written, which keep the names of boundaries and regions;
        other formats are only read. Facets with a name are written
        as cells of their own, where ``boundary:name`` is 1. PVD is the index of a time series for ParaView.

        Args:
            path: of the file, which is replaced.
            fields: values ``(nodes,)`` or ``(cells,)`` by name, components last; for PVD ``(times, nodes)`` and so on.
            times: for PVD, whose VTU files, one a time, go into a folder of its name.

        Raises:
            InputError: another extension, values of another shape, names that the format cannot hold.

        Example:
            >>> mesh = pk.domain.Disk(refinements=2).mesh()
            >>> mesh.write("heat.pvd", {"u": torch.zeros(2, mesh.n_nodes)}, times=[0.0, 0.1])
            >>> mesh.write("disk.vtu", {"u": torch.zeros(mesh.n_nodes)})
            >>> Mesh.read("disk.vtu")
            Mesh(41 nodes, 64 triangles, boundaries: boundary 16)
        """
        from pdekit.domain.mesh_files import write_mesh, write_series

        if times is None:
            write_mesh(self, path, fields or {})
        else:
            write_series(self, path, fields or {}, times)
