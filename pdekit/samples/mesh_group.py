"""The mesh of a dataset: one group of its file, whose fingerprint is verified on reading."""

from pathlib import Path

import h5py
import numpy as np
import torch

from pdekit.core.errors import InputError
from pdekit.domain import Mesh
from pdekit.samples.layout import FORMAT, LIBRARY, PDEKIT, VERSION, set_attributes
from pdekit.samples.parts import array, attribute, group

__all__ = ["mesh_bytes", "read_mesh", "save_mesh", "write_mesh"]


def mesh_bytes(mesh: Mesh) -> int:
    """What a mesh takes in a file, at most."""
    named = [*mesh.boundaries.values(), *mesh.regions.values()]
    return 8 * (mesh.points.numel() + mesh.cells.numel() + sum(len(numbers) + 512 for numbers in named)) + 2**14


def write_mesh(file: h5py.File, mesh: Mesh) -> None:
    """Write a mesh as the group ``mesh``.

    Raises:
        InputError: a boundary or region whose name HDF5 cannot hold.
    """
    place = file.create_group("mesh")
    duplicates = int(mesh.allow_duplicates)
    set_attributes(place, {"kind": mesh.kind, "fingerprint": mesh.fingerprint, "duplicates": duplicates})
    _write(place, "points", mesh.points.numpy())
    _write(place, f"cells/{mesh.kind}", mesh.cells.numpy())
    for what, named in (("boundaries", mesh.boundaries), ("regions", mesh.regions)):
        place.create_group(what)
        for name, numbers in named.items():
            if not name or "/" in name or name == ".":
                raise InputError(f"The name {name!r} of {what} of the mesh cannot be stored; expected one without '/'.")
            _write(place, f"{what}/{name}", np.asarray(numbers, dtype=np.int64))


def save_mesh(path: str | Path, mesh: Mesh) -> None:
    """Write a file that holds a mesh alone."""
    with h5py.File(path, "w", libver=LIBRARY) as file:
        set_attributes(file, {"format": FORMAT, "version": VERSION, "pdekit": PDEKIT})
        write_mesh(file, mesh)


def read_mesh(file: h5py.File) -> Mesh:
    """The mesh that :func:`write_mesh` wrote.

    Raises:
        InputError: something is missing or impossible, or the mesh is not the one of its fingerprint.
    """
    place = group(file, "mesh")
    kind, fingerprint = str(attribute(place, "kind")), str(attribute(place, "fingerprint"))
    points = array(file, "mesh/points", "f", (None,))
    cells = array(file, f"mesh/cells/{kind}", "iu", (None,)).to(torch.int64)
    boundaries, regions = (_named(file, f"mesh/{what}") for what in ("boundaries", "regions"))
    duplicates = bool(attribute(place, "duplicates"))
    mesh = Mesh(points.to(torch.float64), cells, kind, boundaries, regions, allow_duplicates=duplicates)
    if mesh.fingerprint != fingerprint:
        raise InputError(f"its mesh has the fingerprint {mesh.fingerprint}, not {fingerprint} as it says")
    return mesh


def _named(file: h5py.File, where: str) -> dict[str, torch.Tensor]:
    names = [str(name) for name in group(file, where)]
    return {name: array(file, f"{where}/{name}", "iu", ()).to(torch.int64) for name in names}


def _write(place: h5py.Group, name: str, values: np.ndarray) -> None:
    place.create_dataset(name, data=values, track_times=False)
