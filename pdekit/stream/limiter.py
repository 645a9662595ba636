"""How often a sample may and must be used: the two-sided limit between solver and trainer."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from pdekit.core.errors import InputError

__all__ = ["Limiter", "Reuse"]

Reuse = float | Sequence[float] | None
UNLIMITED = 2**62


class Limiter:
    """Keeps the ratio of samples drawn to samples inserted inside a band.

    With I inserts and G draws so far, a batch of B waits while G + B > r_max I + s, and an insert waits while
    r_min (I + 1) > G + r_min (W + B) + s. The slack s (two batches) lets both sides run ahead a little; W is the
    watermark. With r_max >= 1, r_min <= r_max and a capacity of at least W + B this never locks both sides.

    Args:
        reuse: one number, a pair (least, largest), or None for no limit.
        watermark: of the buffer.
        batch_size: samples a batch.
        slack: s in samples; two batches by default.

    Raises:
        InputError: a largest reuse below 1 (a full buffer of unseen samples and the limit would wait for each other),
            or a pair in the wrong order.

    Example:
        >>> limiter = Limiter((1.0, 2.0), watermark=0, batch_size=4, slack=0)
        >>> limiter.inserted(4)
        >>> limiter.can_get(4), limiter.can_get(12), limiter.room()
        (True, False, 0)

    Source:
        Cassirer et al., Reverb: a framework for experience replay, 2021 (SampleToInsertRatio); here with a rule for
        the inserting side that was checked against dead-locks by random schedules.
    """

    def __init__(self, reuse: Reuse, *, watermark: int, batch_size: int, slack: int | None = None):
        self.band = _band(reuse)
        self.slack = 2 * batch_size if slack is None else slack
        self.inserts = 0
        self.gets = 0
        self._offset = watermark + batch_size

    @property
    def reuse(self) -> float:
        """Draws per insert so far."""
        return self.gets / self.inserts if self.inserts else 0.0

    @property
    def target(self) -> Fraction | None:
        """What an exact schedule follows: the lower end of the band, but at least 1; None without a limit."""
        return None if self.band is None else max(Fraction(1), Fraction(self.band[0]).limit_denominator(10_000))

    def room(self) -> int:
        """How many samples may be inserted now."""
        if self.band is None or self.band[0] == 0:
            return UNLIMITED
        return max(0, math.floor((self.gets + self.slack) / self.band[0]) + self._offset - self.inserts)

    def can_get(self, count: int) -> bool:
        """Whether ``count`` samples may be drawn now."""
        return self.band is None or self.gets + count <= self.band[1] * self.inserts + self.slack

    def inserted(self, count: int) -> None:
        """Take note of inserts."""
        self.inserts += count

    def got(self, count: int) -> None:
        """Take note of draws."""
        self.gets += count

    def state_dict(self) -> dict[str, Any]:
        """Two integers."""
        return {"inserts": self.inserts, "gets": self.gets}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self.inserts, self.gets = int(state["inserts"]), int(state["gets"])


def _band(reuse: Reuse) -> tuple[float, float] | None:
    if reuse is None:
        return None
    ends = tuple(float(r) for r in reuse) if isinstance(reuse, Sequence) else (float(reuse), float(reuse))
    if len(ends) != 2 or not all(math.isfinite(r) for r in ends):
        raise InputError(f"reuse={reuse!r}; expected one number, a pair (least, largest), or None for no limit.")
    least, largest = ends
    if largest < 1:
        raise InputError(
            f"reuse={reuse!r} allows fewer than one use of each sample; expected a largest reuse of at least 1, "
            "because a sample is never dropped unused. To train on less, set a budget."
        )
    if not 0 <= least <= largest:
        hint = f" Did you mean ({largest:g}, {least:g})?" if least > largest else ""
        raise InputError(f"reuse={reuse!r}; expected 0 <= least <= largest.{hint}")
    return least, largest
