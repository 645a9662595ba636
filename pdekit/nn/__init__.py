"""Neural operators, one model a file; they know no solvers."""

from pdekit.nn.fno import FNO

__all__ = ["FNO"]
