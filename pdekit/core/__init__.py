"""What every floor needs: errors, argument checks, counter-based randomness."""

from pdekit.core.checks import as_real, check_finite, check_positive, check_shape
from pdekit.core.errors import ConfigError, InputError, MissingPeer, PdekitError, did_you_mean

__all__ = [
    "ConfigError",
    "InputError",
    "MissingPeer",
    "PdekitError",
    "as_real",
    "check_finite",
    "check_positive",
    "check_shape",
    "did_you_mean",
]
