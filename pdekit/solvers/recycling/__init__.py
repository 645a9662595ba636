"""What outlives a solve, and the methods that use it: recycled spaces, kept hierarchies and factors, chains."""

from pdekit.solvers.recycling.gcrodr import GCRODR
from pdekit.solvers.recycling.policies import Always, Freeze, Never, Record, UpdatePolicy
from pdekit.solvers.recycling.space import RecycleSpace

__all__ = ["GCRODR", "Always", "Freeze", "Never", "Record", "RecycleSpace", "UpdatePolicy"]
