"""What a family's samples consist of."""

from dataclasses import dataclass
from typing import Any, Literal

from pdekit.core.errors import InputError, did_you_mean
from pdekit.domain import Boundary, Grid

__all__ = ["FieldSpec", "Schema"]

Role = Literal["input", "output"]


@dataclass(frozen=True)
class FieldSpec:
    """One named field of a sample.

    Args:
        name: as in ``samples[name]``.
        role: ``input`` (drawn) or ``output`` (solved for).
        units: of the values; ``"1"`` for dimensionless.
        description: what it means.
    """

    name: str
    role: Role
    units: str = "1"
    description: str = ""


@dataclass(frozen=True)
class Schema:
    """The fields of a family's samples, the grid they live on, and the boundary conditions of the outputs.

    Args:
        domain: the grid; every field is stored as ``(batch, *domain.shape)``.
        fields: the fields, inputs first.
        boundaries: one condition per side; only numbers as values survive :meth:`to_json`.
        equation: what the outputs solve, with all that is fixed in it; a surrogate answers for no other.

    Example:
        >>> schema = Schema(Grid((3, 3)), (FieldSpec("coefficient", "input"), FieldSpec("solution", "output")))
        >>> Schema.from_json(schema.to_json()) == schema
        True
    """

    domain: Grid
    fields: tuple[FieldSpec, ...]
    boundaries: tuple[Boundary, ...] = ()
    equation: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input fields."""
        return tuple(field.name for field in self.fields if field.role == "input")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output fields."""
        return tuple(field.name for field in self.fields if field.role == "output")

    def field(self, name: str) -> FieldSpec:
        """The field of that name.

        Raises:
            InputError: there is none; the message lists those that are there.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise InputError(f"There is no field {name!r}. {did_you_mean(name, [f.name for f in self.fields])}")

    def with_domain(self, domain: Grid) -> "Schema":
        """The same fields on another grid."""
        return Schema(domain, self.fields, self.boundaries, self.equation)

    def to_json(self) -> dict[str, Any]:
        """Plain containers of numbers and strings."""
        return {
            "domain": {
                "shape": list(self.domain.shape),
                "box": [list(side) for side in self.domain.box or ()],
                "closed": list(self.domain.closed_axes),
            },
            "fields": [
                {"name": f.name, "role": f.role, "units": f.units, "description": f.description} for f in self.fields
            ],
            "boundaries": [_boundary_to_json(b) for b in self.boundaries],
            "equation": self.equation,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Schema":
        """The inverse of :meth:`to_json`.

        Raises:
            InputError: a key is missing or of the wrong kind.
        """
        try:
            domain = data["domain"]
            grid = Grid(tuple(domain["shape"]), tuple(tuple(s) for s in domain["box"]), tuple(domain["closed"]))
            fields = tuple(FieldSpec(f["name"], f["role"], f["units"], f["description"]) for f in data["fields"])
            boundaries = tuple(
                Boundary(b["where"], b["kind"], b["value"], b["coefficient"]) for b in data["boundaries"]
            )
            equation = str(data["equation"])
        except (KeyError, TypeError) as error:
            raise InputError(f"This is no pdekit schema: {error!r}. Expected domain, fields and boundaries.") from error
        return Schema(grid, fields, boundaries, equation)


def _boundary_to_json(boundary: Boundary) -> dict[str, Any]:
    for key in ("value", "coefficient"):
        given = getattr(boundary, key)
        if given is not None and not isinstance(given, int | float):
            raise InputError(
                f"The {key} of the boundary {boundary.where!r} is a {type(given).__name__}, which a file cannot hold; "
                "expected a number."
            )
    return {
        "where": boundary.where,
        "kind": boundary.kind,
        "value": boundary.value,
        "coefficient": boundary.coefficient,
    }
