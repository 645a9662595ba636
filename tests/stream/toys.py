"""A source cheap enough for thousands of samples, which can be slow, fail or return bad samples on request."""

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pdekit.domain import Grid
from pdekit.samples import Certificate, FieldSpec, Identity, Inputs, Samples, Schema, Source


@dataclass
class Toy(Source):
    """Draws a random line, returns its running sum as the solution.

    Args:
        delay: seconds for a ticket, by its first index.
        missing: indices whose certificate misses the tolerance.
        broken: indices whose solution holds a NaN.
        raising: indices whose ticket raises.
    """

    delay: Callable[[int], float] = lambda first: 0.0
    missing: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()
    raising: frozenset[int] = frozenset()
    points: int = 8
    solved: list[int] = field(default_factory=list)

    @property
    def schema(self) -> Schema:
        return Schema(Grid((self.points,)), (FieldSpec("coefficient", "input"), FieldSpec("solution", "output")))

    def draw(self, indices: Sequence[int], *, seed: int, split: str = "train", attempt: int = 0) -> Inputs:
        words = [(seed, zlib.crc32(split.encode()), index, attempt) for index in indices]
        lines = [np.random.Generator(np.random.Philox(key=0, counter=word)).random(self.points) for word in words]
        identity = Identity(seed, split, torch.tensor(list(indices), dtype=torch.int64), attempt)
        return Inputs(self.schema, {"coefficient": torch.from_numpy(np.stack(lines))}, identity)

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
        assert inputs.identity is not None
        indices = inputs.identity.indices.tolist()
        time.sleep(self.delay(indices[0]))
        if bad := self.raising.intersection(indices):
            raise RuntimeError(f"cannot solve sample {min(bad)}")
        self.solved.extend(indices)
        solution = inputs["coefficient"].cumsum(dim=1)
        value = torch.full((len(indices),), rtol / 2, dtype=torch.float64)
        for row, index in enumerate(indices):
            if index in self.broken:
                solution[row, 0] = float("nan")
            if index in self.missing:
                value[row] = 10 * rtol
        certificate = Certificate(
            "residual",
            value,
            torch.full_like(value, rtol),
            torch.full((len(indices),), 7, dtype=torch.int64),
            torch.zeros_like(value),
            "toy",
            "float64",
        )
        return Samples(inputs.schema, {**inputs.fields, "solution": solution}, inputs.identity, certificate)
