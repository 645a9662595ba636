"""What a measurement was made on: hardware, system, versions; no names of hosts, users or folders."""

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["machine", "versions"]

STANDS_ON = ("pdekit", "torch", "lightning", "numpy", "scipy", "numba")


def machine() -> dict[str, Any]:
    """CPU model, cores that may be used, memory, system, Python.

    Example:
        >>> sorted(machine())
        ['cores', 'cpu', 'memory_gib', 'python', 'system']
    """
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Installed versions of pdekit, what it stands on, and further packages.

    Example:
        >>> "torch" in versions()
        True
    """
    found = {}
    for package in (*STANDS_ON, *packages):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
