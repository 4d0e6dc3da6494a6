"""Where a schedule thaws layer groups, and where it freezes them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from autofreeze.phrases import listed, printable
from autofreeze.schedule import Schedule


@dataclass(frozen=True)
class Change:
    """A moment at which one row of the table follows another, and what begins or ceases to train."""

    epoch: float
    """From the start of the run."""

    thawed: tuple[int, ...]
    """Columns that train from here on and did not just before."""

    frozen: tuple[int, ...]
    """Columns that stand still from here on and trained just before."""


def changes_of(schedule: Schedule) -> tuple[Change, ...]:
    """Give the changes in order of time; none where the same groups train throughout."""
    rows = [phase.lrs for phase in schedule.phases]
    changes = []
    for epoch, (before, after) in zip(schedule.phase_ends, pairwise(rows), strict=False):
        pairs = list(zip(before, after, strict=True))
        thawed = tuple(n for n, (old, new) in enumerate(pairs) if old is None and new is not None)
        frozen = tuple(n for n, (old, new) in enumerate(pairs) if old is not None and new is None)
        if thawed or frozen:
            changes.append(Change(epoch, thawed, frozen))
    return tuple(changes)


def runs(columns: Sequence[int]) -> list[tuple[int, int]]:
    """Put neighbouring columns together: (1, 2, 3, 5) gives (1, 3) and (5, 5).

    Args:
        columns: In ascending order.
    """
    found: list[tuple[int, int]] = []
    for column in columns:
        if found and column == found[-1][1] + 1:
            found[-1] = (found[-1][0], column)
        else:
            found.append((column, column))
    return found


def groups_words(groups: Sequence[str], columns: Sequence[int]) -> str:
    """Name columns: ``stem, layer2 to layer4 and head``.

    Args:
        groups: Names of all columns.
        columns: Some of them, in ascending order.
    """
    names = [printable(name) for name in groups]
    parts: list[str] = []
    for low, high in runs(columns):
        if high - low < 2:
            parts += names[low : high + 1]
        else:
            parts.append(f"{names[low]} to {names[high]}")
    return listed(parts)
