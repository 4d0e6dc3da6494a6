"""A schedule carried over to another backbone: its columns matched by their share of the backbone's work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, groupby, pairwise

from autofreeze.errors import ConfigError
from autofreeze.schedule import Phase, Schedule

_Place = tuple[Fraction, Fraction]
"""How far up the backbone: share of its work below, then share of its columns. Compared in this order, so
that columns without work have an order too."""


def map_groups(
    schedule: Schedule, shares: Sequence[float], groups: Sequence[str], other_shares: Sequence[float]
) -> Schedule:
    """Carry a schedule over to the layer groups of another backbone.

    Each new column of the backbone takes the cells of the old one that holds the middle of its span of
    cumulative work; the new head takes those of the head. The matching never goes down where the columns go
    up, so that what is frozen up to some group stays so: a head alone stays one, everything stays everything.
    Rows, their lengths and the rate curve are kept. Where a row trains some of the backbone, but only columns
    that no new one has taken, the largest of them is taken in that row, by the new column that holds its
    middle.

    Args:
        schedule: The table over the old groups.
        shares: Share of the forward pass of each old group, stem first, head last; as many as the schedule
            has groups, or none where they are not known: the groups then count alike.
        groups: Names of the new groups, stem first, head last.
        other_shares: The same as ``shares`` for the new groups.

    Raises:
        ConfigError: Shares are too few, too many or below zero, or one side has no backbone group.
    """
    old, new = _Columns.of(schedule.groups, shares), _Columns.of(groups, other_shares)
    taken = new.taken_from(old)
    phases = tuple(
        Phase(epochs=phase.epochs, lrs=_row(phase, taken, old, new)[0]) for phase in schedule.phases
    )
    return Schedule.model_validate(
        {**dict(schedule), "groups": tuple(groups), "phases": phases}  # every other field is kept
    )


def mapping_words(
    schedule: Schedule, shares: Sequence[float], groups: Sequence[str], other_shares: Sequence[float]
) -> tuple[str, ...]:
    """Say what :func:`map_groups` takes from where, a line for each old group that is taken, the stem first.

    Args and errors: as there.
    """
    old, new = _Columns.of(schedule.groups, shares), _Columns.of(groups, other_shares)
    taken = new.taken_from(old)
    lines = []
    for column, run in groupby(range(len(taken)), key=lambda new_column: taken[new_column]):
        members = list(run)
        lines.append(f"{new.words(members)} <- {old.words([column])}")
    lines.append(f"{new.names[-1]} <- {old.names[-1]}")
    lost = [column for column in range(len(old.spans)) if column not in taken]
    lines += [f"nothing <- {old.words([column])}" for column in lost]
    for number, phase in enumerate(schedule.phases):
        _, instead = _row(phase, taken, old, new)
        if instead is not None:
            where, what = instead
            lines.append(f"phase {number}: {new.names[where]} <- {old.names[what]}, so that it trains some")
    return tuple(lines)


@dataclass(frozen=True)
class _Columns:
    """The groups of one backbone, and the span of its work that each covers."""

    names: tuple[str, ...]
    """Stem first, head last."""

    spans: tuple[tuple[_Place, _Place], ...]
    """Where each group of the backbone begins and ends."""

    known: bool
    """Whether the shares of work were given; if not, all groups count alike."""

    @classmethod
    def of(cls, names: Sequence[str], shares: Sequence[float]) -> "_Columns":
        problems = []
        if len(names) < 2:
            problems.append(f"groups: got {', '.join(names) or 'none'}; must be a backbone group and a head")
        if shares and len(shares) != len(names):
            problems.append(
                f"work_shares: got {len(shares)}; must be one for each of the {len(names)} groups"
            )
        problems += [
            f"work_shares: got {share}; must be a number >= 0"
            for share in shares
            if not math.isfinite(share) or share < 0
        ]
        if problems:
            raise ConfigError(problems)
        columns = len(names) - 1
        known = any(shares[:-1])
        work = [Fraction(share) for share in shares[:-1]] if known else [Fraction(1)] * columns
        marks = accumulate((share / sum(work) for share in work), initial=Fraction(0))
        spans = pairwise((below, Fraction(column, columns)) for column, below in enumerate(marks))
        return cls(tuple(names), tuple(spans), known)

    def work(self, column: int) -> Fraction:
        """Share of the backbone's work."""
        (low, _), (high, _) = self.spans[column]
        return high - low

    def middle(self, column: int) -> _Place:
        (low, low_position), (high, high_position) = self.spans[column]
        return (low + high) / 2, (low_position + high_position) / 2

    def holding(self, place: _Place) -> int:
        """Give the column whose span holds a place."""
        return next(column for column, (_, end) in enumerate(self.spans) if place < end)

    def taken_from(self, old: "_Columns") -> tuple[int, ...]:
        """Give for each column of this backbone the old one that it takes."""
        return tuple(old.holding(self.middle(column)) for column in range(len(self.spans)))

    def words(self, columns: Sequence[int]) -> str:
        """Name neighbouring columns, and their share of the backbone's work where it is known."""
        first, last = self.names[columns[0]], self.names[columns[-1]]
        name = first if len(columns) == 1 else f"{first} to {last}"
        work = float(sum(self.work(column) for column in columns))
        return f"{name} ({work:.0%} of the work)".replace("%", " %") if self.known else name


def _row(
    phase: Phase, taken: Sequence[int], old: _Columns, new: _Columns
) -> tuple[tuple[float | None, ...], tuple[int, int] | None]:
    """Give a row's new cells, and the new and old column where one had to be taken by way of exception."""
    cells = [phase.lrs[column] for column in taken]
    training = [column for column, lr in enumerate(phase.lrs[:-1]) if lr is not None]
    instead = None
    if training and all(lr is None for lr in cells):
        largest = max(training, key=old.work)
        instead = (new.holding(old.middle(largest)), largest)
        cells[instead[0]] = phase.lrs[largest]
    return (*cells, phase.lrs[-1]), instead
