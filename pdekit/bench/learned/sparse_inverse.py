"""The learned sparse inverse, which needs no triangular solves, on the same meshes."""

from pdekit.bench.harness import Claim, Session
from pdekit.bench.learned.meshes import CASES, Case, tables
from pdekit.bench.learned.training import Training
from pdekit.learned.losses import ScaledInverse
from pdekit.learned.sparse_inverse import SparseInverse, SparseInverseNetwork

__all__ = ["CLAIMS", "NOTES", "measure"]

OURS = "learned sparse inverse"

CLAIMS = (
    Claim("learned.spai_elasticity", "<=", 0.6,
          "iterations of the learned sparse inverse over Jacobi's, held-out elastic bodies, 2-D and 3-D: the worse"),
    Claim("learned.spai_heat", "<=", 0.7, "the same for heat steps"),
)  # fmt: skip
NOTES = (
    "sparse inverse: G G^T + shift D^-1 with G on the pattern of the matrix, in blocks for elasticity; the problems "
    "and the other methods are those of the meshes above. Its products suit accelerators; here all run on the CPU.",
)


def measure(session: Session, seed: int) -> None:
    """All four cases."""
    for problem in ("elasticity", "heat"):
        if not session.wants(f"learned.spai_{problem}"):
            continue
        for case in CASES:
            if case.problem == problem:
                ratios = tables(session, case, {OURS: training(case, session.quick)}, "Jacobi", seed)
                session.record(f"learned.spai_{problem}", ratios[OURS], seed=seed)


def training(case: Case, quick: bool) -> Training:
    """Of the sparse inverse; its loss needs no solutions."""
    cells = 2 if quick else case.cells
    return Training(
        lambda: SparseInverse(SparseInverseNetwork(case.components)), case.family(case.dim, cells), ScaledInverse(),
        steps=4 if quick else 600, right_hand_sides=0, batch=2 if quick else 8,
    )  # fmt: skip
