"""The potential of a random source."""

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

__all__ = ["Poisson"]


@dataclass(frozen=True)
class Poisson(Family):
    """Potential of a random source: -Laplace u = f on a box, in 1 to 3 dimensions.

    Linear in f, with constant coefficients, so that sine, cosine and Fourier transforms solve it in one shot; second
    order in the spacing.

    Boundary conditions: each side Dirichlet (u = 0 unless given), Neumann (du/dn = value), Robin or periodic (open
    axes). If no side fixes u, a solution exists only where the source balances the fluxes, so f acts without its mean
    over the domain (by the grid's quadrature; the field ``source`` is kept as drawn), and u gets the mean 0.

    Solutions: u is smoother than f by two derivatives: waves of wave number k come back damped by 1/k^2, so that the
    longest waves dominate whatever the source.

    Args:
        domain: stored points.
        source: f, usually ``GaussianField(alpha, tau)``.
        boundaries: conditions by side.

    Raises:
        InputError: a source that is no random field, conditions that do not fit the grid.

    Example:
        >>> from pdekit.fields import GaussianField
        >>> family = Poisson(Grid((33, 33)), GaussianField(alpha=2, tau=3))
        >>> samples = family.solve(family.draw(range(2), seed=0), rtol=1e-10)
        >>> samples.certificate.method
        'Spectral, sine transforms'
    """

    domain: Domain
    source: RandomField
    boundaries: Sequence[Boundary] = ()

    def __post_init__(self):
        if not isinstance(self.source, RandomField):
            raise InputError(
                f"Poisson's source is a {type(self.source).__name__}; expected a random field such as "
                "GaussianField(alpha=2, tau=3) or Constant(1.0). Fields of your own go to inputs_from()."
            )
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        conditions(self.place, self.boundaries)

    @property
    def schema(self) -> Schema:
        """Input ``source``, output ``solution``."""
        specs = (
            FieldSpec("source", "input", description="right-hand side f"),
            FieldSpec("solution", "output", description="potential u"),
        )
        return Schema(self.place, specs, conditions(self.place, self.boundaries), "-Laplace u = f")

    def random_fields(self) -> Mapping[str, RandomField]:
        """The field behind ``source``."""
        return {"source": self.source}

    def inputs_from(self, source: ArrayLike) -> Inputs:
        """Inputs of the user's own.

        Args:
            source: ``(*grid.shape)`` or ``(batch, *grid.shape)``.

        Raises:
            InputError: NaN or infinite entries with the index of the first; another shape.
        """
        return self._own_fields({"source": source})

    def equations(self, inputs: Inputs) -> LinearSystem:
        """The finite-volume equations of a batch: one matrix, a right-hand side a sample."""
        return diffusion(self.place, 1.0, inputs["source"], self.boundaries).balanced()

    def residual(self, u: Float[Tensor, "..."], inputs: Inputs) -> Residual:
        """What u leaves of -Laplace u = f and of the boundary conditions."""
        return diffusion_residual(self.place, u, 1.0, inputs["source"], self.boundaries, balance=True)
