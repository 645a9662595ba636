"""Reading datasets, also a stranger's: nothing is executed, and no more memory is taken than the file can fill."""

import contextlib
import json
from pathlib import Path
from typing import Any, cast, get_args

import h5py
import numpy as np
import torch

from pdekit.core.errors import InputError
from pdekit.samples.certificate import Certificate, CertificateKind
from pdekit.samples.layout import FORMAT, PDEKIT, VERSION, size_text
from pdekit.samples.samples import Identity, Samples
from pdekit.samples.schema import Schema

__all__ = ["read", "read_metadata"]

_DEFLATE_AT_MOST = 1032  # times smaller, for data that somebody has compressed


def read(path: str | Path) -> Samples:
    """Read a dataset that :func:`write`, :class:`DatasetWriter` or ``generate`` has written.

    A file is data: nothing in it is executed, and no more memory is taken than the file itself can fill.

    Args:
        path: the file, or a folder of ``part-*.h5`` files.

    Returns:
        The samples in stored precision, on the CPU. The seconds of the certificates are NaN: files do not hold them.

    Raises:
        InputError: no such file, a file that is truncated or damaged, of another format or version, or whose parts do
            not fit together.
    """
    path = Path(path)
    if path.is_dir():
        parts = sorted(path.glob("part-*.h5"))
        if not parts:
            raise InputError(f"The folder {path} holds no dataset; expected files part-00000.h5, ...")
        return Samples.cat([read(part) for part in parts]) if len(parts) > 1 else read(parts[0])
    with _opened(path) as file:
        schema = Schema.from_json(_json(file, "schema"))
        fields: dict[str, torch.Tensor] = {}
        count: int | None = None
        for spec in schema.fields:
            fields[spec.name] = _array(file, f"fields/{spec.name}", "f", schema.domain.shape, count)
            count = len(fields[spec.name])
        identity = certificate = None
        if "identity" in file:
            group = _group(file, "identity")
            indices = _array(file, "identity/index", "iu", (), count)
            seed, split, attempt = (_attribute(group, n) for n in ("seed", "split", "attempt"))
            identity = Identity(int(seed), str(split), indices.to(torch.int64), int(attempt))
        if "pdekit/certificate" in file:
            group = _group(file, "pdekit/certificate")
            kind, method, dtype = (str(_attribute(group, n)) for n in ("kind", "method", "dtype"))
            if kind not in get_args(CertificateKind):
                raise InputError(
                    f"the certificate is of the kind {kind!r}; known: {', '.join(get_args(CertificateKind))}"
                )
            value, tolerance = (_array(file, f"pdekit/certificate/{n}", "f", (), count) for n in ("value", "tolerance"))
            iterations = _array(file, "pdekit/certificate/iterations", "iu", (), count).to(torch.int64)
            seconds = torch.full_like(value, float("nan"))
            certificate = Certificate(cast(CertificateKind, kind), value, tolerance, iterations, seconds, method, dtype)
        return Samples(schema, fields, identity, certificate)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a dataset.

    Raises:
        InputError: as :func:`read`.
    """
    with _opened(Path(path)) as file:
        return _json(file, "metadata")


@contextlib.contextmanager
def _opened(path: Path):
    """An open file of ours; whatever goes wrong with it becomes an InputError that names it."""
    if not path.is_file():
        raise InputError(f"There is no dataset {path}.")
    try:
        _check_superblock(path)
        with h5py.File(path, "r") as file:
            given = _attribute(file, "format") if "format" in file.attrs else None
            if given != FORMAT:
                raise InputError(f"its format is {given!r}; expected {FORMAT!r}")
            if (version := int(_attribute(file, "version"))) != VERSION:
                raise InputError(f"its version is {version}; this pdekit ({PDEKIT}) reads {VERSION}")
            yield file
    except InputError as error:
        raise InputError(f"The dataset {path} cannot be read: {error}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        reason = "it is truncated" if "truncated" in str(error) else "it is damaged, or no HDF5 file"
        raise InputError(f"The dataset {path} cannot be read: {reason} ({error}).") from error


def _check_superblock(path: Path) -> None:
    """Refuse HDF5 files without checksums before the library looks at them: see `layout`."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(b"\x89HDF\r\n\x1a\n") and head[8:9] < b"\x02":
        raise InputError(
            "it is an HDF5 file of the old kind, without checksums, which pdekit does not write; expected one that "
            "`pdekit generate` or pdekit.samples.hdf5.write() made"
        )


def _hard(file: h5py.File, name: str, kind: type) -> Any:
    """The object itself: a link could lead to another file."""
    place: Any = file
    for step in name.split("/"):
        if not isinstance(place, h5py.Group) or step not in place:
            raise InputError(f"{name} is missing")
        if not isinstance(place.get(step, getlink=True), h5py.HardLink):
            raise InputError(f"{name} is a link; expected it in the file itself")
        place = place[step]
    if not isinstance(place, kind):
        raise InputError(f"{name} is a {type(place).__name__.lower()}; expected a {kind.__name__.lower()}")
    return place


def _group(file: h5py.File, name: str) -> h5py.Group:
    return _hard(file, name, h5py.Group)


def _attribute(place: h5py.Group, name: str) -> Any:
    if name not in place.attrs:
        raise InputError(f"the attribute {name} of {place.name} is missing")
    text = h5py.check_string_dtype(place.attrs.get_id(name).dtype)
    if text is not None and text.length is None:  # not to be read: see `layout`
        raise InputError(f"the attribute {name} of {place.name} is text of variable length; expected fixed length")
    value = place.attrs[name]
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str | np.integer):
        raise InputError(
            f"the attribute {name} of {place.name} is a {type(value).__name__}; expected text or an integer"
        )
    return value


def _json(file: h5py.File, name: str) -> dict[str, Any]:
    content = json.loads(str(_attribute(file, name)))
    if not isinstance(content, dict):
        raise InputError(f"the attribute {name} is a {type(content).__name__}; expected a JSON object")
    return content


def _array(file: h5py.File, name: str, kinds: str, shape: tuple[int, ...], count: int | None = None) -> torch.Tensor:
    """Read an array, after its type, shape and size have been found to be possible."""
    dataset: h5py.Dataset = _hard(file, name, h5py.Dataset)
    if dataset.dtype.kind not in kinds or dataset.dtype.itemsize not in (4, 8):
        expected = "floating-point numbers" if kinds == "f" else "integers"
        raise InputError(f"{name} holds {dataset.dtype}; expected {expected} of 32 or 64 bits")
    if dataset.shape is None or dataset.shape[1:] != tuple(shape) or count not in (None, dataset.shape[0]):
        wanted = ("N" if count is None else str(count), *map(str, shape))
        raise InputError(f"{name} has shape {dataset.shape}; expected ({', '.join(wanted)})")
    if dataset.is_virtual or dataset.external:
        raise InputError(f"{name} lies in other files; expected it in the file itself")
    filtered = dataset.id.get_create_plist().get_nfilters() > 0
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > stored * (_DEFLATE_AT_MOST if filtered else 1):
        raise InputError(
            f"{name} claims {size_text(dataset.nbytes)} and holds {size_text(stored)}; it is truncated or forged"
        )
    values = np.empty(dataset.shape, dataset.dtype.newbyteorder("="))
    if values.size:
        dataset.read_direct(values)
    return torch.from_numpy(values)
