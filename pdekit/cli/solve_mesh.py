"""The problems that ``pdekit solve --mesh`` makes: a mesh and the names in it from a file, numbers and formulas."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from pdekit.cli.conditions import condition, number_or_expression
from pdekit.cli.problems import EQUATIONS, Equation, Problem, field_of, is_array, only_word

__all__ = ["problem"]


class MeshProblem(Problem):
    """A problem on a mesh.

    Args:
        family: that it belongs to.
        inputs: a batch of one.
        given: what its inputs were made from.
        equation: which it is.
        title: equation and file.
        texts: the conditions in words, by the names of parts of the boundary.
    """

    def __init__(
        self, family: Any, inputs: Any, given: dict[str, Any], equation: Equation, title: str, texts: dict[str, str]
    ):
        super().__init__(family, inputs, given, equation)
        self.title = title
        self.texts = texts

    def report(self, samples: Any) -> list[str]:
        """The mesh, the condition on each part of its boundary, and the solution."""
        mesh = self.family.place
        space = self.family.on_mesh.space
        head = f"{self.title}: {mesh.n_nodes:,} nodes, {mesh.n_cells:,} {mesh.cell_kind.plural}, {space.element}"
        lines = [f"{head}, {space.n_dofs:,} values" if space.n_dofs != mesh.n_nodes else head]
        taken = {name for name in self.texts if name != "all"}
        left = set(mesh.boundary("all").tolist()).difference(*(mesh.boundary(name).tolist() for name in taken))
        rows = [(name, text, len(mesh.boundary(name)), "") for name, text in self.texts.items() if name != "all"]
        if left:
            others = ", ".join(name for name in mesh.boundaries if name not in taken)
            rows.append(
                ("the rest", self.texts.get("all", self.equation.rest), len(left), f" ({others})" if others else "")
            )
        width = max(len(name) for name, *_ in rows)
        lines += [f"  {name:{width}}  {text}, {count:,} facets{names}" for name, text, count, names in rows]
        lines += str(samples).splitlines()[1:]
        for name, values in self._derived(samples).items():
            lines.insert(-1, f"  output {name}: {float(values.min()):.4g} .. {float(values.max()):.4g}")
        return lines

    def surplus(self, samples: Any) -> float:
        """The mean over the domain of the source and the fluxes through the boundary."""
        from pdekit import fem

        mesh, space = self.family.place, self.family.on_mesh.space
        a: Any = getattr(self.family, "coefficient", 1.0)
        if "coefficient" in samples.fields:
            values = samples["coefficient"][0]
            a = fem.nodal(values) if len(values) == mesh.n_nodes else fem.cellwise(values)
        source: Any = fem.assemble(fem.forms.load, space, f=fem.nodal(samples["source"][0]))
        _, fluxes = fem.natural(space, self.family.on_mesh.natural, k=a)
        return float(source.sum() + fluxes.sum()) / mesh.volume

    def notes(self, samples: Any) -> list[str]:
        """What was done to the problem that the user should know."""
        found = super().notes(samples)
        if not found and not bool(samples[self.family.output].any()):
            found.append("the solution is 0 everywhere: source and boundary values are")
        return [*found, *self._contradictions()]

    def _contradictions(self) -> list[str]:
        """Parts of the boundary that meet and prescribe different values there."""
        from pdekit.fem.conditions import boundary_values

        space, found = self.family.on_mesh.space, []
        before: list[tuple[str, Any]] = []
        for part in self.family.boundaries:
            if part.kind != "dirichlet" or part.where == "all":
                continue
            dofs = space.dofs(part.where)
            values = space.dof_points.new_full((space.n_dofs,), math.nan)
            values[dofs] = boundary_values(space, part.where, part.value, dofs, dofs.device).to(values.dtype)
            for name, other in before:
                far = (values - other).abs() > 1e-9 * values.abs().maximum(other.abs())
                if count := len((far.nonzero()[:, 0] // space.components).unique()):
                    what = "node" if count == 1 else "nodes"
                    found.append(
                        f"{name} and {part.where} meet at {count} {what} with different values; {part.where}, given "
                        "later, holds there"
                    )
            before.append((part.where, values))
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
        varying = [name for name in self.given if isinstance(self.given[name], dict)]
        units = {spec.name: spec.units for spec in self.family.schema.fields}
        return plot.plot_fields(self._fields(samples, [*varying, *outputs]), self.family.place, units=units)

    def _fields(self, samples: Any, names: Any) -> dict[str, Any]:
        """Values at the nodes or in the cells; of elements of order 2 without the midpoints."""
        from pdekit.core.expressions import Expression

        mesh, found = self.family.place, {}
        for name in (*(name for name in self.given if name not in names), *names):
            formula = getattr(self.family, name, None)
            if isinstance(formula, Expression):
                found[name] = formula(mesh.points[mesh.cells].mean(1))
                continue
            if name not in names:
                continue
            values = samples[name][0]
            if values.ndim:
                whole = len(values) in (mesh.n_nodes, mesh.n_cells)
                found[name] = values if whole else values[: mesh.n_nodes]
        return found | self._derived(samples)

    def _derived(self, samples: Any) -> dict[str, Any]:
        """What follows from the solution: stresses of an elastic body, in the cells."""
        von_mises = getattr(self.family, "von_mises", None)
        return {} if von_mises is None else {"von_mises": von_mises(samples)[0]}


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
        boundary, texts[name] = condition(name, words, equation.forms, mesh.dim)
        boundaries.append(boundary)
    element = getattr(fem, arguments.element)() if arguments.element else None
    values = _Values(arguments, mesh, carry)
    family, inputs = BUILDERS[arguments.family](mesh, tuple(boundaries), element, values)
    title = f"{arguments.family} on {Path(arguments.mesh).name}"
    if arguments.refine:
        title += f", refined {arguments.refine} time{'s' * (arguments.refine > 1)}"
    return MeshProblem(family, inputs, values.given, equation, title, texts)


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
    try:
        fine, prolongation = mesh.refine(arguments.refine)
    except InputError as error:
        raise ConfigError(f"--refine: {error}") from error

    def carry(values: Any) -> Any:
        import torch

        if len(values) == mesh.n_nodes:
            return torch.from_numpy(prolongation @ values.numpy())
        return values.repeat_interleave(fine.n_cells // mesh.n_cells, dim=0) if len(values) == mesh.n_cells else values

    return fine, carry


class _Values:
    """Reads options as numbers and fields on the mesh, and remembers what the inputs were made from."""

    def __init__(self, arguments: Namespace, mesh: Any, carry: Callable[[Any], Any]):
        self.arguments = arguments
        self.mesh = mesh
        self.carry = carry
        self.given: dict[str, Any] = {}

    def field(self, name: str, default: float, at_cells: bool = False) -> Any:
        """``(nodes,)``, or of a file ``(cells,)`` if the equation takes that.

        Raises:
            ConfigError: another shape, or what is neither a number, nor an expression, nor a file.
        """
        from pdekit.core.errors import ConfigError

        words = self.arguments[name]
        if not words:
            return self.mesh.points.new_full((self.mesh.n_nodes,), default)
        word = only_word(f"--{name}", words)
        values, self.given[name] = field_of(f"--{name}", word, self.mesh.points)
        if not is_array(word):
            return values
        given, values = tuple(values.shape), self.carry(values)
        expected = [(self.mesh.n_nodes,), (self.mesh.n_cells,)][: 1 + at_cells]
        if tuple(values.shape) not in expected:
            places = " or ".join(
                f"{size} at the {what}" for size, what in zip(expected, ("nodes", "cells"), strict=False)
            )
            raise ConfigError(f"--{name} {word} has the shape {given}; expected {places} of the mesh.")
        return values

    def material(self, name: str, at_cells: bool = False) -> Any:
        """As :meth:`field`, 1 by default, but an expression is left to be evaluated where the cells need it."""
        words = self.arguments[name]
        if words and not is_array(word := only_word(f"--{name}", words)):
            value = number_or_expression(f"--{name}", word, self.mesh.dim)
            if callable(value):
                self.given[name] = {"expression": word}
                return value
        return self.field(name, 1.0, at_cells)

    def number(self, name: str, default: float | None) -> float:
        """One number.

        Raises:
            ConfigError: it is missing, or is none.
        """
        from pdekit.core.errors import ConfigError

        words = self.arguments[name]
        if not words and default is not None:
            return default
        value = number_or_expression(f"--{name}", only_word(f"--{name}", words), self.mesh.dim) if words else None
        if not isinstance(value, float):
            raise ConfigError(f"--{name} {' '.join(words or ['is missing'])}: expected one number.")
        return value

    def components(self, name: str, default: float | None) -> tuple[Any, ...]:
        """A number or the text of an expression for each component.

        Raises:
            ConfigError: another number of words, or one that is neither.
        """
        from pdekit.core.errors import ConfigError

        dim, words = self.mesh.dim, self.arguments[name]
        if not words and default is not None:
            return (default,) * dim
        if not words or len(words) != dim:
            given = " ".join(word.strip() for word in words or ["is missing"])
            raise ConfigError(f"--{name} {given}: expected {dim} values, one for each component.")
        values = [number_or_expression(f"--{name}", word.strip(), dim) for word in words]
        return tuple(value.text if callable(value) else value for value in values)


Made = tuple[Any, Any]
"""A family and a batch of one."""


def _materials(values: _Values, *names: str) -> tuple[list[Any], dict[str, Any]]:
    """For each an expression, or the law of an input; and the values of these inputs."""
    from pdekit.fields import Constant

    given = {name: values.material(name) for name in names}
    fields = {name: value for name, value in given.items() if not callable(value)}
    return [Constant(1.0) if name in fields else value for name, value in given.items()], fields


def _poisson(mesh: Any, boundaries: tuple, element: Any, values: _Values) -> Made:
    from pdekit.families import Poisson
    from pdekit.fields import Constant

    family = Poisson(mesh, Constant(0.0), boundaries, element)
    return family, family.inputs_from(values.field("source", 0.0))


def _darcy(mesh: Any, boundaries: tuple, element: Any, values: _Values) -> Made:
    from pdekit.core.expressions import Expression
    from pdekit.families import Darcy
    from pdekit.fields import Constant

    a, source = values.material("coefficient", at_cells=True), values.field("source", 0.0)
    if isinstance(a, Expression):
        family = Darcy(mesh, a, Constant(0.0), boundaries, element=element)
        return family, family.inputs_from(source=source)
    at = "nodes" if len(a) == mesh.n_nodes else "cells"
    family = Darcy(mesh, Constant(1.0), Constant(0.0), boundaries, element=element, coefficient_at=at)
    return family, family.inputs_from(a, source)


def _helmholtz(mesh: Any, boundaries: tuple, element: Any, values: _Values) -> Made:
    from pdekit.families import Helmholtz
    from pdekit.fields import Constant

    k, (index, coefficient), fields = values.number("wavenumber", None), *_materials(values, "index", "coefficient")
    family = Helmholtz(mesh, k, index, Constant(1.0), coefficient, boundaries=boundaries, element=element)
    return family, family.inputs_from({**fields, "source": values.field("source", 0.0)})


def _advection_diffusion(mesh: Any, boundaries: tuple, element: Any, values: _Values) -> Made:
    from pdekit.families import AdvectionDiffusion
    from pdekit.fields import Constant

    (coefficient,), fields = _materials(values, "coefficient")
    family = AdvectionDiffusion(
        mesh, values.components("velocity", None), Constant(1.0), coefficient, boundaries=boundaries, element=element,
        reaction=values.number("reaction", 0.0), max_peclet=values.number("max_peclet", 1.0),
    )  # fmt: skip
    return family, family.inputs_from({**fields, "source": values.field("source", 0.0)})


def _nonlinear_diffusion(mesh: Any, boundaries: tuple, element: Any, values: _Values) -> Made:
    from pdekit.families import NonlinearDiffusion
    from pdekit.fields import Constant

    beta, ((a,), fields) = values.number("nonlinearity", 1.0), _materials(values, "coefficient")
    family = NonlinearDiffusion(mesh, Constant(1.0), beta, a, boundaries=boundaries, element=element)
    return family, family.inputs_from({**fields, "source": values.field("source", 0.0)})


def _elasticity(mesh: Any, boundaries: tuple, element: Any, values: _Values) -> Made:
    from pdekit.core.errors import ConfigError
    from pdekit.families import Elasticity
    from pdekit.fields import Constant

    force = values.components("source", 0.0)
    if any(isinstance(part, str) for part in force):
        raise ConfigError(f"--source {' '.join(map(str, force))}: expected numbers, the same everywhere.")
    poisson = values.number("poisson", 0.3)
    (young,), fields = _materials(values, "young")
    load = 1.0 if fields else Constant(1.0)  # something has to be an input
    family = Elasticity(mesh, young, poisson, force, load, boundaries=boundaries, element=element)
    return family, family.inputs_from(fields or {"load": [1.0]})


BUILDERS: dict[str, Callable[..., Made]] = {
    "poisson": _poisson,
    "darcy": _darcy,
    "helmholtz": _helmholtz,
    "advection-diffusion": _advection_diffusion,
    "nonlinear-diffusion": _nonlinear_diffusion,
    "elasticity": _elasticity,
}
