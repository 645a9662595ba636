"""An experience in words."""

from collections.abc import Sequence

from pdekit.solvers.learning.arms import shortened
from pdekit.solvers.learning.kind import HOPELESS, PULLS, Kind

__all__ = ["report"]


_CLOSE = 1.1
"""Ratio of seconds that a few pulls do not tell from 1."""


def report(kinds: Sequence[Kind]) -> str:
    """A table for each kind of system: arms, pulls, seconds, and why one is chosen and the others are not."""
    total = sum(kind.systems for kind in kinds)
    if not total:
        return "Experience of no system yet"
    of = "1 kind" if len(kinds) == 1 else f"{len(kinds)} kinds"
    lines = [f"Experience of {total:,} system{'s' if total > 1 else ''} of {of}"]
    for kind in kinds:
        lines += ["", f"{kind.systems:,} systems: {kind.context}", *_table(kind)]
    return "\n".join(lines)


def _table(kind: Kind) -> list[str]:
    names = shortened([record.arm for record in kind.records])
    rows = [("arm", "pulls", "cut off", "s/system", "")]
    for number, record in enumerate(kind.records):
        level = record.predicted if record.level is None else record.level
        rows.append((
            names[number], str(record.pulls), str(record.cut), "" if level is None else f"{level:.2e}",
            verdict(kind, number),
        ))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    aligned = [
        "  ".join((row[0].ljust(widths[0]), *(row[k].rjust(widths[k]) for k in (1, 2, 3)), row[4])) for row in rows
    ]
    if kind.reopened:
        aligned.append(f"tried again {kind.reopened} times, as the chosen one had become slower")
    return [f"  {line}".rstrip() for line in aligned]


def verdict(kind: Kind, number: int) -> str:
    """Why an arm is chosen, or is not."""
    record, best = kind.records[number], kind.incumbent
    level = kind.level
    if number == best:
        if record.told <= PULLS:
            return "the expert's choice, until others have been tried"
        rivals = [other.level for i, other in enumerate(kind.records) if i != best and other.level is not None]
        if not rivals or not level:
            return "chosen: none of the others is worth a try"
        ahead = min(rivals) / level
        return f"chosen: {ahead:.2f} times faster than the next" if ahead > _CLOSE else "chosen; others are close"
    if record.refused:
        return f"does not take these matrices: {record.refused}"
    if record.predicted is not None and record.level is None:
        again = " again" if record.pulls else ""
        return f"not tried{again}: predicted to take over {HOPELESS:g} times longer"
    if record.level is None or level is None:
        return "not yet tried" if number in kind.left else "not worth a try"
    ratio = record.level / level
    if number in kind.left and record.told <= PULLS:
        return "on trial"
    stopped = "at least " if record.cut else ""
    if number not in kind.left:
        return f"eliminated: {stopped}{max(ratio, 1.0):.2f} times slower"
    return "close" if ratio <= _CLOSE else f"in the running: {stopped}{ratio:.2f} times slower so far"
