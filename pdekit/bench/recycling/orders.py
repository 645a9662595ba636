"""What the order of solving is worth by itself, and solving one by one against a whole batch."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pdekit.bench.harness import Claim, Session
from pdekit.bench.recycling.matrices import coefficients, darcy
from pdekit.bench.recycling.tally import Tally, joined
from pdekit.bench.timing import Processes, alternate
from pdekit.core.random import Keys
from pdekit.domain import Grid
from pdekit.fields import GaussianField
from pdekit.solvers import (
    AMG,
    CG,
    CSR,
    GCRODR,
    GMRES,
    IC0,
    ILU0,
    BiCGStab,
    Chain,
    Direct,
    Freeze,
    LinearOperator,
    Method,
    Multigrid,
    RecycleSpace,
    solve,
)  # fmt: skip
from pdekit.stream.orders import greedy

__all__ = ["CLAIMS", "NOTES", "convection", "farthest", "flows", "measure"]

RTOL = 1e-8
PECLET = (10, 50)
SIDE = 104
"""Cells along a side: 10,816 unknowns."""
COUNT = 100
"""Systems of a sequence; one Peclet number a core."""
SEQUENCES = 3
"""Sequences of their own, drawn from one seed of the benchmark."""
TURN = 10
"""Systems that one order solves before the next one's turn."""
BATCH = 16
"""Systems that are solved as one batch."""
WHOLE: dict[str, dict[str, Method]] = {
    "convection": {
        "GMRES(40), ILU(0)": GMRES(ILU0(), restart=40),
        "BiCGStab, ILU(0)": BiCGStab(ILU0()),
        "SuperLU": Direct(),
    },
    "Darcy": {"CG, IC(0)": CG(IC0()), "CG, AMG": CG(AMG()), "CG, multigrid": CG(Multigrid())},
}
"""Methods that solve one by one and as a batch."""


def flows(side: int, count: int, seed: int) -> tuple[Float[Tensor, "count points points"], Tensor]:
    """Diffusivities a = exp(g) and stream functions psi, of largest speed 1: both ``(count, side + 2, side + 2)``."""
    keys, grid = Keys(seed, "recycling", range(count)), Grid((side + 2, side + 2))
    psi = GaussianField(alpha=4, tau=3, boundary="dirichlet").sample(keys.named("psi"), grid)
    h = grid.spacing[0]
    along, across = torch.gradient(psi, dim=(1, 2), spacing=h)
    return coefficients(side, count, seed), psi / torch.hypot(along, across).amax((1, 2), keepdim=True)


def convection(a: Float[Tensor, "points points"], psi: Tensor, peclet: float) -> scipy.sparse.csr_array:
    """h^2 (-div(a grad u) + peclet v . grad u) with v the curl of psi, u = 0 on the ring; upwinded, an M-matrix.

    Args:
        a: at the nodes, the ring included.
        psi: likewise; differences along an edge are fluxes through it, so that the flow is free of divergence.
        peclet: number across the domain, of length 1.
    """
    side = a.shape[0] - 2
    numbers = np.full((side + 2, side + 2), -1)
    numbers[1:-1, 1:-1] = np.arange(side**2).reshape(side, side)
    values, stream = a.numpy(), np.pad(psi.numpy(), 1, mode="edge")
    # The stream function at the corners of the cell of each node.
    corners = (stream[:-1, :-1] + stream[1:, :-1] + stream[:-1, 1:] + stream[1:, 1:]) / 4
    rows, columns, entries = [], [], []
    for axis in (0, 1):
        k, n = np.moveaxis(values, axis, 0), np.moveaxis(numbers, axis, 0)
        ends = np.moveaxis(corners, axis, 0)[1:-1]
        flux = (1 if axis == 0 else -1) * peclet * np.diff(ends, axis=1)
        face = (k[1:] + k[:-1]) / 2
        for here, there, out in ((n[:-1], n[1:], flux), (n[1:], n[:-1], -flux)):
            inside, other = here >= 0, (here >= 0) & (there >= 0)
            rows += [here[inside], here[other]]
            columns += [here[inside], there[other]]
            entries += [(face + np.maximum(out, 0))[inside], (-face + np.minimum(out, 0))[other]]
    places = np.concatenate(rows), np.concatenate(columns)
    return scipy.sparse.coo_array((np.concatenate(entries), places), shape=(side**2, side**2)).tocsr()


def farthest(keys: Float[Tensor, "batch d"]) -> Int[Tensor, " batch"]:
    """From each sample to the farthest one not yet visited: what sorting avoids, as far as it can be."""
    distances, order = torch.cdist(keys, keys), [0]
    while len(order) < len(keys):
        left = distances[order[-1]].clone()
        left[order] = -1
        order.append(int(left.argmax()))
    return torch.tensor(order)


ORDERS = {"drawn": lambda keys: torch.arange(len(keys)), "sorted": greedy, "worst": farthest}


@dataclass(frozen=True)
class Part:
    """One core's systems.

    Args:
        side: cells along a side.
        count: systems.
        seed: of the draw.
        peclet: number of the flow, which is all that the cores' systems differ in.
    """

    side: int
    count: int
    seed: int
    peclet: int


Key = tuple[int, str, str]
"""Peclet number, method, order."""


def chain(part: Part) -> dict[Key, Tally]:
    """All orders of one core's systems, taking turns every few systems; each keeps a memory of its own.

    Args:
        part: which systems.
    """
    torch.set_num_threads(1)
    a, psi = flows(part.side, part.count, part.seed)
    spread = a.log().flatten(1), psi.flatten(1)
    keys = torch.cat([some / (some - some.mean(0)).norm() for some in spread], dim=1)
    orders = {name: order(keys) for name, order in ORDERS.items()}
    b = torch.ones(part.side**2, dtype=torch.float64)
    plain = GMRES(ILU0(), restart=40)
    peclet = part.peclet
    matrices = _stacked([convection(*one, peclet) for one in zip(a, psi, strict=True)])
    solve(_some(matrices, torch.tensor([0])), b, GCRODR(ILU0(), restart=40), rtol=0.1)  # compiles
    spaces: dict[Key, RecycleSpace] = {}
    last: dict[Key, Tensor] = {}
    tallies: dict[Key, Tally] = {}
    for first in range(0, part.count, TURN):
        for name, order in orders.items():
            rows = order[first : first + TURN]
            frozen = peclet, "GCRO-DR(40,20), frozen", name
            space = spaces.setdefault(frozen, RecycleSpace(20))
            methods: dict[Key, Method] = {
                frozen: GCRODR(ILU0(), restart=40, update=Freeze(), space=space),
                (peclet, "GMRES(40), warm start", name): Chain(plain),
            }
            if name == "drawn":  # the order means nothing to it
                methods[peclet, "GMRES(40)", name] = Chain(plain, warm_start=False)
            for key, method in methods.items():
                x0 = last.get(key) if "warm" in key[1] else None
                began = time.perf_counter()
                found = solve(_some(matrices, rows), b, method, rtol=RTOL, x0=x0, throw=False)
                tallies.setdefault(key, Tally()).add(found, time.perf_counter() - began)
                last[key] = torch.as_tensor(found.x)[-1]
    return tallies


def _stacked(matrices: Sequence[scipy.sparse.csr_array]) -> CSR:
    """Matrices of one pattern as a batch."""
    first = CSR.from_scipy(matrices[0])
    entries = np.stack([matrix.sorted_indices().data for matrix in matrices])
    return CSR(first.indptr, first.indices, torch.from_numpy(entries))


def _some(A: CSR, rows: Tensor) -> CSR:
    """Matrices of a batch, with nothing known about them yet."""
    return CSR(A.indptr, A.indices, A.entries[rows])


@dataclass
class Half:
    """One core's half of a batch, which a process solves one by one, by the next method each time it is called.

    Args:
        kind: "convection" or "Darcy".
        side: cells along a side.
        seed: of the draw.
        start: first system of the half.
        stop: the one after the last.
    """

    kind: str
    side: int
    seed: int
    start: int
    stop: int
    calls: int = 0

    @cached_property
    def systems(self) -> dict[str, LinearOperator]:
        """The matrices by the name of the method: a stencil where multigrid needs one."""
        a, psi = flows(self.side, self.stop, self.seed)
        if self.kind == "convection":
            rows = range(self.start, self.stop)
            return dict.fromkeys(WHOLE[self.kind], _stacked([convection(a[i], psi[i], PECLET[0]) for i in rows]))
        stencil = darcy(a[self.start :]).operator
        A = _stacked([scipy.sparse.csr_array(stencil.to_scipy((i,))) for i in range(self.stop - self.start)])
        return {name: stencil if "multigrid" in name else A for name in WHOLE[self.kind]}

    def solve(self, name: str, method: Method) -> tuple[list[int], list[bool]]:
        """Iterations of all systems, and which converged."""
        A = self.systems[name]
        A = CSR(A.indptr, A.indices, A.entries) if isinstance(A, CSR) else A
        found = solve(A, torch.ones(self.side**2, dtype=torch.float64), method, rtol=RTOL, throw=False)
        return found.iterations.tolist(), found.converged.tolist()


def one_by_one(half: Half) -> tuple[list[int], list[bool]]:
    """What the process of a half does when it is called.

    Args:
        half: counts the calls.
    """
    torch.set_num_threads(1)
    name = list(half.systems)[half.calls % len(half.systems)]
    half.calls += 1
    return half.solve(name, Chain(WHOLE[half.kind][name], warm_start=False))


def measure(session: Session, seed: int) -> None:
    """Iterations and seconds of every order, then one by one against whole batches; nothing of it is a claim."""
    if not session.wants():
        return
    side, count, batch = (16, 2 * TURN, 4) if session.quick else (SIDE, COUNT, BATCH)
    for sequence in range(1 if session.quick else SEQUENCES):
        _in_order(session, side, count, SEQUENCES * seed + sequence)
    for kind in WHOLE:
        _batched(session, kind, side, batch, seed)


def _in_order(session: Session, side: int, count: int, seed: int) -> None:
    session.say(
        f"{count} flows of order {side**2}, {len(PECLET)} Peclet numbers, {len(ORDERS)} orders, seed {seed} ..."
    )
    with Processes(chain, [Part(side, count, seed, peclet) for peclet in PECLET]) as chains:
        tallies = joined(chains())
    for (peclet, method, order), tally in tallies.items():
        drawn = tallies[peclet, method, "drawn"]
        session.row(
            seed=seed, matrix=f"convection, Peclet {peclet}", order=side**2, method=method, systems_in_order=order,
            **tally.summary(), iterations_over_drawn=tally.mean_iterations / drawn.mean_iterations,
            seconds_over_drawn=tally.mean_seconds / drawn.mean_seconds,
        )  # fmt: skip


def _batched(session: Session, kind: str, side: int, count: int, seed: int) -> None:
    session.say(f"{count} systems of order {side**2} ({kind}), one by one and as a batch, seed {seed} ...")
    whole = Half(kind, side, seed, 0, count)
    found: dict[str, tuple[list[int], list[bool]]] = {}

    def batched(name: str) -> Callable[[], None]:
        def call() -> None:
            found[f"{name}, batched"] = whole.solve(name, WHOLE[kind][name])

        return call

    def singly(name: str, halves: Processes) -> Callable[[], None]:
        def call() -> None:
            (left, right) = halves()
            found[f"{name}, one by one"] = left[0] + right[0], left[1] + right[1]

        return call

    parts = [Half(kind, side, seed, 0, count // 2), Half(kind, side, seed, count // 2, count)]
    with Processes(one_by_one, parts) as halves:
        sides = {}
        for name in WHOLE[kind]:  # in the order in which the halves go through them
            sides |= {f"{name}, batched": batched(name), f"{name}, one by one": singly(name, halves)}
        seconds = alternate(sides, repeats=1 if session.quick else 3)
    for name, (iterations, converged) in found.items():
        done = [n for n, ok in zip(iterations, converged, strict=True) if ok]
        session.row(
            seed=seed, matrix=kind, order=side**2, method=name, systems=count, failed=converged.count(False),
            iterations=statistics.mean(done) if done else math.nan, milliseconds=1e3 * seconds[name] / count,
        )  # fmt: skip


CLAIMS: tuple[Claim, ...] = ()
NOTES = (
    f"Orders: convection-diffusion, {SIDE} by {SIDE} cells, h^2 (-div(a grad u) + Peclet v . grad u), upwinded, log a "
    "and the stream function of v random and independent from sample to sample; ILU(0), true relative residual 1e-8. "
    f"{SEQUENCES} sequences of {COUNT} systems, a Peclet number a core, orders taking turns every {TURN} systems, "
    "sorting not counted. Sorted: "
    "the nearest one not yet solved next, both inputs counting alike in the distance; worst: the farthest. Means over "
    "the systems that converged; milliseconds on one core, each turn divided evenly among its systems.",
    f"One by one against batches: {BATCH} systems, both cores (one by one: a process a core), set-up included; wall "
    "milliseconds over the number of systems. Convection at Peclet 10.",
)
