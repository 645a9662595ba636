"""The protocol of whatever makes samples."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdekit.core.errors import InputError, PdekitError
from pdekit.samples.certificate import Certificate
from pdekit.samples.samples import Identity, Inputs, Samples
from pdekit.samples.schema import Schema

if TYPE_CHECKING:
    from pdekit.core.random import Keys

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
            memory: a budget for the working memory, such as ``"2GiB"`` or a number of bytes; None for the source's own.
            throw: raise where a sample misses the tolerance, instead of returning it with ``accepted`` False.

        Raises:
            NotConverged: a sample missed the tolerance and ``throw`` is set.
        """

    def describe(self) -> dict[str, Any]:
        """Plain containers that say what this source is; written into datasets and models."""
        return {"class": f"{type(self).__module__}.{type(self).__qualname__}"}

    @staticmethod
    def from_function(
        schema: Schema,
        draw: "Callable[[Keys], Mapping[str, Tensor]]",
        solve: Callable[[Mapping[str, Tensor], float], Mapping[str, Tensor]],
        residual: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
    ) -> "Source":
        """A source of a user's own functions.

        Args:
            schema: the fields that the functions make, and their grid.
            draw: from the batch's keys to the input fields, each ``(batch, *grid.shape)``. What it draws must depend
                on the keys alone: ``field.sample(keys.named("source"), grid)``, or ``pdekit.core.random.uniform``.
            solve: from the input fields and rtol to the output fields, each ``(batch, *grid.shape)``.
            residual: from all fields to the relative residual of each sample, ``(batch,)``, which certifies them.
                Without it the samples carry no certificate.

        Returns:
            The source. With a residual, ``solve(throw=True)`` refuses samples that miss rtol.

        Example:
            >>> from pdekit.core.random import Keys, uniform
            >>> from pdekit.domain import Grid
            >>> from pdekit.samples import FieldSpec
            >>> schema = Schema(Grid((5,)), (FieldSpec("a", "input"), FieldSpec("square", "output")))
            >>> source = Source.from_function(
            ...     schema,
            ...     draw=lambda keys: {"a": torch.from_numpy(uniform(keys.named("a"), 5))},
            ...     solve=lambda fields, rtol: {"square": fields["a"] ** 2},
            ... )
            >>> source.solve(source.draw(range(3), seed=0), rtol=1e-8)["square"].shape
            torch.Size([3, 5])
        """
        return _FunctionSource(schema, draw, solve, residual)


class _FunctionSource(Source):
    def __init__(self, schema, draw, solve, residual):
        self._schema, self._draw, self._solve, self._residual = schema, draw, solve, residual

    @property
    def schema(self) -> Schema:
        return self._schema

    def draw(self, indices: Sequence[int], *, seed: int, split: str = "train", attempt: int = 0) -> Inputs:
        from pdekit.core.random import Keys  # here, because it loads numba

        identity = Identity(seed, split, torch.as_tensor(list(indices), dtype=torch.int64), attempt)
        return Inputs(self._schema, self._draw(Keys(seed, split, list(indices), attempt)), identity)

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
        for name, given in (("method", method), ("guess", guess), ("memory", memory)):
            if given is not None:
                raise InputError(f"A source made of functions takes no {name}; it solves in its own way.")
        start = time.perf_counter()
        fields = {**inputs.fields, **self._solve(inputs.fields, rtol)}
        if self._residual is None:
            return Samples(self._schema, fields, inputs.identity)
        value = self._residual(fields).to(torch.float64)
        batch, name = len(inputs), getattr(self._solve, "__qualname__", type(self._solve).__name__)
        seconds = (time.perf_counter() - start) / max(1, batch)
        certificate = Certificate(
            "residual",
            value,
            torch.full_like(value, rtol),
            torch.zeros(batch, dtype=torch.int64),
            torch.full_like(value, seconds),
            name,
            str(fields[self._schema.outputs[0]].dtype).removeprefix("torch."),
        )
        if throw and not bool(certificate.accepted.all()):
            row = int(torch.nonzero(~certificate.accepted)[0])
            raise PdekitError(
                f"Sample {row} of the batch has the relative residual {value[row]:.1e} > rtol {rtol:.1e}."
            )
        return Samples(self._schema, fields, inputs.identity, certificate)

    def describe(self) -> dict[str, Any]:
        functions = {"draw": self._draw, "solve": self._solve, "residual": self._residual}
        names = {key: getattr(f, "__qualname__", repr(type(f))) for key, f in functions.items() if f is not None}
        return {"class": "pdekit.samples.Source.from_function", **names}
