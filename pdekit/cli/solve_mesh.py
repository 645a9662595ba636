"""The problems that ``pdekit solve --mesh`` makes: a mesh and the names in it from a file, numbers and formulas."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from pdekit.cli.conditions import condition
from pdekit.cli.problems import EQUATIONS, Equation, Problem, field_of, is_array, only_word

__all__ = ["problem"]


class MeshProblem(Problem):
    """A problem on a mesh.

    Args:
        family: that it belongs to.
        inputs: a batch of one.
        given: what its inputs were made from.
        title: equation and file.
        equations: the conditions in words, by the names of parts of the boundary.
        rest: the condition of all other parts.
    """

    def __init__(
        self, family: Any, inputs: Any, given: dict[str, Any], title: str, equations: dict[str, str], rest: str
    ):
        super().__init__(family, inputs, given)
        self.title = title
        self.equations = equations
        self.rest = rest

    def summary(self) -> list[str]:
        """The mesh, and the condition on each part of its boundary."""
        mesh = self.family.place
        space = self.family.on_mesh.space
        head = f"{self.title}: {mesh.n_nodes:,} nodes, {mesh.n_cells:,} {mesh.cell_kind.plural}, {space.element}"
        lines = [f"{head}, {space.n_dofs:,} values" if space.n_dofs != mesh.n_nodes else head]
        taken = {name for name in self.equations if name != "all"}
        left = set(mesh.boundary("all").tolist()).difference(*(mesh.boundary(name).tolist() for name in taken))
        rows = [(name, text, len(mesh.boundary(name)), "") for name, text in self.equations.items() if name != "all"]
        if left:
            others = ", ".join(name for name in mesh.boundaries if name not in taken)
            rows.append(("the rest", self.rest, len(left), f" ({others})" if others else ""))
        width = max(len(name) for name, *_ in rows)
        return lines + [f"  {name:{width}}  {text}, {count:,} facets{names}" for name, text, count, names in rows]

    def notes(self, samples: Any) -> list[str]:
        """What was done to the problem that the user should know."""
        found = super().notes(samples)
        if not found and not bool(samples[self.family.output].any()):
            found.append("the solution is 0 everywhere: source and boundary values are")
        return found

    def write(self, samples: Any, path: str) -> None:
        """Write a dataset file, or the fields at the nodes and in the cells for ParaView."""
        if not path.endswith(".vtu"):
            super().write(samples, path)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        fields = {}
        for name, values in self._fields(samples, samples.fields).items():
            parts = (
                {f"{name}_real": values.real, f"{name}_imag": values.imag} if values.is_complex() else {name: values}
            )
            fields |= parts
        self.family.place.write(path, fields)

    def picture(self, samples: Any) -> Any:
        """The solution, beside the inputs that are not just numbers."""
        from pdekit import plot

        outputs = self.family.schema.outputs
        varying = [name for name in self.family.schema.inputs if isinstance(self.given.get(name), dict)]
        units = {spec.name: spec.units for spec in self.family.schema.fields}
        return plot.plot_fields(self._fields(samples, [*varying, *outputs]), self.family.place, units=units)

    def _fields(self, samples: Any, names: Any) -> dict[str, Any]:
        """Values at the nodes or in the cells; of elements of order 2 without the midpoints."""
        mesh, found = self.family.place, {}
        for name in names:
            values = samples[name][0]
            if values.ndim:
                whole = len(values) in (mesh.n_nodes, mesh.n_cells)
                found[name] = values if whole else values[: mesh.n_nodes]
        return found


def problem(arguments: Namespace) -> MeshProblem:
    """The family on the mesh of the file and its one problem.

    Raises:
        ConfigError: a mesh, a name or a word that cannot be used.
    """
    from pdekit import fem
    from pdekit.core.errors import ConfigError, did_you_mean

    equation = EQUATIONS[arguments.family]
    mesh, carry = _mesh(arguments)
    names = [*mesh.boundaries, "all"]
    boundaries, texts = [], {}
    for name, words in arguments.conditions:
        if name not in names:
            raise ConfigError(f"--boundary.{name}: {_no_such_part(name, arguments.mesh, mesh, did_you_mean)}")
        if words == ["periodic"]:
            raise ConfigError(f"--boundary.{name} periodic: only the sides of a grid can be.")
        components = mesh.dim if equation.vector else 1
        boundary, texts[name] = condition(name, words, components, mesh.dim, equation.unknown)
        boundaries.append(boundary)
    element = getattr(fem, arguments.element)() if arguments.element else None
    values = _Values(arguments, mesh, carry)
    family, inputs = BUILDERS[arguments.family](mesh, tuple(boundaries), element, values)
    rest = texts.get("all", _default(equation))
    title = f"{arguments.family} on {Path(arguments.mesh).name}"
    if arguments.refine:
        title += f", refined {arguments.refine} time{'s' * (arguments.refine > 1)}"
    return MeshProblem(family, inputs, values.given, title, texts, rest)


def _default(equation: Equation) -> str:
    return f"{equation.unknown} = 0"


def _no_such_part(name: str, file: str, mesh: Any, did_you_mean: Callable[[str, Any], str]) -> str:
    if mesh.boundaries:
        return f"{Path(file).name} names no such part of the boundary. {did_you_mean(name, [*mesh.boundaries, 'all'])}"
    return (
        f"{Path(file).name} names no part of its boundary, so that only --boundary.all can be given. Name parts in the "
        'program that made it; in Gmsh by Physical Curve("wall") = {1, 2}; or Physical Surface in 3-D.'
    )


def _mesh(arguments: Namespace) -> tuple[Any, Callable[[Any], Any]]:
    """The mesh, refined, and what takes values on the mesh of the file to it."""
    from pdekit.core.errors import ConfigError, InputError
    from pdekit.domain import Mesh

    if arguments.refine < 0:
        raise ConfigError(f"--refine {arguments.refine}: expected 0 or more.")
    try:
        mesh = Mesh.read(arguments.mesh, unnamed=True, **dict.fromkeys(arguments.repair, True))
    except InputError as error:  # its advice is for Python
        raise ConfigError(re.sub(r"Mesh\.read\(\.\.\., (\w+)=True\)", r"--repair \1", str(error))) from error
    if arguments.element and arguments.element[0] != "PQ"[not mesh.cell_kind.simplex]:
        fitting = "P1 or P2" if mesh.cell_kind.simplex else "Q1 or Q2"
        raise ConfigError(f"--element {arguments.element}: the mesh has {mesh.cell_kind.plural}; expected {fitting}.")
    if arguments.refine == 0:
        return mesh, lambda values: values
    fine, prolongation = mesh.refine(arguments.refine)

    def carry(values: Any) -> Any:
        import torch

        if len(values) == mesh.n_nodes:
            return torch.from_numpy(prolongation @ values.numpy())
        return values.repeat_interleave(fine.n_cells // mesh.n_cells, dim=0) if len(values) == mesh.n_cells else values

    return fine, carry


class _Values:
    """Reads options as fields on the mesh, and remembers how they were given."""

    def __init__(self, arguments: Namespace, mesh: Any, carry: Callable[[Any], Any]):
        self.arguments = arguments
        self.mesh = mesh
        self.carry = carry
        self.given: dict[str, Any] = {}

    def nodal(self, name: str, default: float) -> Any:
        """``(nodes,)``; of a file also ``(cells,)``, if it has as many numbers as there are cells."""
        words = self.arguments[name]
        word = only_word(f"--{name}", words) if words else f"{default:g}"
        values, self.given[name] = field_of(f"--{name}", word, self.mesh.points)
        return self.carry(values) if is_array(word) else values


def _poisson(mesh: Any, boundaries: tuple, element: Any, values: _Values) -> tuple[Any, Any]:
    from pdekit.families import Poisson
    from pdekit.fields import Constant

    family = Poisson(mesh, Constant(0.0), boundaries, element)
    return family, family.inputs_from(values.nodal("source", 0.0))


def _darcy(mesh: Any, boundaries: tuple, element: Any, values: _Values) -> tuple[Any, Any]:
    from pdekit.families import Darcy
    from pdekit.fields import Constant

    coefficient = values.nodal("coefficient", 1.0)
    at = "cells" if len(coefficient) == mesh.n_cells else "nodes"
    family = Darcy(mesh, Constant(1.0), Constant(0.0), boundaries, element=element, coefficient_at=at)
    return family, family.inputs_from(coefficient, values.nodal("source", 0.0))


BUILDERS: dict[str, Callable[..., tuple[Any, Any]]] = {"poisson": _poisson, "darcy": _darcy}
