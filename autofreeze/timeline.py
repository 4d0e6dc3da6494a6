"""When each run was trained, and where: from the records, as they came in."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autofreeze.records import Entry, entries
from autofreeze.values import Value

PAUSE_SECONDS = 2.0
"""A run that stood still for longer, and for longer than its epoch took, was not trained in one go."""

CLOCK_SECONDS, CLOCK_SHARE = 0.02, 0.05
"""By so many seconds, or that share of its length, a stretch may begin before the one ahead of it has ended,
since two clocks are read. More than that, and both were trained side by side."""


class Stretch(Value):
    """A time in which one run was trained in one go."""

    where: str
    """Name of the place; empty where there is but one."""

    lane: int = 0
    """Number of the worker at the place, from 0. Nobody notes which one it was: runs that were trained side
    by side are told apart by their times."""

    trial: int
    fold: int | None
    """None of a run on a fresh seed."""

    fresh: int | None
    began: float
    """Seconds since the first run of the search began, whatever the sessions."""

    ended: float


def stretches_of(folder: Path) -> tuple[Stretch, ...]:
    """Read from the records in a run folder when and where each run was trained.

    A record tells when its epoch ended, by the clock of the machine where it was trained, and how many
    seconds the run had taken by then; the difference to the record before it is what the epoch took. What a
    run did before its first epoch is in no stretch. Clocks of several machines are taken as they are.

    Args:
        folder: The run folder.

    Returns:
        In the order in which they began; none of records of an earlier version, which tell no time.
    """
    found = list(_in_one_go(entries(folder)))
    if not found:
        return ()
    first = min(one.began for one in found)
    return tuple(
        Stretch(
            where=one.where,
            lane=lane,
            trial=one.trial,
            fold=one.fold if one.fresh is None else None,
            fresh=one.fresh,
            began=round(began - first, 3),
            ended=round(max(one.ended, began) - first, 3),
        )
        for one, lane, began in _in_lanes(found)
    )


@dataclass
class _Going:
    """A run that is trained, from when to when so far."""

    where: str
    trial: int
    fold: int
    fresh: int | None
    began: float
    ended: float


@dataclass
class _Told:
    """What the records have told of a run."""

    epochs: int = 0
    seconds: float = 0.0
    going: _Going | None = None


def _in_one_go(records: Iterable[Entry]) -> Iterator[_Going]:
    """Join epochs that follow each other closely."""
    runs: dict[tuple[int, int, int | None], _Told] = defaultdict(_Told)
    for one in records:
        run = runs[one.trial, one.fold, one.fresh]
        if one.epoch != run.epochs:
            continue  # told again
        seconds = one.seconds
        took = max(seconds - run.seconds, 0.0)
        run.epochs, run.seconds = run.epochs + 1, seconds
        if one.at is None:
            continue
        going = run.going
        began = one.at - took
        if going and going.where == one.where and began - going.ended <= max(PAUSE_SECONDS, took):
            going.ended = max(one.at, going.ended)
            continue
        if going:
            yield going
        run.going = _Going(one.where, one.trial, one.fold, one.fresh, began, one.at)
    for run in runs.values():
        if run.going:
            yield run.going


def _in_lanes(found: Sequence[_Going]) -> Iterator[tuple[_Going, int, float]]:
    """Give each its lane, and when it began there: no two of a lane overlap."""
    lanes: dict[str, list[float]] = defaultdict(list)
    for one in sorted(found, key=lambda one: (one.began, one.ended)):
        free = lanes[one.where]
        late = max(CLOCK_SECONDS, CLOCK_SHARE * (one.ended - one.began))
        lane = next((lane for lane, ended in enumerate(free) if ended <= one.began + late), len(free))
        if lane == len(free):
            free.append(one.began)
        began = max(one.began, free[lane])
        free[lane] = max(one.ended, began)
        yield one, lane, began
