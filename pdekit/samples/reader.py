"""Reading datasets, also a stranger's: nothing is executed, and no more memory is taken than the file can fill."""

import contextlib
import json
from pathlib import Path
from typing import Any, cast, get_args

import h5py
import torch

from pdekit.core.errors import InputError
from pdekit.domain import Mesh
from pdekit.samples.certificate import Certificate, CertificateKind
from pdekit.samples.layout import FORMAT, PDEKIT, VERSION
from pdekit.samples.mesh_group import read_mesh
from pdekit.samples.parts import array, attribute, group
from pdekit.samples.samples import Identity, Samples
from pdekit.samples.schema import Schema

__all__ = ["load_mesh", "read", "read_metadata"]


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
        schema = Schema.from_json(_json(file, "schema"), read_mesh(file) if "mesh" in file else None)
        fields: dict[str, torch.Tensor] = {}
        count: int | None = None
        for spec in schema.fields:
            numbers, shape = "c" if spec.complex else "f", schema.shape_of(spec.name)
            fields[spec.name] = array(file, f"fields/{spec.name}", numbers, shape, count)
            count = len(fields[spec.name])
        identity = certificate = None
        if "identity" in file:
            place = group(file, "identity")
            indices = array(file, "identity/index", "iu", (), count)
            seed, split, attempt = (attribute(place, n) for n in ("seed", "split", "attempt"))
            identity = Identity(int(seed), str(split), indices.to(torch.int64), int(attempt))
        if "pdekit/certificate" in file:
            place = group(file, "pdekit/certificate")
            kind, method, dtype = (str(attribute(place, n)) for n in ("kind", "method", "dtype"))
            if kind not in get_args(CertificateKind):
                raise InputError(
                    f"the certificate is of the kind {kind!r}; known: {', '.join(get_args(CertificateKind))}"
                )
            value, tolerance = (array(file, f"pdekit/certificate/{n}", "f", (), count) for n in ("value", "tolerance"))
            iterations = array(file, "pdekit/certificate/iterations", "iu", (), count).to(torch.int64)
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


def load_mesh(path: str | Path) -> Mesh:
    """The mesh of a dataset, or of a file that :func:`save_mesh` wrote.

    Raises:
        InputError: as :func:`read`.
    """
    with _opened(Path(path)) as file:
        return read_mesh(file)


@contextlib.contextmanager
def _opened(path: Path):
    """An open file of ours; whatever goes wrong with it becomes an InputError that names it."""
    if not path.is_file():
        raise InputError(f"There is no dataset {path}.")
    try:
        _check_superblock(path)
        with h5py.File(path, "r") as file:
            given = attribute(file, "format") if "format" in file.attrs else None
            if given != FORMAT:
                raise InputError(f"its format is {given!r}; expected {FORMAT!r}")
            if (version := int(attribute(file, "version"))) != VERSION:
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


def _json(file: h5py.File, name: str) -> dict[str, Any]:
    content = json.loads(str(attribute(file, name)))
    if not isinstance(content, dict):
        raise InputError(f"the attribute {name} is a {type(content).__name__}; expected a JSON object")
    return content
