"""Pictures of fields, meshes, predictions and solver histories; matplotlib is imported on first use."""

from pdekit.plot.fields import plot_fields
from pdekit.plot.histories import history_figure
from pdekit.plot.mesh_figure import plot_mesh
from pdekit.plot.panels import save
from pdekit.plot.predictions import prediction_figure, samples_figure
from pdekit.plot.regret import regret_figure

__all__ = ["history_figure", "plot_fields", "plot_mesh", "prediction_figure", "regret_figure", "samples_figure", "save"]
