"""What a report says of jobs on a cluster: where they ran, what was sent, and what had to be run again."""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from autofreeze.placing import Cause, Placing, Restart


@dataclass(frozen=True)
class Place:
    """Where a worker runs."""

    host: str
    """Address of its machine."""

    node: str
    """Ray's id of the node."""

    pid: int
    gpus: tuple[str, ...] = ()


class Ledger:
    """Counts what happens to the jobs of a session.

    Args:
        about: Fields of ``Placing`` that are known from the start.
    """

    def __init__(self, **about: Any) -> None:
        self._about = about
        self._names: dict[str, str] = {}
        self._ended: Counter[str] = Counter()
        self._job_bytes = self._state_bytes = 0
        self._too_large: set[str] = set()
        self._restarts: list[Restart] = []

    @property
    def ended(self) -> int:
        """Jobs that have come to their end."""
        return self._ended.total()

    def name(self, place: Place) -> str:
        """Name a place by its machine's address; a second node there has a part of its id beside it."""
        if place.node not in self._names:
            taken = place.host in self._names.values()
            self._names[place.node] = f"{place.host}/{place.node[:6]}" if taken else place.host
        gpus = f" (GPU {', '.join(place.gpus)})" if place.gpus else ""
        return f"{self._names[place.node]}{gpus}"

    def note_end(self, place: Place) -> None:
        """Take note of a job that has come to its end."""
        self._ended[self.name(place)] += 1

    def note_sent(self, *, job: int = 0, state: int = 0) -> None:
        """Take note of bytes that went to or came from a worker."""
        self._job_bytes += job
        self._state_bytes += state

    def note_too_large(self, keys: Iterable[str]) -> None:
        """Take note of jobs with a state that was too large to be sent."""
        self._too_large.update(keys)

    def note_restart(self, job: str, cause: Cause, place: Place, *, epoch: int, resumed: int) -> None:
        """Take note of a job that was taken from its worker."""
        where = self.name(place)
        one = Restart(job=job, cause=cause, where=where, node=place.node, epoch=epoch, resumed=resumed)
        self._restarts.append(one)

    def placing(self, *, nodes: Container[str], node_bytes: int) -> Placing:
        """Put it together.

        Args:
            nodes: Ids of those that are alive: workers of others went down with their node.
            node_bytes: What each node is sent once.
        """
        ended = max(self.ended, 1)
        restarts = (
            one.model_copy(update={"cause": "node"})
            if one.cause == "worker" and one.node not in nodes
            else one
            for one in self._restarts
        )
        return Placing(
            **self._about,
            workers=dict(self._ended),
            too_large=len(self._too_large),
            node_bytes=node_bytes,
            job_bytes=self._job_bytes / ended,
            job_state_bytes=self._state_bytes / ended,
            restarts=tuple(restarts),
        )
