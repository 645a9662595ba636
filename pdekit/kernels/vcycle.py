"""The compiled V-cycle by itself, for use as a preconditioner."""

from collections.abc import Sequence

import numpy as np

from pdekit.kernels import fused
from pdekit.kernels.cycle import vcycle
from pdekit.kernels.extension import extend_field, extend_network, open_small_rings, restrict_field
from pdekit.kernels.lattice import merge, split
from pdekit.kernels.layout import F, N, U
from pdekit.kernels.pcg import choose, flat, islands_of, network, variant, workspace
from pdekit.kernels.plan import periodic_extension
from pdekit.kernels.threads import for_each_sample

__all__ = ["CompiledCycle"]


class CompiledCycle:
    """Hierarchies of a batch of resistor networks, a sample a thread.

    Args:
        faces: ``(batch, n_0, .., n_k + 1, ..)`` float64 by axis.
        sink: ``(batch, *N)`` or None.
        periodic: by axis.
        coarsening: "averaged", "galerkin" or "auto".
        threads: default torch.get_num_threads().
    """

    def __init__(
        self,
        faces: Sequence[np.ndarray],
        sink: np.ndarray | None,
        periodic: Sequence[bool],
        coarsening: str = "auto",
        threads: int | None = None,
    ):
        self.threads = threads
        faces, periodic = open_small_rings(faces, periodic)
        shape = (faces[0].shape[1] - 1, *faces[0].shape[2:])
        self.extensions = [periodic_extension(n) if p else None for n, p in zip(shape, periodic, strict=True)]
        faces, sink = extend_network(faces, sink, self.extensions)
        self.shape = (faces[0].shape[1] - 1, *faces[0].shape[2:])
        self.batch = faces[0].shape[0]
        arrays = network(faces, sink)
        self.samples: list = [None] * self.batch

        def one(i: int, _: dict) -> None:
            sample = tuple(a[i if len(a) > 1 else 0] for a in arrays)
            tables, kind, singular, finite = choose(sample, sink is not None, self.shape, periodic, coarsening)
            w = workspace(tables)
            wide = variant(self.shape, periodic, kind)
            sound = finite and fused.setup(sample, sink is not None, w, tables, singular, wide)
            islands = islands_of(sample, sink is not None, tables, kind)
            self.samples[i] = (w, tables, wide, kind, sound, islands)

        for_each_sample(one, self.batch, threads)

    @property
    def level_shapes(self) -> list[tuple[int, ...]]:
        """Lattices of the first network's hierarchy, finest first."""
        return [tuple(map(int, row[N : N + 3][-len(self.shape) :])) for row in self.samples[0][1].table]

    @property
    def coarsening(self) -> tuple[str, ...]:
        return tuple(sample[3] for sample in self.samples)

    def apply(self, f: np.ndarray) -> np.ndarray:
        """One V-cycle from zero; f is (batch, *N). NaN for a sample whose hierarchy could not be built."""
        rhs = flat(extend_field(f, self.extensions))
        out = np.empty_like(rhs)

        def one(i: int, _: dict) -> None:
            w, tables, wide, _, sound, islands = self.samples[i if self.batch > 1 else 0]
            if not sound:
                out[i] = np.nan
                return
            t, n1, n2 = tables.table[0], self.shape[-2], self.shape[-1]
            split(rhs[i], 0, n1 * n2, n2, 1, w, t[F], t, tables.place)
            vcycle(w, tables, wide, islands)
            merge(w, t[U], t, tables.place, out[i], 0, n1 * n2, n2, 1)

        # samples that share a workspace take turns
        for_each_sample(one, len(rhs), self.threads if self.batch > 1 else 1)
        return restrict_field(out.reshape(len(rhs), *self.shape), self.extensions)
