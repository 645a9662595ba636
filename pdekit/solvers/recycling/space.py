"""Vectors that are carried from one system to the next, and the rule by which they are bound to each new matrix."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import check_finite, check_limit
from pdekit.core.errors import InputError
from pdekit.solvers.memory import Memory
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.recycling.policies import Record
from pdekit.solvers.recycling.small import eigh

__all__ = ["RecycleSpace", "orthonormal_images"]

_BOUND = 1e-10
"""How well a random combination of the vectors must be mapped to that of their images, which has length 1."""

_DEPENDENT = 1e-12
"""Vectors whose images add less than its square root to those of the others are dropped."""

_PASSES = 3


class RecycleSpace(Memory):
    """A space of solutions that iterations find hard: kept from system to system, it takes those parts off each anew.

    It lives among the solutions, not among the residuals or inside a preconditioner, so it survives a change of the
    matrix and of the preconditioner, and methods can share it: what GCRO-DR found serves deflated CG.

    Used for another matrix, the images of its vectors are wrong, and a method that trusts them diverges. So they are
    never trusted: one product with a combination of all vectors shows whether the images are those of the matrix, and
    if not, all are computed anew, at the price of a product each.

    Args:
        vectors: most that are kept. Each costs two vectors of memory.

    Example:
        >>> import numpy as np
        >>> from pdekit.solvers import ILU0, solve
        >>> from pdekit.solvers.recycling.gcrodr import GCRODR
        >>> space, hard = RecycleSpace(8), np.geomspace(1e-3, 0.1, 8)
        >>> for shift in (0.0, 0.1):
        ...     A = np.diag(np.r_[hard, np.linspace(1, 2, 92)]) + shift * np.diag(np.ones(99), 1)
        ...     print(int(solve(A, np.ones(100), GCRODR(restart=20, space=space)).iterations), tuple(space.basis.shape))
        42 (8, 100)
        29 (8, 100)

    Source:
        Parks, de Sturler, Mackey, Johnson, Maiti, "Recycling Krylov subspaces for sequences of linear systems", SIAM J.
        Sci. Comput. 28, 2006.
    """

    def __init__(self, vectors: int = 20):
        check_limit("RecycleSpace", "vectors", vectors)
        self.vectors = vectors
        self.reset()

    def __repr__(self) -> str:
        return f"RecycleSpace({self.vectors})"

    def __str__(self) -> str:
        """What it holds."""
        count = 0 if self._basis is None else len(self._basis)
        held = f"{count or 'no'} vector{'' if count == 1 else 's'}"
        if self._basis is not None:
            held += f" of {self._basis.shape[1]:,} unknowns"
        frozen = self.record.learnt > 0 and not self.record.updating
        return f"{self!r}: {held}{', frozen' if frozen else ''}"

    def reset(self) -> None:
        self._basis: Tensor | None = None
        self._images: Tensor | None = None
        self.record = Record()

    @property
    def basis(self) -> Inexact[Tensor, "size n"] | None:
        """The vectors, as rows; None while there are none."""
        return self._basis

    def replace(self, basis: Inexact[Tensor, "size n"], images: Inexact[Tensor, "size n"] | None = None) -> None:
        """Put other vectors in place of those it has.

        Args:
            basis: rows; of more than :attr:`vectors` the first are taken.
            images: their products with the matrix last solved with, orthonormal; None where they are not known.

        Raises:
            InputError: no matrix of vectors, images of another shape or type, or entries that are not finite.
        """
        _check_rows(basis, images)
        self._put(basis, images)

    def learn(self, basis: Inexact[Tensor, "size n"], images: Inexact[Tensor, "size n"] | None = None) -> None:
        """Put what a solve has found in place of the vectors it has, without those that are not finite.

        Args:
            basis: as :meth:`replace` takes it; where nothing is left of it, the space stays as it is.
            images: as :meth:`replace` takes them.
        """
        finite = torch.isfinite(basis).all(-1)
        if images is not None:
            finite &= torch.isfinite(images).all(-1)
        if bool(finite.any()):
            self._put(basis[finite], None if images is None else images[finite])

    def _put(self, basis: Tensor, images: Tensor | None) -> None:
        rows = slice(self.vectors)
        self._basis = basis[rows].detach().clone()
        self._images = None if images is None else images[rows].detach().clone()

    @torch.no_grad()
    def bound(self, A: LinearOperator) -> tuple[Inexact[Tensor, "size n"], Inexact[Tensor, "size n"]]:
        """Vectors U that span the space and their images C with A U = C, the images orthonormal; rows of both.

        Vectors whose images depend on those of others are dropped. Where the space is empty both have no rows; one of
        vectors of another size, type or device is emptied.

        Args:
            A: one matrix.

        Raises:
            InputError: a batch of several matrices.
        """
        if math.prod(A.batch_shape) != 1:
            raise InputError(
                f"A space is bound to one matrix at a time; A is a batch {A.batch_shape}. Solve one after the other."
            )
        basis, images = self._basis, self._images
        if basis is not None and (basis.dtype, basis.device, basis.shape[1]) != (A.dtype, A.device, A.shape[0]):
            self.reset()
            basis = None
        if basis is None:
            none = torch.empty((0, A.shape[0]), dtype=A.dtype, device=A.device)
            return none, none
        if images is None or not self._holds(A, basis, images):
            basis, images = orthonormal_images(basis, A.matvec(basis).reshape(basis.shape))
            # A matrix that maps them all to 0 or to infinity says nothing about the next.
            self._basis, self._images = (basis, images) if len(basis) else (self._basis, None)
        return basis, images

    @staticmethod
    def _holds(A: LinearOperator, basis: Tensor, images: Tensor) -> bool:
        """Whether A maps the basis to the images, by one product with a combination of all of it."""
        weights = torch.cos(torch.arange(1, len(basis) + 1, dtype=torch.float64)).to(basis)
        weights = weights / torch.linalg.vector_norm(weights)
        error = torch.linalg.vector_norm(A.matvec(weights @ basis) - weights @ images)
        return bool(error <= _BOUND)

    def note(self, *, updated: bool, iterations: int, reduction: float, converged: bool) -> None:
        """Hear how a system went, for the policy; the arguments are those of :meth:`Record.after`."""
        self.record = self.record.after(
            updated=updated, iterations=iterations, reduction=reduction, converged=converged
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "basis": None if self._basis is None else self._basis.clone(),
            "images": None if self._images is None else self._images.clone(),
            "record": asdict(self.record),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        expected = {"basis", "images", "record"}
        if not isinstance(state, Mapping) or set(state) != expected:
            given = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise InputError(f"The state of a RecycleSpace has {given}; expected {sorted(expected)}.")
        basis, images, record = state["basis"], state["images"], _as_record(state["record"])
        if basis is None and images is not None:
            raise InputError("The state of a RecycleSpace has images without a basis; expected both, or neither.")
        if basis is not None:
            _check_rows(basis, images)
        self.reset()
        if basis is not None:
            self._put(basis, images)
        self.record = record


def _check_rows(basis: Any, images: Any) -> None:
    """Refuse what is no space: nothing is changed before all of it is known to be right."""
    if not isinstance(basis, Tensor):
        raise InputError(
            f"The space is given vectors of type {type(basis).__name__}; expected a tensor of rows (size, n)."
        )
    if basis.ndim != 2 or basis.dtype not in (torch.float64, torch.complex128):
        raise InputError(
            f"The space is given vectors of shape {tuple(basis.shape)} and {basis.dtype}; expected rows (size, n), "
            "float64 or complex128."
        )
    check_finite("basis", basis)
    if images is None:
        return
    if not isinstance(images, Tensor):
        raise InputError(f"The images are of type {type(images).__name__}; expected a tensor like the basis, or None.")
    if images.shape != basis.shape:
        raise InputError(
            f"The images have shape {tuple(images.shape)}; expected that of the basis, {tuple(basis.shape)}."
        )
    if (images.dtype, images.device) != (basis.dtype, basis.device):
        raise InputError(
            f"The images are {images.dtype} on {images.device}; expected the type and device of the basis, "
            f"{basis.dtype} on {basis.device}."
        )
    check_finite("images", images)


def _as_record(given: Any) -> Record:
    example = Record(3, False, 1.6, 1.7)
    if isinstance(given, Mapping) and set(given) == set(asdict(example)):
        record = Record(**given)
        efforts = [effort for effort in (record.reference, record.effort) if effort is not None]
        counted = type(record.learnt) is int and record.learnt >= 0
        told = type(record.updating) is bool and type(record.failed) is bool
        if counted and told and all(isinstance(effort, float) and 0 <= effort < math.inf for effort in efforts):
            return record
    raise InputError(
        f"The state of a RecycleSpace has record={given!r}; expected what RecycleSpace.state_dict() gives, such as "
        f"{asdict(example)}."
    )


def orthonormal_images(
    basis: Inexact[Tensor, "size n"], images: Inexact[Tensor, "size n"]
) -> tuple[Inexact[Tensor, "least n"], Inexact[Tensor, "least n"]]:
    """Combinations of the vectors whose images, the same combinations, are orthonormal; dependent ones are dropped.

    By the Gram matrix, which costs two products of matrices where a QR factorisation runs at the speed of memory, and
    again as long as that was ill-conditioned. Images of a space that fits are nearly orthonormal at once.

    Args:
        basis: rows.
        images: rows; those that are not finite make all be dropped.
    """
    for _ in range(_PASSES):
        gram = images @ images.mH
        lengths = gram.diagonal().real.sqrt()
        if len(images) == 0 or not bool(torch.isfinite(lengths).all()):
            return basis[:0], images[:0]
        scale = torch.where(lengths > 0, 1 / lengths, 0.0)
        squares, directions = eigh(scale.unsqueeze(-1) * gram * scale)
        independent = squares > _DEPENDENT * squares[-1].clamp(min=1.0)
        squares, directions = squares[independent], directions[:, independent]
        turn = (scale.unsqueeze(-1) * directions / squares.sqrt()).mH
        basis, images = turn @ basis, turn @ images
        if len(squares) == 0 or squares[0] > 0.01 * squares[-1]:
            break
    return basis, images
