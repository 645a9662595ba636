"""Dense blocks along the diagonal as preconditioner."""

from dataclasses import dataclass

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import check_limit
from pdekit.core.errors import InputError
from pdekit.solvers.operators.base import LinearOperator, Tag
from pdekit.solvers.operators.csr import CSR
from pdekit.solvers.preconditioners.base import Preconditioner

__all__ = ["BlockJacobi"]


@dataclass(frozen=True)
class BlockJacobi(Preconditioner):
    """Division by the blocks of consecutive unknowns on the diagonal, on any device, real or complex.

    Args:
        size: unknowns of a block, such as the components of a vector problem, whose unknowns come node by node.

    Example:
        >>> import scipy.sparse
        >>> A = CSR.from_scipy(scipy.sparse.csr_array([[2.0, 1.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0],
        ...                                            [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 8.0]]))
        >>> P = BlockJacobi(2).setup(A)
        >>> print(P)
        block Jacobi, 2 blocks of 2
        >>> P.matvec(torch.tensor([3.0, 3.0, 4.0, 4.0], dtype=torch.float64))
        tensor([1.0000, 1.0000, 1.0000, 0.5000], dtype=torch.float64)

    Source:
        Saad, "Iterative Methods for Sparse Linear Systems", 2nd ed., 2003, section 12.2.
    """

    size: int

    def __post_init__(self):
        check_limit("BlockJacobi", "size", self.size)

    def setup(self, A: LinearOperator) -> LinearOperator:
        """Invert the blocks of each matrix.

        Raises:
            InputError: no CSR, a number of unknowns that is no multiple of ``size``, or a singular block.
        """
        if not isinstance(A, CSR):
            raise InputError(
                f"BlockJacobi takes blocks out of stored entries and needs a CSR; it was given {A.name}. Use Jacobi()."
            )
        n, size = A.shape[0], self.size
        if n % size:
            raise InputError(
                f"BlockJacobi({size}) does not divide the {n} unknowns into blocks; expected a divisor of {n}, such "
                "as the number of components at a node. A node some of whose components are fixed has a smaller block: "
                "fix all of its components, or use Jacobi()."
            )
        rows, columns = A.rows, A.indices
        inside = rows // size == columns // size
        place = rows[inside] * size + columns[inside] % size
        blocks = A.entries.new_zeros((*A.batch_shape, n * size))
        blocks = blocks.index_copy(-1, place, A.entries.detach()[..., inside])
        inverse, info = torch.linalg.inv_ex(blocks.reshape(*A.batch_shape, n // size, size, size))
        if bool(info.any()):
            *matrix, block = (int(k) for k in torch.nonzero(info)[0])
            where = f" of matrix {matrix}" if matrix else ""
            raise InputError(
                f"BlockJacobi({size}) cannot invert the singular block of the unknowns {block * size} to "
                f"{(block + 1) * size - 1}{where}."
            )
        return _Blocks(inverse, A.tags)


class _Blocks(LinearOperator):
    def __init__(self, blocks: Inexact[Tensor, "*batch blocks size size"], tags: frozenset[Tag]):
        self.blocks, self._tags = blocks, tags

    @property
    def name(self) -> str:
        return f"block Jacobi, {self.blocks.shape[-3]:,} blocks of {self.blocks.shape[-1]}"

    @property
    def shape(self) -> tuple[int, int]:
        n = self.blocks.shape[-3] * self.blocks.shape[-1]
        return n, n

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.blocks.shape[:-3])

    @property
    def dtype(self) -> torch.dtype:
        return self.blocks.dtype

    @property
    def device(self) -> torch.device:
        return self.blocks.device

    @property
    def tags(self) -> frozenset[Tag]:
        return self._tags & {Tag.SYMMETRIC, Tag.HERMITIAN}

    def matvec(self, x: Inexact[Tensor, "*#batch n"]) -> Inexact[Tensor, "*#batch n"]:
        parts = x.unflatten(-1, (self.blocks.shape[-3], self.blocks.shape[-1]))
        return (self.blocks @ parts.unsqueeze(-1)).squeeze(-1).flatten(-2)

    def transpose(self) -> "_Blocks":
        return self if Tag.SYMMETRIC in self.tags else _Blocks(self.blocks.mT, self._tags)

    def adjoint(self) -> "_Blocks":
        """The inverses of the conjugate transposed matrices."""
        return self if Tag.HERMITIAN in self.tags else _Blocks(self.blocks.mH, self._tags)

    def __repr__(self) -> str:
        return self.name
