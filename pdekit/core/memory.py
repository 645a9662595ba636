"""Budgets of memory as people write them."""

import re

from pdekit.core.errors import InputError

__all__ = ["bytes_of"]

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def bytes_of(budget: str | int) -> int:
    """The bytes that ``2GiB``, ``500 MB`` or a plain number mean.

    Raises:
        InputError: neither a positive number nor a number with a known unit.

    Example:
        >>> bytes_of("2GiB")
        2147483648
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(budget))
    units = {name.lower(): size for name, size in _UNITS.items()}
    if found is None or float(found[1]) == 0 or (unit := found[2].lower() or "b") not in units:
        raise InputError(
            f"memory={budget!r} is no budget; expected bytes, or a number with one of {', '.join(_UNITS)}."
        )
    return int(float(found[1]) * units[unit])
