"""What AMG and direct solvers keep from one matrix for the next."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pdekit.core.checks import check_finite, check_limit
from pdekit.core.errors import InputError
from pdekit.solvers.memory import Memory

__all__ = ["KeptFactor", "KeptTransfers", "Structure"]

_SLOW = 1.3
"""Iterations, relative to those when the transfers were made, above which the next matrix is coarsened anew."""

_TOO_SLOW = 2.0
"""The same above which a system is set up anew at once."""

_GLANCE = 64
"""Entries that are compared before all are."""


class Structure(NamedTuple):
    """All that decides, beside the entries, how a matrix is coarsened."""

    indptr: np.ndarray
    indices: np.ndarray
    settings: tuple
    near: np.ndarray | None
    """``(n, k)`` near null space"""
    nodes: np.ndarray | None
    """``(n,)`` the node of each unknown"""

    def matches(self, other: "Structure") -> bool:
        """Whether both are the same, number by number."""
        return self.settings == other.settings and all(
            mine is theirs or (mine is not None and theirs is not None and np.array_equal(mine, theirs))
            for mine, theirs in zip(self._arrays(), other._arrays(), strict=True)
        )

    def fingerprint(self) -> str:
        """The same for the same structure on any machine."""
        digest = hashlib.sha256(repr(tuple(self.settings)).encode())
        for part in self._arrays():
            digest.update(b"none" if part is None else f"{part.dtype.str}{part.shape}".encode() + part.tobytes())
        return digest.hexdigest()

    def _arrays(self) -> tuple[np.ndarray | None, ...]:
        return self.indptr, self.indices, self.near, self.nodes


class KeptTransfers(Memory):
    """Transfers that :class:`AMG` made for an earlier matrix: ``AMG(kept=KeptTransfers())``.

    What is coarse, which connections are strong and all patterns stay; the weights of the interpolation, the Galerkin
    matrices of every level, the smoothers and the coarse factor are computed anew for each matrix, which takes a
    fraction of the time that coarsening takes. A hierarchy with the numbers of another matrix is never used.

    **When it is coarsened anew.** For a matrix of another pattern, near null space or other settings. Where more than
    half of the matrices of a batch do not fit, by the rule of reuse of :class:`AMG` with 10 and 5 in 100 unknowns in
    place of 3 and 1. After the compiled :class:`CG` took more than 1.3 times as many iterations for each factor of e of
    the residual as when the transfers were made, and one more; or broke down. A system that takes twice as many is set
    up anew at once.

    Answers then depend, within the tolerance, on the matrices that came before.

    Example:
        >>> import scipy.sparse
        >>> from pdekit.solvers import AMG, CG, solve
        >>> method = CG(AMG(kept=KeptTransfers()))
        >>> for shift in (0.0, 0.01):
        ...     A = scipy.sparse.diags_array([-1.0, 2.0 + shift, -1.0], offsets=[-1, 0, 1], shape=(500, 500))
        ...     print(solve(A, np.ones(500), method).method)
        CG, AMG (classical, 3 levels, Gauss-Seidel) preconditioner
        CG, AMG (classical, 3 levels, Gauss-Seidel; transfers kept) preconditioner
    """

    def __init__(self):
        self.reset()

    def __repr__(self) -> str:
        return "KeptTransfers()"

    def __str__(self) -> str:
        """What it holds."""
        if self._entries is None:
            return f"{self!r}: no transfers"
        if self._structure is None:
            return f"{self!r}: transfers to be made again for matrices of {self._entries.size:,} entries"
        return f"{self!r}: transfers for matrices of {len(self._structure.indptr) - 1:,} unknowns"

    def reset(self) -> None:
        self._transfers: Any = None
        self._structure: Structure | None = None
        self._entries: np.ndarray | None = None
        self._fingerprint: str | None = None
        self._rate: float | None = None

    @property
    def patience(self) -> float:
        """Iterations for each factor of e after which a system is set up anew."""
        return math.inf if self._rate is None else _TOO_SLOW * self._rate

    def recall(self, structure: Structure) -> Any:
        """The transfers kept for matrices of this structure; None where there are none."""
        if self._structure is not None:
            return self._transfers if self._structure.matches(structure) else None
        if self._entries is None or self._fingerprint != structure.fingerprint():
            return None
        from pdekit.solvers.amg.transfers import build  # compiled code and PyAMG are loaded on first use

        indptr, indices, settings, near, nodes = structure
        entries, rate = self._entries, self._rate
        self.reset()  # what cannot be made again is not tried a second time
        if entries.size != indices.size:
            return None
        transfers = build(indptr, indices, entries, settings, near, nodes)  # pyright: ignore
        self._structure, self._entries, self._rate, self._transfers = structure, entries, rate, transfers
        return transfers

    def keep(self, structure: Structure, entries: np.ndarray, transfers: Any) -> None:
        """Keep transfers in place of any others.

        Args:
            structure: of the matrices.
            entries: ``(nnz,)`` of the matrix they were made for.
            transfers: as `pdekit.solvers.amg.transfers.build` made them.
        """
        self.reset()
        self._structure, self._entries, self._transfers = structure, entries.copy(), transfers

    def took(self, transfers: Any, steps: float, fell: float) -> bool:
        """Hear how fast systems were solved with transfers, and give these up if that was slow.

        Args:
            transfers: those that were used.
            steps: iterations of a system; infinity where one broke down.
            fell: logarithm of the factor by which its residual fell.

        Returns:
            Whether they were given up.
        """
        if transfers is None or transfers is not self._transfers:
            return False
        allowed = math.inf if self._rate is None else _SLOW * self._rate * fell + 1
        if math.isinf(steps) or not fell > 0 or steps > allowed:
            self.reset()
            return True
        if self._rate is None:
            self._rate = float(steps / fell)
        return False

    def state_dict(self) -> dict[str, Any]:
        """The entries that the transfers were made from, with which they are made again; empty if it holds none."""
        if self._entries is None:
            return {}
        fingerprint = self._fingerprint if self._structure is None else self._structure.fingerprint()
        return {"fingerprint": fingerprint, "entries": torch.from_numpy(self._entries.copy()), "rate": self._rate}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if isinstance(state, Mapping) and not state:
            self.reset()
            return
        _check_keys("KeptTransfers", state, {"fingerprint", "entries", "rate"})
        fingerprint, entries, rate = state["fingerprint"], state["entries"], state["rate"]
        if not isinstance(fingerprint, str):
            raise _unlike("KeptTransfers", "fingerprint", fingerprint, "a string")
        if not isinstance(entries, Tensor) or entries.ndim != 1 or entries.dtype != torch.float64:
            raise _unlike("KeptTransfers", "entries", entries, "a tensor (nnz,) of type torch.float64")
        check_finite("entries", entries)
        if rate is not None and not (type(rate) in (int, float) and 0 <= rate < math.inf):
            raise _unlike("KeptTransfers", "rate", rate, "None or a number of at least 0")
        self.reset()
        self._fingerprint, self._rate = fingerprint, rate
        self._entries = entries.detach().cpu().numpy().copy()


class KeptFactor(Memory):
    """Factors of matrices that :class:`Direct` has met: ``Direct(kept=KeptFactor())``.

    A matrix whose pattern and entries all equal those of one met before is not factored again.

    SciPy frees the memory of a sparse factor only in the thread that made it: use, reset and drop it there.

    Args:
        matrices: of so many the factors are kept; the one not met for longest goes first.

    Raises:
        InputError: not a number of matrices.

    Example:
        >>> from pdekit.solvers import Direct, solve
        >>> method = Direct(kept=KeptFactor())
        >>> import scipy.sparse
        >>> A = scipy.sparse.diags_array([1.0, 4.0, 1.0], offsets=[-1, 0, 1], shape=(50, 50))
        >>> solve(A, np.ones(50), method).method, solve(A, np.arange(50.0), method).method
        ('Direct, SuperLU', 'Direct, SuperLU, factors kept')
    """

    def __init__(self, matrices: int = 4):
        check_limit("KeptFactor", "matrices", matrices)
        self.matrices = matrices
        self.reset()

    def __repr__(self) -> str:
        return f"KeptFactor(matrices={self.matrices})"

    def __str__(self) -> str:
        """What it holds."""
        if not self._known:
            return f"{self!r}: no matrices"
        sizes = [parts[0].shape[-1] if len(parts) == 1 else len(parts[0]) - 1 for parts, _ in self._known]
        least, most = min(sizes), max(sizes)
        unknowns = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        factored = sum(bool(factors) for _, factors in self._known)
        count = f"{len(sizes)} {'matrix' if len(sizes) == 1 else 'matrices'}"
        return f"{self!r}: {count} of {unknowns} unknowns, {factored} of them factored"

    def reset(self) -> None:
        self._known: list[tuple[tuple[np.ndarray, ...], dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._known)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: factors stay where they were made."""
        return {"matrices": self.matrices, "_known": [(parts, {}) for parts, _ in self._known]}

    def find(self, parts: tuple[np.ndarray, ...], kind: str) -> Any:
        """The factor of a matrix; None where it was not met, or has none of this kind.

        Args:
            parts: the arrays that make the matrix, the entries last.
            kind: how it was factored.
        """
        for place, (known, factors) in enumerate(self._known):
            if _equal(known, parts):
                self._known.append(self._known.pop(place))
                return factors.get(kind)
        return None

    def keep(self, parts: tuple[np.ndarray, ...], kind: str, factor: Any) -> None:
        """Keep the factor of a matrix, beside those of other kinds."""
        self.find(parts, kind)
        if not (self._known and _equal(self._known[-1][0], parts)):
            self._known.append((tuple(part.copy() for part in parts), {}))
            del self._known[: -self.matrices]
        self._known[-1][1][kind] = factor

    def state_dict(self) -> dict[str, Any]:
        """The matrices, which are recognised and factored again when they are met."""
        return {"matrices": [[torch.from_numpy(part.copy()) for part in parts] for parts, _ in self._known]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        _check_keys("KeptFactor", state, {"matrices"})
        matrices = state["matrices"]
        if not isinstance(matrices, list | tuple):
            raise _unlike("KeptFactor", "matrices", matrices, "a list")
        for place, parts in enumerate(matrices):
            if not _makes_a_matrix(parts):
                raise _unlike("KeptFactor", f"matrices[{place}]", parts, "tensors [indptr, indices, data] or [dense]")
        self._known = [(tuple(part.detach().cpu().numpy().copy() for part in parts), {}) for parts in matrices]
        del self._known[: -self.matrices]


def _equal(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    if [part.shape for part in one] != [part.shape for part in other] or one[-1].dtype != other[-1].dtype:
        return False
    few = slice(None, None, max(one[-1].size // _GLANCE, 1))
    if not np.array_equal(one[-1].reshape(-1)[few], other[-1].reshape(-1)[few]):
        return False
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def _makes_a_matrix(parts: Any) -> bool:
    """Whether these are the arrays of a sparse matrix, or a dense one."""
    if not isinstance(parts, list | tuple) or not all(isinstance(part, Tensor) for part in parts):
        return False
    if len(parts) not in (1, 3) or parts[-1].dtype not in (torch.float64, torch.complex128):
        return False
    if len(parts) == 1:
        return parts[0].ndim >= 2 and parts[0].shape[-1] == parts[0].shape[-2]
    indptr, indices, entries = parts
    whole = all(part.dtype in (torch.int32, torch.int64) and part.ndim == 1 for part in (indptr, indices))
    return whole and len(indptr) > 0 and indices.shape == entries.shape


def _unlike(owner: str, name: str, given: Any, expected: str) -> InputError:
    shown = f"a tensor {tuple(given.shape)} of type {given.dtype}" if isinstance(given, Tensor) else repr(given)
    return InputError(f"The state has {name}: {shown}; expected {expected}, as {owner}.state_dict() gives.")


def _check_keys(owner: str, state: Any, expected: set[str]) -> None:
    if not isinstance(state, Mapping):
        raise InputError(
            f"The state is {state!r}; expected a dictionary with {', '.join(sorted(expected))}, as "
            f"{owner}.state_dict() gives it."
        )
    if set(state) != expected:
        raise InputError(
            f"The state has the entries {', '.join(sorted(map(str, state))) or 'none'}; expected "
            f"{', '.join(sorted(expected))}, as {owner}.state_dict() gives them."
        )
