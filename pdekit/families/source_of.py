"""The source that makes a given field the solution."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from scipy.sparse.linalg import splu
from torch import Tensor
from torch.nn.functional import pad

from pdekit.core.errors import InputError
from pdekit.domain import Grid
from pdekit.families.base import Family
from pdekit.families.mesh_equations import matrix
from pdekit.fem import forms
from pdekit.samples import Inputs, Samples
from pdekit.solvers.operators.layout import Layout

__all__ = ["SourceOf"]

_CLOSE = 1e-4


@dataclass(frozen=True)
class SourceOf:
    """Undoes a linear family: from a solution to the values of ``source``, with the family's own discrete operator.

    On a grid an equation has the value of the source at its node, times the part of a cell that the node owns. On a
    mesh the right-hand side is the mass matrix times the values at the nodes, so that one system with the mass matrix
    is solved. Where u is prescribed no equation holds the source: there it gets the mean of its neighbours.

    Args:
        family: linear, with an input ``source``, on a grid or on a mesh with elements of first order.

    Raises:
        InputError: elements of second order, which have more equations than the source has values.
    """

    family: Family

    def __post_init__(self):
        element = getattr(self.family, "element", None)
        if not isinstance(self.family.place, Grid) and element is not None and element.degree != 1:
            raise InputError(
                f"The elements are {element}: there are more equations than values of the source at the nodes, and no "
                "source that makes every u a solution. Expected elements of first order."
            )

    def __call__(self, u: Float[Tensor, "batch *shape"], inputs: Inputs) -> Float[Tensor, "batch *shape"]:
        """The sources.

        Args:
            u: a batch of solutions with their boundary values.
            inputs: the other inputs of the family; its ``source`` is not looked at.
        """
        with torch.no_grad():
            if isinstance(self.family.place, Grid):
                return self._on_grid(u, inputs)
            # Assembling many at once rounds in another order than one: a sample must not depend on its batch.
            parts = [self._on_mesh(u[i : i + 1], inputs[i]) for i in range(len(inputs))]
        return torch.cat(parts) if parts else torch.zeros_like(inputs["source"])

    def check(self, samples: Samples) -> None:
        """Refuse a family in whose equations the source does not stand as expected.

        Args:
            samples: solved ones.
        """
        inputs = samples.inputs
        again = self(samples[self.family.output], inputs)
        expected = self.family.system(inputs).rhs
        found = self.family.system(_with(inputs, again)).rhs
        if float((found - expected).norm()) > _CLOSE * float(expected.norm()):
            raise InputError(
                f"The source of {type(self.family).__name__} does not stand alone in its equations, so that it "
                "cannot be computed from a solution; expected L u = source, as in Poisson or Darcy."
            )

    def _left(self, u: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        """What the source has to give to every equation, and the part of a cell that each has."""
        system = self.family.system(_with(inputs, torch.zeros_like(inputs["source"])))
        return system.operator.matvec(system.reduce(u)) - system.rhs, system.share

    def _on_grid(self, u: Tensor, inputs: Inputs) -> Tensor:
        left, share = self._left(u, inputs)
        layout = Layout(self.family._grid, self.family.conditions)
        inside = (left if share is None else left / share).reshape(len(left), 1, *layout.lattice)
        widths: list[int] = []
        for span, n in zip(layout.spans, layout.grid.shape, strict=True):
            widths = [span.start, n - span.stop, *widths]
        return pad(inside, widths, mode="replicate")[:, 0] if any(widths) else inside[:, 0]

    def _on_mesh(self, u: Tensor, inputs: Inputs) -> Tensor:
        left, _ = self._left(u, inputs)
        spread, factor = self._mass
        return torch.from_numpy(spread @ factor.solve(left[0].numpy()))[None]

    @cached_property
    def _mass(self):
        """From values at the free nodes to all nodes, and the factors of the mass matrix for the former."""
        space = self.family.on_mesh.space
        mass = scipy.sparse.csr_array(matrix(forms.mass, space).to_scipy())
        numbers = torch.arange(space.n_dofs, dtype=torch.float64)
        one = self.family.on_mesh.eliminated(matrix(forms.mass, space), torch.zeros(space.n_dofs, dtype=torch.float64))
        free = one.reduce(numbers).long().numpy()
        spread = _spread(mass, free)
        return spread, splu((mass[free] @ spread).tocsc())


def _with(inputs: Inputs, source: Tensor) -> Inputs:
    return replace(inputs, fields={**inputs.fields, "source": source})


def _spread(neighbours: scipy.sparse.csr_array, known: np.ndarray) -> scipy.sparse.csr_array:
    """Values at some nodes to all: the others get means of their neighbours, the nearest first."""
    n = len(neighbours.indptr) - 1
    linked = scipy.sparse.csr_array(abs(neighbours) > 0).astype(np.float64)
    places = known, np.arange(len(known))
    spread = scipy.sparse.coo_array((np.ones(len(known)), places), shape=(n, len(known))).tocsr()
    reached = np.zeros(n)
    reached[known] = 1
    while not reached.all():
        count = linked @ reached
        new = (reached == 0) & (count > 0)
        if not new.any():
            break
        mean = scipy.sparse.diags_array(np.where(new, 1 / np.maximum(count, 1), 0.0)) @ linked
        spread = (spread + mean @ spread).tocsr()
        reached[new] = 1
    return spread
