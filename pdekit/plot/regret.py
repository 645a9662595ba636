"""What learning cost in hindsight."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pdekit.core.errors import InputError

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["regret_figure"]


def regret_figure(
    steps: Sequence[float], regret: Mapping[str, Sequence[float]], *, unit: str = "loss", title: str | None = None
) -> "matplotlib.figure.Figure":
    """Accumulated loss beyond that of the best fixed choice against the number of problems, one line a method.

    A line that rises ever more slowly belongs to a method that finds the best choice; one that falls to a method that
    does better than any fixed one, since it chooses by the problem.

    Args:
        steps: how many problems were solved at each point of the lines.
        regret: by method, the loss up to there less that of the best fixed choice, as long as ``steps``.
        unit: of the loss.
        title: above the picture.

    Returns:
        A matplotlib Figure; write it with :func:`pdekit.plot.save`.

    Raises:
        InputError: nothing to draw, or a line of another length.

    Example:
        >>> figure = regret_figure([1, 2, 3], {"always the same": [2.0, 4.0, 6.0]}, unit="iterations")
        >>> figure.axes[0].get_ylabel()
        'iterations beyond the best fixed choice'
    """
    from matplotlib.figure import Figure

    if not regret:
        raise InputError("There is no regret to plot; expected at least one line, by the name of its method.")
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, line in regret.items():
        if len(line) != len(steps):
            raise InputError(f"The line of {name!r} has {len(line)} points; expected {len(steps)}, one a step.")
        axes.plot(steps, line, label=name, linewidth=1.4)
    axes.axhline(0.0, color="0.3", linestyle="--", linewidth=0.9, label="best fixed choice")
    axes.set_xlabel("problems solved")
    axes.set_ylabel(f"{unit} beyond the best fixed choice")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    if title:
        axes.set_title(title, fontsize=11)
    return figure
