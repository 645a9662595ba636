"""Dense algebra of a size at which threads cost more than they save."""

import numpy as np
import torch
from jaxtyping import Float, Inexact
from torch import Tensor

__all__ = ["eigh"]


def eigh(matrix: Inexact[Tensor, "*batch k k"]) -> tuple[Float[Tensor, "*batch k"], Inexact[Tensor, "*batch k k"]]:
    """Eigenvalues, smallest first, and eigenvectors of small Hermitian matrices.

    On the CPU by NumPy: torch keeps a team of OpenMP threads for it, which wait for each other where cores are shared.
    """
    if matrix.device.type != "cpu":
        return torch.linalg.eigh(matrix)
    values, vectors = np.linalg.eigh(matrix.detach().resolve_conj().numpy())
    return torch.from_numpy(values), torch.from_numpy(vectors)
