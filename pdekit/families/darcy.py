"""Flow through a random medium."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_finite, check_positive
from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary, Grid, Mesh
from pdekit.families.base import ArrayLike, Domain, Family
from pdekit.families.mesh_equations import matrix, vector
from pdekit.families.mesh_family import Positive
from pdekit.families.residual import Residual, diffusion_residual
from pdekit.fem import Element, cellwise, forms, nodal
from pdekit.fields import RandomField
from pdekit.samples import FieldSpec, Inputs, Schema
from pdekit.solvers import CSR, LinearSystem, diffusion
from pdekit.solvers.operators.diffusion import Mean

__all__ = ["Darcy"]


@dataclass(frozen=True)
class Darcy(Family):
    """Steady flow through a porous medium, or heat in one: -div(a grad u) = f on a box or a mesh, in 1 to 3 dimensions.

    The standard problem of operator learning: the permeability a(x) > 0 is random, the pressure u is wanted. On a grid
    vertex-centred finite volumes, second order for smooth a; on a mesh finite elements, all matrices of a batch on one
    pattern. Across jumps of a (a thresholded field) the solution converges with order 1 in the mean, since an interface
    lies anywhere in a cell.

    Boundary conditions: each side of a grid, or named boundary of a mesh, Dirichlet (u = 0 unless given), Neumann
    (du/dn = value, so that the flux out of the domain is -a value), Robin or, on grids, periodic (open axes). If
    nothing fixes u, only its gradient is determined and u gets the mean 0; the source must balance the fluxes, so a
    random source acts without its mean.

    Solutions: for f = 1 and u = 0 on the sides one smooth hill of height about 0.07 / a on the unit square, dented
    where a is large, with kinks where a jumps; u > 0 inside wherever f > 0. They change little under refinement.

    Args:
        domain: a grid, of usually 64 to 512 points a side; or a mesh or its recipe such as ``Disk(refinements=5)``.
        coefficient: the permeability, positive; a random field, or on a mesh an Expression such as
            ``Expression("where(x < 0.5, 1, 10)")``, evaluated at the quadrature points. Usual:
            ``Threshold(GaussianField(alpha=2, tau=3), low=3, high=12)``; a log-normal field of variance 0.1 to 4.
            Contrasts up to 1e4 are solved by the default method.
        source: f, a number or a field; with a field it is a second input, named ``source``.
        boundaries: conditions by name; ``all`` stands for the rest.
        mean: on a grid, of the coefficients of two neighbours: ``harmonic`` (the flux across a jump is right) or
            ``arithmetic``.
        element: on a mesh, by default P1 or Q1; P2 and Q2 give a solution at the nodes and then the midpoints.
        coefficient_at: on a mesh, ``nodes`` (a is continuous, linear in between) or ``cells`` (constant in each).

    Raises:
        InputError: a coefficient that is no random field, conditions or options that do not fit the domain.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.fields import GaussianField, Threshold
        >>> family = Darcy(Grid((33, 33)), Threshold(GaussianField(alpha=2, tau=3), low=3, high=12))
        >>> samples = family.solve(family.draw(range(4), seed=0), rtol=1e-8)
        >>> samples["solution"].shape, bool(samples.certificate.accepted.all())
        (torch.Size([4, 33, 33]), True)
        >>> from pdekit.domain import Annulus
        >>> from pdekit.fields import LogNormal
        >>> hot = Boundary("inner", "dirichlet", 1.0)
        >>> ring = Darcy(Annulus(), LogNormal(GaussianField(alpha=2, tau=3)), source=0.0, boundaries=[hot])
        >>> bool((ring.solve(ring.draw(range(2), seed=0), rtol=1e-8)["solution"] <= 1 + 1e-8).all())
        True

    Source:
        Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, "Fourier neural operator for parametric
        partial differential equations", ICLR 2021.
    """

    definite: ClassVar[bool] = True

    domain: Domain
    coefficient: RandomField | Expression
    source: float | RandomField = 1.0
    boundaries: Sequence[Boundary] = ()
    mean: Mean = "harmonic"
    element: Element | None = None
    coefficient_at: Literal["nodes", "cells"] = "nodes"

    def __post_init__(self):
        if isinstance(self.coefficient, Expression):
            self._check_expression()
        elif not isinstance(self.coefficient, RandomField):
            raise InputError(
                f"Darcy's coefficient is a {type(self.coefficient).__name__}; expected a random field such as "
                "LogNormal(GaussianField(alpha=2, tau=3)) or Constant(1.0). Fields of your own go to inputs_from()."
            )
        if not isinstance(self.source, RandomField | int | float):
            raise InputError(
                f"Darcy's source is a {type(self.source).__name__}; expected a number or a random field. Fields of "
                "your own go to inputs_from() of a family with a random source."
            )
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        self._check_domain(grids_only={"mean": "harmonic"}, meshes_only={"coefficient_at": "nodes"})

    def _check_expression(self) -> None:
        if isinstance(self.place, Grid):
            raise InputError(
                f"coefficient={self.coefficient} on a grid; an Expression is for meshes. Its values on a grid go to "
                "inputs_from()."
            )
        if not isinstance(self.source, RandomField):
            raise InputError(
                "Nothing of this Darcy is random; expected a random source, such as Constant(1.0), beside a "
                "coefficient that is an Expression."
            )

    @property
    def schema(self) -> Schema:
        """The random ones among ``coefficient`` and ``source``; output ``solution``."""
        cells = (self.place.n_cells,) if isinstance(self.place, Mesh) and self.coefficient_at == "cells" else None
        specs, scheme = [], f"{self.mean} face means" if isinstance(self.place, Grid) else self.on_mesh.space.element
        if isinstance(self.coefficient, RandomField):
            specs.append(FieldSpec("coefficient", "input", description="permeability a > 0", shape=cells))
        if isinstance(self.source, RandomField):
            specs.append(FieldSpec("source", "input", description="right-hand side f"))
        source = "f" if isinstance(self.source, RandomField) else f"{self.source:g}"
        law = f", a = {self.coefficient}" if isinstance(self.coefficient, Expression) else ""
        equation = f"-div(a grad u) = {source}{law}, {scheme}"
        specs.append(FieldSpec("solution", "output", description="pressure u", shape=self._solution_shape()))
        return Schema(self.place, tuple(specs), self.conditions, equation)

    def random_fields(self) -> Mapping[str, RandomField]:
        """The fields behind those of ``coefficient`` and ``source`` that are random."""
        data = {"coefficient": self.coefficient, "source": self.source}
        return {name: value for name, value in data.items() if isinstance(value, RandomField)}

    def inputs_from(self, coefficient: ArrayLike | None = None, source: ArrayLike | None = None) -> Inputs:
        """Inputs of the user's own.

        Args:
            coefficient: ``(*domain.shape)`` or ``(batch, *domain.shape)``, positive; or by cells. None where the
                family's is an Expression.
            source: likewise, for a family whose source is a random field.

        Raises:
            InputError: NaN, infinite, zero or negative entries with the index of the first; another shape; a source
                where the family has a number, or none where it has a field.

        Example:
            >>> from pdekit.domain import Grid
            >>> from pdekit.fields import Constant
            >>> len(Darcy(Grid((5, 5)), Constant(1.0)).inputs_from(np.ones((5, 5))))
            1
        """
        given = {} if coefficient is None else {"coefficient": coefficient}
        if (coefficient is None) != isinstance(self.coefficient, Expression):
            expected = "no coefficient=, it is an Expression" if given else "coefficient="
            raise InputError(f"The coefficient of this family is {self.coefficient}; expected {expected}.")
        if isinstance(self.source, RandomField):
            if source is None:
                raise InputError("This family has a random source; expected source= beside the coefficient.")
            given["source"] = source
        elif source is not None:
            raise InputError(
                f"This family has the source {self.source}; a source= of your own needs a family with a random source, "
                "such as Darcy(..., source=Constant(1.0))."
            )
        return self._own_fields(given, positive=("coefficient",))

    def equations(self, inputs: Inputs) -> LinearSystem:
        """The equations of a batch."""
        if isinstance(self.place, Mesh):
            system = self.on_mesh.system(*self._assembled(inputs))
            return system.balanced() if isinstance(self.source, RandomField) else system
        if isinstance(self.source, RandomField):
            a, f = inputs["coefficient"], inputs["source"]
            return diffusion(self._grid, a, f, self.boundaries, mean=self.mean).balanced()
        return diffusion(self._grid, inputs["coefficient"], self.source, self.boundaries, mean=self.mean)

    def residual(self, u: Float[Tensor, "..."], inputs: Inputs) -> Residual:
        """What u leaves of -div(a grad u) = f and of the boundary conditions."""
        f = inputs["source"] if isinstance(self.source, RandomField) else self.source
        random = isinstance(self.source, RandomField)
        if inputs.meshes is not None:
            return self._residual_of_each(u, inputs)
        if isinstance(self.place, Mesh):
            return self.on_mesh.residual(u, *self._assembled(inputs), balance=random)
        return diffusion_residual(self._grid, u, inputs["coefficient"], f, self.boundaries, self.mean, balance=random)

    def _assembled(self, inputs: Inputs) -> tuple[CSR, Float[Tensor, "... dofs"]]:
        space = self.on_mesh.space
        if isinstance(self.coefficient, Expression):
            a: Any = Positive("coefficient", self.coefficient)
        else:
            check_positive("coefficient", inputs["coefficient"])
            a = (cellwise if self.coefficient_at == "cells" else nodal)(inputs["coefficient"])
        f: Any = float(self.source) if not isinstance(self.source, RandomField) else nodal(inputs["source"])
        check_finite("source", torch.as_tensor(self.source if isinstance(f, float) else inputs["source"]))
        A, b = matrix(forms.diffusion, space, k=a), vector(forms.load, space, f=f)
        return self.on_mesh.with_boundary_terms(A, b, flux=a)
