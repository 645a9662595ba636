"""Random input functions, one kind a file."""

from pdekit.fields.base import PointSet, RandomField
from pdekit.fields.constant import Constant
from pdekit.fields.gaussian import GaussianField
from pdekit.fields.inclusions import Inclusions
from pdekit.fields.lognormal import LogNormal
from pdekit.fields.matern import Matern
from pdekit.fields.threshold import Threshold
from pdekit.fields.uniform import Uniform

__all__ = [
    "Constant",
    "GaussianField",
    "Inclusions",
    "LogNormal",
    "Matern",
    "PointSet",
    "RandomField",
    "Threshold",
    "Uniform",
]
