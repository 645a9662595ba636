"""How kernels are compiled and cached."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from numba import njit

__all__ = ["jit"]

# No "nnan": the kernels test for NaN. Sums may be reordered, the same way for every sample.
_OPTIONS: dict[str, Any] = {
    "nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy",
}  # fmt: skip


def jit(function: Callable) -> Any:
    """Compile a function on first use, without the interpreter lock, and keep it on disk.

    Numba takes a cached function as current if its own file has not changed, even where a kernel of another file that
    was compiled into it has. Here the cache of every kernel depends on all sources of its folder, so kernels of one
    folder may call each other, and none of another. Without any place to write to, nothing is kept.
    """
    try:
        compiled = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # "no locator available": neither the package nor the user's cache folder is writable
        return njit(**_OPTIONS)(function)
    cache: Any = getattr(compiled, "_cache", None)
    if hasattr(getattr(cache, "_cache_file", None), "_source_stamp"):
        cache._cache_file._source_stamp = _stamp(Path(function.__code__.co_filename).parent)
    return compiled


@lru_cache
def _stamp(folder: Path) -> str:
    sources = [Path(__file__), *sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
