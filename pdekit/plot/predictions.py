"""A surrogate's predictions beside the truth."""

from typing import TYPE_CHECKING

from pdekit.core.errors import InputError
from pdekit.plot.fields import finite_limits, panels_of, plot_panels
from pdekit.samples import Inputs, Samples

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["prediction_figure"]


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
    shown = min(rows, len(inputs))
    scales = {name: finite_limits(inputs[name][:shown].double().cpu().numpy()) for name in schema.inputs}
    panels = []
    for row in range(shown):
        line = []
        for name in schema.inputs:
            unit, limits = schema.field(name).units, scales[name]
            line += panels_of(name, inputs[name][row], grid, unit=unit, limits=limits, colours="cividis")[-1:]
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
