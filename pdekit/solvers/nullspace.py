"""Singular matrices with a known null space: is the right-hand side in balance, and what is out of it."""

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import first_index
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.csr import Points

__all__ = ["check_balance"]

_IMBALANCE = 1e-11
"""Part of ||b|| outside the range of a singular matrix that counts as rounding."""


def check_balance(A: LinearOperator, b: Inexact[Tensor, "*batch n"]) -> str | None:
    """Check that b lies in the range of a singular symmetric matrix.

    Args:
        A: with its null space, if it has one.
        b: right-hand sides.

    Returns:
        What is done about the null space, for the report; None where there is none.

    Raises:
        InputError: b does not balance, with the index of the system and the modes that it excites; or the adjoint has
            another null space, so that this one does not tell the range.
    """
    basis = A.nullspace
    if basis is None or b.numel() == 0:
        return None
    basis = basis.to(b.dtype)
    if not A.hermitian and not _annihilated_by_adjoint(A, basis):
        raise InputError(
            f"A has a null space that its adjoint does not share ({A.name}): the balance that b needs is that of the "
            "adjoint's null space, which is not known. Add a condition that makes A regular."
        )
    norm = torch.linalg.vector_norm(b, dim=-1).clamp(min=torch.finfo(b.dtype).tiny)
    imbalance = torch.linalg.vector_norm(b @ basis.conj(), dim=-1) / norm
    modes = _known_modes(A, basis)
    constants_only = basis.shape[1] == 1 and list(modes) == ["constants"]
    if bool((bad := imbalance > _IMBALANCE).any()):
        where = first_index(bad)
        share = f"{float(imbalance[where]):.1e} of its norm is out of balance."
        if constants_only:
            raise InputError(
                f"b{list(where)} sums to {b[where].sum().item():.6g}, but A has the constants in its null space (no "
                f"Dirichlet or Robin side, no reaction), so A x = b is solvable only where b sums to 0; {share} The "
                "source must integrate to minus the flux through the sides: subtract the mean of b, or fix u on a side."
            )
        excited = {}
        for name, mode in modes.items():
            product = torch.linalg.vecdot(mode.to(b.dtype), b[where])
            if float(product.abs()) > _IMBALANCE * float(norm[where] * torch.linalg.vector_norm(mode)):
                excited[name] = product.item()
        if not excited:
            products = (b[where] @ basis.conj()).tolist()
            excited = {_column(basis[:, j], j): value for j, value in enumerate(products)}
        free = "The body can translate and rotate. " if any("translation" in name for name in modes) else ""
        listed = ", ".join(f"{value:.6g} with the {name}" for name, value in excited.items())
        raise InputError(
            f"b{list(where)} has the inner product {listed}, but A maps them to 0 (its null space has "
            f"{basis.shape[1]} dimensions), so A x = b is solvable only where these products are 0; {share} {free}"
            "Forces and moments must balance: take the part along the null space out of b, or fix the solution on a "
            "side."
        )
    largest = f"largest imbalance {float(imbalance.max()):.1e} of its norm"
    if constants_only:
        return (
            f"constants: b sums to 0 ({largest}), and of all solutions the one with mean 0 over the unknowns is "
            "returned"
        )
    what = f" ({', '.join(modes)})" if modes else ""
    return (
        f"{basis.shape[1]} dimensions{what}: b is orthogonal to them ({largest}), and of all solutions the one that is "
        "too is returned"
    )


def _column(mode: Inexact[Tensor, " n"], number: int) -> str:
    """What a column of the null space is called: where it is constant on some unknowns, those."""
    support = torch.nonzero(mode.abs() > 1e-8 * mode.abs().amax())[:, 0]
    values = mode[support]
    if bool((values - values[0]).abs().amax() <= 1e-8 * values[0].abs()):
        return f"constants on {len(support):,} connected unknowns (the first is {int(support[0])})"
    return f"column {number} of the null space"


def _annihilated_by_adjoint(A: LinearOperator, basis: Inexact[Tensor, "n k"]) -> bool:
    spread = basis.mT.reshape(-1, *(1,) * len(A.batch_shape), A.shape[0])
    image = A.adjoint().matvec(spread).abs().amax()
    return bool(image <= 1e-10 * max(float(values.abs().amax()) for values in A.values))


def _known_modes(A: LinearOperator, basis: Inexact[Tensor, "n k"]) -> dict[str, Inexact[Tensor, " n"]]:
    """Those motions that the null space contains: constants, or translations and rotations of a vector field."""
    geometry = getattr(A, "geometry", None)
    ones = torch.ones(basis.shape[0], dtype=torch.float64, device=basis.device)
    if not isinstance(geometry, Points) or int(geometry.component.max()) == 0:
        candidates = {"constants": ones}
    else:
        points, component = geometry.points.to(torch.float64), geometry.component
        axes = "xyz"[: points.shape[1]]
        candidates = {f"translation along {axis}": (component == k) * ones for k, axis in enumerate(axes)}
        middle = points - points.mean(0)
        for first in range(len(axes)):
            for second in range(first + 1, len(axes)):
                turn = (component == second) * middle[:, first] - (component == first) * middle[:, second]
                candidates[f"rotation in the plane {axes[first]}{axes[second]}"] = turn
    found = {}
    for name, mode in candidates.items():
        mode = mode.to(basis.dtype)
        left = mode - basis @ (basis.mH @ mode)
        if bool(torch.linalg.vector_norm(left) <= 1e-8 * torch.linalg.vector_norm(mode)):
            found[name] = mode
    return found
