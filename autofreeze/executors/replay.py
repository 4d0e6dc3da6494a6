"""Jobs played again, without training, on a simulated clock."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from autofreeze.errors import AutofreezeError
from autofreeze.executors.protocol import Event, Failed, Finished, Recorded
from autofreeze.job import EpochRecord, Job

Player = Callable[[Job], Sequence[EpochRecord]]
"""Gives the records of a job: recorded ones, or those of a surrogate.

It raises ``LookupError`` for a job that it cannot play.
"""

Curves = Mapping[tuple[str, int, int | None], Sequence[EpochRecord]]
"""``Job.settings_digest``, fold and number of the fresh seed -> the records of that run."""


def player_of(curves: Curves) -> Player:
    """Play what was recorded."""

    def play(job: Job) -> Sequence[EpochRecord]:
        try:
            return curves[job.settings_digest, job.fold, job.fresh]
        except KeyError:
            raise LookupError("this run was never recorded") from None

    return play


@dataclass(order=True)
class _Running:
    """A job in hand: when its next event comes, and the order of submission among equals."""

    due: float
    turn: int
    job: Job = field(compare=False)
    began: float = field(compare=False)
    left: list[EpochRecord] = field(compare=False)
    error: str = field(compare=False, default="")


class ReplayExecutor:
    """Plays records as if ``capacity`` workers ran the jobs side by side, each at its recorded pace.

    The next event is the one that comes first by the simulated clock, which then stands at its time. A job
    begins when it is submitted and a worker is free; one that was submitted first begins first.

    Args:
        player: Gives the records of a job; see ``player_of`` for those of a table.
        capacity: Workers.
    """

    def __init__(self, player: Player, *, capacity: int = 1) -> None:
        self._player = player
        self._running: list[_Running] = []
        self._waiting: list[Job] = []
        self._turns = 0
        self.capacity = capacity
        self.clock = 0.0
        """Simulated seconds since the start."""

    def submit(self, job: Job) -> None:
        """Take a job in hand; one that cannot be played fails at its first event."""
        if any(other.key == job.key for other in [*self._waiting, *(one.job for one in self._running)]):
            raise ValueError(f"job {job.key} is in hand already")
        self._waiting.append(job)
        self._start()

    def next_event(self) -> Event:
        """Give what happens next, and set the clock to its time."""
        if not self._running:
            raise LookupError("no job is in hand")
        running = heapq.heappop(self._running)
        self.clock = max(self.clock, running.due)
        if running.error:
            self._start()
            return Failed(running.job, running.error)
        if not running.left:
            self._start()
            return Finished(running.job)
        record = running.left.pop(0)
        running.due = running.began + (running.left[0] if running.left else record).seconds
        heapq.heappush(self._running, running)
        return Recorded(running.job, record, at=self.clock)

    def stop(self, job: Job) -> None:
        """Drop a job; its worker takes the next one that waits."""
        self._waiting = [other for other in self._waiting if other.key != job.key]
        self._running = [one for one in self._running if one.job.key != job.key]
        heapq.heapify(self._running)
        self._start()

    def _start(self) -> None:
        """Let free workers begin what waits."""
        while self._waiting and len(self._running) < self.capacity:
            job = self._waiting.pop(0)
            self._turns += 1
            running = _Running(self.clock, self._turns, job, self.clock, [])
            try:
                if job.members:
                    raise LookupError("sweeps of heads are not played again")
                running.left = list(self._player(job))
            except (AutofreezeError, LookupError) as error:
                running.error = " ".join(str(error).split())
            if running.left:
                running.due += running.left[0].seconds
            heapq.heappush(self._running, running)
