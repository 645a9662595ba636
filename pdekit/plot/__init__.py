"""Pictures of fields, predictions and solver histories; matplotlib is imported on first use."""

from pdekit.plot.fields import plot_fields, save
from pdekit.plot.histories import history_figure
from pdekit.plot.predictions import prediction_figure, samples_figure

__all__ = ["history_figure", "plot_fields", "prediction_figure", "samples_figure", "save"]
