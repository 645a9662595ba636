"""Samples side by side, and a surrogate's predictions beside the truth."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain import Grid, Mesh, RandomShape
from pdekit.plot.fields import panels_of
from pdekit.plot.panels import Limits, Panel, finite_limits, plot_panels
from pdekit.samples import Inputs, Samples

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["prediction_figure", "samples_figure"]


def samples_figure(samples: Inputs, *, rows: int = 3) -> "matplotlib.figure.Figure":
    """The fields of the first samples, one sample a row; each input has one scale for all rows.

    In three dimensions a grid shows its middle slice across z. Of a complex field the magnitude is shown. An input that
    is one number a sample stands in the title of the row's first field.

    Args:
        samples: inputs, or samples with their outputs.
        rows: samples shown, at most.

    Returns:
        A matplotlib Figure; write it with :func:`pdekit.plot.save`.

    Raises:
        InputError: there are no samples.
    """
    if len(samples) == 0:
        raise InputError("There are no samples to plot; expected at least one.")
    shown = samples[: min(rows, len(samples))]
    names, scales = _drawn(shown), _scales(shown)
    panels = []
    for row in range(len(shown)):
        for name in names:
            panels += _panel(shown, name, row, scales.get(name), first=name == names[0])
    return plot_panels(panels, columns=len(names), share_labels=_shares_labels(shown))


def prediction_figure(
    inputs: Inputs, truth: Samples, prediction: Samples, *, rows: int = 3
) -> "matplotlib.figure.Figure":
    """Inputs, truth, prediction and absolute error of the first samples, one sample a row.

    Each input has one scale for all rows. Truth and prediction share theirs; the error has its own and states the
    relative L2 error over the points. Fields of several kinds are shown as by :func:`samples_figure`.

    Args:
        inputs: what was predicted from.
        truth: the solver's outputs for these inputs.
        prediction: the surrogate's outputs for these inputs.
        rows: samples shown, at most.

    Returns:
        A matplotlib Figure; write it with :func:`pdekit.plot.save`.

    Raises:
        InputError: the three batches are empty or differ in size.
    """
    if not len(inputs) == len(truth) == len(prediction) or len(inputs) == 0:
        raise InputError(
            f"There are {len(inputs)} inputs, {len(truth)} true samples and {len(prediction)} predictions; "
            "expected the same number of each, at least one."
        )
    schema = truth.schema
    shown = inputs[: min(rows, len(inputs))]
    scales = _scales(shown)
    given = list(scales)
    panels = []
    for row in range(len(shown)):
        for name in given:
            panels += _panel(shown, name, row, scales[name], first=name == given[0])
        true_sample, guessed = truth.sample(row), prediction.sample(row)
        domain = _place(true_sample)
        for name in schema.outputs:
            unit = schema.field(name).units
            true, guess = (_double(_at_nodes(part[name][0], domain)) for part in (true_sample, guessed))
            error = guess - true
            note = f", relative L2 {float(error.norm() / true.norm()):.2%}"
            vector = true.ndim > len(domain.shape)
            limits = finite_limits(_magnitude(true, vector=vector).numpy())
            panels += panels_of(name, true, domain, unit=unit, limits=limits)[-1:]
            panels += panels_of("prediction", guess, domain, unit=unit, limits=limits)[-1:]
            size = _magnitude(error, vector=vector).abs()
            panels += panels_of("|error|", size, domain, unit=unit, note=note, colours="magma")[-1:]
    columns = len(given) + 3 * len(schema.outputs)
    return plot_panels(panels, columns=columns, share_labels=_shares_labels(truth))


def _drawn(samples: Inputs) -> list[str]:
    """Fields with more than one number a sample."""
    return [name for name in samples.fields if samples.schema.field(name).shape != ()]


def _scales(samples: Inputs) -> dict[str, Limits]:
    """For each input that is drawn, one scale for all samples."""
    sample = samples.sample(0)
    axes = len(_place(sample).shape)
    scales = {}
    for name in _drawn(samples):
        if name in samples.schema.inputs:
            vector = sample[name][0].ndim > axes
            scales[name] = finite_limits(_magnitude(_double(samples[name]), vector=vector).numpy())
    return scales


def _panel(samples: Inputs, name: str, row: int, limits: Limits | None, *, first: bool) -> list[Panel]:
    """The last panel of a field; an input has limits, and the first panel bears the row's numbers."""
    sample = samples.sample(row)
    schema, domain = sample.schema, _place(sample)
    values = _at_nodes(sample[name][0], domain)
    numbers = [(n, float(v)) for n, v in sample.fields.items() if schema.field(n).shape == () and n in schema.inputs]
    note = "".join(f", {n} = {v:.3g}" for n, v in numbers) if first else ""
    colours = None if limits is None else "cividis"
    unit = schema.field(name).units
    return panels_of(name, values, domain, unit=unit, note=note, limits=limits, colours=colours)[-1:]


def _place(sample: Inputs) -> Grid | Mesh:
    """Where one sample lives."""
    domain = sample.schema.domain
    assert not isinstance(domain, RandomShape)
    return domain


def _at_nodes(values: Tensor, domain: Grid | Mesh) -> Tensor:
    """Of elements of order 2 the values at the nodes, which come first."""
    if isinstance(domain, Mesh) and len(values) > domain.n_nodes and len(values) != domain.n_cells:
        return values[: domain.n_nodes]
    return values


def _magnitude(values: Tensor, *, vector: bool) -> Tensor:
    """Lengths of vectors and of complex numbers; real numbers as they are."""
    if vector:
        return values.abs().norm(dim=-1)
    return values.abs() if values.is_complex() else values


def _double(values: Tensor) -> Tensor:
    """In double precision, on the CPU."""
    return values.detach().cpu().to(torch.complex128 if values.is_complex() else torch.float64)


def _shares_labels(samples: Inputs) -> bool:
    return samples.meshes is None and _place(samples).dim > 1
