"""What every floor needs: errors, argument checks, counter-based randomness."""

from pdekit.core.checks import check_finite, check_positive, check_shape
from pdekit.core.errors import ConfigError, InputError, MissingPeer, PdekitError, did_you_mean

__all__ = [
    "ConfigError",
    "InputError",
    "MissingPeer",
    "PdekitError",
    "check_finite",
    "check_positive",
    "check_shape",
    "did_you_mean",
]
