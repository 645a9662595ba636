"""A fixed set of samples, solved before training starts."""

from typing import Any

import torch

from pdekit.samples import Samples, Source

__all__ = ["held_out"]


def held_out(
    source: Source,
    count: int,
    *,
    seed: int,
    split: str,
    rtol: float,
    method: Any = None,
    ticket_size: int = 32,
) -> Samples:
    """The first ``count`` samples of a split, in float64.

    Args:
        source: makes the samples.
        count: how many.
        seed: of the inputs.
        split: ``validation``, ``test``, ...
        rtol: relative tolerance of the certificates; tighter than in training, where an error averages out.
        method: a solver method; None lets the source choose.
        ticket_size: samples drawn and solved together.

    Returns:
        The samples, in the order of their numbers.

    Raises:
        NotConverged: a sample missed the tolerance; a measuring set has no holes.

    Example:
        >>> from pdekit.core.random import uniform
        >>> from pdekit.domain import Grid
        >>> from pdekit.samples import FieldSpec, Schema
        >>> schema = Schema(Grid((5,)), (FieldSpec("a", "input"), FieldSpec("square", "output")))
        >>> source = Source.from_function(
        ...     schema,
        ...     draw=lambda keys: {"a": torch.from_numpy(uniform(keys.named("a"), 5))},
        ...     solve=lambda fields, rtol: {"square": fields["a"] ** 2},
        ... )
        >>> len(held_out(source, 40, seed=0, split="test", rtol=1e-10))
        40
    """
    parts = []
    with torch.no_grad():
        for first in range(0, count, ticket_size):
            inputs = source.draw(range(first, min(first + ticket_size, count)), seed=seed, split=split)
            parts.append(source.solve(inputs, rtol=rtol, method=method))
    return Samples.cat(parts)
