"""How exactly training samples are solved: no more so than the model in training can notice."""

import math
from dataclasses import dataclass
from typing import Any

from pdekit.core.checks import check_number
from pdekit.core.errors import InputError

__all__ = ["LabelTolerance", "Tightening"]

WINDOW = 25
"""Reports over which the error is averaged; a batch alone is too noisy to never be taken back."""


@dataclass(frozen=True)
class LabelTolerance:
    """The tolerance of training samples follows the error of the model that is trained on them.

    A model that is wrong by ten per cent learns as much from a solution with three correct digits as from one with
    eight. Tickets are issued at ``rtol = factor * error``, between ``tightest`` and ``start``, where ``error`` is the
    relative L2 error that the training reports (:meth:`pdekit.stream.Stream.report`), averaged over its last reports.
    The tolerance is tightened as the error falls, and never loosened. It is the recipe alone; what was reported is kept
    by the stream.

    The tolerance bounds the residual, and how wrong a solution with that residual is depends on problem and solver; in
    the published figures below about as much as the residual says, with multigrid far less.

    Args:
        start: the tolerance before anything is reported, and the loosest ever.
        tightest: the smallest.
        factor: of the model's error.

    Raises:
        InputError: tolerances outside 0..1 or in the wrong order, a factor that is not positive.

    Example:
        >>> tightening = Tightening(LabelTolerance(start=1e-2, tightest=1e-5, factor=0.1))
        >>> for error in (0.5, 0.02, 0.01):
        ...     for _ in range(200):
        ...         tightening.report(error)
        ...     print(f"{tightening.rtol:.1e}")
        1.0e-02
        2.0e-03
        1.0e-03

    Source:
        Dong et al., Accelerating PDE data generation via differential operator action in solution space, ICML 2024,
        table 7: the error of a Fourier neural operator at labels of tolerance 1e-1, 1e-2 and 1e-5.
    """

    start: float = 1e-2
    tightest: float = 1e-8
    factor: float = 0.1

    def __post_init__(self):
        for name in ("start", "tightest", "factor"):
            check_number("LabelTolerance", name, getattr(self, name))
        if not 0 < self.tightest <= self.start < 1:
            raise InputError(
                f"LabelTolerance(start={self.start}, tightest={self.tightest}); expected 0 < tightest <= start < 1."
            )
        if not 0 < self.factor < math.inf:
            raise InputError(f"LabelTolerance(factor={self.factor}); expected a number greater than 0.")


class Tightening:
    """A :class:`LabelTolerance` at work: what was reported, and the tolerance that follows from it.

    Args:
        recipe: start, end and factor.
    """

    def __init__(self, recipe: LabelTolerance):
        self.recipe = recipe
        self.rtol = recipe.start
        self.error = math.nan
        self._reports = 0

    def report(self, error: float) -> None:
        """Take note of the relative L2 error of a batch; one that is not finite says nothing and is passed over.

        Raises:
            InputError: a negative error.
        """
        if error < 0:
            raise InputError(f"The error of the model was reported as {error}; expected a relative error, 0 or more.")
        if not math.isfinite(error):
            return
        self._reports += 1
        before = self.error if self._reports > 1 else error
        self.error = before + (error - before) / min(self._reports, WINDOW)
        self.rtol = min(self.rtol, max(self.recipe.tightest, self.recipe.factor * self.error))

    def state_dict(self) -> dict[str, Any]:
        """Three numbers."""
        return {"reports": self._reports, "error": self.error, "rtol": self.rtol}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self._reports, self.error, self.rtol = int(state["reports"]), float(state["error"]), float(state["rtol"])
