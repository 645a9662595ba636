"""Does a preconditioner keep the promises of Preconditioner?"""

from itertools import product

import torch

from pdekit.solvers import CG, GMRES, LinearOperator, Preconditioner, solve

__all__ = ["check_preconditioner"]


def check_preconditioner(preconditioner: Preconditioner, A: LinearOperator, *, tolerance: float = 1e-10) -> None:
    """Check a preconditioner on one operator: its shape, the linearity and symmetry it declares, its adjoint, its use.

    Of a symmetric (complex: Hermitian) matrix a preconditioner that declares symmetry must be symmetric positive
    definite, and CG must converge with it; of any other matrix GMRES must. A linear one has an adjoint, which gradients
    of solutions need.

    Args:
        preconditioner: the recipe.
        A: of at most about 2,000 unknowns; positive (semi)definite where it is symmetric.
        tolerance: relative, of linearity and symmetry.

    Raises:
        AssertionError: names the promise that is broken.

    Example:
        >>> from pdekit.solvers import Jacobi, Stencil
        >>> check_preconditioner(Jacobi(), Stencil([torch.ones(9, dtype=torch.float64)]))
    """
    P = preconditioner.setup(A)
    n = A.shape[0]
    assert P.shape == A.shape, f"the shape is {P.shape}; expected that of the operator, {A.shape}"
    assert P.name, "name describes it in a few words"
    generator = torch.Generator(device="cpu").manual_seed(0)
    basis = A.nullspace

    def random(*batch: int) -> torch.Tensor:
        kind = torch.complex128 if A.dtype.is_complex else torch.float64
        values = torch.randn((*batch, n), generator=generator, dtype=kind).to(dtype=A.dtype, device=A.device)
        return values if basis is None else values - (values @ basis.conj().to(kind)) @ basis.mT.to(kind)

    x, y = random(*A.batch_shape), random(*A.batch_shape)
    px, py = P.matvec(x), P.matvec(y)
    assert px.shape == x.shape, f"matvec gives the shape {tuple(px.shape)}; expected {tuple(x.shape)}"
    assert px.dtype == x.dtype, "matvec keeps the dtype"
    assert bool(torch.isfinite(px).all()), "matvec gives finite numbers"
    assert torch.equal(P.matvec(x), px), "matvec gives the same bits twice"
    for index in product(*(range(size) for size in A.batch_shape)):
        others = torch.ones(A.batch_shape, dtype=torch.bool)
        others[index] = False
        apart = x.clone()
        apart[others] = 0.0
        gap = float((P.matvec(apart)[index] - px[index]).abs().amax())
        assert gap <= tolerance * float(px.abs().amax()), f"system {list(index)} depends on the others of its batch"
    if preconditioner.linear:
        factor = 2 + 1j if A.dtype.is_complex else 2
        gap = float((P.matvec(factor * x - 3 * y) - (factor * px - 3 * py)).abs().amax())
        assert gap <= tolerance * float(px.abs().amax()), f"it declares to be linear, but misses by {gap:.2e}"

    def gap_between(left: torch.Tensor, right: torch.Tensor) -> float:
        size = torch.linalg.vector_norm(x, dim=-1) * torch.linalg.vector_norm(py, dim=-1)
        return float(((left - right).abs() / size).amax())

    left = torch.linalg.vecdot(y, px)
    symmetric = preconditioner.linear and preconditioner.symmetric and A.hermitian
    if symmetric:
        gap = gap_between(left, torch.linalg.vecdot(py, x))
        assert gap <= tolerance, f"it declares to be symmetric, but <y, P x> and <P y, x> differ by {gap:.2e}"
        energy = torch.linalg.vecdot(x, px).real
        assert bool((energy > 0).all()), (
            f"it declares to be positive definite, but <x, P x> = {float(energy.min()):.2e}"
        )
    if preconditioner.linear:
        turned = P.adjoint().matvec(y)
        gap = gap_between(left, torch.linalg.vecdot(turned, x))
        assert gap <= tolerance, f"<y, P x> and <adjoint() y, x> differ by {gap:.2e}"
    method = CG(preconditioner) if symmetric else GMRES(preconditioner, restart=100)
    found = solve(A, A.matvec(x), method, throw=False)
    assert bool(found.converged.all()), f"{found.method.split(',')[0]} does not converge with it:\n{found}"
