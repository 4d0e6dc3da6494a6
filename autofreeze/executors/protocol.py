"""What every executor does: submit a job, give the next event, stop a job."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from autofreeze.job import EpochRecord, Job


@dataclass(frozen=True)
class Recorded:
    """A job has finished an epoch."""

    job: Job
    record: EpochRecord
    where: str = ""
    """What to call the place where it runs; empty where there is but one."""

    at: float = field(default_factory=time.time, compare=False)
    """When the epoch ended, in seconds since 1970 by the clock of the machine where it ran."""


@dataclass(frozen=True)
class Finished:
    """A job has ended by itself: its last record has been given."""

    job: Job


@dataclass(frozen=True)
class Failed:
    """A job broke off with an error. A failure is never a score."""

    job: Job
    error: str
    """One line for people."""

    details: str = ""
    """The traceback."""


@dataclass(frozen=True)
class Waiting:
    """Nothing has happened for some seconds. Whoever asked may look at its limits, and asks again."""


Event = Recorded | Finished | Failed | Waiting


class Executor(Protocol):
    """Runs jobs.

    The rules, held by one suite over all executors: the records of a job come in order, each once, and
    before its one ``Finished`` or ``Failed``; a stopped job gives nothing more; jobs do not disturb one
    another; ``next_event`` with no job in hand raises ``LookupError``.
    """

    @property
    def capacity(self) -> int:
        """How many jobs are worth holding at a time, >= 1."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job in hand. Its key must not be in hand already."""
        ...

    def next_event(self) -> Event:
        """Wait for the next event of any job in hand, or for some seconds.

        Raises:
            LookupError: No job is in hand.
        """
        ...

    def stop(self, job: Job) -> None:
        """Let a job go: nothing more comes of it, and what it held is freed. Unknown jobs are ignored."""
        ...
