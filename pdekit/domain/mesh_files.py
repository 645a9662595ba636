"""Mesh files, in and out: the one module that imports meshio.

Gmsh's MSH 4.1 is read by :mod:`pdekit.domain.mesh_gmsh`; everything else by meshio. None of its readers unpickles.
Files inside HDF5 or netCDF (MED, CGNS, XDMF, Exodus) are read by libraries that a damaged file can crash: take such
files only from people you trust.
"""

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import meshio
import numpy as np
import numpy.typing as npt
from torch import Tensor

from pdekit.core.errors import InputError, did_you_mean
from pdekit.domain.mesh import Mesh
from pdekit.domain.mesh_contents import MeshContents, NamedCells, Repairs, to_mesh
from pdekit.domain.mesh_gmsh import read_gmsh41, write_gmsh41

__all__ = ["read_mesh", "write_mesh", "write_series"]

_GEOMETRY = {".geo", ".step", ".stp", ".iges", ".igs", ".brep"}
_XML = {".vtu", ".xdmf", ".xmf", ".xml"}
_WRITTEN = (".vtu", ".vtk", ".xdmf", ".xmf", ".msh")
"""Formats whose files keep all names, which is tested."""
_UNFIT = {".vtu": '<&"', ".msh": '"$'}
# Integer cell data by which formats number boundaries and regions; Gmsh's have names in the field data.
_TAGS = ("gmsh:physical", "medit:ref", "su2:tag", "nastran:ref", "cell_tags", "avsucd:material")


def read_mesh(
    path: str | os.PathLike[str],
    *,
    drop_orphans: bool = False,
    merge_duplicates: bool = False,
    reorient: bool = False,
    straighten: bool = False,
    unnamed: bool = False,
) -> Mesh:
    """See :meth:`Mesh.read`."""
    path = as_path(path)
    _check_path(path)
    repairs = Repairs(drop_orphans, merge_duplicates, reorient, straighten, unnamed)
    try:
        contents = read_gmsh41(path) if path.suffix.lower() == ".msh" else None
        return to_mesh(contents if contents is not None else _read_with_meshio(path), repairs)
    except InputError as error:
        message = str(error).rstrip(".")
        raise InputError(f"The mesh file {path.name} cannot be used: {message} (numbers count from 0).") from None


def as_path(path: Any) -> Path:
    """A path, from a word or a path."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"The path is a {type(path).__name__}; expected the name of a file, such as 'part.msh'.")
    return Path(path)


def _check_field_name(name: Any) -> None:
    if not isinstance(name, str) or not name or not name.isprintable():
        raise InputError(f"A field is named {name!r}; expected a word without line ends and control characters.")
    if name.partition(":")[0] in ("boundary", "region") and ":" in name:
        raise InputError(f"A field is named {name!r}; names that begin with boundary: and region: are those of parts.")


def _check_path(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in _GEOMETRY:
        raise InputError(
            f"{path.name} holds a geometry, not a mesh. Mesh it first: gmsh -2 {path.name} -format msh41 -o "
            f"{path.stem}.msh (-3 for solids), with physical groups that name its boundary."
        )
    if suffix not in meshio.extension_to_filetypes:
        known = did_you_mean(suffix, meshio.extension_to_filetypes)
        raise InputError(f"{path.name} has the extension {suffix!r}, which names no mesh format. {known}")
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise InputError(f"The mesh file {path.name} is empty.")


def _read_with_meshio(path: Path) -> MeshContents:
    if path.suffix.lower() in _XML:
        _check_xml(path)
    try:
        # meshio prints its complaints, and ends the interpreter where it gives up.
        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
            found = meshio.read(path)
        return _contents(found)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        complaint = " ".join(f"{said.getvalue()} {error}".split()) or type(error).__name__
        raise InputError(
            f"it could not be read, it is damaged, cut off or of another format ({complaint[:200]})"
        ) from None


class _RootFound(Exception):
    """Ends the walk of the expat parser at the first element."""


def _check_xml(path: Path) -> None:
    """Refuse document type declarations (entities grow without bound) and sizes beyond what the file can hold."""
    size = path.stat().st_size

    def declaration(*_: object) -> None:
        raise InputError("it has a document type declaration, which no mesh needs")

    def element(name: str, attributes: dict[str, str]) -> None:
        for count in ("NumberOfPoints", "NumberOfCells"):
            # zlib shrinks a block by at most 1032 to 1, and a point or a cell takes a byte at least.
            if attributes.get(count, "0").strip().isdigit() and int(attributes.get(count, "0")) > 1032 * size:
                raise InputError(f"it announces {attributes[count]} {count[8:].lower()} in {size} bytes")
        if name == "Piece":
            raise _RootFound

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = declaration
    parser.StartElementHandler = element
    # The syntax is the reader's business, which also takes raw bytes after the last element.
    with contextlib.suppress(_RootFound, expat.ExpatError), path.open("rb") as file:
        parser.ParseFile(file)


def _contents(found: meshio.Mesh) -> MeshContents:
    blocks, lengths = [], []
    for block in found.cells:
        data = np.asarray(block.data)
        if data.dtype.kind not in "iu" or data.ndim != 2:
            raise InputError(f"its cells of type {block.type} are no table of node numbers")
        blocks.append((block.type, data.astype(np.int64)))
        lengths.append(len(data))
    sets = [
        NamedCells(name, {k: np.asarray(m, dtype=np.int64) for k, m in enumerate(members) if m is not None})
        for name, members in found.cell_sets.items()
        if not name.startswith("gmsh:")
    ]
    sets += _sets_of_tags(found, lengths)
    for name, data in found.cell_data.items():
        kind, _, label = name.partition(":")
        if kind in ("boundary", "region") and label:
            sets.append(NamedCells(label, {k: np.flatnonzero(part) for k, part in enumerate(data)}))
    nodes = {name: np.asarray(numbers, dtype=np.int64).reshape(-1) for name, numbers in found.point_sets.items()}
    return MeshContents(np.asarray(found.points, dtype=np.float64), blocks, sets, nodes)


def _sets_of_tags(found: meshio.Mesh, lengths: list[int]) -> list[NamedCells]:
    """Sets from integers at the cells; 0 stands for none."""
    members: dict[tuple[str, str], dict[int, list[npt.NDArray[np.int64]]]] = {}
    families = getattr(found, "cell_tags", {})  # of MED: the groups that a number stands for
    groups = {(int(dim), int(tag)): name for name, (tag, dim) in found.field_data.items() if name}
    for key in _TAGS:
        for k, part in enumerate(np.asarray(part) for part in found.cell_data.get(key, [])):
            if len(part) != lengths[k]:
                continue
            for tag in np.unique(part).tolist():
                names = [str(tag)]
                if key == "gmsh:physical":
                    names = [groups.get((found.cells[k].dim, tag), str(tag))]
                elif key == "cell_tags":
                    names = families.get(tag, names)
                for name in names if tag != 0 else ():
                    members.setdefault((key, name), {}).setdefault(k, []).append(np.flatnonzero(part == tag))
    return [NamedCells(name, {k: np.concatenate(m) for k, m in where.items()}) for (_, name), where in members.items()]


def write_mesh(mesh: Mesh, path: str | os.PathLike[str], fields: Mapping[str, Any]) -> None:
    """See :meth:`Mesh.write`."""
    path = as_path(path)
    suffix = path.suffix.lower()
    if suffix == ".pvd":
        raise InputError(f"{path.name} is an index of times; expected times=, or the extension .vtu for one time.")
    if suffix not in meshio.extension_to_filetypes or suffix in (".gz", ""):
        known = did_you_mean(suffix, meshio.extension_to_filetypes)
        raise InputError(f"{path.name} has the extension {suffix!r}, which names no mesh format. {known}")
    _check_format(mesh, path, fields)
    at_nodes, at_cells = _sorted_fields(mesh, fields)
    # Written beside and moved, so that a reader never meets half a file.
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        if suffix == ".msh":
            write_gmsh41(mesh, partial, at_nodes, at_cells)
        else:
            out = _named_mesh(mesh, at_nodes, at_cells)
            # XDMF in one file: its values would otherwise lie in another, of the name it is written under here.
            options = {"data_format": "XML"} if suffix in (".xdmf", ".xmf") else {}
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                meshio.write(partial, out, **options)
            if said.getvalue():  # some writers leave out what their format cannot hold, and say so
                raise InputError(said.getvalue())
        os.replace(partial, path)
    except (Exception, SystemExit) as error:
        complaint = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} could not be written: {complaint[:200]}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _check_format(mesh: Mesh, path: Path, fields: Mapping[str, Any]) -> None:
    """Refuse formats and names that would not be read back as they are written."""
    suffix = path.suffix.lower()
    if suffix not in _WRITTEN or (suffix in (".xdmf", ".xmf") and mesh.kind == "line" and mesh.boundaries):
        raise InputError(
            f"{path.name}: a mesh of {mesh.cell_kind.plural} with names is not kept whole by {suffix}; expected .vtu "
            "(for ParaView) or .msh (for Gmsh)."
        )
    for name in (*mesh.boundaries, *mesh.regions, *map(str, fields)):
        if wrong := [letter for letter in name if letter in _UNFIT.get(suffix, "")]:
            other = ".msh" if suffix == ".vtu" else ".vtu"
            raise InputError(
                f"The name {name!r} holds {wrong[0]}, with which {suffix} files cannot be read back; expected a name "
                f"without it, or {other}."
            )


def _named_mesh(mesh: Mesh, at_nodes: dict[str, np.ndarray], at_cells: dict[str, np.ndarray]) -> meshio.Mesh:
    """The cells, then the facets that have a name; ``boundary:name`` and ``region:name`` are 1 where the name holds."""
    named = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(f.numpy() for f in mesh.boundaries.values())]))
    blocks: list[Any] = [(mesh.kind, mesh.cells.numpy())]
    if len(named):
        blocks.append((mesh.cell_kind.facet_kind, mesh.facets.numpy()[named]))
    data: dict[str, list] = {}
    for name, facets in mesh.boundaries.items():
        data[f"boundary:{name}"] = [np.zeros(mesh.n_cells, np.int32), np.isin(named, facets.numpy()).astype(np.int32)]
    for name, zone in mesh.regions.items():
        mask = np.zeros(mesh.n_cells, dtype=np.int32)
        mask[zone.numpy()] = 1
        data[f"region:{name}"] = [mask, *([np.zeros(len(named), np.int32)] if len(named) else [])]
    # A facet shows the value of its first cell.
    owners = mesh.facet_cells.numpy()[named, 0] if len(named) else named
    for name, values in at_cells.items():
        data[name] = [values, values[owners]][: len(blocks)]
    points = np.pad(mesh.points.numpy(), ((0, 0), (0, 3 - mesh.dim)))
    return meshio.Mesh(points, blocks, point_data=dict(at_nodes), cell_data=data)


def _sorted_fields(mesh: Mesh, fields: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fields at nodes and at cells, as numbers that VTK knows; vectors get three components."""
    at_nodes, at_cells = {}, {}
    for name, given in fields.items():
        _check_field_name(name)
        try:
            values = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
        except ValueError as error:
            raise InputError(f"The field {name!r} is no array of numbers: {error}.") from error
        if values.dtype.kind not in "biuf":
            hint = " Write its real and imaginary parts as two fields." if values.dtype.kind == "c" else ""
            raise InputError(f"The field {name!r} is {values.dtype}; expected real numbers.{hint}")
        if values.ndim not in (1, 2) or len(values) not in (mesh.n_nodes, mesh.n_cells):
            more = values.ndim == 1 and len(values) > mesh.n_nodes
            hint = (
                f" Of an element of order 2 the first {mesh.n_nodes} values of each component are those at the nodes;"
            )
            raise InputError(
                f"The field {name!r} has the shape {values.shape}; expected ({mesh.n_nodes},) at the nodes or "
                f"({mesh.n_cells},) at the cells, with components last (one file holds one sample)."
                + (f"{hint} space.at_nodes(u) takes them." if more else "")
            )
        if values.dtype.kind == "b" or values.dtype == np.float16:
            values = values.astype(np.int32 if values.dtype.kind == "b" else np.float32)
        if values.ndim == 2 and values.shape[1] == 2:
            values = np.pad(values, ((0, 0), (0, 1)))
        (at_nodes if len(values) == mesh.n_nodes else at_cells)[name] = np.ascontiguousarray(values)
    return at_nodes, at_cells


def write_series(mesh: Mesh, path: str | os.PathLike[str], fields: Mapping[str, Any], times: Sequence[float]) -> None:
    """See :meth:`Mesh.write`."""
    path = as_path(path)
    if path.suffix.lower() != ".pvd":
        raise InputError(f"{path.name} has the extension {path.suffix!r}, which holds no times; expected .pvd.")
    if isinstance(times, str) or not all(isinstance(time, int | float | np.number) for time in times):
        raise InputError(f"times is {times!r}; expected numbers.")
    for name, values in fields.items():
        if not hasattr(values, "__len__"):
            raise InputError(f"The field {name!r} is {values!r}; expected values by time, (times, nodes).")
        if len(values) != len(times):
            raise InputError(f"The field {name!r} has {len(values)} steps; expected {len(times)}, one for each time.")
    folder = path.with_suffix("")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error}") from error
    lines = []
    for step, time in enumerate(times):
        file = folder / f"{step:05d}.vtu"
        write_mesh(mesh, file, {name: values[step] for name, values in fields.items()})
        lines.append(
            f"    <DataSet timestep={quoteattr(repr(float(time)))} file={quoteattr(f'{folder.name}/{file.name}')}/>"
        )
    body = "\n".join(lines)
    path.write_text(
        f'<?xml version="1.0"?>\n<VTKFile type="Collection" version="0.1">\n  <Collection>\n{body}\n  </Collection>\n'
        "</VTKFile>\n"
    )
