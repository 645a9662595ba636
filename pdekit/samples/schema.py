"""What a family's samples consist of."""

from dataclasses import dataclass
from typing import Any, Literal

from pdekit.core.errors import InputError, did_you_mean
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary, Grid, Mesh, RandomShape

__all__ = ["FieldSpec", "Role", "Schema"]

Role = Literal["input", "output"]


@dataclass(frozen=True)
class FieldSpec:
    """One named field of a sample.

    Args:
        name: as in ``samples[name]``.
        role: ``input`` (drawn) or ``output`` (solved for).
        units: of the values; ``"1"`` for dimensionless.
        description: what it means.
        shape: of one sample's values. None: a value a point of the domain (a node of a mesh); ``()``: one number;
            ``(n_cells,)``: a value a cell. A None within stands for the points: ``(None, 2)`` is a vector at each.
        complex: whether the values are complex numbers.

    Raises:
        InputError: a length below 1.
    """

    name: str
    role: Role
    units: str = "1"
    description: str = ""
    shape: tuple[int | None, ...] | None = None
    complex: bool = False

    def __post_init__(self):
        if self.shape is not None and any(length is not None and length < 1 for length in self.shape):
            raise InputError(f"The field {self.name!r} has the shape {self.shape}; expected lengths of 1 or more.")


@dataclass(frozen=True, eq=False)
class Schema:
    """The fields of a family's samples, the domain they live on, and the boundary conditions of the outputs.

    Two schemas are equal if they say the same; their meshes may be two objects of one fingerprint.

    Args:
        domain: the grid or mesh; a field is stored as ``(batch, *domain.shape)`` unless its spec says otherwise. With a
            random shape every sample has its own mesh, and its values are concatenated: see :class:`Inputs`.
        fields: the fields, inputs first.
        boundaries: one condition per part of the boundary; values that are numbers, tuples of them or expressions
            survive :meth:`to_json`.
        equation: what the outputs solve, with all that is fixed in it; a surrogate answers for no other.

    Example:
        >>> schema = Schema(Grid((3, 3)), (FieldSpec("coefficient", "input"), FieldSpec("solution", "output")))
        >>> Schema.from_json(schema.to_json()) == schema
        True
    """

    domain: Grid | Mesh | RandomShape
    fields: tuple[FieldSpec, ...]
    boundaries: tuple[Boundary, ...] = ()
    equation: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        return self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self._said())

    def _said(self) -> tuple:
        domain = self.domain.fingerprint if isinstance(self.domain, Mesh) else self.domain
        return domain, self.fields, self.boundaries, self.equation

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

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of one sample's values of the field of that name.

        Raises:
            InputError: as :meth:`field`; every sample has its own mesh, and so its own shape.
        """
        shape = self.field(name).shape
        if shape is not None and None not in shape:
            return tuple(length or 0 for length in shape)
        domain = self.one_domain
        if shape is None:
            return domain.shape
        lengths = (domain.shape if length is None else (length,) for length in shape)
        return tuple(length for group in lengths for length in group)

    @property
    def one_domain(self) -> Grid | Mesh:
        """The grid or mesh of all samples.

        Raises:
            InputError: every sample has its own mesh.
        """
        if isinstance(self.domain, RandomShape):
            raise InputError(
                f"Every sample has its own mesh ({self.domain}); expected samples on one grid or mesh, which is what "
                "streams, dataset files and surrogates on a grid take."
            )
        return self.domain

    def with_domain(self, domain: Grid | Mesh | RandomShape) -> "Schema":
        """The same fields on another domain."""
        return Schema(domain, self.fields, self.boundaries, self.equation)

    def to_json(self) -> dict[str, Any]:
        """Plain containers of numbers and strings; of a mesh they hold the fingerprint, not the mesh."""
        return {
            "domain": _domain_to_json(self.domain),
            "fields": [_spec_to_json(spec) for spec in self.fields],
            "boundaries": [_boundary_to_json(b) for b in self.boundaries],
            "equation": self.equation,
        }

    @staticmethod
    def from_json(data: dict[str, Any], mesh: Mesh | None = None) -> "Schema":
        """The inverse of :meth:`to_json`.

        Args:
            data: what it gave.
            mesh: the mesh of a schema on a mesh.

        Raises:
            InputError: a key is missing or of the wrong kind, or the mesh is missing or another one.
        """
        try:
            domain = _domain_from_json(data["domain"], mesh)
            fields = tuple(_spec_from_json(f) for f in data["fields"])
            boundaries = tuple(
                Boundary(b["where"], b["kind"], _value_from_json(b["value"]), _value_from_json(b["coefficient"]))
                for b in data["boundaries"]
            )
            equation = str(data["equation"])
        except (KeyError, TypeError) as error:
            raise InputError(f"This is no pdekit schema: {error!r}. Expected domain, fields and boundaries.") from error
        return Schema(domain, fields, boundaries, equation)


def _domain_to_json(domain: Grid | Mesh | RandomShape) -> dict[str, Any]:
    if isinstance(domain, RandomShape):
        raise InputError(f"A file cannot hold a schema whose samples have a mesh each ({domain}); expected one mesh.")
    if isinstance(domain, Mesh):
        return {"mesh": domain.fingerprint}
    return {
        "shape": list(domain.shape),
        "box": [list(side) for side in domain.box or ()],
        "closed": list(domain.closed_axes),
    }


def _domain_from_json(domain: dict[str, Any], mesh: Mesh | None) -> Grid | Mesh:
    if "mesh" not in domain:
        return Grid(tuple(domain["shape"]), tuple(tuple(s) for s in domain["box"]), tuple(domain["closed"]))
    if mesh is None:
        raise InputError(f"This schema is of the mesh {domain['mesh']}; expected that mesh beside it.")
    if mesh.fingerprint != domain["mesh"]:
        raise InputError(
            f"This schema is of the mesh {domain['mesh']}; given was another, with the fingerprint {mesh.fingerprint}."
        )
    return mesh


def _spec_to_json(spec: FieldSpec) -> dict[str, Any]:
    said: dict[str, Any] = {"name": spec.name, "role": spec.role, "units": spec.units, "description": spec.description}
    if spec.shape is not None:
        said["shape"] = list(spec.shape)
    return said | ({"complex": True} if spec.complex else {})


def _spec_from_json(said: dict[str, Any]) -> FieldSpec:
    shape = said.get("shape")
    if shape is not None and not all(length is None or type(length) is int for length in shape):
        raise TypeError(f"the shape {shape} of the field {said['name']!r}")
    texts = (said["name"], said["role"], said["units"], said["description"])
    return FieldSpec(*texts, None if shape is None else tuple(shape), said.get("complex", False) is True)


def _boundary_to_json(boundary: Boundary) -> dict[str, Any]:
    values = {key: _value_to_json(getattr(boundary, key), boundary, key) for key in ("value", "coefficient")}
    return {"where": boundary.where, "kind": boundary.kind, **values}


def _value_to_json(given: Any, boundary: Boundary, key: str) -> Any:
    if isinstance(given, Expression):
        return {"expression": given.text}
    if isinstance(given, complex):
        return {"complex": [given.real, given.imag]}
    if isinstance(given, tuple):
        return [_value_to_json(part, boundary, key) for part in given]
    if given is not None and not isinstance(given, int | float):
        raise InputError(
            f"The {key} of the boundary {boundary.where!r} is a {type(given).__name__}, which a file cannot hold; "
            "expected a number, a tuple of numbers or an Expression."
        )
    return given


def _value_from_json(said: Any) -> Any:
    if isinstance(said, list):
        return tuple(_value_from_json(part) for part in said)
    if isinstance(said, dict) and "complex" in said:
        real, imag = said["complex"]
        return complex(real, imag)
    return Expression(said["expression"]) if isinstance(said, dict) else said
