"""Iterations of multigrid-preconditioned CG over grid sizes (primes, rectangles) and coefficients, in 2-D and 3-D."""

from pdekit.bench.harness import Benchmark, Claim, Session
from pdekit.domain import Grid
from pdekit.families import Darcy
from pdekit.fields import GaussianField, LogNormal, Matern, Threshold
from pdekit.solvers import CG, Multigrid

__all__ = ["BENCHMARK"]

RTOL = 1e-8
SIZES_2D = (
    (63, 63), (64, 64), (67, 67), (80, 80), (97, 97), (100, 37), (101, 101), (127, 127), (128, 128), (131, 131),
    (160, 160), (191, 83), (211, 211), (256, 256), (257, 257), (317, 317), (383, 509), (421, 421), (499, 499),
    (511, 511),
)  # fmt: skip
SIZES_3D = ((32, 32, 32), (37, 37, 37), (40, 64, 33), (48, 48, 48), (64, 64, 64), (79, 61, 83), (96, 96, 96))
QUICK = ((64, 64), (100, 37), (256, 256), (32, 32, 32), (40, 64, 33), (96, 96, 96))
GROWTH = {2: (64, 256), 3: (32, 96)}
"""Points a side of the small and the large grid whose iterations are compared."""

COEFFICIENTS = {
    "contrast4": Threshold(GaussianField(alpha=2, tau=3), low=3, high=12),
    "lognormal": LogNormal(Matern(length=0.1, smoothness=0.5, variance=4)),
    "contrast1e4": Threshold(GaussianField(alpha=2, tau=3), low=1, high=1e4),
}
BOUNDS = {"contrast4": 16, "lognormal": 30, "contrast1e4": 40}


def measure(session: Session) -> None:
    for seed in range(session.seeds):
        for kind in COEFFICIENTS:
            for dim, sizes in ((2, SIZES_2D), (3, SIZES_3D)):
                _measure_kind(session, kind, dim, sizes, seed)


def _measure_kind(session: Session, kind: str, dim: int, sizes: tuple[tuple[int, ...], ...], seed: int) -> None:
    suffix = "_3d" if dim == 3 else ""
    claim, growth = f"multigrid.{kind}{suffix}", f"multigrid.growth{suffix}"
    small, large = ((n,) * dim for n in GROWTH[dim])
    worst: dict[tuple[int, ...], int] = {}
    for shape in sizes:
        if session.quick and shape not in QUICK:
            continue
        if session.wants(claim) or (session.wants(growth) and shape in (small, large)):
            worst[shape] = _iterations(session, kind, shape, seed)
            if session.wants(claim):
                session.record(claim, worst[shape], seed=seed)
    if session.wants(growth) and small in worst and large in worst:
        session.record(growth, worst[large] / worst[small], seed=seed)


def _iterations(session: Session, kind: str, shape: tuple[int, ...], seed: int) -> int:
    count = 2 if session.quick or len(shape) == 3 else 8
    family = Darcy(Grid(shape), coefficient=COEFFICIENTS[kind])
    inputs = family.draw(range(count), seed=seed, split="train")
    samples = family.solve(inputs, rtol=RTOL, method=CG(Multigrid()))
    certificate = samples.certificate
    assert certificate is not None
    most = int(certificate.iterations.max())
    session.row(
        coefficient=kind,
        shape="x".join(map(str, shape)),
        seed=seed,
        samples=count,
        iterations=most,
        residual=float(certificate.value.max()),
        milliseconds=1e3 * float(certificate.seconds.mean()),
        method=certificate.method,
    )
    return most


BENCHMARK = Benchmark(
    "multigrid",
    claims=tuple(
        claim
        for suffix, where in (("", "2-D, 63 to 511 points a side"), ("_3d", "3-D, 32 to 96 points a side"))
        for claim in (
            *(
                Claim(f"multigrid.{kind}{suffix}", "<=", bound, f"iterations, worst case, {where}")
                for kind, bound in BOUNDS.items()
            ),
            Claim(f"multigrid.growth{suffix}", "<=", 1.3, f"iterations, largest over smallest grid, {where[:3]}"),
        )
    ),
    measure=measure,
    notes=(
        "CG with multigrid as preconditioner to a true relative residual of 1e-8; the coarsening is chosen "
        "automatically and named in the column method.",
        "contrast4: 3 or 12 by the sign of a Gaussian field (alpha 2, tau 3); contrast1e4: 1 or 1e4 likewise; "
        "lognormal: exp of a Matern field (length 0.1, smoothness 1/2, variance 4).",
        "8 samples a size in 2-D, 2 in 3-D; the worst counts. Growth: 64 to 256 points a side, 3-D 32 to 96, worst of "
        "the three coefficients.",
    ),
)
