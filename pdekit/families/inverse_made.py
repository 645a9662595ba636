"""Samples made the other way round: the solution is drawn, the source computed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_limit, check_number
from pdekit.core.errors import InputError
from pdekit.core.random import Keys, normal
from pdekit.domain import Grid, RandomShape
from pdekit.families.base import Family, plain
from pdekit.families.poisson import Poisson
from pdekit.families.source_law import Shift, energies
from pdekit.families.source_of import SourceOf
from pdekit.fields import Constant, GaussianField, RandomField
from pdekit.samples import Inputs, Samples, Schema, Source
from pdekit.solvers import Auto, LinearOperator, Method, Outcome, Prepared, Reason

__all__ = ["InverseMade"]

_BASIS = "inverse-made basis"
"""The split whose samples are solved."""
_RTOL = 1e-10


@dataclass(frozen=True)
class InverseMade(Source):
    """Training samples of a linear family without solving: u is drawn near earlier solutions, f = L u computed.

    For every seed a few samples of the family are solved. A sample then is ``u = sum alpha_j u_j + noise`` with random
    weights that sum to 1 (so that inhomogeneous boundary values stay as they are) and a random field times a mask that
    vanishes at the boundary, and its source is what the family's own discrete operator, with the sample's own
    coefficients, makes of u: exact to rounding, for the price of a product with the matrix.

    **The law of f shifts.** f is not drawn from the family's source any more: it is rougher by what the operator makes
    of the noise, depends on the other inputs, and through them on coefficients of the solved samples (where those are
    random). :meth:`shift` measures it. Therefore the splits ``validation`` and ``test`` are the family's own, drawn
    and solved: errors are measured under the law that was asked for. It only makes sense where f is an input of the map
    that is learned.

    The published weights ``mu_j / sum mu`` have no finite variance, since the sum may be almost 0. These are ``1/m +
    (mu_j - mean mu) / sqrt(m)``, which sum to 1 too and keep the energy of the solutions.

    On Dirichlet nodes, where no equation holds f, it has the mean of its neighbours inside.

    Args:
        family: linear and real, on a grid or one mesh (elements of first order), with a random field as ``source``.
        solutions: how many samples are solved for each seed, m.
        noise: the field behind the noise; its second derivatives are part of f, so they should be square integrable. By
            default ``GaussianField(alpha=4, tau=3)``, periodic on a grid with an open axis.
        noise_size: root mean square of the noise over that of the solutions about their mean.

    Raises:
        InputError: a family without a random source, or one whose source cannot be computed; sizes out of range.

    Example:
        >>> from pdekit.families import Poisson
        >>> made = InverseMade(Poisson(Grid((33, 33)), GaussianField(alpha=2, tau=3)), solutions=8)
        >>> samples = made.solve(made.draw(range(4), seed=0), rtol=1e-12)
        >>> samples.certificate.method, int(samples.certificate.iterations.max())
        ('drawn, its source computed', 0)
        >>> made.solve(made.draw(range(4), seed=0, split="test"), rtol=1e-12).certificate.method
        'Spectral, sine transforms'

    Source:
        Dong et al., "Accelerating PDE data generation via differential operator action in solution space", ICML 2024.
    """

    family: Family
    solutions: int = 30
    noise: RandomField | None = None
    noise_size: float = 0.1

    def __post_init__(self):
        name = type(self.family).__name__
        if not isinstance(self.family, Family):
            raise InputError(f"family is a {name}; expected a family such as Poisson(grid, GaussianField(2, 3)).")
        check_limit("InverseMade", "solutions", self.solutions)
        check_number("InverseMade", "noise_size", self.noise_size)
        if not isinstance(self.noise, RandomField | None):
            raise InputError(f"noise={self.noise!r}; expected a random field such as GaussianField(2, 3), or None.")
        if not 0 <= self.noise_size < float("inf"):
            raise InputError(f"noise_size={self.noise_size}; expected a number that is not negative.")
        if not isinstance(self.family.random_fields().get("source"), RandomField):
            given = ", ".join(self.family.random_fields())
            raise InputError(
                f"The random inputs of {name} are {given}; InverseMade computes the source, so it has to be an input: "
                "expected a family with a random field as its source."
            )
        if not self.family.linear:
            raise InputError(f"{name} is not linear; expected a linear family, such as Poisson or Darcy.")
        if isinstance(self.family.place, RandomShape):
            raise InputError(
                f"Every sample of this {name} has its own mesh, and solutions on different meshes do not add up; "
                "expected a family on a grid or on one mesh."
            )
        if self.schema.field(self.family.output).complex:
            raise InputError(
                f"The solutions of this {name} are complex, and a source that is real does not follow from them; "
                "expected a family without impedance boundaries."
            )
        self._source_of  # noqa: B018 - refuses elements of second order

    @property
    def schema(self) -> Schema:
        """The family's."""
        return self.family.schema

    def draw(self, indices: Sequence[int], *, seed: int, split: str = "train", attempt: int = 0) -> Inputs:
        """Inputs of the samples with these numbers; the source is computed, but in ``validation`` and ``test``.

        Args:
            indices: sample numbers, not negative.
            seed: of the whole experiment.
            split: ``train``, ``validation``, ``test`` or any other word: its own stream of samples.
            attempt: 0, or the number of the redraw.

        Returns:
            float64 fields. What is random are bit-exact functions of (seed, split, index, attempt); the source is one
            on a machine, since it goes through solutions.

        Raises:
            InputError: a negative or fractional index, a seed out of range.
        """
        inputs = self.family.draw(indices, seed=seed, split=split, attempt=attempt)
        if split in ("validation", "test"):
            return inputs
        return replace(inputs, fields={**inputs.fields, "source": self._source_of(self._drawn(inputs), inputs)})

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
        """The solutions that the inputs were made of, certified by their true residual; what was not made is solved.

        Args:
            inputs: a batch drawn here, or any other of the family.
            rtol: relative tolerance on ``||b - A x||_2``, recomputed in float64 from the solution.
            method: for samples that were not made here, or where rounding misses ``rtol``; None means :class:`Auto`.
            guess: for samples that were not made here.
            memory: as the family takes it.
            throw: raise where a sample misses the tolerance, instead of returning it not accepted.

        Raises:
            InputError: a field that the equations refuse, with the index of the culprit; a budget that is none.
            NotConverged: a sample missed the tolerance and ``throw`` is set.
        """
        if inputs.identity is None or inputs.identity.split in ("validation", "test"):
            return self.family.solve(inputs, rtol=rtol, method=method, guess=guess, memory=memory, throw=throw)
        known = Samples(self.schema, {**inputs.fields, self.family.output: self._drawn(inputs)}, inputs.identity)
        how = _AsDrawn(method or Auto())
        return self.family.solve(inputs, rtol=rtol, method=how, guess=known, memory=memory, throw=throw)

    def describe(self) -> dict[str, Any]:
        """Plain containers from which the source can be made again."""
        arguments = {
            "family": self.family.describe(),
            "solutions": self.solutions,
            "noise": plain(self._noise),
            "noise_size": self.noise_size,
        }
        return {"class_path": "pdekit.families.InverseMade", "init_args": arguments}

    def shift(self, inputs: Inputs) -> Shift:
        """How far the sources of a batch are from those that the family draws with the same numbers.

        Args:
            inputs: a batch drawn here.

        Raises:
            InputError: fields that were not drawn.

        Example:
            >>> from pdekit.families import Poisson
            >>> made = InverseMade(Poisson(Grid((33, 33)), GaussianField(alpha=2, tau=3)), noise_size=0.0)
            >>> shift = made.shift(made.draw(range(64), seed=0))
            >>> 0.7 < float(shift.made.sum() / shift.drawn.sum()) < 1.4  # without noise and coefficients: the same law
            True
        """
        who = inputs.identity if isinstance(inputs, Inputs) else None
        if who is None:
            raise InputError("These inputs were not drawn; expected what InverseMade.draw returns.")
        own = self.family.draw(who.indices.tolist(), seed=who.seed, split=who.split, attempt=who.attempt)
        place = self.family.place
        assert not isinstance(place, RandomShape)
        return Shift(*energies(place, inputs["source"]), energies(place, own["source"])[1])

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # not what was solved, nor factors

    @cached_property
    def _source_of(self) -> SourceOf:
        return SourceOf(self.family)

    @cached_property
    def _solved(self) -> dict[int, tuple[Tensor, float]]:
        return {}

    def _basis(self, seed: int) -> tuple[Float[Tensor, "solutions *shape"], float]:
        """Solutions of the family, and the factor of the noise."""
        if seed not in self._solved:
            numbers = range(self.solutions)
            samples = self.family.solve(self.family.draw(numbers, seed=seed, split=_BASIS), rtol=_RTOL)
            self._source_of.check(samples)
            u, noise = samples[self.family.output], self._masked(Keys(seed, _BASIS, numbers))
            own, size = (float(field.square().mean().sqrt()) for field in (u - u.mean(0), noise))
            factor = self.noise_size * own / size if size > 0 else 0.0
            self._solved[seed] = u, factor
        return self._solved[seed]

    @cached_property
    def _noise(self) -> RandomField:
        place = self.family.place
        periodic = isinstance(place, Grid) and not all(place.closed_axes)
        return self.noise or GaussianField(alpha=4, tau=3, boundary="periodic" if periodic else "neumann")

    @cached_property
    def _mask(self) -> Float[Tensor, "*shape"]:
        """Between 0 and 1, and 0 where u is prescribed; where its flux is, the normal derivative vanishes as well."""
        place = self.family.place
        assert not isinstance(place, RandomShape)
        if isinstance(place, Grid) and not any(place.closed_axes):
            return torch.ones(place.shape, dtype=torch.float64)
        hill = Poisson(place, Constant(1.0))
        u = hill.solve(hill.draw([0], seed=0), rtol=1e-6)["solution"][0]
        u = u.clamp(min=0) / u.max()
        fluxes = any(part.kind in ("neumann", "robin") for part in self.family.conditions)
        return u.square() if fluxes else u

    def _masked(self, keys: Keys) -> Float[Tensor, "batch *shape"]:
        place = self.family.place
        assert not isinstance(place, RandomShape)
        return self._noise.sample(keys.named("noise"), place) * self._mask

    def _drawn(self, inputs: Inputs) -> Float[Tensor, "batch *shape"]:
        """The solutions of a batch."""
        assert inputs.identity is not None
        who = inputs.identity
        basis, factor = self._basis(who.seed)
        keys = Keys(who.seed, who.split, who.indices.tolist(), who.attempt)
        mu = torch.from_numpy(normal(keys.named("weights"), [(j, 0, 0) for j in range(self.solutions)]))
        weights = (mu - mu.mean(1, keepdim=True)) / self.solutions**0.5 + 1 / self.solutions
        u = factor * self._masked(keys)
        for weight, solution in zip(weights.T, basis, strict=True):  # one by one: a product would depend on the batch
            u = u + weight.reshape(-1, *(1,) * solution.ndim) * solution
        return u


@dataclass(frozen=True)
class _AsDrawn(Method):
    """Takes the first guess for the solution, and another method where it misses."""

    otherwise: Method

    def prepare(self, A: LinearOperator) -> Prepared:
        return _Given(A, self.otherwise)


class _Given(Prepared):
    def __init__(self, operator: LinearOperator, otherwise: Method):
        super().__init__(operator)
        self.otherwise = otherwise

    def run(self, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> Outcome:
        x = torch.zeros_like(b) if x0 is None else x0
        none = torch.zeros(b.shape[:-1], dtype=torch.int64, device=b.device)
        reason = torch.full_like(none, Reason.CONVERGED.code)
        return Outcome(x, none, reason, None, None, "drawn, its source computed")

    def fallback(self) -> Prepared:
        return self.otherwise.prepare(self.operator)
