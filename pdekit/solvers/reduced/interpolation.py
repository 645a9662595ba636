"""Empirical interpolation: functions of a parameter from few of their values."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Inexact
from torch import Tensor

from pdekit.core.checks import as_numbers, check_finite, check_limit, check_number
from pdekit.core.errors import InputError
from pdekit.solvers.operators.convert import VectorLike, precise
from pdekit.solvers.reduced.states import check_state, indices_in, numbers_in

__all__ = ["EmpiricalInterpolation"]

_STATE = ("chosen", "points", "terms", "errors", "pivots", "at_points", "at_chosen")

_AGREES = 1e-10
"""How well the triangles of a saved state must give the values that they were found from, as a part of the largest."""


class EmpiricalInterpolation:
    """Functions g(mu, x) as combinations of d of them, whose factors follow from the values at d points.

    Chosen greedily: at each step the parameter whose function is approximated worst, and the point where it is worst.
    ``g(mu, x) ~ sum_m beta_m(mu) g(mu_m, x)``, exact at the chosen points for any mu and at all points for the chosen
    mu. This is Gaussian elimination with complete pivoting, stopped early: the factors beta come from two triangular
    matrices with 1 on the diagonal and entries of at most 1 beside (the rows of one are the points, those of the other
    the parameters), not from the values g(mu_m, x_l), which are nearly singular.

    Args:
        samples: ``(parameters, points)``, the functions of a training set, NumPy or torch, real or complex.
        size: how many terms at most; None leaves it to the tolerance.
        tolerance: stop where no sample is off by more than this part of the largest value of all.

    Attributes:
        chosen: ``(d,)``, the samples that are combined.
        points: ``(d,)``, where values are needed.
        terms: ``(d, points)``, the chosen samples themselves.
        errors: ``(d + 1,)``, the largest error over the training set with 0, 1, .. d terms, as a part of the largest
            value.

    Raises:
        InputError: samples that are no finite table with an entry other than 0.

    Example:
        >>> x, mu = torch.linspace(0, 1, 50), torch.linspace(1, 2, 20)
        >>> found = EmpiricalInterpolation(torch.sin(mu[:, None] * x), tolerance=1e-6)
        >>> exact = torch.sin(1.234 * x.double())
        >>> len(found.points), bool((found.interpolate(exact[found.points]) - exact).abs().max() < 1e-5)
        (4, True)

    Source:
        Barrault, Maday, Nguyen, Patera, "An empirical interpolation method", C. R. Acad. Sci. Paris 339, 2004;
        Casenave, Ern, Lelievre, "A nonintrusive reduced basis method applied to aeroacoustic simulations", Adv. Comput.
        Math. 41, 2015 (the factors beta).
    """

    @torch.no_grad()
    def __init__(self, samples: VectorLike, *, size: int | None = None, tolerance: float = 1e-12):
        values = precise(as_numbers("samples", samples))
        if values.ndim != 2 or 0 in values.shape:
            raise InputError(f"samples has shape {tuple(values.shape)}; expected (parameters, points).")
        check_finite("samples", values)
        check_number("EmpiricalInterpolation", "tolerance", tolerance)
        if not 0 <= tolerance < 1:
            raise InputError(f"EmpiricalInterpolation has tolerance={tolerance}; expected a number from 0 to 1.")
        if size is not None:
            check_limit("EmpiricalInterpolation", "size", size)
        largest = float(values.abs().max())
        if largest == 0:
            raise InputError("samples are 0 everywhere; expected functions to interpolate.")
        most = min(values.shape) if size is None else min(size, *values.shape)
        left = values.clone()
        chosen, points, pivots, lower, upper = [], [], [], [], []
        errors = [1.0]
        while len(chosen) < most and errors[-1] > tolerance:
            place = int(left.abs().argmax())
            sample, point = divmod(place, left.shape[1])
            pivot = left[sample, point].clone()
            row, column = left[sample] / pivot, left[:, point] / pivot
            left.addr_(column, left[sample].clone(), alpha=-1.0)
            left[sample, :] = 0.0  # exactly: rounding must not choose them again
            left[:, point] = 0.0
            chosen.append(sample)
            points.append(point)
            pivots.append(pivot)
            lower.append(row)
            upper.append(column)
            errors.append(float(left.abs().max()) / largest)
        self.chosen = torch.tensor(chosen, device=values.device)
        self.points = torch.tensor(points, device=values.device)
        self.terms = values[self.chosen]
        self.errors = torch.tensor(errors, dtype=torch.float64)
        self.pivots = torch.stack(pivots)
        self.at_points = torch.stack(lower, 1)[self.points].tril()
        self.at_chosen = torch.stack(upper, 1)[self.chosen].tril()

    def coefficients(self, values: Inexact[Tensor, "*batch d"]) -> Inexact[Tensor, "*batch d"]:
        """The factors beta of the terms, from the values of a function at the chosen points.

        Args:
            values: g(mu, x) at ``points``.
        """
        d = len(self.points)
        if values.shape[-1:] != (d,):
            raise InputError(f"values has shape {tuple(values.shape)}; expected (*batch, {d}), those at the points.")
        kind = torch.promote_types(values.dtype, self.terms.dtype)
        lower, upper, pivots = (part.to(kind) for part in (self.at_points, self.at_chosen, self.pivots))
        flat = values.to(kind).reshape(-1, d).mT
        within = torch.linalg.solve_triangular(lower, flat, upper=False, unitriangular=True)
        found = torch.linalg.solve_triangular(upper.mT, within / pivots[:, None], upper=True, unitriangular=True)
        return found.mT.reshape(values.shape)

    def interpolate(self, values: Inexact[Tensor, "*batch d"]) -> Inexact[Tensor, "*batch points"]:
        """The functions at all points from their values at the chosen ones."""
        beta = self.coefficients(values)
        return beta @ self.terms.to(beta.dtype)

    def state_dict(self) -> dict[str, Tensor]:
        """All it holds, as copies of its tensors."""
        return {name: getattr(self, name).clone() for name in _STATE}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """What :meth:`state_dict` was taken of.

        Raises:
            InputError: the state of something else, or one that contradicts itself.
        """
        name = cls.__name__
        check_state(name, state, _STATE)
        made = cls.__new__(cls)
        made.terms = numbers_in(name, state, "terms", ("d", "points"))
        (d, count), kind = made.terms.shape, made.terms.dtype
        made.chosen = indices_in(name, state, "chosen", d, once=True)
        made.points = indices_in(name, state, "points", d, count, once=True)
        made.errors = numbers_in(name, state, "errors", (d + 1,), torch.float64)
        if not bool((made.errors >= 0).all()):
            raise InputError(f"The state of a {name} has errors={made.errors.tolist()}; expected none below 0.")
        made.pivots = numbers_in(name, state, "pivots", (d,), kind)
        made.at_points, made.at_chosen = (numbers_in(name, state, part, (d, d), kind) for part in _STATE[-2:])
        one = torch.eye(d, dtype=kind, device=made.terms.device)
        lower, upper = (part.tril(-1) + one for part in (made.at_points, made.at_chosen))
        values = made.terms[:, made.points]
        wrong = ((upper * made.pivots) @ lower.mT - values).abs().max()
        if not bool(wrong <= _AGREES * values.abs().max()) or not bool((made.pivots != 0).all()):
            raise InputError(
                f"The triangles in the state of a {name} give values that are off by {float(wrong):.1e} from those of "
                "the terms at the points; expected a state as it was saved."
            )
        return made

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return (
            f"EmpiricalInterpolation({len(self)} terms of {self.terms.shape[1]:,} points, "
            f"error {float(self.errors[-1]):.1e})"
        )
