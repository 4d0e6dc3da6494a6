"""Jobs and workers in hand, as the driver of a cluster knows them."""

import time
from dataclasses import dataclass, field

from autofreeze.executors.ledger import Place
from autofreeze.job import Job
from autofreeze.placing import Cause


@dataclass
class InHand:
    """A job in hand, whether it waits or runs."""

    job: Job
    lane: str = ""
    """Where it runs; empty while it waits."""

    told: int = 0
    """Records given."""

    kept: int = 0
    """Records of which the state was kept."""

    strikes: list[tuple[str, Cause]] = field(default_factory=list)
    """Nodes where it lost its worker, and why."""

    avoid: str = ""
    """Lane that it was displaced from."""

    suspect: bool = False
    """Whether it was among the jobs of a worker that died: then it is handed out alone, so that the one that
    was the reason is told from the others."""

    waits_until: float = 0.0
    """Held back until it is known whether its workers died, or their nodes."""

    error: str = ""
    """The last reason why it was taken from a worker."""


@dataclass
class Worker:
    """A worker that has reported."""

    place: Place
    keys: list[str] = field(default_factory=list)
    """Of the jobs that it has, the one that runs first."""

    drop: list[str] = field(default_factory=list)
    """Of jobs that it has, and nobody wants."""

    idle: bool = False
    unfit: bool = False
    since: float = field(default_factory=time.monotonic)
    """When it was let go on."""
