"""What a worker knows of itself, and what it opens there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autofreeze.job import EpochRecord, Job

Runner = Callable[[Job, Path], Iterator[EpochRecord]]
"""Runs a job with a rolling file."""


@dataclass(frozen=True)
class Here:
    """A worker, to whatever is opened on it."""

    depot: Any
    """Handle of the actor that workers share rows by; see ``executors.depot``."""

    lane: str
    threads: int
    """Of each run on a CPU."""

    gpus: float
    """GPUs, or the share of one, that are the worker's own."""


class Opener(Protocol):
    """Opens on a worker what is searched. It is sent to each node once."""

    @property
    def stops(self) -> tuple[type[Exception], ...]:
        """Errors of a run that end the search, since no other run would fare better."""
        ...

    @property
    def n_bytes(self) -> int:
        """Bytes of what it refers to, which each node fetches once."""
        ...

    def __call__(self, here: Here) -> Runner:
        """Open it.

        Raises:
            AutofreezeError: It cannot be opened here; the worker is left alone then.
        """
        ...
