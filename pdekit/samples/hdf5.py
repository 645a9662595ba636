"""Datasets of samples in one HDF5 file; the layout is described in :mod:`pdekit.samples.layout`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdekit.samples.layout import StoredPrecision
from pdekit.samples.mesh_group import save_mesh
from pdekit.samples.reader import load_mesh, read, read_metadata
from pdekit.samples.samples import Samples
from pdekit.samples.writer import DatasetWriter, DiskFull

__all__ = ["DatasetWriter", "DiskFull", "StoredPrecision", "load_mesh", "read", "read_metadata", "save_mesh", "write"]


def write(
    path: str | Path,
    samples: Samples,
    metadata: Mapping[str, Any] | None = None,
    *,
    dtype: StoredPrecision = "float32",
) -> None:
    """Write a batch of samples to a file, replacing an older one only when the new one is complete.

    Args:
        path: the file, by custom ``*.h5``.
        samples: what to write.
        metadata: plain containers to keep with them: where they come from.
        dtype: precision of the stored fields.

    Raises:
        DiskFull: there is no room.
        InputError: metadata that JSON cannot hold.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from pdekit.domain import Grid
        >>> from pdekit.samples import FieldSpec, Schema
        >>> schema = Schema(Grid((3, 3)), (FieldSpec("source", "input"), FieldSpec("solution", "output")))
        >>> samples = Samples(schema, {"source": torch.ones(2, 3, 3), "solution": torch.zeros(2, 3, 3)})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/two.h5", samples, {"note": "an example"})
        ...     len(read(f"{folder}/two.h5"))
        2
    """
    with DatasetWriter(path, samples.schema, len(samples), dtype=dtype, metadata=metadata) as writer:
        writer.append(samples)
