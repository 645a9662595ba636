"""Where the samples of a buffer lie: one preallocated float32 tensor a field."""

from typing import Any

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from pdekit.samples import Certificate, Identity, Samples, Schema
from pdekit.stream.policy import Slots

__all__ = ["Storage", "training_precision"]

ROWS = {
    "index": torch.int64,
    "value": torch.float64,
    "tolerance": torch.float64,
    "iterations": torch.int64,
    "seconds": torch.float64,
}


def training_precision(values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """The one cast from the solvers' precision to the networks': float32 on the CPU, complex64 for complex values."""
    return values.to(device="cpu", dtype=torch.complex64 if values.is_complex() else torch.float32)


class Storage:
    """Slots for samples; writing casts, gathering a batch is the only copy.

    Args:
        schema: of the samples.
        capacity: number of slots.
        seed: of the samples' identity.
        split: of the samples' identity.
    """

    def __init__(self, schema: Schema, capacity: int, *, seed: int, split: str):
        self.schema, self.seed, self.split = schema, seed, split
        self._fields = {
            spec.name: torch.zeros(
                capacity, *schema.shape_of(spec.name), dtype=torch.complex64 if spec.complex else torch.float32
            )
            for spec in schema.fields
        }
        self._rows = {name: torch.zeros(capacity, dtype=dtype) for name, dtype in ROWS.items()}
        self._certified: tuple[Any, str, str] | None = None

    def write(self, slots: Slots, samples: Samples) -> None:
        """Put the rows of ``samples`` into these slots."""
        at = torch.from_numpy(slots)
        for name, held in self._fields.items():
            held[at] = training_precision(samples[name])
        if samples.identity is not None:
            self._rows["index"][at] = samples.identity.indices.cpu()
        certificate = samples.certificate
        if certificate is not None:
            self._certified = (certificate.kind, certificate.method, certificate.dtype)
            for name in ("value", "tolerance", "iterations", "seconds"):
                self._rows[name][at] = getattr(certificate, name).to(device="cpu", dtype=ROWS[name])

    def gather(self, slots: Slots) -> tuple[Samples, Int[Tensor, " batch"]]:
        """The samples in these slots, as fresh tensors, and their numbers."""
        at = torch.from_numpy(slots)
        rows = {name: held[at] for name, held in self._rows.items()}
        indices = rows.pop("index")
        certificate = None
        if self._certified is not None:
            kind, method, dtype = self._certified
            certificate = Certificate(kind, method=method, dtype=dtype, **rows)
        fields = {name: held[at] for name, held in self._fields.items()}
        return Samples(self.schema, fields, Identity(self.seed, self.split, indices), certificate), indices

    def state_dict(self, slots: Slots) -> dict[str, Any]:
        """The contents of the occupied ``slots``."""
        at = torch.from_numpy(slots)
        return {
            "slots": at.clone(),
            "fields": {name: held[at] for name, held in self._fields.items()},
            "rows": {name: held[at] for name, held in self._rows.items()},
            "certified": None if self._certified is None else list(self._certified),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put saved contents back into their slots."""
        at = state["slots"]
        for held, saved in ((self._fields, state["fields"]), (self._rows, state["rows"])):
            for name, values in saved.items():
                held[name][at] = values
        self._certified = None if state["certified"] is None else tuple(state["certified"])
