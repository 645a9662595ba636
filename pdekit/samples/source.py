"""The protocol of whatever makes samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from pdekit.samples.samples import Inputs, Samples
from pdekit.samples.schema import Schema

__all__ = ["Source"]


class Source(ABC):
    """Draws inputs and solves them: a family of PDEs, or a user's own solver."""

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """What the samples consist of."""

    @abstractmethod
    def draw(self, indices: Sequence[int], *, seed: int, split: str = "train", attempt: int = 0) -> Inputs:
        """Inputs of the samples with these numbers, bit-exact functions of (seed, split, index, attempt)."""

    @abstractmethod
    def solve(
        self,
        inputs: Inputs,
        *,
        rtol: float,
        method: Any = None,
        guess: Samples | None = None,
        memory: Any = None,
        throw: bool = True,
    ) -> Samples:
        """Outputs and certificates of the inputs.

        Args:
            inputs: a batch.
            rtol: relative tolerance of the certificate.
            method: a solver method; None lets the source choose.
            guess: outputs to start from.
            memory: state that the method keeps between calls, or None.
            throw: raise where a sample misses the tolerance, instead of returning it with ``accepted`` False.

        Raises:
            NotConverged: a sample missed the tolerance and ``throw`` is set.
        """

    def describe(self) -> dict[str, Any]:
        """Plain containers that say what this source is; written into datasets and models."""
        return {"class": f"{type(self).__module__}.{type(self).__qualname__}"}
