"""Preconditioners and methods: arguments of the wrong kind are named, and matrices without unknowns are solved."""

import numpy as np
import pytest
import scipy.sparse

from pdekit.core import InputError
from pdekit.solvers import (
    AMG,
    CG,
    GCRODR,
    GMRES,
    IC0,
    ICT,
    ILU0,
    SOR,
    SSOR,
    Auto,
    BlockJacobi,
    Chain,
    Chebyshev,
    DeflatedCG,
    Direct,
    FlexibleCG,
    Jacobi,
    KeptFactor,
    KeptTransfers,
    TunedSSOR,
    TwoLevel,
    solve,
)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BlockJacobi("2"), "BlockJacobi has size='2'; expected a whole number"),
        (lambda: BlockJacobi(2.5), "BlockJacobi has size=2.5; expected a whole number"),
        (lambda: Chebyshev("3"), "Chebyshev has degree='3'; expected a whole number"),
        (lambda: Chebyshev(3, "x"), "Chebyshev has ratio='x'; expected a number"),
        (lambda: SSOR("1"), "SSOR has omega='1'; expected a number"),
        (lambda: SSOR(None), "SSOR has omega=None; expected a number"),
        (lambda: SOR("1"), "SOR has omega='1'; expected a number"),
        (lambda: SOR(max_iterations="9"), "SOR has max_iterations='9'; expected a whole number"),
        (lambda: IC0(relaxation="x"), "IC0 has relaxation='x'; expected a number"),
        (lambda: ICT("x"), "ICT has threshold='x'; expected a number"),
        (lambda: ICT(0.1, 1.5), "ICT has fill=1.5; expected a number of entries a column"),
        (lambda: AMG(strength="x"), "AMG has strength='x'; expected a number"),
        (lambda: AMG(coarse_size=2.5), "AMG has coarse_size=2.5; expected a whole number"),
        (lambda: GMRES(restart="x"), "GMRES has restart='x'; expected a whole number"),
        (lambda: FlexibleCG(memory=1.5), "FlexibleCG has memory=1.5; expected a whole number"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(make, said):
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize(
    "method",
    [
        *(CG(p) for p in (AMG(), IC0(), IC0(ordering="cuthill-mckee"), ICT(), SSOR(), Chebyshev(), BlockJacobi(2))),
        *(CG(Jacobi()), DeflatedCG(), GMRES(ILU0()), GCRODR(), TunedSSOR(), SOR(), Direct(), Auto()),
        *(CG(TwoLevel()), CG(AMG(kept=KeptTransfers())), Direct(KeptFactor()), Chain(CG(IC0()))),
    ],
    ids=str,
)
def test_a_matrix_without_unknowns(method):
    solution = solve(scipy.sparse.csr_array((0, 0)), np.zeros(0), method)
    assert solution.x.shape == (0,)
    assert bool(solution.converged)
