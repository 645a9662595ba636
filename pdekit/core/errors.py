"""The errors that pdekit raises on purpose; all derive from :class:`PdekitError`."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["ConfigError", "InputError", "MissingPeer", "PdekitError", "did_you_mean"]


class PdekitError(Exception):
    """Base of every error that pdekit raises on purpose."""


class InputError(PdekitError, ValueError):
    """An argument that cannot be used; the message says what was given, expected and probably meant."""


class ConfigError(InputError):
    """A configuration file or command line that cannot be used."""


class MissingPeer(PdekitError, ImportError):
    """A benchmark needs a package that is not installed; the message holds its install line."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A closing sentence for an error about an unknown name.

    Args:
        given: the name that was not recognised.
        known: the names that are.

    Returns:
        The nearest known name as a question, if there is one, and the list of all names.

    Example:
        >>> did_you_mean("Dracy", ["Darcy", "Poisson"])
        'Did you mean Darcy? Known: Darcy, Poisson.'
        >>> did_you_mean("amg", ["AMG", "CG"])
        'Did you mean AMG? Known: AMG, CG.'
    """
    names = sorted(known)
    spelled = {name.lower(): name for name in names} | {name: name for name in names}
    close = get_close_matches(given, spelled, n=1) or get_close_matches(given.lower(), spelled, n=1)
    question = f"Did you mean {spelled[close[0]]}? " if close else ""
    return f"{question}Known: {', '.join(names)}."
