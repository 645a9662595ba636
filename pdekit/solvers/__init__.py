"""Linear systems: operators, preconditioners, methods, and :func:`solve`, the one entry point."""

from pdekit.solvers.auto import Auto
from pdekit.solvers.bandits.base import Bandit
from pdekit.solvers.bandits.chebyshev import ChebyshevBandit
from pdekit.solvers.bandits.elimination import SuccessiveElimination
from pdekit.solvers.bandits.tsallis_inf import TsallisINF
from pdekit.solvers.bandits.tuned_ssor import TunedSSOR
from pdekit.solvers.direct.direct import Direct
from pdekit.solvers.direct.spectral import Spectral
from pdekit.solvers.krylov.bicgstab import BiCGStab
from pdekit.solvers.krylov.cg import CG
from pdekit.solvers.krylov.flexible_cg import FlexibleCG
from pdekit.solvers.krylov.gmres import GMRES
from pdekit.solvers.krylov.minres import MINRES
from pdekit.solvers.learning.experience import Experience
from pdekit.solvers.memory import Memory, memories
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.newton import NewtonSolution, newton
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.dense import DenseMatrix
from pdekit.solvers.operators.diffusion import diffusion
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.amg import AMG
from pdekit.solvers.preconditioners.base import Preconditioner
from pdekit.solvers.preconditioners.block_jacobi import BlockJacobi
from pdekit.solvers.preconditioners.chebyshev import Chebyshev
from pdekit.solvers.preconditioners.ic0 import IC0
from pdekit.solvers.preconditioners.ict import ICT
from pdekit.solvers.preconditioners.ilu0 import ILU0
from pdekit.solvers.preconditioners.jacobi import Jacobi
from pdekit.solvers.preconditioners.multigrid import Multigrid
from pdekit.solvers.preconditioners.ssor import SSOR
from pdekit.solvers.preconditioners.two_level import TwoLevel
from pdekit.solvers.recycling.chain import Chain
from pdekit.solvers.recycling.deflated_cg import DeflatedCG
from pdekit.solvers.recycling.gcrodr import GCRODR
from pdekit.solvers.recycling.kept import KeptFactor, KeptTransfers
from pdekit.solvers.recycling.policies import Always, Freeze, Never
from pdekit.solvers.recycling.space import RecycleSpace
from pdekit.solvers.reduced.interpolation import EmpiricalInterpolation
from pdekit.solvers.reduced.matrix_interpolation import MatrixInterpolation
from pdekit.solvers.reduced.pod import POD, pod
from pdekit.solvers.reduced.reduced_basis import ReducedBasis
from pdekit.solvers.reduced.reduced_guess import ReducedGuess
from pdekit.solvers.reduced.reduced_model import ReducedModel, ReducedSolution
from pdekit.solvers.solution import NotConverged, Reason, Solution
from pdekit.solvers.solve import solve
from pdekit.solvers.stationary.sor import SOR
from pdekit.solvers.system import LinearSystem

__all__ = [
    "AMG",
    "CG",
    "CSR",
    "GCRODR",
    "GMRES",
    "IC0",
    "ICT",
    "ILU0",
    "MINRES",
    "POD",
    "SOR",
    "SSOR",
    "Always",
    "Auto",
    "Bandit",
    "BiCGStab",
    "BlockJacobi",
    "Chain",
    "Chebyshev",
    "ChebyshevBandit",
    "DeflatedCG",
    "DenseMatrix",
    "Direct",
    "EmpiricalInterpolation",
    "Experience",
    "FlexibleCG",
    "Freeze",
    "Jacobi",
    "KeptFactor",
    "KeptTransfers",
    "LinearOperator",
    "LinearSystem",
    "MatrixInterpolation",
    "Memory",
    "Method",
    "Multigrid",
    "Never",
    "NewtonSolution",
    "NotConverged",
    "Outcome",
    "Preconditioner",
    "Prepared",
    "Reason",
    "RecycleSpace",
    "ReducedBasis",
    "ReducedGuess",
    "ReducedModel",
    "ReducedSolution",
    "Solution",
    "Spectral",
    "Stencil",
    "SuccessiveElimination",
    "Tag",
    "TsallisINF",
    "TunedSSOR",
    "TwoLevel",
    "diffusion",
    "memories",
    "newton",
    "pod",
    "solve",
]
