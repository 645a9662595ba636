"""Batches of drawn inputs and of solved samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self, overload

import torch
from jaxtyping import Int
from torch import Tensor

from pdekit.core.checks import check_shape
from pdekit.core.errors import InputError, did_you_mean
from pdekit.domain import Grid, Mesh, RandomShape
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


@dataclass(frozen=True, repr=False)
class Inputs:
    """A batch of drawn inputs; print it for the ranges of its fields.

    Args:
        schema: of the family.
        fields: by name, each ``(batch, *schema.shape_of(name))``.
        identity: what they were drawn from; None for fields of the user's own.
        meshes: the mesh of each sample, if the domain is a random shape. The values at the nodes of all samples are
            then concatenated, ``(nodes of all, ...)``; those of sample i are the rows ``ptr[i]`` to ``ptr[i + 1]``.

    Raises:
        InputError: an unknown field, a missing input, a wrong shape, differing batch sizes, meshes that are missing or
            too many.

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
    meshes: tuple[Mesh, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self):
        if isinstance(self.schema.domain, RandomShape) != (self.meshes is not None):
            given = "None" if self.meshes is None else f"{len(self.meshes)} meshes"
            raise InputError(f"meshes is {given}; expected one a sample where the domain is a random shape, else None.")
        for name, values in self.fields.items():
            if self._is_concatenated(name):
                self._check_concatenated(name, values)
                continue
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
        sizes = {name: len(v) for name, v in self.fields.items() if not self._is_concatenated(name)}
        if self.meshes is not None:
            sizes["meshes"] = len(self.meshes)
        if self.identity is not None:
            sizes["identity"] = len(self.identity.indices)
        if len(set(sizes.values())) > 1:
            raise InputError(f"The batch sizes differ: {sizes}; expected one.")

    def _required(self) -> tuple[str, ...]:
        return self.schema.inputs

    def _is_concatenated(self, name: str) -> bool:
        shape = self.schema.field(name).shape
        return self.meshes is not None and (shape is None or None in shape)

    def _check_concatenated(self, name: str, values: Tensor) -> None:
        rest = (self.schema.field(name).shape or (None,))[1:]
        expected = (int(self.ptr[-1]), *rest)
        if tuple(values.shape) != expected:
            given = tuple(values.shape)
            raise InputError(
                f"{name} has shape {given}; expected {expected}, the nodes of all meshes one after another."
            )

    @cached_property
    def ptr(self) -> Int[Tensor, " batch_and_one"]:
        """Where the nodes of each sample begin, if every sample has its own mesh; the last number is their total.

        Raises:
            InputError: all samples live on one domain.
        """
        if self.meshes is None:
            raise InputError("All samples live on one domain; ptr is for samples with a mesh each.")
        return torch.tensor([0, *(mesh.n_nodes for mesh in self.meshes)], dtype=torch.int64).cumsum(0)

    def sample(self, number: int) -> Self:
        """One sample as a batch of one on its own domain: on its mesh, if every sample has one."""
        if self.meshes is None:
            return self[number]
        part = self[number]
        assert part.meshes is not None
        fields = {n: v[None] if part._is_concatenated(n) else v for n, v in part.fields.items()}
        return replace(part, schema=self.schema.with_domain(part.meshes[0]), fields=fields, meshes=None)

    def __len__(self) -> int:
        return len(self.meshes) if self.meshes is not None else next(iter(self.fields.values())).shape[0]

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
        identity = None if self.identity is None else self.identity[rows]
        if self.meshes is None:
            return replace(self, fields={name: values[rows] for name, values in self.fields.items()}, identity=identity)
        numbers = torch.arange(len(self))[rows].tolist()
        starts = self.ptr.tolist()
        nodes = torch.cat([torch.arange(0), *(torch.arange(starts[i], starts[i + 1]) for i in numbers)])
        fields = {n: v[nodes.to(v.device) if self._is_concatenated(n) else rows] for n, v in self.fields.items()}
        return replace(self, fields=fields, identity=identity, meshes=tuple(self.meshes[i] for i in numbers))

    def to(self, target: torch.device | torch.dtype | str) -> Self:
        """The same batch with its fields on another device or in another precision; complex fields stay complex."""

        def moved(values: Tensor) -> Tensor:
            if values.is_complex() and isinstance(target, torch.dtype) and target.is_floating_point:
                return values.to(target.to_complex())
            return values.to(target)

        return replace(self, fields={name: moved(values) for name, values in self.fields.items()})

    def __str__(self) -> str:
        domain = self.schema.domain
        where = f"a grid of {' x '.join(map(str, domain.shape))} points" if isinstance(domain, Grid) else str(domain)
        lines = [f"{len(self)} {type(self).__name__.lower()} on {where}"]
        for spec in self.schema.fields:
            if spec.name not in self.fields:
                continue
            values = self.fields[spec.name]
            values, name = (values.abs(), f"|{spec.name}|") if values.is_complex() else (values, spec.name)
            low, high = (float(v) for v in torch.aminmax(values)) if len(self) else (float("nan"),) * 2
            lines.append(f"  {spec.role:6} {name}: {low:.4g} .. {high:.4g} [{spec.units}]")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, repr=False)
class Samples(Inputs):
    """A batch of samples: inputs, outputs and the certificate of each; print it for a summary.

    Args:
        schema: of the family.
        fields: inputs and outputs by name, each ``(batch, *schema.shape_of(name))``.
        identity: what the inputs were drawn from.
        meshes: as in :class:`Inputs`.
        certificate: one row per sample; None where nothing certifies the outputs (a surrogate's prediction).
    """

    certificate: Certificate | None = None

    def _required(self) -> tuple[str, ...]:
        return self.schema.inputs + self.schema.outputs

    @property
    def inputs(self) -> Inputs:
        """The inputs alone."""
        fields = {name: self.fields[name] for name in self.schema.inputs}
        return Inputs(self.schema, fields, self.identity, meshes=self.meshes)

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
        meshes = None if first.meshes is None else tuple(mesh for part in parts for mesh in part.meshes or ())
        certificates = [part.certificate for part in parts if part.certificate is not None]
        return Samples(
            first.schema,
            {name: torch.cat([part.fields[name] for part in parts]) for name in first.fields},
            identity,
            Certificate.cat(certificates) if len(certificates) == len(parts) else None,
            meshes=meshes,
        )

    def __str__(self) -> str:
        return f"{super().__str__()}\n  {self.certificate or 'no certificate'}"
