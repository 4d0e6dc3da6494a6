"""Runs that hang: one that gives no record for far longer than any before it is broken off.

The one thing beside ``--time`` that looks at a clock. Its limit is generous on purpose: a slow run is no
stuck one, and what is only slow must come to the same end on every machine.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from autofreeze.job import Job
from autofreeze.phrases import duration

TIMES = 20.0
"""A record may take so many times as long as the slowest one of a run that trains at least as much."""

AT_LEAST = 600.0
"""Seconds that every record may take."""

UNKNOWN = 3 * 3600.0
"""Seconds that one may take while no such run is known: the first epoch may have all features to compute."""

TICKS = 40
"""Looks at the clock within the limit."""

LONGEST_TICK = 30.0


class Stuck(BaseException):
    """Raised inside a run that hangs. No ``Exception``, so that a run which catches those does not eat it."""


class Watchdog:
    """Breaks off runs that hang, as far as Python can: in the main thread, on POSIX, outside of C code.

    Time is counted in ticks of a timer, and ticks that were missed do not count: neither those of a machine
    that slept, nor those of a process that was stopped, nor those that passed inside one call of C code.

    Args:
        limit: Seconds that a record may take; from the runs before, where left out.
    """

    def __init__(self, limit: float | None = None) -> None:
        self._limit = limit
        self._slowest: dict[int, float] = {}
        self._waited = 0.0
        self._armed = False

    def limit_of(self, job: Job) -> float:
        """Give how many seconds the next record of a job may take."""
        if self._limit is not None:
            return self._limit
        depth = job.schedule.unfreeze_depth
        known = [seconds for other, seconds in self._slowest.items() if other >= depth]
        return max(AT_LEAST, TIMES * max(known)) if known else UNKNOWN

    @contextmanager
    def watching(self, job: Job) -> Iterator[None]:
        """Watch a block in which a job comes to its next record.

        Nothing is watched in another thread, nor where somebody else uses the timer.

        Raises:
            Stuck: Within the block, once its limit is over.
        """
        if not can_watch():
            yield
            return
        limit = self.limit_of(job)
        tick = min(LONGEST_TICK, limit / TICKS)

        def look(_: int, __: FrameType | None) -> None:
            self._waited += tick
            if self._armed and self._waited >= limit:
                raise Stuck(stuck_for(limit))

        before = signal.signal(signal.SIGALRM, look)
        try:
            self._waited, self._armed = 0.0, True
            signal.setitimer(signal.ITIMER_REAL, tick, tick)
            yield
        finally:
            try:
                self._armed = False
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
                signal.signal(signal.SIGALRM, before)
        self.note(job, self._waited)

    def note(self, job: Job, seconds: float) -> None:
        """Take note of how long a record of a job took."""
        depth = job.schedule.unfreeze_depth
        self._slowest[depth] = max(self._slowest.get(depth, 0.0), seconds)


def stuck_for(limit: float) -> str:
    """Say why a run was broken off."""
    return f"stuck: no record for {duration(limit)}, broken off by the watchdog"


def can_watch() -> bool:
    """Whether runs can be watched here: signals reach the main thread alone, and there is one timer."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(signal.SIGALRM) is signal.SIG_DFL and signal.getitimer(signal.ITIMER_REAL)[0] == 0
