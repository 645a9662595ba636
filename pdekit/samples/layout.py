"""How a dataset file is laid out (HDF5, version 1).

::

    /                       attributes: format, version, pdekit (version), schema (JSON), metadata (JSON)
    /mesh                   attributes kind (meshio's name of its cells), fingerprint, duplicates (0 or 1: whether two
                            nodes may lie at one place)
        points              (nodes, dim) float64
        cells/<kind>        (cells, k) int64, VTK's order of vertices
        boundaries/<name>   (facets,) int64, numbers of facets in the order of ``Mesh.facets``
        regions/<name>      (cells,) int64
    /fields/<name>          (N, *shape) float32 or float64, uncompressed; attributes role, units, description
    /identity               attributes seed, split, attempt
        index               (N,) int64: which samples of the split these are; rejected ones are missing here
    /pdekit/certificate     attributes kind, method, dtype
        value, tolerance    (N,) float64
        iterations          (N,) int64

``mesh`` is there if the samples live on one; the schema then says ``{"domain": {"mesh": FINGERPRINT}}``, and a mesh
whose points, cells and boundaries do not have that fingerprint is refused. The shape of a field is the domain's (the
nodes of a mesh) unless the schema says otherwise. A complex field is stored as HDF5 compounds of two such numbers,
``r`` and ``i``, as h5py does it.

``identity`` and ``certificate`` are there if the samples have them. The certificate describes the float64 solution;
rounding it to float32 alone moves a residual to 1e-5..1e-3. Nothing in a file depends on the clock: the same samples
make the same bytes, and the seconds of solving belong elsewhere.

A damaged byte must not hang or crash the HDF5 library, which happens in its older structures. So files use those with
checksums (HDF5 1.10 and later), and texts of fixed length: texts of variable length lie in a heap without checksum.
"""

from collections.abc import Mapping
from importlib import metadata
from typing import Literal

import h5py

__all__ = ["FORMAT", "LIBRARY", "PDEKIT", "VERSION", "StoredPrecision", "set_attributes", "size_text"]

FORMAT, VERSION = "pdekit samples", 1
PDEKIT = metadata.version("pdekit")
"""The version of pdekit that writes; its own face names every floor and must not be imported from one of them."""

LIBRARY = "v110"
"""The oldest HDF5 library whose structures all have checksums."""

StoredPrecision = Literal["float32", "float64"]


def size_text(count: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def set_attributes(place: h5py.Group | h5py.Dataset | h5py.Datatype, values: Mapping[str, str | int]) -> None:
    """Attach integers and texts, the latter as UTF-8 of fixed length."""
    for name, value in values.items():
        if isinstance(value, str):
            encoded = value.encode()
            place.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", max(1, len(encoded))))
        else:
            place.attrs[name] = value
