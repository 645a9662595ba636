"""Flow through a random medium."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.domain import Boundary
from pdekit.families.base import ArrayLike, Domain, Family
from pdekit.families.conditions import conditions
from pdekit.families.residual import Residual, diffusion_residual
from pdekit.fields import RandomField
from pdekit.samples import FieldSpec, Inputs, Schema
from pdekit.solvers import LinearSystem, diffusion
from pdekit.solvers.operators.diffusion import Mean

__all__ = ["Darcy"]


@dataclass(frozen=True)
class Darcy(Family):
    """Steady flow through a porous medium, or heat in one: -div(a grad u) = f on a box, in 1 to 3 dimensions.

    The standard problem of operator learning: the permeability a(x) > 0 is random, the pressure u is wanted. Vertex-
    centred finite volumes, second order for smooth a; across jumps of a (a thresholded field) the solution converges
    with order 1 in the mean, since an interface lies anywhere in a cell.

    Boundary conditions: each side Dirichlet (u = 0 unless given), Neumann (du/dn = value, so that the flux out of the
    domain is -a value), Robin or periodic (open axes). If no side fixes u, only its gradient is determined and u gets
    the mean 0; the source must balance the fluxes, so a random source acts without its mean.

    Solutions: for f = 1 and u = 0 on the sides one smooth hill of height about 0.07 / a on the unit square, dented
    where a is large, with kinks where a jumps; u > 0 inside wherever f > 0. They change little under refinement.

    Args:
        domain: stored points; 64 to 512 a side is usual.
        coefficient: the permeability, positive. Usual: ``Threshold(GaussianField(alpha=2, tau=3), low=3, high=12)``; a
            log-normal field of variance 0.1 to 4. Contrasts up to 1e4 are solved by the default method.
        source: f, a number or a field; with a field it is a second input, named ``source``.
        boundaries: conditions by side.
        mean: of the coefficients of two neighbours, ``harmonic`` (the flux across a jump is right) or ``arithmetic``.

    Raises:
        InputError: a coefficient that is no random field, conditions that do not fit the grid.

    Example:
        >>> from pdekit.fields import GaussianField, Threshold
        >>> family = Darcy(Grid((33, 33)), Threshold(GaussianField(alpha=2, tau=3), low=3, high=12))
        >>> samples = family.solve(family.draw(range(4), seed=0), rtol=1e-8)
        >>> samples["solution"].shape, bool(samples.certificate.accepted.all())
        (torch.Size([4, 33, 33]), True)

    Source:
        Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, "Fourier neural operator for parametric
        partial differential equations", ICLR 2021.
    """

    domain: Domain
    coefficient: RandomField
    source: float | RandomField = 1.0
    boundaries: Sequence[Boundary] = ()
    mean: Mean = "harmonic"

    def __post_init__(self):
        if not isinstance(self.coefficient, RandomField):
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
        conditions(self.place, self.boundaries)

    @property
    def schema(self) -> Schema:
        """Inputs ``coefficient`` and, if it is random, ``source``; output ``solution``."""
        specs = [FieldSpec("coefficient", "input", description="permeability a > 0")]
        if isinstance(self.source, RandomField):
            specs.append(FieldSpec("source", "input", description="right-hand side f"))
        source = "f" if isinstance(self.source, RandomField) else f"{self.source:g}"
        equation = f"-div(a grad u) = {source}, {self.mean} face means"
        specs.append(FieldSpec("solution", "output", description="pressure u"))
        return Schema(self.place, tuple(specs), conditions(self.place, self.boundaries), equation)

    def random_fields(self) -> Mapping[str, RandomField]:
        """The fields behind ``coefficient`` and, if it is random, ``source``."""
        drawn = {"coefficient": self.coefficient}
        if isinstance(self.source, RandomField):
            drawn["source"] = self.source
        return drawn

    def inputs_from(self, coefficient: ArrayLike, source: ArrayLike | None = None) -> Inputs:
        """Inputs of the user's own.

        Args:
            coefficient: ``(*grid.shape)`` or ``(batch, *grid.shape)``, positive.
            source: likewise, for a family whose source is a random field.

        Raises:
            InputError: NaN, infinite, zero or negative entries with the index of the first; another shape; a source
                where the family has a number, or none where it has a field.

        Example:
            >>> from pdekit.fields import Constant
            >>> len(Darcy(Grid((5, 5)), Constant(1.0)).inputs_from(np.ones((5, 5))))
            1
        """
        given = {"coefficient": coefficient}
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
        """The finite-volume equations of a batch."""
        if isinstance(self.source, RandomField):
            a, f = inputs["coefficient"], inputs["source"]
            return diffusion(self.place, a, f, self.boundaries, mean=self.mean).balanced()
        return diffusion(self.place, inputs["coefficient"], self.source, self.boundaries, mean=self.mean)

    def residual(self, u: Float[Tensor, "..."], inputs: Inputs) -> Residual:
        """What u leaves of -div(a grad u) = f and of the boundary conditions."""
        a = inputs["coefficient"]
        if isinstance(self.source, RandomField):
            return diffusion_residual(self.place, u, a, inputs["source"], self.boundaries, self.mean, balance=True)
        return diffusion_residual(self.place, u, a, self.source, self.boundaries, self.mean)
