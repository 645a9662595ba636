"""Two levels: a corrected factor and a coarse space, on finer and finer grids."""

import statistics
from collections.abc import Mapping

import torch

from pdekit.bench.harness import Claim, Session
from pdekit.bench.learned.measuring import TOLERANCES, Side, System, compare, counts, fastest, rows
from pdekit.bench.learned.problems import diffusion, test_systems
from pdekit.bench.learned.training import Training
from pdekit.learned.corrected import CorrectedFactor
from pdekit.learned.losses import TwoLevelEnergy
from pdekit.solvers import AMG, IC0, TwoLevel

__all__ = ["CLAIMS", "NOTES", "measure"]

SIZES = {64: 6, 128: 4, 256: 2}
"""Unknowns along a side, and matrices."""
OMEGAS = (0.97, 0.99, 0.995, 0.998)
BALANCED, ADDITIVE = "IC(0), balanced", "IC(0), additive"
OURS = "corrected IC(0), balanced"

CLAIMS = (
    Claim("learned.growth", "<=", 1.3,
          "iterations of corrected IC(0) with a balanced coarse space, 256 over 64 squared, worst of four tolerances"),
)  # fmt: skip
NOTES = (
    "levels: the diffusion problems above, aggregates of 8 x 8 unknowns smoothed once by Jacobi (0.66), balanced or "
    "added; the network is trained with the two-level loss on 32 and 64 squared. Verdicts say whether it is not worse "
    "than IC(0) with the same coarse space: iterations summed over the four tolerances, at each size.",
)


def training(quick: bool) -> Training:
    """Of the balanced form."""
    size = 16 if quick else 64
    return Training(
        lambda: CorrectedFactor(coarse="balanced"), diffusion(size), TwoLevelEnergy(), steps=4 if quick else 600,
        sizes=(size // 2 + 2, size + 2), right_hand_sides=2,
    )  # fmt: skip


def measure(session: Session, seed: int) -> None:
    """Train, then iterations and seconds at each size."""
    if not session.wants(CLAIMS[0].id):
        return
    session.say(f"training: {OURS}, seed {seed} ...")
    trained = training(session.quick).run(seed, session.say)
    sides = {"IC(0)": Side(IC0())} | {f"RIC({omega:g})": Side(IC0(relaxation=omega)) for omega in OMEGAS}
    sides |= {BALANCED: Side(TwoLevel(IC0())), ADDITIVE: Side(TwoLevel(IC0(), form="additive"))}
    sides |= {"AMG": Side(AMG()), OURS: Side(trained.recipe, trained.seconds)}
    found = {}
    for size, matrices in SIZES.items():
        found[size] = _at(session, sides, size // 5 if session.quick else size, matrices, seed)
        ours, theirs = sum(found[size][OURS]), sum(found[size][BALANCED])
        session.row(
            problem="levels", unknowns=f"{size} x {size}", seed=seed, ours_over_ic0_same_coarse_space=ours / theirs,
            verdict="not worse" if ours <= theirs else "worse",
        )  # fmt: skip
    first, *_, last = found.values()
    for name in sides:
        growth = max(b / a for a, b in zip(first[name], last[name], strict=True))
        session.row(problem="levels", seed=seed, method=name, growth_64_to_256=growth)
        if name == OURS:
            session.record("learned.growth", growth, seed=seed)


def _at(session: Session, sides: Mapping[str, Side], size: int, matrices: int, seed: int) -> dict[str, list[float]]:
    """Mean iterations of each side to each tolerance; rows of them and of seconds."""
    generator, systems = torch.Generator().manual_seed(seed), []
    for A, _ in test_systems(diffusion(size), 1 if session.quick else matrices, seed):
        systems.append((A, *torch.randn(2, A.shape[0], generator=generator, dtype=torch.float64)))
    place, found = {"problem": "levels", "unknowns": f"{size} x {size}", "seed": seed}, {}
    for name, side in sides.items():
        runs = [counts(A, side.how, b, x0) for A, b, x0 in systems]  # pyright: ignore[reportArgumentType]
        found[name] = [statistics.fmean(run[0][t] for run in runs) for t in range(4)]
        columns = {f"iterations to {atol:.0e}": mean for atol, mean in zip(TOLERANCES, found[name], strict=True)}
        session.row(**place, method=name, **columns, true_residual=max(run[1] for run in runs))
    solved: list[System] = [(A, b) for A, b, _ in systems[:2]]
    timed = compare(sides, solved, rounds=1 if session.quick else 3)
    best = fastest({name: one for name, one in timed.items() if name.startswith("RIC(")})
    rows(session, sides, timed, best, **place)
    return found
