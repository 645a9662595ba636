"""Gmsh's MSH 4.1 files, text and binary.

Read here and not by meshio, because that reader fails on a mesh only part of which is in physical groups, mixes up
groups of one name in two dimensions, and trusts the sizes that a file claims. Here every size is compared with what
the file holds before anything is allocated.

Source: the Gmsh reference manual, section "MSH file format".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain.mesh import Mesh
from pdekit.domain.mesh_contents import MeshContents, NamedCells

__all__ = ["read_gmsh41", "write_gmsh41"]

# Gmsh's numbers of elements: meshio's name, dimension, nodes. Others are refused by their number.
ELEMENTS = {
    1: ("line", 1, 2), 2: ("triangle", 2, 3), 3: ("quad", 2, 4), 4: ("tetra", 3, 4), 5: ("hexahedron", 3, 8),
    6: ("wedge", 3, 6), 7: ("pyramid", 3, 5), 8: ("line3", 1, 3), 9: ("triangle6", 2, 6), 10: ("quad9", 2, 9),
    11: ("tetra10", 3, 10), 12: ("hexahedron27", 3, 27), 13: ("wedge18", 3, 18), 14: ("pyramid14", 3, 14),
    15: ("vertex", 0, 1), 16: ("quad8", 2, 8), 17: ("hexahedron20", 3, 20), 18: ("wedge15", 3, 15),
    19: ("pyramid13", 3, 13),
}  # fmt: skip
_NUMBERS = b"0123456789+-.eE \t\r\n"


def read_gmsh41(path: Path) -> MeshContents | None:
    """Read a file.

    Args:
        path: of the file.

    Returns:
        Its contents, or None if it is no file of version 4.1.

    Raises:
        InputError: sections that are missing, cut off or contradict each other.
    """
    data = path.read_bytes()
    head = _section(data, "MeshFormat") or b""
    words = head.split()[:3]
    if len(words) == 3 and words[0] in (b"4", b"4.0"):
        raise InputError(f"it is of version 4.0; write it as 4.1: gmsh {path.name} -save -format msh41 -o new.msh")
    if len(words) < 3 or words[0] != b"4.1":
        return None
    if words[1] == b"1" and (words[2] != b"8" or b"\x01\x00\x00\x00" not in head):
        raise InputError("its binary numbers are not those of a 64-bit little-endian machine; write it as text")
    source = _Binary if words[1] == b"1" else _Text
    names = _physical_names(_section(data, "PhysicalNames") or b"")
    groups = _entities(source(data, "Entities")) if b"$Entities" in data else {}
    tags, points = _nodes(source(data, "Nodes"))
    blocks, members = _elements(source(data, "Elements"), tags)
    named: dict[tuple[int, int], NamedCells] = {}
    for block, (dim, entity) in enumerate(members):
        for group in groups.get((dim, entity), ()):
            label = names.get((dim, group), str(group))
            found = named.setdefault((dim, group), NamedCells(label, {}))
            found.members[block] = np.arange(len(blocks[block][1]))
    return MeshContents(points, blocks, [named[key] for key in sorted(named)], {})


def _section(data: bytes, name: str) -> bytes | None:
    """What lies between ``$name`` and ``$Endname``; None without such a section."""
    start = data.find(f"${name}".encode())
    if start < 0:
        return None
    stop = data.find(f"$End{name}".encode(), start)
    if stop < 0:
        raise InputError(f"its section ${name} does not end: the file is cut off")
    return data[start + len(name) + 1 : stop]


class _Source:
    """Numbers of a section, taken in order; asking for more than there are is an error, not an allocation."""

    def __init__(self, data: bytes, name: str):
        self.name = name
        body = _section(data, name)
        if body is None:
            raise InputError(f"it has no section ${name}")
        self.position = 0
        self.body = body

    def missing(self, count: float) -> InputError:
        return InputError(f"its section ${self.name} ends early: {count:.0f} more numbers are announced than it holds")

    def integers(self, count: int) -> npt.NDArray[np.int64]:
        raise NotImplementedError

    def sizes(self, count: int) -> npt.NDArray[np.int64]:
        raise NotImplementedError

    def reals(self, count: int) -> npt.NDArray[np.float64]:
        raise NotImplementedError

    def size(self) -> int:
        """One number that counts something."""
        value = int(self.sizes(1)[0])
        if value < 0:
            raise InputError(f"its section ${self.name} counts {value} things")
        return value


class _Text(_Source):
    """A section of text: all its numbers are parsed at once."""

    def __init__(self, data: bytes, name: str):
        super().__init__(data, name)
        strange = self.body.translate(None, _NUMBERS)
        if strange:
            raise InputError(f"its section ${name} holds {strange[:20].decode(errors='replace')!r}; expected numbers")
        # One pass; a float64 holds node numbers up to 2^53.
        try:
            self.values = np.fromstring(self.body.decode(), dtype=np.float64, sep=" ")
        except ValueError as error:
            raise InputError(f"its section ${name} holds text that is no number ({error})") from None

    def reals(self, count: int) -> npt.NDArray[np.float64]:
        stop = self.position + count
        if stop > len(self.values):
            raise self.missing(stop - len(self.values))
        taken = self.values[self.position : stop]
        self.position = stop
        return taken

    def integers(self, count: int) -> npt.NDArray[np.int64]:
        taken = self.reals(count)
        if not (np.abs(taken) < 2.0**53).all() or (taken != np.trunc(taken)).any():
            raise InputError(f"its section ${self.name} has a fraction where a whole number belongs")
        return taken.astype(np.int64)

    sizes = integers


class _Binary(_Source):
    """A section of bytes: int32, uint64 and float64, after one end of line."""

    def __init__(self, data: bytes, name: str):
        # $End... may occur among the bytes by chance: the section is walked, not searched for its end.
        self.name = name
        start = data.find(f"${name}\n".encode())
        if start < 0:
            raise InputError(f"it has no section ${name}")
        self.body = data
        self.position = start + len(name) + 2

    def _take(self, dtype: str, count: int) -> np.ndarray:
        size = np.dtype(dtype).itemsize
        if self.position + size * count > len(self.body):
            raise self.missing(count - (len(self.body) - self.position) // size)
        taken = np.frombuffer(self.body, dtype=dtype, count=count, offset=self.position)
        self.position += size * count
        return taken

    def integers(self, count: int) -> npt.NDArray[np.int64]:
        return self._take("<i4", count).astype(np.int64)

    def sizes(self, count: int) -> npt.NDArray[np.int64]:
        return self._take("<i8", count)

    def reals(self, count: int) -> npt.NDArray[np.float64]:
        return self._take("<f8", count)


def _physical_names(body: bytes) -> dict[tuple[int, int], str]:
    """``dimension number "name"`` a line, after a line with their count."""
    names = {}
    for line in body.decode(errors="replace").strip().splitlines()[1:]:
        words = line.split(maxsplit=2)
        if len(words) < 3 or not (words[0].isdigit() and words[1].lstrip("-").isdigit()):
            raise InputError(f'its section $PhysicalNames has the line {line[:60]!r}; expected: 1 2 "name"')
        names[int(words[0]), int(words[1])] = words[2].strip().strip('"') or words[1]
    return names


def _entities(source: _Source) -> dict[tuple[int, int], list[int]]:
    """Numbers of the physical groups of each (dimension, entity)."""
    groups = {}
    for dim, count in enumerate(source.sizes(4).tolist()):
        for _ in range(count):
            entity = int(source.integers(1)[0])
            source.reals(3 if dim == 0 else 6)  # the box around it
            groups[dim, entity] = source.integers(source.size()).tolist()
            if dim > 0:
                source.integers(source.size())  # the entities around it
    return groups


def _nodes(source: _Source) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    blocks, total, *_ = source.sizes(4).tolist()
    tags, points = [np.empty(0, dtype=np.int64)], [np.empty((0, 3))]
    for _ in range(blocks):
        dim, _entity, parametric = source.integers(3).tolist()
        count = source.size()
        tags.append(source.sizes(count))
        width = 3 + (max(dim, 0) if parametric else 0)
        points.append(source.reals(count * width).reshape(count, width)[:, :3])
    found = np.concatenate(tags)
    if len(found) != total:
        raise InputError(f"its section $Nodes announces {total} nodes and holds {len(found)}")
    return found, np.concatenate(points)


def _elements(source: _Source, tags: npt.NDArray[np.int64]):
    """Blocks of ``(kind, nodes)`` and the (dimension, entity) of each; nodes by place instead of tag."""
    order = np.argsort(tags, kind="stable")
    ordered = tags[order]
    if len(ordered) > 1 and (ordered[1:] == ordered[:-1]).any():
        twice = ordered[1:][ordered[1:] == ordered[:-1]][0]
        raise InputError(f"its section $Nodes has the node number {twice} twice")
    count, total, *_ = source.sizes(4).tolist()
    blocks, members = [], []
    for _ in range(count):
        dim, entity, code = source.integers(3).tolist()
        size = source.size()
        if code not in ELEMENTS:
            raise InputError(f"it has elements of Gmsh's type {code}; expected orders 1 or 2 (gmsh -order 1)")
        kind, kind_dim, width = ELEMENTS[code]
        if kind_dim != dim:
            raise InputError(f"its section $Elements puts a {kind} on an entity of dimension {dim}")
        numbers = source.sizes(size * (width + 1)).reshape(size, width + 1)[:, 1:]
        places = np.searchsorted(ordered, numbers)
        places[places == len(ordered)] = 0
        if len(ordered) == 0 or (ordered[places] != numbers).any():
            bad = numbers[ordered[places] != numbers] if len(ordered) else numbers.reshape(-1)
            if len(bad):
                raise InputError(f"its elements name the node number {bad[0]}, which its section $Nodes does not have")
        blocks.append((kind, order[places]))
        members.append((dim, entity))
    if sum(len(nodes) for _, nodes in blocks) != total:
        held = sum(len(nodes) for _, nodes in blocks)
        raise InputError(f"its section $Elements announces {total} elements and holds {held}")
    return blocks, members


def write_gmsh41(
    mesh: Mesh, path: Path, at_nodes: Mapping[str, np.ndarray], at_cells: Mapping[str, np.ndarray]
) -> None:
    """Write a text file that :func:`read_gmsh41` and Gmsh read; fields become Gmsh's views.

    Args:
        mesh: to write; boundaries and regions become physical groups.
        path: of the file.
        at_nodes: values ``(nodes,)`` or ``(nodes, components)`` by name.
        at_cells: values ``(cells,)`` or ``(cells, components)`` by name.
    """
    blocks = _named_blocks(mesh)
    low = np.pad(mesh.points.numpy(), ((0, 0), (0, 3 - mesh.dim)))
    box = [*low.min(axis=0), *low.max(axis=0)]
    with path.open("w", newline="\n", encoding="utf-8") as file:
        file.write("$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$PhysicalNames\n")
        file.write(f"{len(mesh.boundaries) + len(mesh.regions)}\n")
        for dim, named in ((mesh.dim - 1, mesh.boundaries), (mesh.dim, mesh.regions)):
            file.writelines(f'{dim} {number} "{name}"\n' for number, name in enumerate(named, 1))
        file.write("$EndPhysicalNames\n$Entities\n")
        file.write(" ".join(str(sum(block.dim == dim for block in blocks)) for dim in range(4)) + "\n")
        for block in sorted(blocks, key=lambda block: block.dim):
            place = " ".join(f"{value:.16g}" for value in (box if block.dim else box[:3]))
            groups = " ".join(str(number) for number in [len(block.groups), *block.groups])
            file.write(f"{block.entity} {place} {groups}{' 0' if block.dim else ''}\n")
        count = mesh.n_nodes
        file.write(f"$EndEntities\n$Nodes\n1 {count} 1 {count}\n{mesh.dim} 1 0 {count}\n")
        np.savetxt(file, np.arange(1, count + 1), fmt="%d")
        np.savetxt(file, low, fmt="%.17g")
        count = sum(len(block.nodes) for block in blocks)
        file.write(f"$EndNodes\n$Elements\n{len(blocks)} {count} 1 {count}\n")
        for block in blocks:
            file.write(f"{block.dim} {block.entity} {block.code} {len(block.nodes)}\n")
            np.savetxt(file, np.column_stack([block.tags, block.nodes + 1]), fmt="%d")
        file.write("$EndElements\n")
        for section, fields in (("NodeData", at_nodes), ("ElementData", at_cells)):
            for name, values in fields.items():
                table = values.reshape(len(values), -1)
                file.write(f'${section}\n1\n"{name}"\n1\n0\n3\n0\n{table.shape[1]}\n{len(table)}\n')
                np.savetxt(file, np.column_stack([np.arange(1, len(table) + 1), table]), fmt="%.17g")
                file.write(f"$End{section}\n")


class _Block(NamedTuple):
    """Cells or facets that are in the same groups: one entity of Gmsh."""

    dim: int
    entity: int
    code: int
    groups: list[int]
    tags: npt.NDArray[np.int64]
    nodes: npt.NDArray[np.int64]


def _named_blocks(mesh: Mesh) -> list[_Block]:
    """All cells, numbered first so that cell values count like them, and the facets that have a name."""
    codes = {name: code for code, (name, _, _) in ELEMENTS.items()}
    blocks, next_tag = [], mesh.n_cells + 1
    for entity, (groups, numbers) in enumerate(_partition(mesh.regions, mesh.n_cells), 1):
        blocks.append(_Block(mesh.dim, entity, codes[mesh.kind], groups, numbers + 1, mesh.cells.numpy()[numbers]))
    code = codes[mesh.cell_kind.facet_kind]
    parts = _partition(mesh.boundaries, len(mesh.facets)) if mesh.boundaries else []
    for entity, (groups, numbers) in enumerate([part for part in parts if part[0]], 1):
        tags = next_tag + np.arange(len(numbers))
        blocks.append(_Block(mesh.dim - 1, entity, code, groups, tags, mesh.facets.numpy()[numbers]))
        next_tag += len(numbers)
    return blocks


def _partition(named: Mapping[str, Tensor], count: int) -> list[tuple[list[int], npt.NDArray[np.int64]]]:
    """Things of the same names together: the numbers of the names, counted from 1, and the things."""
    label, groups = np.zeros(count, dtype=np.int64), [[]]
    for number, things in enumerate(named.values(), 1):
        inside = np.zeros(count, dtype=np.int64)
        inside[things.numpy()] = 1
        found, label = np.unique(2 * label + inside, return_inverse=True)
        groups = [groups[k // 2] + [number] * (k % 2) for k in found]
    return [(group, np.flatnonzero(label == k)) for k, group in enumerate(groups)]
