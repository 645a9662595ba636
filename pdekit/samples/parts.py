"""Single parts of a file that may be damaged or forged: checked before anything is allocated for them."""

from typing import Any

import h5py
import numpy as np
import torch

from pdekit.core.errors import InputError
from pdekit.samples.layout import size_text

__all__ = ["array", "attribute", "group", "hard"]

_DEFLATE_AT_MOST = 1032  # times smaller, for data that somebody has compressed
_KINDS = {"f": "floating-point numbers", "iu": "integers", "c": "complex numbers"}


def hard(file: h5py.File, name: str, kind: type) -> Any:
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


def group(file: h5py.File, name: str) -> h5py.Group:
    """The group of that name."""
    return hard(file, name, h5py.Group)


def attribute(place: h5py.Group, name: str) -> Any:
    """A text or an integer attached to a group."""
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


def array(
    file: h5py.File, name: str, kinds: str, shape: tuple[int | None, ...], count: int | None = None
) -> torch.Tensor:
    """Read an array, after its type, shape and size have been found to be possible.

    Args:
        file: the file.
        name: of the dataset.
        kinds: NumPy's letters of the types expected: ``f``, ``iu`` or ``c``.
        shape: of a row; None where any length is possible.
        count: rows expected; None for any number.
    """
    dataset: h5py.Dataset = hard(file, name, h5py.Dataset)
    parts = 2 if kinds == "c" else 1
    if dataset.dtype.kind not in kinds or dataset.dtype.itemsize not in (4 * parts, 8 * parts):
        raise InputError(f"{name} holds {dataset.dtype}; expected {_KINDS[kinds]} of {32 * parts} or {64 * parts} bits")
    wanted, given = (count, *shape), dataset.shape
    if (
        given is None
        or len(given) != len(wanted)
        or any(w not in (None, g) for w, g in zip(wanted, given, strict=True))
    ):
        raise InputError(
            f"{name} has shape {given}; expected ({', '.join('N' if w is None else str(w) for w in wanted)})"
        )
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
