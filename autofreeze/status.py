"""What a search tells of itself while it runs: what it is doing, how far it has come, and where."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field

from autofreeze.scale import Scale
from autofreeze.values import Value


class Doing(StrEnum):
    """What a search is at."""

    PREPARING = "preparing"
    SEARCHING = "searching"
    CONFIRMING = "confirming on fresh seeds"
    READING = "reading the test split"
    ENDED = "ended"


class BestSoFar(Value):
    """The best complete trial so far; among many the best is partly luck."""

    number: int
    name: str
    """Its baseline, or the recipe of its schedule."""

    value: float | None
    """As people read it."""


class UnderWay(Value):
    """A run under way: a trial on one of its folds, or a finalist on a fresh seed."""

    number: int
    """Of the trial."""

    name: str
    """Its baseline, or the recipe of its schedule."""

    heads: int = 0
    """How many heads are trained side by side; 0 where it is no sweep."""

    fold: int = 0
    """From 0."""

    folds: int = 1
    fresh: int | None = None
    """Number of the fresh seed; None in the search."""

    epochs_done: float = 0.0
    """Of this fold or seed."""

    epochs: float
    value: float | None = None
    """At the last epoch told, as people read it; None before the first, or where it is not finite."""

    where: str = ""
    """Where the last epoch came from; empty before the first one, and where there is but one place."""

    since: AwareDatetime
    """When it was begun or taken up, in this session."""

    heard: AwareDatetime | None = None
    """When the last epoch was told."""


class FreshSeeds(Value):
    """How far a confirmation has come."""

    seeds: int = 0
    """Fresh seeds after which the latest look was taken; 0 before the first."""

    planned: int
    """Fresh seeds at most."""

    done: int = 0
    """Runs that are done, of those that the next look waits for."""

    total: int = 0
    """Runs that the next look waits for; 0 while nobody knows."""


class Status(Value):
    """What a search tells of itself."""

    schema_version: Literal[1] = 1
    written: AwareDatetime
    """When this was so, by the clock of ``host``."""

    began: AwareDatetime
    """When this session began."""

    process: int
    """Number of the process on its machine."""

    host: str
    """Name of that machine."""

    command: str = ""
    """What was typed to begin it; empty where nothing was."""

    doing: Doing
    trials: int
    """Trials that the search was asked for."""

    counted: int = 0
    """Trials that have ended and count among them: neither too dear to run, nor of a tuning."""

    tunings: int = 0
    """Trials by which baselines will be tuned, beside ``trials``."""

    tuned: int = 0
    """Those of them that have ended."""

    ended: dict[str, int] = Field(default_factory=dict)
    """How they ended -> how many, in the words of ``results.Ending``; all that have ended."""

    best: BestSoFar | None = None
    scale: Scale = Scale(metric="top1")
    """How values are read."""

    under_way: tuple[UnderWay, ...] = ()
    places: dict[str, int] = Field(default_factory=dict)
    """Where runs are under way -> how many; empty where there is but one place."""

    fresh: FreshSeeds | None = None
    """None before the confirmation, and without one."""

    seconds_left: float | None = None
    """What is left of what it is doing, at the pace so far and within the time that was given; of a
    confirmation up to the next look. None while nothing has ended that a pace could be taken from."""

    cut_short: str = ""
    """What ended it before its time; empty when nothing did, and while it goes on."""

    def age(self, now: datetime) -> float:
        """Give the seconds since it was written; none below zero, whatever the clocks of two machines say."""
        return max((now - self.written).total_seconds(), 0.0)


def places_of(under_way: Iterable[UnderWay]) -> dict[str, int]:
    """Count runs by where they are, as far as that is known."""
    return dict(sorted(Counter(run.where for run in under_way if run.where).items()))
