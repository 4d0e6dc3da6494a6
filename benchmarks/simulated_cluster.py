"""A cluster on a simulated clock, whose driver is one process and takes its time."""

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from autofreeze.errors import AutofreezeError
from autofreeze.executors.protocol import Event, Failed, Finished, Recorded
from autofreeze.executors.replay import Player
from autofreeze.job import EpochRecord, Job

STUDY = "study"
"""What the driver does when nothing else is named: judge, tell, keep."""

TRANSPORT, STATES = "transport", "states"

STATE_SECONDS = 5.0
"""Seconds after which a worker sends the state of its run again, with the report that comes next."""


@dataclass(order=True)
class _Run:
    """A job on a worker: when its next report comes, and the order among equals."""

    due: float
    turn: int
    job: Job = field(compare=False)
    left: deque[EpochRecord] = field(compare=False)
    trained: float = field(compare=False, default=0.0)
    """Recorded seconds up to the last epoch that was reported."""

    sent: float = field(compare=False, default=0.0)
    """When its state was sent last; when it began, at first."""

    has_state: bool = field(compare=False, default=False)
    """Whether the next report carries the state."""

    told: list[Event] = field(compare=False, default_factory=list)
    """What the next report holds."""


class SimulatedCluster:
    """An executor of workers that play records, and of one driver that all of them wait for.

    A worker trains until ``beat`` seconds have passed at the end of an epoch, or its job has ended; then it
    reports, and waits until the driver has handled the report. The driver handles one at a time, the first to
    come first. What the caller does between two calls of this class is the driver's work: it is timed by the
    stopwatch, and the simulated clock moves on by as much, while the other workers train. What happens inside
    the calls costs nothing, but ``handling`` for each report.

    Args:
        player: Gives the records of a job.
        workers: How many; as many jobs can be in hand.
        pace: Simulated seconds of training for each recorded one.
        beat: Seconds that a worker trains at least before it reports.
        handling: Seconds that the driver takes to receive a report, whatever is in it.
        state: Seconds that it takes beside to keep the state of a run, sent with a report every few seconds
            and not with the last; 0 where states lie on storage that all see.
        stopwatch: Seconds that the driver has worked, such as ``time.process_time``.
    """

    def __init__(
        self,
        player: Player,
        *,
        workers: int,
        stopwatch: Callable[[], float],
        pace: float = 1.0,
        beat: float = 1.0,
        handling: float = 0.0,
        state: float = 0.0,
    ) -> None:
        self._player, self._stopwatch = player, stopwatch
        self._pace, self._beat, self._handling, self._state = pace, beat, handling, state
        self.capacity = workers
        self.clock = 0.0
        """Simulated seconds since the start, where the driver stands."""

        self.driver: dict[str, float] = {}
        """What the driver does -> seconds."""

        self.stretches: list[tuple[float, float]] = []
        """When workers trained: from, to. Those that were reported."""

        self.waited = 0.0
        """Seconds that workers waited until the driver began with their reports."""

        self.reports = 0
        self.work = 0.0
        """Forward-equivalents of all epochs that were reported."""

        self._work_of: dict[str, float] = {}
        self._training: list[_Run] = []
        self._waiting: deque[Job] = deque()
        self._in_hand: dict[str, _Run] = {}
        self._current: _Run | None = None
        self._events: deque[Event] = deque()
        self._turns = 0
        self._since = stopwatch()

    # The driver's time

    @contextmanager
    def doing(self, name: str) -> Iterator[None]:
        """Book what the driver does within the block under a name."""
        self._work_on(STUDY)
        yield
        self._work_on(name)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold the clock: what is done within the block only measures."""
        self._work_on(STUDY)
        yield
        self._since = self._stopwatch()

    def charge(self, name: str, seconds: float) -> None:
        """Let the driver be busy with what the stopwatch does not see, such as waiting for the disk."""
        self.clock += seconds
        self.driver[name] = self.driver.get(name, 0.0) + seconds

    def _work_on(self, name: str) -> None:
        now = self._stopwatch()
        self.charge(name, now - self._since)
        self._since = now

    # The executor's verbs

    def submit(self, job: Job) -> None:
        """Take a job in hand; it begins now when a worker is free, else when one is."""
        self._work_on(STUDY)
        self._waiting.append(job)
        self._begin()
        self._since = self._stopwatch()

    def next_event(self) -> Event:
        """Give what the driver handles next, and set the clock to when it does."""
        self._work_on(STUDY)
        if not self._events:
            self._let_go_on()
            self._receive()
        event = self._events.popleft()
        if isinstance(event, Recorded):
            self._count(event)
        else:
            self._free(event.job)
        self._since = self._stopwatch()
        return event

    def stop(self, job: Job) -> None:
        """Let a job go; its worker takes the next one that waits."""
        self._work_on(STUDY)
        self._events = deque(event for event in self._events if event.job.key != job.key)
        self._waiting = deque(other for other in self._waiting if other.key != job.key)
        self._free(job)
        self._since = self._stopwatch()

    # The workers

    def _begin(self) -> None:
        while self._waiting and len(self._in_hand) < self.capacity:
            job = self._waiting.popleft()
            run = _Run(self.clock, 0, job, deque(), sent=self.clock)
            self._in_hand[job.key] = run
            try:
                run.left.extend(self._player(job))
            except (AutofreezeError, LookupError) as error:
                run.told.append(Failed(job, " ".join(str(error).split())))
            self._train(run)

    def _train(self, run: _Run) -> None:
        """Have a worker train from now on, up to its next report."""
        trained = run.trained
        while run.left and self._pace * (run.trained - trained) < self._beat:
            record = run.left.popleft()
            run.trained = record.seconds
            run.told.append(Recorded(run.job, record))
        if not run.left and not any(isinstance(event, Failed) for event in run.told):
            run.told.append(Finished(run.job))
        run.due = self.clock + self._pace * (run.trained - trained)
        run.has_state = bool(run.left) and run.due - run.sent >= STATE_SECONDS
        run.sent = run.due if run.has_state else run.sent
        self._turns += 1
        run.turn = self._turns
        self.stretches.append((self.clock, run.due))
        heapq.heappush(self._training, run)

    def _let_go_on(self) -> None:
        """Have the worker train on whose report has been handled."""
        run, self._current = self._current, None
        if run is not None and run.job.key in self._in_hand:
            self._train(run)

    def _receive(self) -> None:
        """Receive the report that came first."""
        if not self._training:
            raise LookupError("no job is in hand")
        run = heapq.heappop(self._training)
        self.waited += max(self.clock - run.due, 0.0)
        self.clock = max(self.clock, run.due)
        self.charge(TRANSPORT, self._handling)
        if run.has_state and self._state:
            self.charge(STATES, self._state)
        self.reports += 1
        self._events.extend(run.told)
        run.told.clear()
        self._current = run

    def _count(self, event: Recorded) -> None:
        key, work = event.job.key, event.record.work
        self.work += work - self._work_of.get(key, 0.0)
        self._work_of[key] = work

    def _free(self, job: Job) -> None:
        run = self._in_hand.pop(job.key, None)
        self._work_of.pop(job.key, None)
        if run in self._training:
            self._training.remove(run)
            heapq.heapify(self._training)
        self._begin()


def seconds_within(stretches: Sequence[tuple[float, float]], first: float, last: float) -> float:
    """Add up what lies of stretches within a span of time."""
    return sum(max(min(end, last) - max(begin, first), 0.0) for begin, end in stretches)
