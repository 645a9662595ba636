"""Operator-dependent interpolation and Galerkin coarse operators on lattices, in tensor operations."""

import itertools

import torch
from torch import Tensor

from pdekit.kernels.plan import Level


def half_offsets(dim: int, full: bool) -> list[tuple[int, ...]]:
    """One of each pair of opposite neighbours: the axis ones, then the diagonal ones."""
    axis = [tuple(int(j == k) for j in range(dim)) for k in range(dim)]
    if not full:
        return axis
    return axis + [o for o in itertools.product((-1, 0, 1), repeat=dim) if o > (0,) * dim and o not in axis]


def slots(dim):
    return list(itertools.product((0, 1), repeat=dim))


def count(level: Level, p):
    return tuple((n - q + 1) // 2 for n, q in zip(level.shape, p, strict=True))


def at(x: Tensor, p, o, counts):
    """Strided view of the padded lattice x: points of parity p moved by o."""
    index = tuple(slice(1 + q + d, 1 + q + d + 2 * (c - 1) + 1, 2) for q, d, c in zip(p, o, counts, strict=True))
    return x[(..., *index)]


def neg(o):
    return tuple(-c for c in o)


def wrap_(x: Tensor, periodic) -> Tensor:
    """Copy the ghost layers of periodic axes of a padded lattice."""
    dim = len(periodic)
    for k in range(dim):
        if periodic[k]:
            axis = k - dim
            n = x.shape[axis] - 2
            x.select(axis, 0).copy_(x.select(axis, n))
            x.select(axis, n + 1).copy_(x.select(axis, 1))
    return x


def pad(x: Tensor, dim, periodic) -> Tensor:
    return wrap_(torch.nn.functional.pad(x, (1, 1) * dim), periodic)


def corners(flips, level):
    """coarse cells (relative to the cell of the fine point) it interpolates from, all flipped axes"""
    return list(itertools.product(*[((-1, 0) if s else (0, 1)) if f else (0,) for f, s in zip(flips, level.offset, strict=True)]))


class Weights:
    """w[p][corner] : padded in cells (1 ghost each side) along coarsened axes; natural along others"""


def interpolation(couplings, diagonal, level: Level, periodic, offsets):
    """P rows. All arrays indexed by fine points of parity p (all axes split by parity)."""
    dim = len(level.shape)
    K = level.coarsened
    lookup = {}
    for c, o in zip(couplings, offsets, strict=True):
        lookup[o] = (c, False)
        lookup[neg(o)] = (c, True)

    def coupling(p, o, counts):
        if o not in lookup:
            return None
        c, opposite = lookup[o]
        # c[i] couples i and i-o_half ; o = -half => index i ; o = +half => index i+o
        return at(c, p, (0,) * dim if opposite else o, counts)

    weights = {}
    order = sorted(slots(dim), key=lambda p: sum(k and q != s for k, q, s in zip(K, p, level.offset, strict=True)))
    zero = (0,) * dim
    for p in order:
        flips = tuple(bool(k and q != s) for k, q, s in zip(K, p, level.offset, strict=True))
        counts = count(level, p)
        if not any(flips):
            weights[p] = None
            continue
        if 0 in counts:
            weights[p] = {}
            continue
        d = diagonal[(..., *[slice(q, None, 2) for q in p])].clone()
        row = {}
        for o in itertools.product((-1, 0, 1), repeat=dim):
            inside = tuple(c if f else 0 for c, f in zip(o, flips, strict=True))
            c = coupling(p, o, counts) if o != zero else None
            if c is None:
                continue
            if inside == zero:
                d = d - c
                continue
            row[inside] = c if inside not in row else row[inside] + c
        total = sum(row.values())
        # Dendy: ignore leak
        safe = torch.where(d > 0, d, 1.0)
        w = {c: 0 for c in corners(flips, level)}
        for o, c in row.items():
            c = torch.where(d > 0, c / safe, 0.0)
            # neighbour at i+o: parity, cell shift
            q = tuple((a + b) % 2 for a, b in zip(p, o, strict=True))
            shift = tuple((a + b - e) // 2 for a, b, e in zip(p, o, q, strict=True))
            if weights[q] is None:
                w[shift] = w[shift] + c
            elif weights[q]:
                for corner, v in weights[q].items():
                    # shift v by `shift` cells, zero/periodic
                    vv = shifted(v, shift, counts, periodic)
                    key = tuple(a + b for a, b in zip(shift, corner, strict=True))
                    w[key] = w[key] + c * vv
        weights[p] = w
    return weights


def shifted(v, shift, counts, periodic):
    """v[cell + shift] on `counts` cells; zero outside (or around)."""
    dim = len(counts)
    for k in range(dim):
        axis = k - dim
        s, n, m = shift[k], v.shape[axis], counts[k]
        if s == 0 and n == m:
            continue
        if periodic[k] and n == m:
            v = torch.roll(v, -s, axis)
            continue
        lo, hi = s, s + m
        before, after = max(0, -lo), max(0, hi - n)
        v = v.narrow(axis, max(0, lo), min(hi, n) - max(0, lo))
        if before or after:
            padding = [0, 0] * (dim - 1 - k) + [before, after]
            v = torch.nn.functional.pad(v, padding)
    return v


def galerkin(couplings, diagonal, level: Level, nxt: Level, periodic, offsets, weights):
    """P^T A P -> (couplings for the full half offsets, diagonal) natural on next lattice (unpadded)."""
    dim = len(level.shape)
    zero = (0,) * dim
    K = level.coarsened
    batch = diagonal.shape[:-dim]
    full = half_offsets(dim, True)
    out = {o: diagonal.new_zeros(*batch, *nxt.shape) for o in [zero, *full]}
    lookup = {zero: None}
    for c, o in zip(couplings, offsets, strict=True):
        lookup[neg(o)] = (c, False)
        lookup[o] = (c, True)
    for p in slots(dim):
        counts = count(level, p)
        if 0 in counts:
            continue
        sub = tuple(0 if k else q for k, q in zip(K, p, strict=True))  # parity along kept axes
        B = {}
        for o, spec in lookup.items():
            if spec is None:
                a = diagonal[(..., *[slice(q, None, 2) for q in p])]
            else:
                a = -at(spec[0], p, o if spec[1] else zero, counts)
            q = tuple((x + y) % 2 for x, y in zip(p, o, strict=True))
            shift = tuple((x + y - e) // 2 for x, y, e in zip(p, o, q, strict=True))
            table = {zero: None} if weights[q] is None else weights[q]
            for corner, v in table.items():
                # coarse offset relative: along coarsened axes in cells, along kept axes in points
                key = tuple((s + c) if k else oo for s, c, k, oo in zip(shift, corner, K, o, strict=True))
                term = a if v is None else a * shifted(v, shift, counts, periodic)
                B[key] = term if key not in B else B[key] + term
        mine = {zero: None} if weights[p] is None else weights[p]
        for corner, v in mine.items():
            for b, val in B.items():
                O = tuple(x - y for x, y in zip(b, corner, strict=True))
                # we store coupling at I between I and I-o  (lower): O = -o
                o = neg(O)
                if o not in out:
                    continue
                term = val if v is None else v * val
                # scatter to coarse I = cell + corner (coarsened axes), points 2c+sub on kept axes
                target = out[o][(..., *[slice(None) if k else slice(s, None, 2) for k, s in zip(K, sub, strict=True)])]
                add_shifted_(target, term, tuple(c if k else 0 for c, k in zip(corner, K, strict=True)), periodic)
    return [-out[o] for o in full], out[zero]


def add_shifted_(target, term, shift, periodic):
    """target[cell + shift] += term[cell]"""
    dim = len(shift)
    for k in range(dim):
        axis = k - dim
        n, m, s = target.shape[axis], term.shape[axis], shift[k]
        if periodic[k] and n == m:
            if s:
                term = torch.roll(term, s, axis)
            continue
        lo, hi = max(0, s), min(n, m + s)
        target = target.narrow(axis, lo, hi - lo)
        term = term.narrow(axis, lo - s, hi - lo)
    target += term
