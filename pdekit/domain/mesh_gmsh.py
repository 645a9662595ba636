"""Gmsh's MSH 4.1 files, text and binary.

Read here and not by meshio, because that reader fails on a mesh only part of which is in physical groups, mixes up
groups of one name in two dimensions, and trusts the sizes that a file claims. Here every size is compared with what
the file holds before anything is allocated.

Source: the Gmsh reference manual, section "MSH file format".
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pdekit.core.errors import InputError
from pdekit.domain.mesh_contents import MeshContents, NamedCells

__all__ = ["read_gmsh41"]

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
    head = _section(data, "MeshFormat")
    words = (head or b"").split()[:3]
    if len(words) < 3 or words[0] not in (b"4.1", b"4"):
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
    return MeshContents(points, blocks, list(named.values()), {})


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
        self.values = np.fromstring(self.body.decode(), dtype=np.float64, sep=" ")

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
