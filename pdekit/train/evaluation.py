"""A surrogate against the solver on held-out problems."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.samples import Inputs, Samples, Source
from pdekit.stream import held_out

__all__ = ["Evaluated", "Predictor", "evaluate", "relative_l2"]


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
        metrics: by output name, then ``rel_l2_mean, rel_l2_median, rel_l2_p95, rel_l2_max, rel_l2_worst_sample,
            rel_max_mean`` (largest error over largest value) and ``rmse``.
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
    start = time.perf_counter()
    truth = held_out(source, samples, seed=seed, split=split, rtol=rtol, method=method, ticket_size=batch_size)
    solver_seconds = time.perf_counter() - start
    start = time.perf_counter()
    parts = [surrogate.predict(truth[k : k + batch_size].inputs) for k in range(0, samples, batch_size)]
    prediction = Samples.cat(parts)
    surrogate_seconds = time.perf_counter() - start
    metrics = {name: _figures(prediction[name], truth[name]) for name in truth.schema.outputs}
    return Evaluated(truth, prediction, metrics, solver_seconds, surrogate_seconds)


def relative_l2(prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"]) -> Tensor:
    """``||prediction - truth||_2 / ||truth||_2`` over the grid points of each sample, in float64.

    Example:
        >>> relative_l2(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 2.0]])).item() == 5**-0.5
        True
    """
    truth = truth.double().cpu().flatten(1)
    return (prediction.double().cpu().flatten(1) - truth).norm(dim=1) / truth.norm(dim=1)


def _figures(prediction: Tensor, truth: Tensor) -> dict[str, float]:
    relative = relative_l2(prediction, truth)
    error = (prediction.double().cpu() - truth.double().cpu()).flatten(1)
    largest = error.abs().amax(dim=1) / truth.double().cpu().flatten(1).abs().amax(dim=1)
    return {
        "rel_l2_mean": float(relative.mean()),
        "rel_l2_median": float(relative.median()),
        "rel_l2_p95": float(relative.quantile(0.95)),
        "rel_l2_max": float(relative.max()),
        "rel_l2_worst_sample": int(relative.argmax()),
        "rel_max_mean": float(largest.mean()),
        "rmse": float(error.square().mean().sqrt()),
    }
