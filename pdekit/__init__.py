"""pdekit: solve families of PDEs, stream certified samples, train surrogates that the solver can certify.

The names below are imported on first use, so that ``import pdekit`` costs milliseconds.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Read when torch is loaded. After each of its operations torch's threads wait for the next one by spinning, for
# milliseconds unless told otherwise, on the cores that our kernels' threads need (docs/decisions/0014).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if TYPE_CHECKING:
    from pdekit import families, fem, fields, learned, nn, plot, solvers
    from pdekit.domain import Boundary, Grid, Mesh, shapes
    from pdekit.samples import Certificate, Inputs, Samples, Source
    from pdekit.solvers import (
        AMG,
        CG,
        CSR,
        GMRES,
        IC0,
        MINRES,
        Auto,
        BiCGStab,
        Direct,
        FlexibleCG,
        Jacobi,
        LinearSystem,
        Multigrid,
        NotConverged,
        Solution,
        Spectral,
        Stencil,
        newton,
        solve,
    )
    from pdekit.stream import Stream, generate
    from pdekit.train import Surrogate, load

__version__ = "0.1.0"

_HOMES = {
    "Grid": "domain",
    "Mesh": "domain",
    "shapes": "domain",
    "Boundary": "domain",
    "Certificate": "samples",
    "Inputs": "samples",
    "Samples": "samples",
    "Source": "samples",
    "AMG": "solvers",
    "Auto": "solvers",
    "BiCGStab": "solvers",
    "CG": "solvers",
    "CSR": "solvers",
    "Direct": "solvers",
    "FlexibleCG": "solvers",
    "GMRES": "solvers",
    "IC0": "solvers",
    "Jacobi": "solvers",
    "LinearSystem": "solvers",
    "MINRES": "solvers",
    "Multigrid": "solvers",
    "NotConverged": "solvers",
    "Solution": "solvers",
    "Spectral": "solvers",
    "Stencil": "solvers",
    "newton": "solvers",
    "solve": "solvers",
    "Stream": "stream",
    "generate": "stream",
    "Surrogate": "train",
    "load": "train",
}
_PACKAGES = ("families", "fem", "fields", "learned", "nn", "plot", "solvers")

__all__ = [  # noqa: RUF022 - grouped as a reader meets them
    "Grid", "Mesh", "shapes", "Boundary", "families", "fem", "fields", "learned", "nn", "plot", "solvers",
    "solve", "newton", "Solution", "NotConverged", "Auto", "Direct", "Spectral",
    "CG", "FlexibleCG", "MINRES", "GMRES", "BiCGStab", "Jacobi", "IC0", "AMG", "Multigrid", "CSR", "Stencil",
    "LinearSystem", "Source", "Inputs", "Samples", "Certificate", "Stream", "generate", "Surrogate", "load",
]  # fmt: skip


def __getattr__(name: str):
    if name in _PACKAGES:
        return import_module(f"pdekit.{name}")
    if name in _HOMES:
        return getattr(import_module(f"pdekit.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pdekit' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
