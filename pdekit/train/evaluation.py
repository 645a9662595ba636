"""A surrogate against the solver on held-out problems."""

import time
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pdekit.core.errors import InputError
from pdekit.samples import Inputs, Samples, Source
from pdekit.stream import held_out
from pdekit.train.metrics import measure

__all__ = ["Evaluated", "Predictor", "evaluate"]


@runtime_checkable
class Predictor(Protocol):
    """Anything that predicts the outputs of a batch, such as a :class:`pdekit.train.Surrogate`."""

    def predict(self, inputs: Inputs) -> Samples:
        """Outputs of the inputs."""
        ...


@dataclass(frozen=True)
class Evaluated:
    """Truth, prediction and what lies between them.

    Args:
        truth: float64 solutions with certificates.
        prediction: of the same inputs.
        metrics: by output name, then by metric and statistic; see :func:`pdekit.train.metrics.measure`.
        solver_seconds: drawing and solving all samples.
        surrogate_seconds: predicting all samples.
    """

    truth: Samples
    prediction: Samples
    metrics: dict[str, dict[str, float]]
    solver_seconds: float
    surrogate_seconds: float

    @property
    def test_rel_l2(self) -> float:
        """Mean over samples and outputs."""
        means = [figures["rel_l2_mean"] for figures in self.metrics.values()]
        return sum(means) / len(means)


def evaluate(
    surrogate: Predictor,
    source: Source,
    *,
    samples: int,
    seed: int,
    split: str = "test",
    rtol: float = 1e-10,
    method: Any = None,
    batch_size: int = 32,
) -> Evaluated:
    """Solve held-out problems and compare.

    Args:
        surrogate: what is measured.
        source: makes the problems; its grid may differ from the one trained on.
        samples: how many, the first of the split.
        seed: of the inputs.
        split: another than the one trained on.
        rtol: relative tolerance of the solutions.
        method: solver method; None lets the source choose.
        batch_size: samples solved and predicted at once.

    Raises:
        InputError: no samples.
    """
    if samples < 1:
        raise InputError(f"samples={samples}; expected at least 1.")
    warm = held_out(
        source, 1, seed=seed, split=split, rtol=rtol, method=method
    )  # compiled code is loaded, caches filled
    surrogate.predict(warm.inputs)
    start = time.perf_counter()
    truth = held_out(source, samples, seed=seed, split=split, rtol=rtol, method=method, ticket_size=batch_size)
    solver_seconds = time.perf_counter() - start
    start = time.perf_counter()
    parts = [surrogate.predict(truth[k : k + batch_size].inputs) for k in range(0, samples, batch_size)]
    prediction = Samples.cat(parts)
    surrogate_seconds = time.perf_counter() - start
    return Evaluated(truth, prediction, measure(prediction, truth), solver_seconds, surrogate_seconds)
