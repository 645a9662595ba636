"""Coarse operators of a lattice multigrid, in tensor operations (the torch twin of `pdekit.kernels`)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
import torch

from pdekit.kernels.plan import Level

def take(x, axis, start, stop=None, step=1):
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, stop, step)
    return x[tuple(index)]

def series(a, b):
    s = a + b
    return torch.where(s > 0, a * b / torch.where(s > 0, s, 1.0), 0.0)

def across(x, axis, level, k, periodic):
    """weighted sum over fine neighbours (the transpose of linear interpolation along one axis)"""
    n, s = level.shape[k], level.offset[k]
    nc = (n - s + 1) // 2
    out = take(x, axis, s, None, 2).clone()
    if s == 1:
        out += 0.5 * take(x, axis, 0, 2 * nc, 2)
        right = take(x, axis, 2, None, 2)  # between
        m = right.shape[axis]
        if m == nc:  # last beyond
            w = torch.full((nc,), 0.5, dtype=x.dtype, device=x.device); w[-1] = level.end[k]
            out += right * w.reshape([-1] + [1] * (-axis - 1))
        else:
            take(out, axis, 0, m).add_(0.5 * right)
    else:
        odd = take(x, axis, 1, None, 2)
        m = odd.shape[axis]
        take(out, axis, 1, m + (m < nc)).add_(0.5 * take(odd, axis, 0, m - (m == nc)))
        w = torch.full((m,), 0.5, dtype=x.dtype, device=x.device)
        if m == nc:
            w[-1] = 0.5 if periodic else level.end[k]
        take(out, axis, 0, m).add_(odd * w.reshape([-1] + [1] * (-axis - 1)))
        if m == nc and periodic:
            take(out, axis, 0, 1).add_(0.5 * take(odd, axis, m - 1, m))
    return out

def in_series(f, axis, level, k, periodic):
    n, s = level.shape[k], level.offset[k]
    nc = (n - s + 1) // 2
    last = s + 2 * (nc - 1)
    # faces 2I+s-1, 2I+s, I = 0..nc
    if s == 1:
        a, b = take(f, axis, 0, 2 * nc, 2), take(f, axis, 1, 2 * nc, 2)
        inner = series(a, b)
    else:
        a, b = take(f, axis, 1, 2 * nc - 1, 2), take(f, axis, 2, 2 * nc - 1, 2)
        inner = torch.cat([take(f, axis, 0, 1), series(a, b)], axis)
    if last == n - 1:
        end = take(f, axis, n, n + 1)
    else:
        end = series(take(f, axis, n - 1, n), take(f, axis, n, n + 1))
    out = torch.cat([inner, end], axis)
    if periodic:
        take(out, axis, 0, 1).copy_(end)
    return out

def averaged(faces, sink, level: Level, periodic, mean="log"):
    dim = len(faces)
    new = []
    for k in range(dim):
        f, g = faces[k], faces[k]
        others = [j for j in range(dim) if j != k and level.coarsened[j]]
        if level.coarsened[k]:
            f = in_series(f, k - dim, level, k, periodic[k])
        for j in others:
            f, g = across(f, j - dim, level, j, periodic[j]), across(g, j - dim, level, j, periodic[j])
        if level.coarsened[k]:
            g = in_series(g, k - dim, level, k, periodic[k])
        new.append({"AH": f, "HA": g, "log": (f * g).sqrt(), "mid": 0.5*(f+g)}[mean])
    if sink is not None:
        for k in range(dim):
            if level.coarsened[k]:
                sink = across(sink, k - dim, level, k, periodic[k])
    return new, sink
