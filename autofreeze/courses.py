"""What a run takes by its schedule: seconds epoch by epoch, and what it needs of the frozen part."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autofreeze import views
from autofreeze.plan import Pace
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """How many images there are."""

    n_train: int
    """That a run trains on, in one fold."""

    n_val: int
    """That it is scored on."""

    folds: int
    n_stored: int = 0
    """All that a search may use: features of these are stored."""

    n_test: int = 0


@dataclass(frozen=True)
class Course:
    """A run's way through its epochs. Rows: after 0, 1, … epochs; columns: those of the model, as borders."""

    seconds: Floats
    """(epochs + 1,), if all that can be cut off is read from stores."""

    train: Floats
    """(epochs + 1, columns), images of training whose frozen part lies below a border."""

    val: Floats
    """The same of validation."""

    cuts: tuple[tuple[int, int, tuple[bool, ...]], ...]
    """Epoch, border and columns that train, wherever one of the latter is new."""

    views: str
    erase: float

    @property
    def epochs(self) -> int:
        """Of the whole run; the last one may be shorter than the others."""
        return len(self.seconds) - 1


def course_of(schedule: Schedule, regime: Regime, pace: Pace, sizes: Sizes, *, sweep: bool = False) -> Course:
    """Follow a schedule through its epochs.

    Args:
        schedule: Of the run.
        regime: Its batch size decides the steps, its views what can be stored.
        pace: What was measured.
        sizes: Of the data.
        sweep: Whether it trains many heads at once.
    """
    steps_per_epoch = -(-sizes.n_train // regime.batch_size)
    timetable = schedule.timetable(steps_per_epoch)
    ends = (0, *timetable.epoch_ends)
    shape = (len(ends), len(pace.borders))
    seconds, train, val = np.zeros(shape[0]), np.zeros(shape), np.zeros(shape)
    cuts: list[tuple[int, int, tuple[bool, ...]]] = []
    ever = len(pace.borders)
    phase = start = 0
    for epoch, (first, end) in enumerate(pairwise(ends)):
        start = first
        while start < end:
            while timetable.ends[phase] <= start:
                phase += 1
            trains = tuple(lr is not None for lr in schedule.phases[phase].lrs)
            ever = min(ever, trains.index(True))
            stop = min(timetable.ends[phase], end)
            images = (stop - start) * sizes.n_train / steps_per_epoch
            step = pace.step(ever, trains)
            seconds[epoch + 1] += images * (step * pace.heads if sweep else step)
            train[epoch + 1, ever] += images
            if not cuts or cuts[-1][1:] != (ever, trains):
                cuts.append((epoch, ever, trains))
            start = stop
        val[epoch + 1, ever] += sizes.n_val
        seconds[epoch + 1] += sizes.n_val * pace.val(ever) + pace.borders[ever].epoch
    return Course(seconds.cumsum(), train.cumsum(0), val.cumsum(0), tuple(cuts), regime.views, regime.erase)


@dataclass
class Ledger:
    """What one search has spent: borders are cut once, stores filled once, and then there for all runs.

    Args:
        pace: What was measured.
        sizes: Of the data.
        stores: Whether anything is stored.
        budget_bytes: What all stores may take; None: whatever they need.
        there: Border and kind of view whose features lie in the cache already.
    """

    pace: Pace
    sizes: Sizes
    stores: bool = True
    budget_bytes: int | None = None
    there: frozenset[tuple[int, str]] = frozenset()
    _cuts: set[tuple[int, tuple[bool, ...]]] = field(default_factory=set)
    _kept: dict[tuple[int, str, float], bool] = field(default_factory=dict)
    _filled: set[tuple[int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        head = len(self.pace.borders) - 1
        self._cuts = {(head, tuple(column == head for column in range(head + 1)))}  # by measuring it
        self._prefixes = np.array([0.0 if one.refusal else one.prefix for one in self.pace.borders])

    def run(self, course: Course, epochs: int) -> float:
        """Enter a run that ends after some of its epochs; give its seconds, whatever it sets up included."""
        seconds = self.pace.run + float(course.seconds[epochs])
        for epoch, boundary, trains in course.cuts:
            if epoch < epochs:
                seconds += self._cut(boundary, trains)
        for view, erase, images in (
            ("none", 0.0, course.val[epochs]),
            (course.views, course.erase, course.train[epochs]),
        ):
            for boundary in map(int, np.flatnonzero(images)):
                if boundary:
                    filled, kept = self._fill(boundary, view, erase)
                    again = 0.0 if kept else float(images[boundary] * self._prefixes[boundary])
                    seconds += filled + again
        return seconds

    def _cut(self, boundary: int, trains: tuple[bool, ...]) -> float:
        """Seconds of cutting at a border; less where only the pattern of what trains above is new."""
        if boundary == 0 or (boundary, trains) in self._cuts:
            return 0.0
        new = all(known != boundary for known, _ in self._cuts)
        self._cuts.add((boundary, trains))
        return self.pace.setup * (1.0 if new else 0.5)

    def _fill(self, boundary: int, view: str, erase: float) -> tuple[float, bool]:
        """Seconds of filling what is not there, and whether it is stored then."""
        key = (boundary, view, erase)
        if key in self._kept:
            return 0.0, self._kept[key]
        border, count = self.pace.borders[boundary], views.prepared(view)
        kinds = {(boundary, views.kind(view, number, erase=erase)) for number in range(count or 0)}
        new = kinds - self._filled
        room = self.budget_bytes is None or self._bytes(self._filled | new) <= self.budget_bytes
        self._kept[key] = bool(self.stores and kinds and room and not (border.refusal or border.unstored))
        if not self._kept[key]:
            return 0.0, False
        self._filled |= new
        return len(new - self.there) * self.sizes.n_stored * border.prefix, True

    def _bytes(self, filled: set[tuple[int, str]]) -> int:
        return self.sizes.n_stored * sum(self.pace.borders[boundary].row_bytes for boundary, _ in filled)


def whole_run(course: Course, pace: Pace, sizes: Sizes, *, stored: bool) -> float:
    """Seconds of a run to its end when everything has been set up.

    Args:
        course: Of the run.
        pace: What was measured.
        sizes: Of the data.
        stored: Whether what is frozen is read from stores.
    """
    ledger = Ledger(pace, sizes, stores=stored)
    ledger.run(course, course.epochs)
    return ledger.run(course, course.epochs)
