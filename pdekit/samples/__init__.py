"""Certified samples: what they consist of, who makes them, and the files they are kept in."""

from pdekit.samples.certificate import Certificate
from pdekit.samples.samples import Identity, Inputs, Samples
from pdekit.samples.schema import FieldSpec, Schema
from pdekit.samples.source import Source

__all__ = ["Certificate", "FieldSpec", "Identity", "Inputs", "Samples", "Schema", "Source"]
