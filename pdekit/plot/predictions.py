"""Samples side by side, and a surrogate's predictions beside the truth."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain import Grid, Mesh
from pdekit.plot.fields import panels_of
from pdekit.plot.panels import Panel, finite_limits, plot_panels
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
    names = _drawn(shown)
    panels = []
    for row in range(len(shown)):
        for name in names:
            panels += _panel(shown, name, row, first=name == names[0])
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
    schema, domain = truth.schema, truth.schema.domain
    shown = inputs[: min(rows, len(inputs))]
    given = [name for name in _drawn(shown) if name in schema.inputs]
    panels = []
    for row in range(len(shown)):
        for name in given:
            panels += _panel(shown, name, row, first=name == given[0])
        for name in schema.outputs:
            unit = schema.field(name).units
            true, guess = (_double(_at_nodes(part[name][row], domain)) for part in (truth, prediction))
            error = guess - true
            note = f", relative L2 {float(error.norm() / true.norm()):.2%}"
            limits = finite_limits(_magnitude(true, vector=true.ndim > len(domain.shape)).numpy())
            panels += panels_of(name, true, domain, unit=unit, limits=limits)[-1:]
            panels += panels_of("prediction", guess, domain, unit=unit, limits=limits)[-1:]
            size = _magnitude(error, vector=error.ndim > len(domain.shape)).abs()
            panels += panels_of("|error|", size, domain, unit=unit, note=note, colours="magma")[-1:]
    columns = len(given) + 3 * len(schema.outputs)
    return plot_panels(panels, columns=columns, share_labels=_shares_labels(shown))


def _drawn(samples: Inputs) -> list[str]:
    """Fields with more than one number a sample."""
    return [name for name, values in samples.fields.items() if values.ndim > 1]


def _panel(samples: Inputs, name: str, row: int, *, first: bool) -> list[Panel]:
    """The last panel of a field; an input has one scale for all rows, and the first panel bears the row's numbers."""
    schema, values = samples.schema, samples[name]
    is_input = name in schema.inputs
    numbers = [(n, float(v[row])) for n, v in samples.fields.items() if v.ndim == 1 and n in schema.inputs]
    note = "".join(f", {n} = {v:.3g}" for n, v in numbers) if first else ""
    limits = None
    if is_input:
        vector = values.ndim > 1 + len(schema.domain.shape)
        limits = finite_limits(_magnitude(_double(values), vector=vector).numpy())
    colours = "cividis" if is_input else None
    unit = schema.field(name).units
    shown = _at_nodes(values[row], schema.domain)
    return panels_of(name, shown, schema.domain, unit=unit, note=note, limits=limits, colours=colours)[-1:]


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
    return samples.schema.domain.dim > 1
