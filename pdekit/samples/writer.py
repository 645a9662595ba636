"""Writing datasets: complete under their final name, or not there at all."""

import contextlib
import errno
import io
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import h5py
import numpy as np

from pdekit.core.errors import InputError, PdekitError
from pdekit.domain import Mesh
from pdekit.samples.certificate import Certificate
from pdekit.samples.layout import FORMAT, LIBRARY, PDEKIT, VERSION, StoredPrecision, set_attributes, size_text
from pdekit.samples.mesh_group import mesh_bytes, write_mesh
from pdekit.samples.samples import Identity, Samples
from pdekit.samples.schema import FieldSpec, Schema

__all__ = ["DatasetWriter", "DiskFull"]

_CHUNK_BYTES = 2**20
_LARGEST_ATTRIBUTE = 60_000  # HDF5 refuses attributes from 64 KiB on
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskFull(PdekitError, OSError):
    """There is no room for a dataset; the message holds its path, what it needs and what is free."""


class DatasetWriter:
    """Writes a dataset batch by batch; it gets its name when it is complete, and vanishes if anything goes wrong.

    Use it as a context manager. Until the end the file is called ``<name>.partial``; it is then flushed to the disk and
    renamed. After an error nothing is left of it.

    Args:
        path: the file, in a folder that exists.
        schema: of the samples.
        count: samples expected at most; the file ends with those appended.
        dtype: precision of the stored fields.
        metadata: plain containers to keep with the samples.

    Raises:
        DiskFull: there is no room for ``count`` samples, or there is none left while writing.
        InputError: no such folder, metadata that JSON cannot hold.
    """

    def __init__(
        self,
        path: str | Path,
        schema: Schema,
        count: int,
        dtype: StoredPrecision = "float32",
        metadata: Mapping[str, Any] | None = None,
    ):
        if dtype not in get_args(StoredPrecision):
            raise InputError(f"dtype is {dtype!r}; expected float32 or float64.")
        self.path = Path(path)
        self.schema = schema
        self.count = count
        self.written = 0
        self._dtype = np.dtype(dtype)
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        self._texts = {"schema": _to_json("schema", schema.to_json()), "metadata": _to_json("metadata", metadata or {})}
        self._identity: Identity | None = None
        self._certificate: Certificate | None = None
        self._methods: dict[str, None] = {}
        self._file: h5py.File | None = None
        self._disk: _Disk | None = None
        self.needed = sum(self._stored(spec) for spec in schema.fields) + 32 * count + 2**16
        if isinstance(schema.domain, Mesh):
            self.needed += mesh_bytes(schema.domain)
        if not self.path.parent.is_dir():
            raise InputError(f"{self.path} cannot be written: there is no folder {self.path.parent}.")
        if (free := shutil.disk_usage(self.path.parent).free) < self.needed:
            raise self._disk_full(free)

    def __enter__(self) -> Self:
        with self._guard():
            self._disk = _Disk(self._partial)
            self._file = file = h5py.File(self._disk, "w", libver=LIBRARY, rdcc_nbytes=16 * _CHUNK_BYTES)
            set_attributes(file, {"format": FORMAT, "version": VERSION, "pdekit": PDEKIT, **self._texts})
            if isinstance(self.schema.domain, Mesh):
                write_mesh(file, self.schema.domain)
            for spec in self.schema.fields:
                values = self._dataset(f"fields/{spec.name}", self.schema.shape_of(spec.name), self._dtype_of(spec))
                set_attributes(values, {"role": spec.role, "units": spec.units, "description": spec.description})
        return self

    def append(self, samples: Samples) -> None:
        """Write a batch behind those already written.

        Raises:
            DiskFull: there is no room left.
            InputError: another schema, seed, split or attempt than before, an identity or certificate that comes and
                goes, or more samples than announced.
        """
        self._open_file()
        self._check(samples)
        rows = slice(self.written, self.written + len(samples))
        with self._guard():
            for spec in self.schema.fields:
                values = samples[spec.name].detach().to("cpu").numpy().astype(self._dtype_of(spec), copy=False)
                self._extend(f"fields/{spec.name}", rows, values)
            if samples.identity is not None:
                self._extend("identity/index", rows, samples.identity.indices.cpu().numpy().astype(np.int64))
            if (certificate := samples.certificate) is not None:
                self._methods[certificate.method] = None
                for name in ("value", "tolerance", "iterations"):
                    numbers = getattr(certificate, name).detach().cpu().numpy()
                    numbers = numbers.astype(np.int64 if name == "iterations" else np.float64)
                    self._extend(f"pdekit/certificate/{name}", rows, numbers)
            self._disk_of().check()
        self.written = rows.stop

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._discard()
            return
        with self._guard():
            file = self._open_file()
            if self._identity is not None:
                identity = {name: getattr(self._identity, name) for name in ("seed", "split", "attempt")}
                set_attributes(file["identity"], identity)
            if self._certificate is not None:
                texts = {"kind": self._certificate.kind, "dtype": self._certificate.dtype}
                set_attributes(file["pdekit/certificate"], {**texts, "method": "; ".join(self._methods)})
            file.close()
            self._disk_of().finish()
            os.replace(self._partial, self.path)

    def _open_file(self) -> h5py.File:
        if self._file is None or not self._file.id.valid:
            raise InputError(f"The dataset {self.path} is not open; expected `with DatasetWriter(..) as writer:`.")
        return self._file

    def _disk_of(self) -> "_Disk":
        assert self._disk is not None
        return self._disk

    def _dataset(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
        chunks = (self._rows_a_chunk(math.prod(shape) * dtype.itemsize), *shape)
        return self._open_file().create_dataset(
            name, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunks, track_times=False
        )

    def _dtype_of(self, spec: FieldSpec) -> np.dtype:
        """Of the field as it is stored; a complex number is a pair of real ones to HDF5."""
        return np.result_type(self._dtype, np.complex64) if spec.complex else self._dtype

    def _stored(self, spec: FieldSpec) -> int:
        row = math.prod(self.schema.shape_of(spec.name)) * self._dtype_of(spec).itemsize
        rows = self._rows_a_chunk(row)
        return math.ceil(self.count / rows) * rows * row

    def _rows_a_chunk(self, row_bytes: int) -> int:
        return max(1, min(_CHUNK_BYTES // row_bytes, self.count))

    def _extend(self, name: str, rows: slice, values: np.ndarray) -> None:
        file = self._open_file()
        dataset: Any = file[name] if name in file else self._dataset(name, values.shape[1:], values.dtype)
        dataset.resize(rows.stop, axis=0)
        if len(values):
            dataset[rows] = values

    def _check(self, samples: Samples) -> None:
        if samples.schema != self.schema:
            raise InputError(f"A batch of another schema was appended to {self.path}; expected the schema announced.")
        if self.written + len(samples) > self.count:
            total = self.written + len(samples)
            raise InputError(f"{total} samples were appended to {self.path}, which was opened for {self.count}.")
        first = self.written == 0 and self._identity is None and self._certificate is None
        identity, certificate = samples.identity, samples.certificate
        if first:
            self._identity, self._certificate = identity, certificate
            return
        if _origin(identity) != _origin(self._identity):
            raise InputError(
                f"A batch of (seed, split, attempt) = {_origin(identity)} was appended to {self.path}, which holds "
                f"{_origin(self._identity)}; expected one dataset for each."
            )
        if _measure(certificate) != _measure(self._certificate):
            raise InputError(
                f"A batch with certificates of (kind, dtype) = {_measure(certificate)} was appended to {self.path}, "
                f"which holds {_measure(self._certificate)}; expected the same for all samples."
            )

    @contextlib.contextmanager
    def _guard(self):
        """Leave nothing behind after an error, and say which file wanted how much when the disk is full."""
        try:
            yield
        except BaseException as error:
            free = shutil.disk_usage(self.path.parent).free
            self._discard()
            if isinstance(error, OSError) and error.errno in _FULL:
                raise self._disk_full(free) from error
            raise

    def _discard(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._disk is not None:
            self._disk.file.close()
            self._partial.unlink(missing_ok=True)

    def _disk_full(self, free: int) -> DiskFull:
        return DiskFull(
            errno.ENOSPC,
            f"There is no room for the dataset {self.path}: {self.count} samples need {size_text(self.needed)}, "
            f"{size_text(free)} are free ({self.written} samples were written; nothing of them is kept)",
        )


def _to_json(name: str, content: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(content, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"The {name} of a dataset cannot be stored: {error}; expected what JSON can hold.") from error
    if len(text.encode()) > _LARGEST_ATTRIBUTE:
        raise InputError(f"The {name} of a dataset has {len(text)} characters; expected at most {_LARGEST_ATTRIBUTE}.")
    return text


def _origin(identity: Identity | None) -> tuple[int, str, int] | None:
    return None if identity is None else (identity.seed, identity.split, identity.attempt)


def _measure(certificate: Certificate | None) -> tuple[str, str] | None:
    return None if certificate is None else (certificate.kind, certificate.dtype)


class _Disk(io.RawIOBase):
    """The file under HDF5: it keeps the first error to itself until asked.

    HDF5 does not survive a failed write: it reports some of them to nobody, and crashes the process when it closes. So
    it is told that all is well, and whoever writes asks :meth:`check`.
    """

    def __init__(self, path: Path):
        self.file = open(path, "w+b", buffering=0)
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Have the system write everything to the disk, and close."""
        self.check()
        os.fsync(self.file.fileno())
        self.file.close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer) -> int:
        return self.file.readinto(buffer)

    def write(self, content) -> int:
        left = memoryview(content).cast("B")
        try:
            while self._error is None and len(left):
                left = left[self.file.write(left) :]
        except OSError as error:
            self._error = error
        return len(content)

    def truncate(self, size: int) -> int:
        try:
            return self.file.truncate(size) if self._error is None else size
        except OSError as error:
            self._error = error
            return size

    def flush(self) -> None:
        """Nothing to do: the file is not buffered."""
