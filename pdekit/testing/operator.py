"""Does an operator keep the promises of LinearOperator?"""

from itertools import product

import numpy as np
import torch

from pdekit.solvers import LinearOperator, Tag

__all__ = ["check_operator"]


def check_operator(A: LinearOperator, *, tolerance: float = 1e-12) -> None:
    """Check a square operator: linear, batched, as its entries, transpose, adjoint, tags and null space say.

    Args:
        A: of at most about 2,000 unknowns, since its dense matrices are formed; real or complex.
        tolerance: relative to the largest entry.

    Raises:
        AssertionError: names the promise that is broken.

    Example:
        >>> from pdekit.solvers import DenseMatrix
        >>> check_operator(DenseMatrix(torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=torch.float64)))
    """
    n = A.shape[0]
    assert A.shape == (n, n), f"shape is {A.shape}; expected a square matrix"
    dense = A.matvec(torch.eye(n, dtype=A.dtype, device=A.device).reshape(n, *(1,) * len(A.batch_shape), n))
    dense = dense.expand(n, *A.batch_shape, n).movedim(0, -1)
    scale = float(dense.abs().amax()) or 1.0
    generator = torch.Generator(device="cpu").manual_seed(0)

    def random(*batch: int) -> torch.Tensor:
        kind = torch.complex128 if A.dtype.is_complex else torch.float64
        return torch.randn((*batch, n), generator=generator, dtype=kind).to(dtype=A.dtype, device=A.device)

    def close(left: torch.Tensor, right: torch.Tensor, promise: str) -> None:
        assert left.shape == right.shape, f"{promise}: shapes {tuple(left.shape)} and {tuple(right.shape)} differ"
        gap = float((left - right).abs().amax()) if left.numel() else 0.0
        assert gap <= tolerance * scale * n, f"{promise}: they differ by {gap:.2e} (largest entry {scale:.2e})"

    x, y = random(*A.batch_shape), random(*A.batch_shape)
    factor = 2 + 1j if A.dtype.is_complex else 2
    close(A.matvec(factor * x - 3 * y), factor * A.matvec(x) - 3 * A.matvec(y), "matvec is linear")
    close(A.matvec(x), (dense @ x.unsqueeze(-1)).squeeze(-1), "matvec of a batch is that of each matrix")
    some = random(3, *A.batch_shape)
    close(A.matvec(some)[1], A.matvec(some[1]), "further leading axes of the vectors are batch")
    assert A.matvec(x).dtype == A.dtype, "matvec keeps the dtype"
    assert A.matvec(x).device == A.device, "matvec keeps the device"
    try:
        close(A.diagonal(), dense.diagonal(dim1=-2, dim2=-1), "diagonal() is the diagonal")
    except NotImplementedError:
        pass
    try:
        close(A.transpose().matvec(x), (dense.mT @ x.unsqueeze(-1)).squeeze(-1), "transpose() is the transpose")
    except NotImplementedError:
        assert Tag.SYMMETRIC not in A.tags, "a symmetric operator is its own transpose"
    try:
        left, right = torch.linalg.vecdot(y, A.matvec(x)), torch.linalg.vecdot(A.adjoint().matvec(y), x)
        close(left, right, "<y, A x> = <adjoint() y, x>")
    except NotImplementedError:
        assert not A.hermitian, "a Hermitian operator is its own adjoint"
    try:
        for index in product(*(range(size) for size in A.batch_shape)):
            matrix = torch.from_numpy(np.asarray(A.to_scipy(index).todense())).to(dense)
            close(matrix, dense[index], f"to_scipy({index}) is the matrix")
    except NotImplementedError:
        pass
    if Tag.SYMMETRIC in A.tags:
        close(dense, dense.mT, "the tag SYMMETRIC holds")
    if Tag.HERMITIAN in A.tags:
        close(dense, dense.mH, "the tag HERMITIAN holds")
    if A.hermitian:
        least = torch.linalg.eigvalsh((dense + dense.mH) / 2)[..., 0]
        if Tag.POSITIVE_DEFINITE in A.tags:
            assert bool((least > 0).all()), (
                f"the tag POSITIVE_DEFINITE holds: an eigenvalue is {float(least.min()):.2e}"
            )
        if Tag.POSITIVE_SEMIDEFINITE in A.tags:
            bound = -tolerance * scale * n
            assert bool((least >= bound).all()), f"the tag POSITIVE_SEMIDEFINITE holds: {float(least.min()):.2e}"
    if (basis := A.nullspace) is not None:
        close(basis.mH @ basis, torch.eye(basis.shape[-1]).to(basis), "the columns of nullspace are orthonormal")
        image = dense @ basis.to(dense.dtype)
        close(image, torch.zeros_like(image), "the matrix times its null space is 0")
    if A.values:
        again = A.with_values([values.clone() for values in A.values])
        close(again.matvec(x), A.matvec(x), "with_values(values) is the same operator")
        twice = A.with_values([2 * values for values in A.values])
        close(twice.matvec(x), 2 * A.matvec(x), "with_values is linear in the values")
    assert A.name, "name describes the operator in a few words"
