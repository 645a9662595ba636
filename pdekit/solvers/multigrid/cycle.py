"""The V-cycle in tensor operations: batched, any device (the torch twin of `pdekit.kernels`)."""
import torch
from pdekit.kernels.layout import BLOCK_ORDER
from pdekit.kernels.plan import Level, plan_levels
from pdekit.solvers.multigrid.coarsening import averaged
from pdekit.solvers.multigrid.galerkin import (add_shifted_, at, corners, count, galerkin, half_offsets, interpolation, neg, pad, shifted, slots, wrap_)


class LatticeLevel:
    def __init__(self, level, periodic, offsets, couplings, diagonal):
        self.level, self.periodic, self.offsets = level, periodic, offsets
        dim = self.dim = len(level.shape)
        self.couplings = [pad(c, dim, periodic) for c in couplings]
        self.diagonal = diagonal
        self.inverse = torch.where(diagonal > 0, 1 / diagonal, 0.0)
        self.weights = None
        self.full = len(offsets) > dim
        self.coupled = any(p and n % 2 for p, n in zip(periodic, level.shape))
        par = lambda p: sum(q != s for q, s in zip(p, level.offset)) % 2
        if self.full:
            self.colours = [[tuple(((q >> (dim - 1 - k)) & 1) ^ o for k, o in enumerate(level.offset))] for q in BLOCK_ORDER[dim]]
        else:
            self.colours = [[p for p in slots(dim) if par(p) == c] for c in (0, 1)]

    def neighbours(self, u, p, counts):
        out = 0
        zero = (0,) * self.dim
        for c, o in zip(self.couplings, self.offsets):
            out = out + at(c, p, zero, counts) * at(u, p, neg(o), counts) + at(c, p, o, counts) * at(u, p, o, counts)
        return out

    def relax(self, u, f, colour):
        for p in colour:
            counts = count(self.level, p)
            if 0 in counts: continue
            sl = (..., *[slice(q, None, 2) for q in p])
            at(u, p, (0,) * self.dim, counts).copy_(self.inverse[sl] * (f[sl] + self.neighbours(u, p, counts)))
        wrap_(u, self.periodic)

    def matvec(self, x):
        xp = pad(x, self.dim, self.periodic)
        out = self.diagonal * x
        inner = lambda y, o: y[(..., *[slice(1 + d, 1 + d + n) for d, n in zip(o, self.level.shape)])]
        zero = (0,) * self.dim
        for c, o in zip(self.couplings, self.offsets):
            out = out - inner(c, zero) * inner(xp, neg(o)) - inner(c, o) * inner(xp, o)
        return out

    def transfer_weights(self, p):
        """{corner: scalar or tensor}"""
        L = self.level
        flips = [k and q != s for k, q, s in zip(L.coarsened, p, L.offset)]
        if self.weights is not None:
            return {tuple([0]*self.dim): None} if self.weights[p] is None else self.weights[p]
        counts = count(L, p)
        out = {}
        for c in corners(flips, L):
            w = None
            for k in range(self.dim):
                if flips[k]:
                    v = torch.full((counts[k],), 0.5, dtype=self.diagonal.dtype, device=self.diagonal.device)
                    nc = (L.shape[k] - L.offset[k] + 1) // 2
                    last = L.offset[k] + 2 * (nc - 1)
                    if last < L.shape[k] - 1 and not self.periodic[k]:  # last fine point beyond
                        # its lower corner gets end, upper does not exist
                        v[-1] = L.end[k]
                    v = v.reshape([-1] + [1] * (self.dim - 1 - k))
                    w = v if w is None else w * v
            out[c] = w
        return out

    def restrict(self, t, nxt):
        L = self.level
        out = t.new_zeros(*t.shape[:-self.dim], *nxt.level.shape)
        for p in slots(self.dim):
            counts = count(L, p)
            if 0 in counts: continue
            r = t[(..., *[slice(q, None, 2) for q in p])]
            target = out[(..., *[slice(None) if k else slice(q, None, 2) for k, q in zip(L.coarsened, p)])]
            for corner, w in self.transfer_weights(p).items():
                add_shifted_(target, r if w is None else w * r, tuple(c if k else 0 for c, k in zip(corner, L.coarsened)), self.periodic)
        return out

    def prolong_add(self, u, e):
        L = self.level
        for p in slots(self.dim):
            counts = count(L, p)
            if 0 in counts: continue
            source = e[(..., *[slice(None) if k else slice(q, None, 2) for k, q in zip(L.coarsened, p)])]
            v = at(u, p, (0,) * self.dim, counts)
            for corner, w in self.transfer_weights(p).items():
                s = shifted(source, tuple(c if k else 0 for c, k in zip(corner, L.coarsened)), counts, self.periodic)
                v += s if w is None else w * s
        wrap_(u, self.periodic)


def build(faces, sink, periodic, plan, coarsening, mean="log", first_averaged=0):
    dim = len(faces)
    levels = []
    N = plan[0].shape
    offsets = half_offsets(dim, False)
    def network(faces, sink):
        diag = 0 if sink is None else sink
        c = []
        for k in range(dim):
            f = faces[k]; a = k - dim; n = f.shape[a] - 1
            diag = diag + f.narrow(a, 0, n) + f.narrow(a, 1, n)
            g = f.narrow(a, 0, n)
            if not periodic[k]:
                g = g.clone(); g.select(a, 0).zero_()
            c.append(g)
        return c, diag
    for i, level in enumerate(plan):
        if i == 0 or coarsening == "averaged":
            c, diag = network(faces, sink)
        levels.append(LatticeLevel(level, periodic, offsets, c, diag))
        if level.coarsest: break
        if coarsening == "averaged":
            faces, sink = averaged(faces, sink, level, periodic, mean)
        else:
            me = levels[-1]
            me.weights = interpolation(me.couplings, me.diagonal, level, periodic, offsets)
            c, diag = galerkin(me.couplings, me.diagonal, level, plan[i + 1], periodic, offsets, me.weights)
            offsets = half_offsets(dim, True)
    return levels


def coarse_inverse(level, singular):
    n = level.diagonal[(..., *[0] * level.dim)].numel()
    N = 1
    for s in level.level.shape: N *= s
    eye = torch.eye(N, dtype=level.diagonal.dtype).reshape(N, *[1]*(level.diagonal.ndim-level.dim), *level.level.shape).expand(N, *level.diagonal.shape)
    A = level.matvec(eye).reshape(N, -1, N).permute(1, 0, 2)
    if singular:
        A = A + A.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] / N
    return torch.linalg.inv(A)


def cycle(levels, inv, f, i=0):
    L = levels[i]
    if L.level.coarsest:
        return (inv @ f.reshape(*f.shape[:-L.dim], -1, 1)).reshape(f.shape)
    u = f.new_zeros(*f.shape[:-L.dim], *[n + 2 for n in L.level.shape])
    for colour in L.colours:
        L.relax(u, f, colour)
    inner = (..., *[slice(1, 1 + n) for n in L.level.shape])
    t = f - L.matvec(u[inner])
    e = cycle(levels, inv, L.restrict(t, levels[i + 1]), i + 1)
    L.prolong_add(u, e)
    for colour in reversed(L.colours):
        L.relax(u, f, colour)
    return u[inner].clone()
