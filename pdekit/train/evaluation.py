"""A surrogate against the solver on held-out problems."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pdekit.core.errors import InputError
from pdekit.samples import Inputs, Samples, Source
from pdekit.stream import held_out
from pdekit.train.metrics import measure
from pdekit.train.report import Measured, SurrogateReport

__all__ = ["Evaluated", "Predictor", "evaluate"]


@runtime_checkable
class Predictor(Protocol):
    """Anything that predicts the outputs of a batch, such as a :class:`pdekit.train.Surrogate`."""

    def predict(self, inputs: Inputs) -> Samples:
        """Outputs of the inputs."""
        ...


@dataclass(frozen=True, repr=False)
class Evaluated(Measured):
    """Truth, prediction and what lies between them.

    Args:
        truth: float64 solutions with certificates.
        prediction: of the same inputs.
        metrics: by output name, then by metric and statistic; see :func:`pdekit.train.metrics.measure`.
        solver_seconds: drawing and solving all samples.
        surrogate_seconds: predicting all samples.
    """

    picture: ClassVar[str] = "prediction.png"
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

    def report(self, figures: Mapping[str, Any]) -> SurrogateReport:
        """See :class:`Measured`."""
        test = dict(self.metrics)
        return SurrogateReport(test_rel_l2=self.test_rel_l2, test_samples=len(self.truth), test=test, **figures)

    def to_json(self) -> dict[str, Any]:
        """Metrics and seconds."""
        return {
            "samples": len(self.truth),
            "resolution": list(self.truth.schema.one_domain.shape),
            "metrics": self.metrics,
            "solver_seconds": self.solver_seconds,
            "surrogate_seconds": self.surrogate_seconds,
        }

    def draw(self, folder: Path) -> None:
        """Input, truth, prediction and error of the first samples."""
        from pdekit import plot

        truth = self.truth[:3]
        plot.save(plot.prediction_figure(truth.inputs, truth, self.prediction[:3]), folder / self.picture)

    def __str__(self) -> str:
        count = len(self.truth)
        shape = " x ".join(map(str, self.truth.schema.one_domain.shape))
        lines = [f"{count} held-out samples on {shape} points; solutions: {self.truth.certificate}"]
        lines.append(f"  {'':24} {'mean':>9} {'median':>9} {'95 %':>9} {'largest':>9}")
        for name, figures in self.metrics.items():
            for key, label in LABELS.items():
                values = " ".join(f"{figures[f'{key}_{kind}']:9.4f}" for kind in ("mean", "median", "p95", "max"))
                lines.append(f"  {f'{name}, {label}':24} {values}")
        solver, surrogate = self.solver_seconds / count, self.surrogate_seconds / count
        ratio = solver / surrogate
        faster = f"{ratio:.1f} times faster" if ratio >= 1 else f"{1 / ratio:.1f} times slower"
        lines.append(
            f"  a sample: solver {1e3 * solver:.2f} ms, surrogate {1e3 * surrogate:.2f} ms ({faster}, less accurate)"
        )
        return "\n".join(lines)

    __repr__ = __str__


LABELS = {
    "rel_l2": "relative L2",
    "rel_l1": "relative L1",
    "rel_h1": "relative H1",
    "boundary": "boundary",
}


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
