"""Neural operators, one model a file; they know no solvers."""

from pdekit.nn.bases import AxisBasis
from pdekit.nn.fno import FNO
from pdekit.nn.spectral import SpectralConvolution

__all__ = ["FNO", "AxisBasis", "SpectralConvolution"]
