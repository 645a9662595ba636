"""In which order the systems of a ticket are solved: as drawn, or neighbours one after another."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pdekit.core.checks import check_finite
from pdekit.core.errors import InputError
from pdekit.domain import Grid
from pdekit.samples import Inputs

__all__ = ["Order", "greedy", "hilbert", "low_frequencies", "solving_order"]

Order = Literal["drawn", "sorted"]
LONG = 512
"""Samples from which on the distances between all pairs are more than an order is worth."""
CELL, AXES = 32, 3
"""Samples a cell of the Hilbert curve, and principal components that it runs through."""


def greedy(keys: Float[Tensor, "batch d"], start: int = 0) -> Int[Tensor, " batch"]:
    """From each sample to the nearest one not yet visited.

    Args:
        keys: what the distance (Euclidean) is taken of; all pairs are compared, which takes ``batch^2 d`` operations.
        start: row of the first sample.

    Returns:
        The rows in their order.

    Raises:
        InputError: no such row, or keys that are no finite real numbers ``(batch, d)``.

    Example:
        >>> greedy(torch.tensor([[0.0], [3.0], [1.0], [2.5]]))
        tensor([0, 2, 3, 1])

    Source:
        Wang et al., Accelerating data generation for neural operators via Krylov subspace recycling, ICLR 2024,
        algorithm 1.
    """
    keys, count = _checked(keys), len(keys)
    if not 0 <= start < max(1, count):
        raise InputError(f"start is {start} with {count} keys; expected the row of one of them.")
    distances = torch.cdist(keys, keys)
    free = torch.zeros(count, dtype=keys.dtype, device=keys.device)  # infinite once visited
    order = [start] if count else []
    for _ in range(count - 1):
        free[order[-1]] = math.inf
        order.append(int((distances[order[-1]] + free).argmin()))
    return torch.tensor(order, dtype=torch.int64)


def hilbert(keys: Float[Tensor, "batch d"]) -> Int[Tensor, " batch"]:
    """Along a Hilbert curve through the principal components of the keys, and greedily within each of its cells.

    For many samples: the distances between all pairs are never taken. Each component is cut at its quantiles, so that
    cells hold about equally many samples.

    Args:
        keys: as for :func:`greedy`.

    Returns:
        The rows in their order.

    Raises:
        InputError: keys that are no finite real numbers ``(batch, d)``.

    Example:
        >>> points = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> def length(order):
        ...     return float(points[order].diff(dim=0).norm(dim=1).sum())
        >>> length(hilbert(points)) < 0.1 * length(torch.arange(1000))
        True

    Source:
        As :func:`greedy`; Skilling, Programming the Hilbert curve, AIP Conference Proceedings 707, 2004.
    """
    keys = _checked(keys)
    count, axes = len(keys), min(AXES, keys.shape[1])
    bits = max(0, round(math.log2(max(1, count / CELL)) / max(1, axes)))
    if bits == 0:
        return greedy(keys)
    ranks = _principal(keys, axes).argsort(dim=0).argsort(dim=0)
    cells = _hilbert_index(ranks * 2**bits // count, bits)
    order: list[int] = []
    for cell in cells.unique(sorted=True):
        rows = torch.nonzero(cells == cell).flatten()
        start = int((keys[rows] - keys[order[-1]]).norm(dim=1).argmin()) if order else 0
        order += rows[greedy(keys[rows], start)].tolist()
    return torch.tensor(order, dtype=torch.int64)


def _checked(keys: Tensor) -> Tensor:
    if keys.ndim != 2 or keys.is_complex():
        raise InputError(f"keys are {keys.dtype} of shape {tuple(keys.shape)}; expected real numbers (batch, d).")
    check_finite("keys", keys)
    return keys.to(torch.promote_types(keys.dtype, torch.float32))


def low_frequencies(fields: Float[Tensor, "batch *shape"], modes: int = 12) -> Float[Tensor, "batch d"]:
    """The first coefficients of the cosine transform of fields on a grid, along every axis: a short key.

    Args:
        fields: values at the points.
        modes: coefficients kept along each axis.

    Raises:
        InputError: no mode at all, or fields that are not real, or without an axis beside the batch.

    Example:
        >>> low_frequencies(torch.rand(5, 64, 64)).shape
        torch.Size([5, 144])
    """
    if modes < 1:
        raise InputError(f"modes={modes}; expected at least 1.")
    if fields.ndim < 2 or not fields.is_floating_point():
        raise InputError(
            f"fields are {fields.dtype} of shape {tuple(fields.shape)}; expected real numbers (batch, *grid.shape)."
        )
    for axis in range(1, fields.ndim):
        points = fields.shape[axis]
        waves = torch.arange(min(modes, points), dtype=fields.dtype, device=fields.device)
        centres = (torch.arange(points, dtype=fields.dtype, device=fields.device) + 0.5) / points
        cosines = torch.cos(math.pi * centres[:, None] * waves) * (2.0 / points) ** 0.5
        cosines[:, 0] /= 2**0.5
        fields = (fields.movedim(axis, -1) @ cosines).movedim(-1, axis)
    return fields.flatten(1)


def solving_order(inputs: Inputs) -> Int[Tensor, " batch"]:
    """An order in which neighbours follow each other, starting with the first sample.

    All inputs count alike, each divided by its spread over the batch; of those on a grid the low frequencies count.
    Where every sample has its own mesh, values at nodes cannot be compared and only inputs of one shape count; with
    none of these the order is the drawn one.

    Args:
        inputs: a ticket's.

    Returns:
        The rows in the order in which to solve them.
    """
    count, keys = len(inputs), []
    for name in inputs.schema.inputs:
        spec = inputs.schema.field(name)
        on_domain = spec.shape is None or None in spec.shape
        if on_domain and inputs.meshes is not None:
            continue
        values = inputs[name]
        on_grid = spec.shape is None and isinstance(inputs.schema.domain, Grid)
        parts = [values.real, values.imag] if values.is_complex() else [values]
        parts = [(low_frequencies(p.double()) if on_grid else p.double().reshape(count, -1)) for p in parts]
        key = torch.cat(parts, dim=1)
        spread = (key - key.mean(0)).norm() / count**0.5
        if spread > 0:
            keys.append(key / spread)
    if not keys:
        return torch.arange(count)
    return (hilbert if count > LONG else greedy)(torch.cat(keys, dim=1)).cpu()


def _principal(keys: Tensor, axes: int) -> Tensor:
    """The coordinates along the principal components of greatest variance."""
    centred = keys - keys.mean(0)
    if keys.shape[1] <= len(keys):
        directions = torch.linalg.eigh(centred.T @ centred).eigenvectors
        return centred @ directions[:, -axes:].flip(1)
    values, directions = torch.linalg.eigh(centred @ centred.T)
    return (directions * values.clamp_min(0).sqrt())[:, -axes:].flip(1)


def _hilbert_index(cells: Int[Tensor, "batch axes"], bits: int) -> Int[Tensor, " batch"]:
    """Where a Hilbert curve through ``2^bits`` cells along every axis meets these cells; Skilling's algorithm."""
    x = list(cells.to(torch.int64).unbind(1))
    for bit in reversed(range(1, bits)):
        low = 2**bit - 1
        for axis in range(len(x)):
            high = (x[axis] >> bit) & 1 == 1
            change = torch.where(high, low, (x[0] ^ x[axis]) & low)
            x[axis] = torch.where(high, x[axis], x[axis] ^ change)
            x[0] = x[0] ^ change if axis else torch.where(high, x[0] ^ low, x[0])
    for axis in range(1, len(x)):
        x[axis] = x[axis] ^ x[axis - 1]
    flip = torch.zeros_like(x[0])
    for bit in range(1, bits):
        flip = torch.where((x[-1] >> bit) & 1 == 1, flip ^ (2**bit - 1), flip)
    index = torch.zeros_like(x[0])
    for bit in reversed(range(bits)):
        for part in x:
            index = index << 1 | ((part ^ flip) >> bit) & 1
    return index
