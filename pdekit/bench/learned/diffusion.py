"""Corrected incomplete factors on the published problem: diffusion in log-normal media."""

import math
import statistics
from collections.abc import Mapping

import torch

from pdekit.bench.harness import Claim, Session
from pdekit.bench.learned.measuring import TOLERANCES, Side, System, compare, counts, fastest, rows
from pdekit.bench.learned.problems import diffusion, test_systems
from pdekit.bench.learned.training import Training
from pdekit.learned.corrected import CorrectedFactor
from pdekit.learned.losses import Frobenius, LowFrequency, TwoLevelEnergy
from pdekit.learned.published import PublishedCorrection
from pdekit.solvers import AMG, IC0, ICT, Direct

__all__ = ["CLAIMS", "NOTES", "measure"]

SMALL, LARGE = 64, 128
"""Unknowns along a side: trained on up to the first (and half of it), tested on both."""
MATRICES = {SMALL: 10, LARGE: 6}
OMEGAS = (0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998)
"""Relaxations of RIC, the best of which counts: at each tolerance for iterations, in seconds for seconds."""
START = 0.97
"""Relaxation of the factors that the second network corrects."""
LIMIT = 300.0
"""Seconds of training beyond which a figure does not count."""
IC, OURS, RELAXED = "IC(0)", "corrected IC(0)", f"corrected RIC({START:g})"
CONTROLS = FROBENIUS, PUBLISHED = "corrected IC(0), Frobenius loss", "published network and settings"
"""Trained for the first seed only."""

CLAIMS = (
    *(
        Claim(f"learned.corrected_64_1e{power}", "<=", bound,
              f"iterations of corrected IC(0) on 64 x 64 unknowns to a residual of 1e-{power} (published: {bound})")
        for power, bound in zip((3, 6, 9, 12), (42, 54, 65, 75), strict=True)
    ),
    Claim("learned.beats_ric", "<=", 0.99,
          "iterations of corrected RIC over those of RIC at its best omega, 64 x 64, the worst of four tolerances"),
    Claim("learned.half_128", "<=", 0.5,
          "iterations of corrected IC(0) over IC(0) at 128 x 128, trained at 32 and 64, the worst of four tolerances"),
    Claim("learned.seconds_1", "<=", 0.8,
          "seconds of corrected IC(0) over IC(0)-CG at 128 x 128, one right-hand side, all set-up included"),
    Claim("learned.seconds_10", "<=", 0.55, "the same with ten right-hand sides"),
)  # fmt: skip
NOTES = (
    "diffusion: -div(a grad u) = f on the unit square, five points over h^2, arithmetic faces, log a Gaussian with "
    "covariance 0.5 exp(-(d/0.05)^2); f and the first guess N(0, 1), absolute tolerances on the residual that CG "
    "carries along, as published; true_residual is the one recomputed in the end. Seconds are to a relative residual "
    "of 1e-8 from a guess of 0, confirmed in float64; medians of rounds in which all take turns, means over matrices.",
    f"diffusion: RIC is IC0(relaxation=omega) with omega of {', '.join(map(str, OMEGAS))}; its best is taken for each "
    "figure apart. Training is `pdekit train` from objects: fresh samples, validation by iterations, the best kept; "
    "training_seconds include filling the stream and validation. A figure trained for more than 300 s does not count.",
    "diffusion: what starts from IC(0) is trained with the low-frequency loss, which mostly restores row sums. RIC "
    "keeps them already: what starts from it is trained with the energy that steps along the preconditioned residual "
    "leave.",
    "diffusion, controls: the same network and training with the plain Frobenius loss; the published network with the "
    "published settings (Adam 1e-3, constant rate, no clipping, batch 8, one right-hand side a matrix, 64 x 64 only) "
    "for about as long as ours, where the published training took 261 s on an accelerator.",
)


def trainings(quick: bool) -> dict[str, Training]:
    """All that is trained, by name."""
    size = SMALL // 5 if quick else SMALL
    family, sizes = diffusion(size), (size // 2 + 2, size + 2)
    lean = {"family": family, "sizes": sizes}
    return {
        OURS: Training(lambda: CorrectedFactor(), loss=LowFrequency(), steps=6 if quick else 2000, **lean),
        RELAXED: Training(
            lambda: CorrectedFactor(start=IC0(relaxation=START)), loss=TwoLevelEnergy(),
            steps=6 if quick else 1000, **lean,
        ),
        FROBENIUS: Training(
            lambda: CorrectedFactor(), loss=Frobenius(), steps=6 if quick else 600, **lean
        ),
        PUBLISHED: Training(
            lambda: CorrectedFactor(PublishedCorrection()), family, LowFrequency(), steps=6 if quick else 1500,
            rate=1e-3, cosine=False, clip=None, right_hand_sides=1,
        ),
    }  # fmt: skip


def measure(session: Session, seed: int) -> None:
    """Train, then the tables of both sizes."""
    if not session.wants(*(claim.id for claim in CLAIMS)):
        return
    learned = {}
    for name, training in trainings(session.quick).items():
        if seed and name in CONTROLS:
            continue
        session.say(f"training: {name}, seed {seed} ...")
        trained = training.run(seed, session.say)
        learned[name] = Side(trained.recipe, trained.seconds)
    classical = {IC: Side(IC0())} | {f"RIC({omega:g})": Side(IC0(relaxation=omega)) for omega in OMEGAS}
    sides = classical | {"ICT(0.01)": Side(ICT(0.01))} | learned
    for size in (SMALL, LARGE):
        found = _iterations(session, sides, size, seed)
        best = [min(found[name][t] for name in classical if name != IC) for t in range(4)]
        if size == SMALL:
            for claim, count in zip(CLAIMS[:4], found[OURS], strict=True):
                session.record(claim.id, in_time(learned[OURS], count), seed=seed)
            worst = max(ours / theirs for ours, theirs in zip(found[RELAXED], best, strict=True))
            session.record("learned.beats_ric", in_time(learned[RELAXED], worst), seed=seed)
        else:
            worst = max(ours / theirs for ours, theirs in zip(found[OURS], found[IC], strict=True))
            session.record("learned.half_128", worst, seed=seed)
    for count in (1, 10):
        _seconds(session, sides, count, seed)


def in_time(side: Side, figure: float) -> float:
    """The figure, or NaN where training took too long for it to count."""
    return figure if (side.training_seconds or 0.0) <= LIMIT else math.nan


def _iterations(session: Session, sides: Mapping[str, Side], size: int, seed: int) -> dict[str, list[float]]:
    """Mean iterations to each tolerance, a row a side."""
    count, unknowns = (2, size // 5) if session.quick else (MATRICES[size], size)
    generator = torch.Generator().manual_seed(seed)
    tried: dict[str, list[tuple[list[int], float]]] = {name: [] for name in sides}
    for A, _ in test_systems(diffusion(unknowns), count, seed):
        b, x0 = torch.randn(2, A.shape[0], generator=generator, dtype=torch.float64)
        for name, side in sides.items():
            tried[name].append(counts(A, side.how, b, x0))  # pyright: ignore[reportArgumentType] - preconditioners
    found = {}
    for name, runs in tried.items():
        found[name] = [statistics.fmean(run[0][t] for run in runs) for t in range(4)]
        columns = {f"iterations to {atol:.0e}": mean for atol, mean in zip(TOLERANCES, found[name], strict=True)}
        seconds = sides[name].training_seconds
        trained = {} if seconds is None else {"training_seconds": seconds}
        session.row(
            problem="diffusion", unknowns=f"{unknowns} x {unknowns}", seed=seed, matrices=count, method=name,
            **columns, true_residual=max(run[1] for run in runs), **trained,
        )  # fmt: skip
    return found


def _seconds(session: Session, sides: Mapping[str, Side], count: int, seed: int) -> None:
    """The table with set-up, for so many right-hand sides, at the larger size."""
    unknowns, matrices = (LARGE // 5, 1) if session.quick else (LARGE, 3)
    generator = torch.Generator().manual_seed(seed)
    systems: list[System] = []
    for A, _ in test_systems(diffusion(unknowns), matrices, seed):
        systems.append((A, torch.randn(count, A.shape[0], generator=generator, dtype=torch.float64)))
    sides = {**sides, "AMG": Side(AMG()), "SuperLU": Side(Direct())}
    found = compare(sides, systems, rounds=1 if session.quick else 5)
    ric = fastest({name: one for name, one in found.items() if name.startswith("RIC(")})
    rows(session, sides, found, ric, problem="diffusion", unknowns=f"{unknowns} x {unknowns}", seed=seed,
         right_hand_sides=count)  # fmt: skip
    whole = not (found[OURS].failed or found[IC].failed)
    ratio = found[OURS].seconds / found[IC].seconds if whole else math.nan
    session.record(f"learned.seconds_{count}", ratio, seed=seed)
