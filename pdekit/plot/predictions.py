"""Samples side by side, and a surrogate's predictions beside the truth."""

from typing import TYPE_CHECKING

from pdekit.core.errors import InputError
from pdekit.plot.fields import Panel, finite_limits, panels_of, plot_panels
from pdekit.samples import Inputs, Samples

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["prediction_figure", "samples_figure"]


def samples_figure(samples: Inputs, *, rows: int = 3) -> "matplotlib.figure.Figure":
    """The fields of the first samples, one sample a row; each input has one scale for all rows.

    In three dimensions each field shows its middle slice across z.

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
    panels = []
    for row in range(len(shown)):
        for name in shown.fields:
            is_input = name in shown.schema.inputs
            panels += _slice_of(shown, name, row, limits=_scale(shown, name) if is_input else None)
    return plot_panels(panels, columns=len(shown.fields), share_labels=samples.schema.domain.dim > 1)


def _slice_of(samples: Inputs, name: str, row: int, *, limits: tuple[float, float] | None) -> list[Panel]:
    unit = samples.schema.field(name).units
    colours = "cividis" if name in samples.schema.inputs else None
    panels = panels_of(name, samples[name][row], samples.schema.domain, unit=unit, limits=limits, colours=colours)
    return panels[-1:]


def _scale(samples: Inputs, name: str) -> tuple[float, float]:
    return finite_limits(samples[name].detach().double().cpu().numpy())


def prediction_figure(
    inputs: Inputs, truth: Samples, prediction: Samples, *, rows: int = 3
) -> "matplotlib.figure.Figure":
    """Inputs, truth, prediction and absolute error of the first samples, one sample a row.

    Each input has one scale for all rows. Truth and prediction share theirs; the error has its own and states the
    relative L2 error over the grid points. In three dimensions each sample takes its middle slice across z alone.

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
    schema, grid = truth.schema, truth.schema.domain
    shown = inputs[: min(rows, len(inputs))]
    panels = []
    for row in range(len(shown)):
        line = []
        for name in schema.inputs:
            line += _slice_of(shown, name, row, limits=_scale(shown, name))
        for name in schema.outputs:
            unit = schema.field(name).units
            true, guess = truth[name][row].double(), prediction[name][row].double()
            error = guess - true
            relative = float(error.norm() / true.norm())
            limits = finite_limits(true.cpu().numpy())
            line += panels_of(name, true, grid, unit=unit, limits=limits)[-1:]
            line += panels_of("prediction", guess, grid, unit=unit, limits=limits)[-1:]
            note = f", relative L2 {relative:.2%}"
            line += panels_of("|error|", error.abs(), grid, unit=unit, note=note, colours="magma")[-1:]
        panels += line
    columns = len(schema.inputs) + 3 * len(schema.outputs)
    return plot_panels(panels, columns=columns, share_labels=grid.dim > 1)
