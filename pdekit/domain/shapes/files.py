"""Meshes from files as shapes, so that a configuration can name one."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pdekit.core.errors import InputError
from pdekit.domain.mesh import Mesh
from pdekit.domain.shapes.base import Shape

__all__ = ["MeshFile"]


@dataclass(frozen=True)
class MeshFile(Shape):
    """The mesh of a file, read once as long as the file stays the same; see :meth:`Mesh.read`.

    Args:
        path: of the file.
        drop_orphans: leave out nodes of no cell.
        merge_duplicates: join nodes at one place.
        reorient: turn quads and hexahedra that are inverted where others are not.
        straighten: take the corners of second-order cells.
        unnamed: accept a file that names no part of the boundary.
        refinements: uniform, after reading.

    Raises:
        InputError: negative refinements; on building, whatever is wrong with the file.

    Example:
        >>> pk.domain.Disk(refinements=2).mesh().write("disk.vtu")
        >>> MeshFile("disk.vtu", refinements=1).mesh()
        Mesh(145 nodes, 256 triangles, boundaries: boundary 32)
    """

    path: str
    drop_orphans: bool = False
    merge_duplicates: bool = False
    reorient: bool = False
    straighten: bool = False
    unnamed: bool = False
    refinements: int = 0

    def __post_init__(self):
        if self.refinements < 0:
            raise InputError(f"MeshFile refinements is {self.refinements}; expected 0 or more.")

    def build(self) -> Mesh:
        """Read the file."""
        mesh = Mesh.read(
            self.path, drop_orphans=self.drop_orphans, merge_duplicates=self.merge_duplicates, reorient=self.reorient,
            straighten=self.straighten, unnamed=self.unnamed,
        )  # fmt: skip
        return mesh.refine(self.refinements)[0]

    def mesh(self) -> Mesh:
        """The mesh; the same object while the file is unchanged."""
        path = Path(self.path).resolve()
        state = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None
        return _kept(self, path, state)


@lru_cache(maxsize=16)
def _kept(shape: MeshFile, path: Path, state: tuple[int, int] | None) -> Mesh:
    return shape.build()
