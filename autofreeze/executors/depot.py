"""The depot: an actor on the driver's node, where workers fetch what to do, and what all of them share."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from autofreeze.job import Job

POLL_SECONDS = 10.0
"""A worker that has nothing to do asks again after so long."""

Claim = tuple[Literal["held"], Any] | tuple[Literal["yours", "wait", "full"], None]
"""What comes of asking for shared rows: a reference to them; or the asker is to compute them; or somebody is
computing them; or there is no room for them."""


@dataclass(frozen=True)
class Errand:
    """A job, and from where it goes on."""

    job: Job
    checkpoint: str = ""
    """Rolling file that all nodes see; empty where there is none, and the worker keeps its own."""

    state: bytes | None = None
    """What the worker's own rolling file holds to begin with; None: nothing, the run starts anew."""

    keep: bool = False
    """Whether the state at the job's end is wanted too, however large: its model is used once more."""


@dataclass(frozen=True)
class Order:
    """What a worker is to do next."""

    begin: tuple["Errand", ...] = ()
    """Jobs to take in hand."""

    drop: tuple[str, ...] = ()
    """Keys of jobs to let go."""

    end: bool = False
    """Whether there will be nothing more."""


@dataclass
class _Desk:
    """What waits for one worker."""

    begin: list[Errand] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    end: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether the worker may go on: its records have been judged, or there is something new."""


class Depot:
    """Orders for workers, and rows that one computes for all. All methods but the waiting one are instant.

    Args:
        opener: Reference, in a list, to what opens on a worker what is searched (``lane.Opener``).
        room: Bytes that shared rows may take together.
    """

    def __init__(self, opener: list[Any], room: int) -> None:
        self._opener, self._room = opener, room
        self._desks: dict[str, _Desk] = {}
        self._workers: dict[str, list[Any]] = {}
        self._held: dict[str, Any] = {}
        self._computing: dict[str, tuple[str, int]] = {}
        self._held_bytes: dict[str, int] = {}

    async def post(self, lane: str, begin: Sequence[Errand] = (), drop: Sequence[str] = ()) -> None:
        """Let a worker go on with what it has in hand and was not told to drop, and begin what is new."""
        desk = self._desk(lane)
        desk.begin += begin
        desk.drop += drop
        desk.released.set()

    async def close(self, lane: str) -> None:
        """Send a worker home, and take back what it was computing for all."""
        desk = self._desk(lane)
        desk.end = True
        desk.released.set()
        for key in [key for key, (who, _) in self._computing.items() if who == lane]:
            del self._computing[key]

    async def order(self, lane: str) -> Order | None:
        """Wait until a worker may go on or is to end.

        Returns:
            None when nothing has come up for ``POLL_SECONDS``.
        """
        desk = self._desk(lane)
        try:
            await asyncio.wait_for(desk.released.wait(), POLL_SECONDS)
        except TimeoutError:
            return None
        order = Order(tuple(desk.begin), tuple(desk.drop), desk.end)
        desk.begin, desk.drop = [], []
        if not desk.end:
            desk.released.clear()
        return order

    async def enter(self, lane: str, worker: list[Any]) -> None:
        """Take note of a worker's handle, in a list."""
        self._workers[lane] = worker

    async def worker(self, lane: str) -> list[Any]:
        """Give a worker's handle, in a list."""
        return self._workers[lane]

    async def opener(self) -> list[Any]:
        """Give the reference to what opens on a worker what is searched, in a list."""
        return self._opener

    def _desk(self, lane: str) -> _Desk:
        return self._desks.setdefault(lane, _Desk())

    # Shared rows

    async def claim(self, key: str, n_bytes: int, lane: str) -> Claim:
        """Ask for shared rows, or for the right to compute them."""
        if key in self._held:
            return "held", [self._held[key]]  # in a list: a bare reference would be fetched on the way
        if self._desk(lane).end:
            return "full", None
        if key in self._computing:
            return "wait", None
        taken = sum(self._held_bytes.values()) + sum(size for _, size in self._computing.values())
        if taken + n_bytes > self._room:
            return "full", None
        self._computing[key] = (lane, n_bytes)
        return "yours", None

    async def keep(self, key: str, rows: Any) -> list[Any]:
        """Take rows over: they outlive the worker that computed them, and its node.

        Args:
            key: Of the rows.
            rows: The arrays themselves.

        Returns:
            The reference under which all find them, in a list.
        """
        import ray

        _, size = self._computing.pop(key, ("", 0))
        if key not in self._held:
            self._held[key] = ray.put(rows)
            self._held_bytes[key] = size
        return [self._held[key]]

    async def give_up(self, key: str) -> None:
        """Let somebody else compute rows."""
        self._computing.pop(key, None)

    async def shared_bytes(self) -> int:
        """Bytes of the rows that are held; each node fetches those it uses once."""
        return sum(self._held_bytes.values())
