"""Conformance checks that users can run on models, policies and solvers of their own."""

from pdekit.testing.device import check_device
from pdekit.testing.family import check_family
from pdekit.testing.model import check_model
from pdekit.testing.operator import check_operator
from pdekit.testing.policy import check_policy
from pdekit.testing.preconditioner import check_preconditioner

__all__ = ["check_device", "check_family", "check_model", "check_operator", "check_policy", "check_preconditioner"]
