"""The potential of a random source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_finite
from pdekit.core.errors import InputError
from pdekit.domain import Boundary, Mesh
from pdekit.families.base import ArrayLike, Domain, Family
from pdekit.families.mesh_equations import matrix, vector
from pdekit.families.residual import Residual, diffusion_residual
from pdekit.fem import Element, forms, nodal
from pdekit.fields import RandomField
from pdekit.samples import FieldSpec, Inputs, Schema
from pdekit.solvers import CSR, LinearSystem, diffusion

__all__ = ["Poisson"]


@dataclass(frozen=True)
class Poisson(Family):
    """Potential of a random source: -Laplace u = f on a box or a mesh, in 1 to 3 dimensions.

    Linear in f, with constant coefficients. On a grid sine, cosine and Fourier transforms solve it in one shot; on a
    mesh one matrix serves all samples. Second order in the spacing, third with elements of second order.

    Boundary conditions: each side of a grid, or named boundary of a mesh, Dirichlet (u = 0 unless given), Neumann
    (du/dn = value), Robin or, on grids, periodic (open axes). If nothing fixes u, a solution exists only where the
    source balances the fluxes, so f acts without its mean over the domain (the field ``source`` is kept as drawn), and
    u gets the mean 0.

    Solutions: u is smoother than f by two derivatives: waves of wave number k come back damped by 1/k^2, so that the
    longest waves dominate whatever the source.

    Args:
        domain: a grid; or a mesh or its recipe such as ``Disk(refinements=5)``.
        source: f, usually ``GaussianField(alpha, tau)``.
        boundaries: conditions by name; ``all`` stands for the rest.
        element: on a mesh, by default P1 or Q1; P2 and Q2 give a solution at the nodes and then the midpoints.

    Raises:
        InputError: a source that is no random field, conditions or an element that do not fit the domain.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.fields import GaussianField
        >>> family = Poisson(Grid((33, 33)), GaussianField(alpha=2, tau=3))
        >>> samples = family.solve(family.draw(range(2), seed=0), rtol=1e-10)
        >>> samples.certificate.method
        'Spectral, sine transforms'
        >>> from pdekit.domain import Disk
        >>> on_disk = Poisson(Disk(refinements=3), GaussianField(alpha=2, tau=3), [Boundary("boundary", "neumann")])
        >>> on_disk.solve(on_disk.draw(range(2), seed=0), rtol=1e-10)["solution"].shape
        torch.Size([2, 145])
    """

    definite: ClassVar[bool] = True
    matrices: ClassVar[int] = 0  # one for all samples

    domain: Domain
    source: RandomField
    boundaries: Sequence[Boundary] = ()
    element: Element | None = None

    def __post_init__(self):
        if not isinstance(self.source, RandomField):
            raise InputError(
                f"Poisson's source is a {type(self.source).__name__}; expected a random field such as "
                "GaussianField(alpha=2, tau=3) or Constant(1.0). Fields of your own go to inputs_from()."
            )
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        self._check_domain()

    @property
    def schema(self) -> Schema:
        """Input ``source``, output ``solution``."""
        specs = (
            FieldSpec("source", "input", description="right-hand side f"),
            FieldSpec("solution", "output", description="potential u", shape=self._solution_shape()),
        )
        return Schema(self.place, specs, self.conditions, "-Laplace u = f")

    def random_fields(self) -> Mapping[str, RandomField]:
        """The field behind ``source``."""
        return {"source": self.source}

    def inputs_from(self, source: ArrayLike) -> Inputs:
        """Inputs of the user's own.

        Args:
            source: ``(*domain.shape)`` or ``(batch, *domain.shape)``.

        Raises:
            InputError: NaN or infinite entries with the index of the first; another shape.
        """
        return self._own_fields({"source": source})

    def equations(self, inputs: Inputs) -> LinearSystem:
        """The equations of a batch: one matrix, a right-hand side a sample."""
        if isinstance(self.place, Mesh):
            return self.on_mesh.system(*self._assembled(inputs)).balanced()
        return diffusion(self._grid, 1.0, inputs["source"], self.boundaries).balanced()

    def residual(self, u: Float[Tensor, "..."], inputs: Inputs) -> Residual:
        """What u leaves of -Laplace u = f and of the boundary conditions."""
        if inputs.meshes is not None:
            return self._residual_of_each(u, inputs)
        if isinstance(self.place, Mesh):
            return self.on_mesh.residual(u, *self._assembled(inputs), balance=True)
        return diffusion_residual(self._grid, u, 1.0, inputs["source"], self.boundaries, balance=True)

    def _assembled(self, inputs: Inputs) -> tuple[CSR, Float[Tensor, "... dofs"]]:
        space = self.on_mesh.space
        check_finite("source", inputs["source"])
        A = matrix(forms.diffusion, space, k=1.0)
        return self.on_mesh.with_boundary_terms(A, vector(forms.load, space, f=nodal(inputs["source"])))
