"""What each worker did: stretches of training as bars on a time line, and how long nobody trained."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from autofreeze.timeline import Stretch

PAUSE_SECONDS, PAUSE_SHARE = 60.0, 0.03
"""A time in which nobody trained counts as a pause when it exceeds both: seconds, and a share of all."""

MANY = 1500
"""Stretches from which on neighbours of one kind are one bar: each bar takes a browser time."""

CLOSE = 1e-3
"""Share of the whole time that is less than a screen can show."""


class Worker(NamedTuple):
    """One that trains a run at a time: a lane at a place."""

    where: str
    lane: int


class Pause(NamedTuple):
    """A time in which nobody trained, as between two sessions, in seconds."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ended - self.began


class Bar(NamedTuple):
    """A stretch; where there are many, several of one kind that a screen would show as one."""

    worker: Worker
    stretches: tuple[Stretch, ...]

    @property
    def began(self) -> float:
        """Seconds since the first run began."""
        return self.stretches[0].began

    @property
    def ended(self) -> float:
        """The same of its end."""
        return self.stretches[-1].ended


def worker_of(stretch: Stretch) -> Worker:
    """Say who trained a stretch."""
    return Worker(stretch.where, stretch.lane)


def workers_of(stretches: Sequence[Stretch]) -> list[Worker]:
    """Give all workers: places in the order in which they came in, each with its lanes."""
    came: dict[str, int] = {}
    for one in stretches:
        came.setdefault(one.where, len(came))
    return sorted(set(map(worker_of, stretches)), key=lambda worker: (came[worker.where], worker.lane))


def pauses_of(stretches: Sequence[Stretch]) -> list[Pause]:
    """Find the times in which nobody trained that are too long to lie between two runs."""
    ordered = sorted(stretches, key=lambda one: one.began)
    if not ordered:
        return []
    least = max(PAUSE_SECONDS, PAUSE_SHARE * (max(one.ended for one in ordered) - ordered[0].began))
    found, reached = [], ordered[0].ended
    for one in ordered:
        if one.began - reached > least:
            found.append(Pause(reached, one.began))
        reached = max(reached, one.ended)
    return found


def without(time: float, pauses: Sequence[Pause]) -> float:
    """Give a time on an axis that leaves pauses out, in seconds."""
    return time - sum(min(max(time - one.began, 0.0), one.seconds) for one in pauses)


def busy_of(stretches: Sequence[Stretch]) -> dict[Worker, float]:
    """Give for how many seconds each worker trained; what overlaps counts once."""
    lanes: dict[Worker, list[Stretch]] = defaultdict(list)
    for one in sorted(stretches, key=lambda one: one.began):
        lanes[worker_of(one)].append(one)
    busy = {}
    for worker, members in lanes.items():
        total, reached = 0.0, members[0].began
        for one in members:
            total += max(one.ended - max(one.began, reached), 0.0)
            reached = max(reached, one.ended)
        busy[worker] = total
    return busy


def bars_of(stretches: Sequence[Stretch], kind: Callable[[Stretch], Hashable], seconds: float) -> list[Bar]:
    """Turn stretches into bars: each its own, but where there are ``MANY``.

    Args:
        stretches: In the order in which they began.
        kind: What stretches of one bar must have in common.
        seconds: The whole time, without pauses.
    """
    bars: list[Bar] = []
    last: dict[Worker, int] = {}
    for one in stretches:
        worker = worker_of(one)
        at = last.get(worker) if len(stretches) > MANY else None
        if at is not None and _is_one_bar(bars[at], one, kind, seconds):
            bars[at] = Bar(worker, (*bars[at].stretches, one))
        else:
            last[worker] = len(bars)
            bars.append(Bar(worker, (one,)))
    return bars


def _is_one_bar(bar: Bar, one: Stretch, kind: Callable[[Stretch], Hashable], seconds: float) -> bool:
    near = abs(one.began - bar.ended) < CLOSE * seconds
    return near and kind(bar.stretches[-1]) == kind(one)
