"""How residuals fall over the iterations of a solver."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["history_figure"]

MOST_LINES = 12


def history_figure(
    histories: Mapping[str, Float[Tensor, "steps *batch"]], *, tolerance: float | None = None, title: str | None = None
) -> "matplotlib.figure.Figure":
    """Relative residuals against iterations on a logarithmic scale, one colour a method.

    A batch of up to 12 right-hand sides is drawn line by line; a larger one as its median and the band between its
    extremes.

    Args:
        histories: by method, ``solution.history``: ``(steps, *batch)``, NaN after a right-hand side has stopped.
        tolerance: drawn as a dashed line.
        title: above the picture.

    Returns:
        A matplotlib Figure; write it with :func:`pdekit.plot.save`.

    Raises:
        InputError: nothing to draw.

    Example:
        >>> figure = history_figure({"halving": 0.5 ** torch.arange(20.0)}, tolerance=1e-5)
        >>> figure.axes[0].get_yscale()
        'log'
    """
    from matplotlib.figure import Figure

    if not histories:
        raise InputError("There is no history to plot; expected at least one, by the name of its method.")
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (name, history) in enumerate(histories.items()):
        if history.ndim == 0 or history.numel() == 0:
            raise InputError(f"The history of {name!r} has shape {tuple(history.shape)}; expected (steps, *batch).")
        lines = history.detach().cpu().numpy().reshape(history.shape[0], -1)
        colour = f"C{number % 10}"
        steps = np.arange(len(lines))
        if lines.shape[1] <= MOST_LINES:
            for k in range(lines.shape[1]):
                axes.semilogy(steps, lines[:, k], color=colour, linewidth=1.2, label=name if k == 0 else None)
        else:
            running = ~np.isnan(lines).all(axis=1)
            steps, lines = steps[running], lines[running]
            axes.semilogy(steps, np.nanmedian(lines, axis=1), color=colour, label=f"{name} (median of the batch)")
            axes.fill_between(steps, np.nanmin(lines, axis=1), np.nanmax(lines, axis=1), color=colour, alpha=0.2)
    if tolerance is not None:
        axes.axhline(tolerance, color="0.3", linestyle="--", linewidth=0.9, label=f"tolerance {tolerance:.0e}")
    axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("relative residual")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    if title:
        axes.set_title(title, fontsize=11)
    return figure
