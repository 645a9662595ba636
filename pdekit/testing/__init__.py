"""Conformance checks that users can run on models, policies and solvers of their own."""

from pdekit.testing.device import check_device
from pdekit.testing.model import check_model
from pdekit.testing.policy import check_policy

__all__ = ["check_device", "check_model", "check_policy"]
