"""What every family of problems offers."""

import operator
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from pdekit.core.checks import as_real, check_finite, check_positive, check_shape
from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.core.memory import bytes_of
from pdekit.core.random import KeyArray, Keys
from pdekit.domain import Boundary, Grid, Mesh, RandomShape, Shape
from pdekit.families.conditions import conditions
from pdekit.families.mesh_equations import MeshEquations
from pdekit.families.residual import Residual
from pdekit.fem import Element
from pdekit.fields import PointSet, RandomField
from pdekit.samples import Certificate, Identity, Inputs, Samples, Source
from pdekit.solvers import Auto, Direct, LinearSystem, Method, NotConverged, Solution, solve

__all__ = ["ArrayLike", "Domain", "Family", "MeshDomain"]

ArrayLike = Shaped[Tensor, "..."] | np.ndarray
Domain = Grid | Mesh | Shape | RandomShape
"""Where a family lives: a shape stands for its mesh, a random shape for one mesh a sample."""
MeshDomain = Mesh | Shape | RandomShape
"""Where a family lives that is for meshes alone."""


class Family(Source):
    """Problems of one PDE on one domain: draws random inputs, turns them into equations, solves them with certificates.

    A subclass is a frozen dataclass of JSON-able arguments, ``domain`` among them. It gives the schema, the random
    field behind each input (:meth:`random_fields`), the equations (:meth:`equations`) and their :meth:`residual`.
    """

    linear: ClassVar[bool] = True
    """Whether :meth:`system` is all there is to solve, rather than the first step towards it."""
    definite: ClassVar[bool] = False
    """Whether matrices on a mesh are symmetric and positive definite."""
    matrices: ClassVar[int] = 4
    """Copies of the matrix of a sample on a mesh at the peak: assembled, eliminated, its preconditioner."""
    domain: Domain

    @cached_property
    def place(self) -> Grid | Mesh | RandomShape:
        """The grid or mesh that ``domain`` stands for, or the random shape that gives every sample its mesh."""
        return self.domain.mesh() if isinstance(self.domain, Shape) else self.domain

    @cached_property
    def _example(self) -> Grid | Mesh:
        """A domain whose dimension and names are those of all samples."""
        if isinstance(self.place, RandomShape):
            return self.place.sample(Keys(0, "example", [0]).named("domain"))[0]
        return self.place

    @property
    def dim(self) -> int:
        """Of the space that the domain lies in."""
        return self._example.dim

    @property
    def _mesh(self) -> Mesh:
        """The mesh, or the example of a random one, of a family that is not on a grid."""
        assert isinstance(self._example, Mesh)
        return self._example

    @property
    def _grid(self) -> Grid:
        assert isinstance(self.place, Grid)
        return self.place

    def on(self, mesh: Mesh) -> Self:
        """The same family on one fixed mesh."""
        assert is_dataclass(self)
        return replace(self, domain=mesh)

    @abstractmethod
    def random_fields(self) -> Mapping[str, RandomField]:
        """The random field behind each input, by its name."""

    @abstractmethod
    def equations(self, inputs: Inputs) -> LinearSystem:
        """The linear systems of a batch of inputs."""

    @property
    def output(self) -> str:
        """Name of the field solved for."""
        return self.schema.outputs[0]

    def draw(self, indices: Sequence[int], *, seed: int, split: str = "train", attempt: int = 0) -> Inputs:
        """Inputs of the samples with these numbers.

        Args:
            indices: sample numbers, not negative.
            seed: of the whole experiment.
            split: ``train``, ``validation``, ``test`` or any other word: its own stream of samples.
            attempt: 0, or the number of the redraw.

        Returns:
            float64 fields that are bit-exact functions of (seed, split, index, attempt) and the name of the field.

        Raises:
            InputError: a negative or fractional index, a seed out of range.
        """
        try:
            numbers = [operator.index(index) for index in indices]
        except TypeError:
            raise InputError(f"indices are {indices!r}; expected a sequence of integers, such as range(64).") from None
        keys = Keys(seed, split, numbers, attempt)
        identity = Identity(seed, split, torch.tensor(numbers, dtype=torch.int64), attempt)
        place, meshes = self.place, None
        if isinstance(place, RandomShape):
            meshes = tuple(place.sample(keys.named("domain")))
        drawn = {}
        for name, field in self.random_fields().items():
            own = keys.named(name)
            if meshes is None or self.schema.field(name).shape == ():
                drawn[name] = self._drawn(name, field, own, self._example)
            else:
                parts = [self._drawn(name, field, own[i : i + 1], mesh)[0] for i, mesh in enumerate(meshes)]
                drawn[name] = torch.cat([torch.empty(0, dtype=torch.float64), *parts])
        return Inputs(self.schema, drawn, identity, meshes=meshes)

    def _drawn(self, name: str, field: RandomField, keys: KeyArray, place: Grid | Mesh) -> Tensor:
        """Values of an input where they belong: at the points of the domain, in its cells, or one number."""
        shape = self.schema.field(name).shape
        if shape is None:
            return field.sample(keys, place)
        if shape == ():
            return field.sample(keys, torch.zeros(1, place.dim, dtype=torch.float64))[:, 0]
        assert isinstance(place, Mesh)
        return field.sample(keys, PointSet.cells(place))

    def system(self, inputs: Inputs) -> LinearSystem:
        """The linear systems of a batch, differentiable with respect to the inputs.

        Args:
            inputs: a batch, drawn here or made of the user's own fields.

        Returns:
            Matrices, right-hand sides and the way back to fields. Where the solution is determined only up to a
            constant, ``restore`` gives it the mean 0 over the domain.

        Raises:
            InputError: a field that the equations refuse, with the index of the culprit; every sample has its own mesh.
        """
        if inputs.meshes is not None:
            raise InputError(
                "Every sample has its own mesh, so there is no one system; expected family.on(mesh).system(one), with "
                "one = inputs.sample(i) and mesh = one.schema.domain."
            )
        system = self.equations(inputs)
        if system.operator.nullspace is None or (isinstance(self.place, Mesh) and self.on_mesh.space.rank):
            return system  # of a free body `solve` gives the displacement without any rigid motion
        weights = self._weights.to(system.rhs.device)
        axes = tuple(range(-weights.ndim, 0))

        def restore(x: Tensor) -> Tensor:
            u = system.restore(x)
            return u - (u * weights).sum(axes, keepdim=True)

        return replace(system, restore=restore)

    @cached_property
    def _weights(self) -> Tensor:
        """Of the mean over the domain: they sum to 1."""
        weights = self.place.quadrature() if isinstance(self.place, Grid) else self.on_mesh.weights
        return weights / self._example.volume

    @cached_property
    def conditions(self) -> tuple[Boundary, ...]:
        """The condition on each part of the boundary."""
        return conditions(self._example, getattr(self, "boundaries", ()))

    @cached_property
    def on_mesh(self) -> MeshEquations:
        """Space and conditions of a family on a mesh."""
        return MeshEquations(self._mesh, self.conditions, getattr(self, "element", None))

    def _check_domain(
        self, grids_only: Mapping[str, Any] | None = None, meshes_only: Mapping[str, Any] | None = None
    ) -> None:
        """Refuse boundary conditions that do not fit, and options of the other kind of domain but their defaults."""
        for part in self.conditions:
            if part.kind == "impedance":
                raise InputError(
                    f"The boundary {part.where!r} is impedance, a condition for waves; Helmholtz takes it."
                )
        meshes_only = {"element": None, **(meshes_only or {})}
        on_grid = isinstance(self.place, Grid)
        for name, default in (meshes_only if on_grid else grids_only or {}).items():
            if (given := getattr(self, name, default)) != default:
                kinds = ("a grid", "meshes") if on_grid else ("a mesh", "grids")
                raise InputError(f"{name}={given} on {kinds[0]}; {name} is an option of {kinds[1]}.")
        self._check_element(**meshes_only)

    def _check_element(self, **defaults: Any) -> None:
        """Refuse an element that does not fit, and what gives samples of random shape anything but values at nodes."""
        if isinstance(self.place, RandomShape):
            for name, default in defaults.items():
                given = getattr(self, name, default)
                if given != default and getattr(given, "degree", 0) != 1:
                    raise InputError(
                        f"{name}={given} on a random shape, whose samples hold values at nodes; "
                        f"expected {name}={default}."
                    )
        if not isinstance(self.place, Grid) and getattr(self, "element", None) is not None:
            _ = self.on_mesh.space.reference

    def _solution_shape(self) -> tuple[int, ...] | None:
        """For the FieldSpec of a scalar solution: a value a node, and one a midpoint for elements of second order."""
        element = getattr(self, "element", None)
        return None if element is None or element.degree == 1 else self.on_mesh.shape

    @abstractmethod
    def residual(self, u: Float[Tensor, "..."], inputs: Inputs) -> Residual:
        """By how much a field misses the equations, in their own discretisation; differentiable.

        Args:
            u: ``(batch, *shape)`` of the output.
            inputs: the batch that it should solve.

        Raises:
            InputError: a shape that does not fit.
        """

    def solve(
        self,
        inputs: Inputs,
        *,
        rtol: float,
        method: Method | None = None,
        guess: Samples | None = None,
        memory: str | int | None = None,
        throw: bool = True,
    ) -> Samples:
        """Solve a batch; every sample gets a certificate of its residual.

        Args:
            inputs: a batch.
            rtol: relative tolerance on ``||b - A x||_2``, recomputed in float64 from the solution.
            method: a solver method; None means :class:`Auto`.
            guess: samples whose outputs to start from.
            memory: budget such as ``2GiB`` for what solving takes, beside what all samples of the family share (mesh,
                space), the solutions, and freed blocks that the C library keeps; a larger batch is solved in parts.
            throw: raise where a sample misses the tolerance, instead of returning it not accepted.

        Raises:
            InputError: a field that the equations refuse, with the index of the culprit; a budget that is none.
            NotConverged: a sample missed the tolerance and ``throw`` is set.
        """
        if inputs.meshes is not None:
            return self._solve_each(inputs, guess, rtol=rtol, method=method, memory=memory, throw=throw)
        count = len(inputs)
        rows = count if memory is None else max(1, bytes_of(memory) // self._sample_bytes(method))
        u, solutions = None, []
        with torch.no_grad():
            for first in range(0, max(count, 1), max(rows, 1)):
                part = slice(first, min(first + rows, count))
                some = inputs if rows >= count else inputs[part]
                found, solution = self._solve_part(some, None if guess is None else guess[part], method, rtol)
                if u is None:
                    u = found if rows >= count else found.new_empty(count, *found.shape[1:])
                if rows < count:
                    u[part] = found
                solutions.append(solution)
        whole = solutions[0] if len(solutions) == 1 else Solution.cat(solutions)
        if throw and not bool(whole.converged.all()):
            raise NotConverged(whole)
        assert u is not None
        return Samples(inputs.schema, {**inputs.fields, self.output: u}, inputs.identity, _certificate(whole))

    def _solve_part(
        self, inputs: Inputs, guess: Samples | None, method: Method | None, rtol: float
    ) -> tuple[Tensor, Solution]:
        """The fields of some samples, and how they were solved for."""
        system = self.system(inputs)
        x0 = None if guess is None else system.reduce(guess[self.output].to(system.rhs))
        solution = solve(system.operator, system.rhs, method or Auto(), rtol=rtol, x0=x0, throw=False)
        return system.restore(torch.as_tensor(solution.x)), solution

    def _solve_each(self, inputs: Inputs, guess: Samples | None, **how: Any) -> Samples:
        """Solve samples on a mesh each."""
        parts = []
        for i, mesh in enumerate(inputs.meshes or ()):
            start = None if guess is None else guess.sample(i)
            try:
                parts.append(self.on(mesh).solve(inputs.sample(i), guess=start, **how))
            except (InputError, NotConverged) as error:
                error.add_note(f"This is sample {i} of the batch, on {mesh}.")
                raise
        fields = dict(inputs.fields)
        found = [part[self.output][0] for part in parts]
        fields[self.output] = torch.cat(found) if found else torch.empty(0, dtype=torch.float64)
        rows = [part.certificate for part in parts if part.certificate is not None]
        certificate = Certificate.cat(rows) if rows else None
        return Samples(inputs.schema, fields, inputs.identity, certificate, meshes=inputs.meshes)

    def _residual_of_each(self, u: Tensor, inputs: Inputs) -> Residual:
        """The residuals of samples on a mesh each, one after another."""
        ends = inputs.ptr.tolist()
        parts = [
            self.on(mesh).residual(u[ends[i] : ends[i + 1]][None], inputs.sample(i))
            for i, mesh in enumerate(inputs.meshes or ())
        ]
        names = dict.fromkeys(name for part in parts for name in part.boundary)
        boundary = {name: torch.cat([part.boundary[name][0] for part in parts]) for name in names}
        return Residual(torch.cat([part.interior[0] for part in parts]), boundary)

    def _sample_bytes(self, method: Method | None) -> int:
        """What solving one sample takes at the peak, apart from what all samples share."""
        if isinstance(self.place, Grid):
            return 8 * self.place.size * _ARRAYS
        direct = isinstance(method, Direct)
        if method is None or isinstance(method, Auto):  # which falls back on factors where CG may fail
            direct = not self.definite or self.on_mesh.space.pattern.width <= _NARROW
        return self.on_mesh.sample_bytes(self.matrices, factors=direct)

    def describe(self) -> dict[str, Any]:
        """Plain containers from which the family can be made again, as a configuration file names it."""
        return plain(self)

    def _own_fields(self, given: Mapping[str, Any], positive: Sequence[str] = ()) -> Inputs:
        """A user's own fields as inputs, checked, with one leading batch axis, in float64."""
        checked = {}
        for name, values in given.items():
            # Not torch for lists: it would round them to float32.
            tensor = as_real(name, values if isinstance(values, Tensor) else np.asarray(values))
            if tensor.dtype == torch.bool:
                raise InputError(f"{name} has the type {tensor.dtype}; expected real numbers.")
            shape = self.schema.shape_of(name)
            check_shape(name, tensor, shape)
            (check_positive if name in positive else check_finite)(name, tensor)
            tensor = tensor.unsqueeze(0) if tensor.ndim == len(shape) else tensor
            checked[name] = tensor.to(torch.float64)
        count = max(len(values) for values in checked.values())
        return Inputs(self.schema, {n: v.expand(count, *v.shape[1:]) if len(v) == 1 else v for n, v in checked.items()})


_NARROW = 75  # up to which Auto factors definite matrices too
_ARRAYS = 24
"""Grid-sized float64 arrays per sample at the peak: faces, their making, iterates, the samples themselves."""


def _certificate(solution: Solution) -> Certificate:
    count = max(len(solution.residual), 1)
    return Certificate(
        kind="residual",
        value=solution.residual,
        tolerance=solution.tolerance,
        iterations=solution.iterations,
        seconds=torch.full_like(solution.residual, (solution.setup_seconds + solution.solve_seconds) / count),
        method=solution.method,
        dtype="complex128" if torch.as_tensor(solution.x).is_complex() else "float64",
    )


def plain(value: Any) -> Any:
    """Numbers, words, lists and dictionaries that say what a value is."""
    if isinstance(value, RandomField):
        return value.describe()
    if isinstance(value, Family):
        return _described(value, type(value).__module__.rsplit(".", 1)[0])
    if isinstance(value, Mesh):
        return {"mesh": value.fingerprint}
    if isinstance(value, Shape | RandomShape):
        return _described(value, "pdekit.domain")
    if isinstance(value, Element):
        return _described(value, "pdekit.fem")
    if isinstance(value, Expression):
        return _described(value, "pdekit.core.expressions")
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, Grid | Boundary):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, complex):
        return str(value)
    if value is None or isinstance(value, int | float | str):
        return value
    return f"<{type(value).__name__}>"


def _described(value: Any, module: str) -> dict[str, Any]:
    arguments = {f.name: plain(getattr(value, f.name)) for f in fields(value)} if is_dataclass(value) else {}
    return {"class_path": f"{module}.{type(value).__name__}", "init_args": arguments}
