"""Schedules for trainers that only thaw, and only as an epoch begins: the nearest of any schedule."""

import math
from typing import NamedTuple

from autofreeze.phrases import listed
from autofreeze.schedule import Phase, Schedule


class Thaw(NamedTuple):
    """Groups that begin to train together."""

    epoch: int
    """As which it begins, from 0."""

    lrs: dict[str, float]
    """Layer group -> its cell then, the one nearest the head last."""


def thaws_of(schedule: Schedule) -> tuple[Thaw, ...]:
    """Give the thaws of a schedule that :func:`thaw_only` gave, that of the start first."""
    thaws: list[Thaw] = []
    trained: set[int] = set()
    start = 0.0
    for end, phase in zip(schedule.phase_ends, schedule.phases, strict=True):
        fresh = {
            group: lr
            for column, (group, lr) in enumerate(zip(schedule.groups, phase.lrs, strict=True))
            if lr is not None and column not in trained
        }
        if fresh:
            thaws.append(Thaw(round(start), fresh))
        trained |= _trains(phase)
        start = end
    return tuple(thaws)


def thaw_only(schedule: Schedule) -> tuple[Schedule, tuple[str, ...]]:
    """Give the nearest schedule that freezes nothing again and thaws at whole epochs, and what differs.

    A switch that thaws a group for the first time moves to the nearest epoch's start, and other rows give
    way; rows that only change rates stay where they are. A group that the schedule freezes again trains on
    at the rate that it had.

    Returns:
        The schedule, the same where nothing differs, and what differs in words.
    """
    ends, moved = _moved(schedule)
    rows: list[Phase] = []
    refrozen: dict[str, float] = {}
    cells: list[float | None] = [None] * len(schedule.groups)
    start = said = 0.0
    for end, own_end, phase in zip(ends, schedule.phase_ends, schedule.phases, strict=True):
        for group, before, lr in zip(schedule.groups, cells, phase.lrs, strict=True):
            if lr is None and before is not None:
                refrozen.setdefault(group, said)
        cells = [before if lr is None else lr for before, lr in zip(cells, phase.lrs, strict=True)]
        if end > start:
            rows.append(Phase(epochs=round(end - start, 9), lrs=tuple(cells)))
        start, said = end, own_end
    if not (moved or refrozen):
        return schedule, ()
    differences = [f"thaws come as an epoch begins: {'; '.join(moved)}"] if moved else []
    if refrozen:
        freezes = listed(f"{group} after {_epochs(at)}" for group, at in refrozen.items())
        differences.append(
            "nothing that has thawed is frozen again, but trains on at the rate that it had; the schedule "
            f"freezes {freezes}"
        )
    return schedule.model_copy(update={"phases": tuple(rows)}), tuple(differences)


def _moved(schedule: Schedule) -> tuple[list[float], list[str]]:
    """Move first thaws to whole epochs: where each row ends then, in epochs, and what has been moved."""
    own = schedule.phase_ends
    ends = list(own)
    latest = math.ceil(own[-1]) - 1
    moved = []
    trained = _trains(schedule.phases[0])
    for number, phase in enumerate(schedule.phases[1:]):
        fresh = _trains(phase) - trained
        trained |= fresh
        said = own[number]
        if fresh and said != round(said):
            ends[number] = float(min(math.floor(said + 0.5), latest))
            names = listed(schedule.groups[column] for column in sorted(fresh))
            when = f"after {_epochs(ends[number])}" if ends[number] else "from the start"
            moved.append(f"{names} {when} instead of {said:g}")
            ends[:number] = [min(end, ends[number]) for end in ends[:number]]
            ends[number:] = [max(end, ends[number]) for end in ends[number:]]
    return ends, moved


def _trains(phase: Phase) -> set[int]:
    return {column for column, lr in enumerate(phase.lrs) if lr is not None}


def _epochs(number: float) -> str:
    return f"{number:g} {'epoch' if number == 1 else 'epochs'}"
