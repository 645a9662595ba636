"""Periodic axes as the multigrid wants them, for NumPy arrays and tensors.

Rings of one or two points are opened; odd rings get dummy points (see `pdekit.kernels.plan.periodic_extension`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pdekit.kernels.plan import Extension

__all__ = ["extend_field", "extend_network", "open_small_rings", "restrict_field"]

Array = Any  # np.ndarray or torch.Tensor: indexing by lists and arithmetic are the same


def _take(a: Array, index: Sequence[int], k: int, dim: int) -> Array:
    if isinstance(a, torch.Tensor):
        return a.index_select(k - dim, torch.tensor(list(index)).to(a.device))
    return np.take(a, list(index), axis=k - dim)


def _along(values: Sequence[float], like: Array, k: int, dim: int) -> Array:
    shape = (-1, *[1] * (dim - 1 - k))
    if isinstance(like, torch.Tensor):
        return torch.tensor(values, dtype=like.dtype).to(like.device).reshape(shape)
    return np.asarray(values, dtype=like.dtype).reshape(shape)


def _spread(a: Array, extension: Extension, k: int, dim: int) -> Array:
    """Values at the points, zero at the dummies."""
    source, real = [0] * extension.length, [0.0] * extension.length
    for i, j in enumerate(extension.position):
        source[j], real[j] = i, 1.0
    return _take(a, source, k, dim) * _along(real, a, k, dim)


def open_small_rings(faces: Sequence[Array], periodic: Sequence[bool]) -> tuple[list[Array], tuple[bool, ...]]:
    """The same network with rings of one point (linked to itself: no current) and of two (two links side by side) open.

    Example:
        >>> faces, periodic = open_small_rings([np.array([[1.0, 2.0, 1.0]])], (True,))
        >>> faces[0].tolist(), periodic
        ([[0.0, 3.0, 0.0]], (False,))
    """
    dim = len(faces)
    faces, periodic = list(faces), list(periodic)
    for k in range(dim):
        n = faces[k].shape[k - dim] - 1
        if periodic[k] and n <= 2:
            middle = _take(faces[k], [0] * (n + 1), k, dim) + _take(faces[k], [1] * (n + 1), k, dim)
            faces[k] = middle * _along([0.0] * (n + 1) if n == 1 else [0.0, 1.0, 0.0], faces[k], k, dim)
            periodic[k] = False
    return faces, tuple(periodic)


def extend_network(
    faces: Sequence[Array], sink: Array | None, extensions: Sequence[Extension | None]
) -> tuple[list[Array], Array | None]:
    """Conductances of the extended lattice; the last axes are the lattice's, anything before them is a batch."""
    dim = len(faces)
    faces = list(faces)
    for k, extension in enumerate(extensions):
        if extension is None:
            continue
        for axis in range(dim):
            if axis == k:
                faces[k] = _take(faces[k], extension.link, k, dim) * _along(extension.parts, faces[k], k, dim)
            else:
                faces[axis] = _spread(faces[axis], extension, k, dim)
        sink = None if sink is None else _spread(sink, extension, k, dim)
    return faces, sink


def extend_field(a: Array, extensions: Sequence[Extension | None], interpolate: bool = False) -> Array:
    """A field with zeros at the dummies, or with what their equations make of the neighbours there."""
    dim = len(extensions)
    for k, extension in enumerate(extensions):
        if extension is None:
            continue
        if not interpolate:
            a = _spread(a, extension, k, dim)
            continue
        n, length = len(extension.position), extension.length
        low, high, share = [0] * length, [0] * length, [0.0] * length
        for j in range(length):
            i = extension.link[j] if j not in extension.position else extension.position.index(j)
            if j in extension.position:
                low[j] = high[j] = i
            else:  # inside the link between points i - 1 and i
                low[j], high[j] = (i - 1) % n, i % n
                share[j] = (j - extension.position[(i - 1) % n]) / extension.parts[j]
        part = _along(share, a, k, dim)
        a = (1 - part) * _take(a, low, k, dim) + part * _take(a, high, k, dim)
    return a


def restrict_field(a: Array, extensions: Sequence[Extension | None]) -> Array:
    """The points' values of an extended field."""
    dim = len(extensions)
    for k, extension in enumerate(extensions):
        if extension is not None:
            a = _take(a, extension.position, k, dim)
    return a
