"""How long jobs take, by those before them: short ones are handed out several at a time."""

import math
import statistics
from collections import deque

from autofreeze.job import Job

SHORT_SECONDS = 5.0
"""Jobs that are shorter are handed out several at a time, as many as fill so long."""

MOST_AT_A_TIME = 8
"""Jobs that a worker is handed at a time, at most."""

LATEST = 5
"""Of each unfreeze depth so many jobs are remembered."""

ENOUGH = 3
"""As many must have ended before jobs are called short."""


class Paces:
    """What the latest jobs took, by how deep they unfroze."""

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}

    def note(self, job: Job, seconds: float) -> None:
        """Take note of a job that has come to its end."""
        self._seconds.setdefault(job.schedule.unfreeze_depth, deque(maxlen=LATEST)).append(seconds)

    def expected(self, job: Job) -> float:
        """Seconds that a job may take: the most of the latest that trained as much or more; else infinite."""
        depth = job.schedule.unfreeze_depth
        known = [max(latest) for other, latest in self._seconds.items() if other >= depth]
        return max(known, default=math.inf) if depth in self._seconds else math.inf

    def at_a_time(self) -> int:
        """How many jobs keep a worker busy for a while, 1..``MOST_AT_A_TIME``."""
        latest = [seconds for each in self._seconds.values() for seconds in each]
        if len(latest) < ENOUGH:
            return 1
        return min(max(math.ceil(SHORT_SECONDS / max(statistics.median(latest), 0.1)), 1), MOST_AT_A_TIME)
