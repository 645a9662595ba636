"""Batches of drawn inputs and of solved samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, overload

import torch
from jaxtyping import Int
from torch import Tensor

from pdekit.core.checks import check_shape
from pdekit.core.errors import InputError, did_you_mean
from pdekit.domain import Mesh
from pdekit.samples.certificate import Certificate
from pdekit.samples.schema import Schema

__all__ = ["Identity", "Inputs", "Samples"]


@dataclass(frozen=True)
class Identity:
    """What a batch was drawn from; inputs are bit-exact functions of it.

    Args:
        seed: of the whole experiment.
        split: ``train``, ``validation``, ``test`` or any other word: its own stream of samples.
        indices: ``(batch,)`` int64, the sample numbers.
        attempt: 0, or the number of the redraw.
    """

    seed: int
    split: str
    indices: Int[Tensor, " batch"]
    attempt: int = 0

    def __getitem__(self, rows: slice | Tensor) -> "Identity":
        return replace(self, indices=self.indices[rows])


@dataclass(frozen=True)
class Inputs:
    """A batch of drawn inputs.

    Args:
        schema: of the family.
        fields: by name, each ``(batch, *schema.shape_of(name))``.
        identity: what they were drawn from; None for fields of the user's own.

    Raises:
        InputError: an unknown field, a missing input, a wrong shape, differing batch sizes.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.samples import FieldSpec
        >>> schema = Schema(Grid((3, 3)), (FieldSpec("coefficient", "input"), FieldSpec("solution", "output")))
        >>> Inputs(schema, {"coefficient": torch.ones(2, 3, 3)})["coefficient"].shape
        torch.Size([2, 3, 3])
    """

    schema: Schema
    fields: Mapping[str, Tensor]
    identity: Identity | None = None

    def __post_init__(self):
        for name, values in self.fields.items():
            shape = self.schema.shape_of(name)
            check_shape(name, values, shape)
            if values.ndim != len(shape) + 1:
                expected = ", ".join(("batch", *map(str, shape)))
                raise InputError(
                    f"{name} has shape {tuple(values.shape)}; expected ({expected}): one leading batch axis."
                )
            if values.is_complex() and not self.schema.field(name).complex:
                raise InputError(f"{name} is complex; expected real numbers, or complex=True in its FieldSpec.")
        if missing := [name for name in self._required() if name not in self.fields]:
            raise InputError(f"The field {missing[0]!r} is missing; given were {', '.join(self.fields) or 'none'}.")
        sizes = {name: values.shape[0] for name, values in self.fields.items()}
        if self.identity is not None:
            sizes["identity"] = len(self.identity.indices)
        if len(set(sizes.values())) > 1:
            raise InputError(f"The batch sizes differ: {sizes}; expected one.")

    def _required(self) -> tuple[str, ...]:
        return self.schema.inputs

    def __len__(self) -> int:
        return next(iter(self.fields.values())).shape[0]

    @overload
    def __getitem__(self, key: str) -> Tensor: ...
    @overload
    def __getitem__(self, key: int | slice | Tensor) -> Self: ...
    def __getitem__(self, key):
        """A field by name, or the rows of a number, slice or index tensor."""
        if isinstance(key, str):
            if key not in self.fields:
                raise InputError(f"There is no field {key!r} here. {did_you_mean(key, self.fields)}")
            return self.fields[key]
        rows = slice(key, key + 1 or None) if isinstance(key, int) else key
        return self._rows(rows)

    def _rows(self, rows: slice | Tensor) -> Self:
        return replace(
            self,
            fields={name: values[rows] for name, values in self.fields.items()},
            identity=None if self.identity is None else self.identity[rows],
        )

    def to(self, target: torch.device | torch.dtype | str) -> Self:
        """The same batch with its fields on another device or in another precision; complex fields stay complex."""

        def moved(values: Tensor) -> Tensor:
            keep = values.is_complex() and isinstance(target, torch.dtype) and target.is_floating_point
            return values.to(target.to_complex() if keep else target)

        return replace(self, fields={name: moved(values) for name, values in self.fields.items()})


@dataclass(frozen=True)
class Samples(Inputs):
    """A batch of samples: inputs, outputs and the certificate of each.

    Args:
        schema: of the family.
        fields: inputs and outputs by name, each ``(batch, *schema.shape_of(name))``.
        identity: what the inputs were drawn from.
        certificate: one row per sample; None where nothing certifies the outputs (a surrogate's prediction).
    """

    certificate: Certificate | None = None

    def _required(self) -> tuple[str, ...]:
        return self.schema.inputs + self.schema.outputs

    @property
    def inputs(self) -> Inputs:
        """The inputs alone."""
        return Inputs(self.schema, {name: self.fields[name] for name in self.schema.inputs}, self.identity)

    def _rows(self, rows: slice | Tensor) -> Self:
        part = super()._rows(rows)
        return part if self.certificate is None else replace(part, certificate=self.certificate[rows])

    @staticmethod
    def cat(parts: "Sequence[Samples]") -> "Samples":
        """The rows of several batches of one schema, seed and split, in order."""
        first = parts[0]
        if any(part.schema != first.schema for part in parts):
            raise InputError("Samples of different schemas cannot be joined; expected the same domain and fields.")
        identities = [part.identity for part in parts if part.identity is not None]
        identity = None
        if len(identities) == len(parts):
            identity = replace(identities[0], indices=torch.cat([i.indices for i in identities]))
            if len({(i.seed, i.split, i.attempt) for i in identities}) > 1:
                raise InputError("Samples of different seeds, splits or attempts cannot be joined.")
        certificates = [part.certificate for part in parts if part.certificate is not None]
        return Samples(
            first.schema,
            {name: torch.cat([part.fields[name] for part in parts]) for name in first.fields},
            identity,
            Certificate.cat(certificates) if len(certificates) == len(parts) else None,
        )

    def __str__(self) -> str:
        domain = self.schema.domain
        where = str(domain) if isinstance(domain, Mesh) else f"a grid of {' x '.join(map(str, domain.shape))} points"
        lines = [f"{len(self)} samples on {where}"]
        for spec in self.schema.fields:
            values = self.fields[spec.name]
            values, name = (values.abs(), f"|{spec.name}|") if values.is_complex() else (values, spec.name)
            low, high = (float(v) for v in torch.aminmax(values)) if len(self) else (float("nan"),) * 2
            lines.append(f"  {spec.role:6} {name}: {low:.4g} .. {high:.4g} [{spec.units}]")
        lines.append(f"  {self.certificate or 'no certificate'}")
        return "\n".join(lines)
