"""The methods to choose from."""

import ast
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from pdekit.solvers.direct.direct import Direct
from pdekit.solvers.direct.spectral import Spectral
from pdekit.solvers.krylov.bicgstab import BiCGStab
from pdekit.solvers.krylov.cg import CG
from pdekit.solvers.krylov.gmres import GMRES
from pdekit.solvers.krylov.minres import MINRES
from pdekit.solvers.learning.prediction import factoring
from pdekit.solvers.method import Method
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.preconditioners.amg import AMG
from pdekit.solvers.preconditioners.ic0 import IC0
from pdekit.solvers.preconditioners.ilu0 import ILU0
from pdekit.solvers.preconditioners.multigrid import Multigrid
from pdekit.solvers.recycling.deflated_cg import DeflatedCG
from pdekit.solvers.recycling.gcrodr import GCRODR
from pdekit.solvers.recycling.kept import KeptFactor, KeptTransfers
from pdekit.solvers.recycling.space import RecycleSpace
from pdekit.solvers.reduced.reduced_basis import ReducedBasis
from pdekit.solvers.reduced.reduced_guess import ReducedGuess

__all__ = ["arms_for", "name_of", "shortened"]

_CHEAP = 500
"""Products with the matrix up to which factoring one that stays the same is not even asked about."""

_WIDE = 40
"""Characters beyond which a name is shortened."""

RELAXED = IC0(shift="auto", relaxation=0.99, ordering="cuthill-mckee")
"""Modified incomplete Cholesky factors in an order that goes from neighbour to neighbour."""


def arms_for(A: LinearOperator, table: Sequence[Method], same: bool, further: Sequence[Method]) -> tuple[Method, ...]:
    """What an expert would try, in that order: the methods of the table first.

    Args:
        A: the matrices.
        table: of :class:`Auto`, for these.
        same: whether the matrix is the one before.
        further: arms of the user's.

    Returns:
        Methods, each once; those that keep something have memories of their own.
    """
    others: list[Method] = []
    if isinstance(A, Stencil) and len(A.lattice) > 1:
        others = [CG(Multigrid())]
    elif isinstance(A, CSR):
        others = _for_sparse(A)
    # With the factors kept, factoring again is no choice; where it is one, it cannot be stopped and comes late.
    direct = [] if same else [Direct()]
    kept = [Direct(KeptFactor())] if same and not isinstance(table[0], Spectral) else []
    first = [arm for arm in table[:1] if arm != Direct() or direct]
    later = [arm for arm in (*others, *table[1:]) if arm != Direct()]
    if kept and factoring(A) <= _CHEAP:
        # What a space gains between neighbours is little beside two triangular solves.
        listed = (*kept, *first, *(arm for arm in later if not isinstance(arm, DeflatedCG | GCRODR | ReducedGuess)))
    else:
        listed = (*first, *later, *kept)
    arms = {name_of(arm): arm for arm in (*listed, *direct, *further)}
    return tuple(_keeping(arm) for arm in arms.values())


def _for_sparse(A: CSR) -> list[Method]:
    on_cpu, real = A.device.type == "cpu", not A.dtype.is_complex
    if A.hermitian and bool((A.diagonal().real > 0).all()):
        if not real:
            return [CG()]
        guess = ReducedGuess(CG(RELAXED if on_cpu else AMG()), ReducedBasis())
        deflated = [DeflatedCG(RELAXED, space=RecycleSpace())] if on_cpu else []
        return [*([CG(RELAXED), CG(IC0())] if on_cpu else []), CG(AMG()), *deflated, guess]
    if A.hermitian:
        return [MINRES()]
    recipe = ILU0() if on_cpu else None
    return [BiCGStab(recipe), GMRES(recipe), GCRODR(recipe, space=RecycleSpace())]


def _keeping(arm: Method) -> Method:
    """The arm, with a memory where it would otherwise do the same again in every call."""
    if arm == CG(AMG()):
        return CG(AMG(kept=KeptTransfers()))
    return arm


def name_of(recipe: Any) -> str:
    """A recipe as a user would write it: without the arguments that have their default value.

    Example:
        >>> name_of(CG(AMG(kept=KeptTransfers())))
        'CG(AMG(kept=KeptTransfers()))'
    """
    if not is_dataclass(recipe) or isinstance(recipe, type):
        return repr(recipe)
    given, first = [], True
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if field.default is not MISSING and value == field.default:
            first = False
            continue
        first = first and not isinstance(value, str)
        given.append(name_of(value) if first else f"{field.name}={name_of(value)}")
        first = False
    return f"{type(recipe).__name__}({', '.join(given)})"


def shortened(names: Sequence[str]) -> list[str]:
    """Names of arms for a table: in long ones, dots stand for numbers and words, unless they would be mistaken.

    Example:
        >>> shortened([name_of(CG(RELAXED)), "CG(IC0())"])
        ['CG(IC0(...))', 'CG(IC0())']
    """
    short = [name if len(name) <= _WIDE else _dotted(name) for name in names]
    return [given if short.count(given) == 1 else name for given, name in zip(short, names, strict=True)]


def _dotted(name: str) -> str:
    try:
        return ast.unparse(_Dotted().visit(ast.parse(name, mode="eval")))
    except (SyntaxError, ValueError):  # the repr of an object need not be an expression
        return name if len(name) <= 2 * _WIDE else f"{name[: 2 * _WIDE]}..."


class _Dotted(ast.NodeTransformer):
    """Calls, with one ``...`` for the arguments that hold none."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        args = [self.visit(arg) for arg in node.args if _calls(arg)]
        keywords = [ast.keyword(each.arg, self.visit(each.value)) for each in node.keywords if _calls(each.value)]
        left_out = len(args) + len(keywords) < len(node.args) + len(node.keywords)
        return ast.Call(node.func, [*args, *([ast.Constant(...)] if left_out else [])], keywords)


def _calls(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))
