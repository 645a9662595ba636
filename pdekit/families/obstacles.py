"""Potentials and pressures around obstacles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import scipy.ndimage
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain import Boundary, Grid
from pdekit.families.base import ArrayLike, Family
from pdekit.families.residual import Residual, diffusion_residual
from pdekit.fields import Inclusions, RandomField
from pdekit.samples import FieldSpec, Inputs, Schema
from pdekit.solvers import LinearSystem, Stencil, diffusion
from pdekit.solvers.operators.diffusion import FieldLike, Mean
from pdekit.solvers.operators.layout import Layout

__all__ = ["Obstacles"]


@dataclass(frozen=True)
class Obstacles(Family):
    """Flow around obstacles: -div(a grad u) = f on a box, a du/dn = 0 on obstacles, other ones in every sample.

    The pressure equation of an incompressible flow between solids, heat between insulators, current around holes. A
    node is in the fluid where the field ``fluid`` is at least 1/2. Finite volumes as of :class:`Darcy`, with no flux
    between a node in the fluid and one in a solid, so that surfaces are staircases half way between the two.

    Boundary conditions: each side of the grid Dirichlet (u = 0 unless given), Neumann or Robin, but not all Neumann.
    In solids u = 0, and so it is in fluid that they cut off from every Dirichlet or Robin side, where the equation does
    not fix it. These nodes stay among the unknowns, coupled to nothing.

    Solutions: for f = 1 and u = 0 on the sides one hill, flat towards obstacles and higher behind them than without;
    conjugate gradients take about as many iterations as without obstacles, coarse grids miss narrow gaps.

    Args:
        domain: a grid with closed axes, of 2 or 3 dimensions.
        fluid: 1 in the fluid, 0 in solids; :class:`Inclusions`, or a :class:`Threshold` of another field.
        coefficient: a > 0, a number or a field; with a field it is an input, named ``coefficient``.
        source: f, a number or a field; with a field it is an input, named ``source``.
        boundaries: conditions by name; ``all`` stands for the rest.
        mean: of the coefficients of two neighbours: ``harmonic`` or ``arithmetic``.

    Raises:
        InputError: a domain that is no closed grid, data that are no random fields, sides that are all Neumann.

    Example:
        >>> family = Obstacles(Grid((33, 33)))
        >>> samples = family.solve(family.draw(range(4), seed=0), rtol=1e-8)
        >>> bool((samples["solution"][samples["fluid"] < 0.5] == 0).all()), bool(samples.certificate.accepted.all())
        (True, True)

    Source:
        The problems of Kaneda et al., "A deep conjugate direction method", ICML 2023, and Lan et al., "A
        neural-preconditioned Poisson solver", ICML 2024.
    """

    definite: ClassVar[bool] = True

    domain: Grid
    fluid: RandomField = Inclusions()  # noqa: RUF009 - immutable
    coefficient: float | RandomField = 1.0
    source: float | RandomField = 1.0
    boundaries: Sequence[Boundary] = ()
    mean: Mean = "harmonic"

    def __post_init__(self):
        if not isinstance(self.domain, Grid) or not all(self.domain.closed_axes):
            raise InputError(
                f"Obstacles lives on {self.domain}; expected a Grid with closed axes. Around obstacles of other shapes "
                "Poisson takes a mesh."
            )
        if not isinstance(self.fluid, RandomField):
            raise InputError(f"Obstacles has fluid={self.fluid!r}; expected a random field such as Inclusions().")
        for name in ("coefficient", "source"):
            if not isinstance(value := getattr(self, name), RandomField | int | float):
                raise InputError(
                    f"The {name} of Obstacles is a {type(value).__name__}; expected a number or a random field. Fields "
                    "of your own go to inputs_from() of a family with a random one."
                )
        if not isinstance(self.coefficient, RandomField) and not 0 < self.coefficient < float("inf"):
            raise InputError(f"The coefficient of Obstacles is {self.coefficient}; expected a positive number.")
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        self._check_domain()
        if all(side.kind == "neumann" for side in self.conditions):
            raise InputError("All sides are Neumann, so that nothing fixes u; expected a Dirichlet or Robin side.")

    @property
    def schema(self) -> Schema:
        """Inputs ``fluid`` and the random ones among ``coefficient`` and ``source``; output ``solution``."""
        descriptions = {
            "fluid": "1 in the fluid, 0 in solids",
            "coefficient": "coefficient a > 0",
            "source": "right-hand side f",
        }
        specs = [FieldSpec(name, "input", description=descriptions[name]) for name in self.random_fields()]
        a, f = (
            letter if isinstance(value, RandomField) else f"{value:g}"
            for letter, value in (("a", self.coefficient), ("f", self.source))
        )
        equation = f"-div({a} grad u) = {f} around obstacles, {self.mean} face means"
        solution = FieldSpec("solution", "output", description="potential u, 0 in solids")
        return Schema(self.domain, (*specs, solution), self.conditions, equation)

    def random_fields(self) -> Mapping[str, RandomField]:
        """The fields behind ``fluid`` and those of ``coefficient`` and ``source`` that are random."""
        data: dict[str, Any] = {"fluid": self.fluid, "coefficient": self.coefficient, "source": self.source}
        return {name: value for name, value in data.items() if isinstance(value, RandomField)}

    def inputs_from(
        self, fluid: ArrayLike, coefficient: ArrayLike | None = None, source: ArrayLike | None = None
    ) -> Inputs:
        """Inputs of the user's own.

        Args:
            fluid: ``(*domain.shape)`` or ``(batch, *domain.shape)``, 1 in the fluid and 0 in solids.
            coefficient: likewise, positive, for a family whose coefficient is a random field.
            source: likewise, for a family whose source is a random field.

        Raises:
            InputError: NaN, infinite, zero or negative entries with the index of the first; another shape; a field
                where the family has a number, or none where it has a field.

        Example:
            >>> len(Obstacles(Grid((5, 5))).inputs_from(np.ones((5, 5))))
            1
        """
        given = {"fluid": fluid, "coefficient": coefficient, "source": source}
        given = {name: values for name, values in given.items() if values is not None}
        if given.keys() != self.random_fields().keys():
            raise InputError(
                f"Given were the fields {', '.join(given)}; the inputs of this family are "
                f"{', '.join(self.random_fields())}."
            )
        return self._own_fields(given, positive=("coefficient",))

    def equations(self, inputs: Inputs) -> LinearSystem:
        """The equations of a batch."""
        return _around(inputs["fluid"], *self._bound(inputs), mean=self.mean)

    def residual(self, u: Float[Tensor, "..."], inputs: Inputs) -> Residual:
        """What u leaves of the equation in the fluid, of u = 0 in solids, and of the boundary conditions."""
        grid, a, f, boundaries = self._bound(inputs)
        equations = partial(_around, inputs["fluid"])
        return diffusion_residual(grid, u, a, f, boundaries, self.mean, equations=equations)

    def _bound(self, inputs: Inputs) -> tuple[Grid, FieldLike, FieldLike, Sequence[Boundary]]:
        a, f = (
            inputs[name] if isinstance(value, RandomField) else value
            for name, value in (("coefficient", self.coefficient), ("source", self.source))
        )
        return self.domain, a, f, self.boundaries


def _around(
    fluid: Float[Tensor, "batch *shape"],
    grid: Grid,
    coefficient: FieldLike,
    source: FieldLike,
    boundaries: Sequence[Boundary],
    *,
    mean: Mean,
) -> LinearSystem:
    """The equations without obstacles, with no flux into solids and u = 0 there."""
    system = diffusion(grid, coefficient, source, boundaries, mean=mean)
    free = system.operator
    assert isinstance(free, Stencil)
    dim = grid.dim
    open_ = _grounded_fluid(Layout(grid, boundaries).restrict(fluid) >= 0.5, free)
    faces = []
    for k, face in enumerate(free.faces):
        axis, n = k - dim, free.lattice[k]
        between = open_.narrow(axis, 0, n - 1) & open_.narrow(axis, 1, n - 1)
        ends = (open_.narrow(axis, 0, 1), between, open_.narrow(axis, n - 1, 1))
        faces.append(face * torch.cat(ends, axis))
    alone = system.rhs.new_tensor(sum(2.0 / h**2 for h in grid.spacing))
    sink = torch.where(open_, torch.zeros_like(alone) if free.sink is None else free.sink, alone)
    operator = Stencil(
        [face.expand(*sink.shape[:-dim], *face.shape[-dim:]) for face in faces], sink, geometry=grid, grounded=True
    )
    rhs = torch.where(open_.flatten(-dim), system.rhs, 0.0)
    return replace(system, operator=operator, rhs=rhs)


def _grounded_fluid(fluid: Bool[Tensor, "batch *lattice"], A: Stencil) -> Bool[Tensor, "batch *lattice"]:
    """The fluid without what solids cut off from the ground."""
    dim = len(A.lattice)
    ground = torch.zeros(A.lattice, dtype=torch.bool, device=A.device)
    if A.sink is not None:
        ground |= (A.sink > 0).reshape(-1, *A.lattice).any(0)
    for k, face in enumerate(A.faces):
        for end in (0, -1):
            walls = (face.select(k - dim, end) > 0).reshape(-1, *(n for j, n in enumerate(A.lattice) if j != k))
            ground.select(k, end).logical_or_(walls.any(0))
    places = ground.cpu().numpy()
    reached = []
    for one in fluid.cpu().numpy():
        labelled: Any = scipy.ndimage.label(one)
        parts = labelled[0]
        reached.append(one & np.isin(parts, np.unique(parts[places & one])))
    return torch.from_numpy(np.stack(reached) if reached else fluid.cpu().numpy()).to(fluid.device)
