"""The plan of a search: what was measured before it, and what it is expected to cost.

A column is a border too: what lies below it can be computed once and stored, or run again for every batch.
Everything here is told; how it comes about stands in ``pacing.py`` (measured seconds), ``courses.py``
(seconds of a run), ``rehearsal.py`` (which runs there may be) and ``outlook.py`` (ranges).
"""

from collections.abc import Sequence

from pydantic import Field

from autofreeze.cost import step_work
from autofreeze.values import Value


class Border(Value):
    """A column as the lowest that trains. Seconds are by image, of an undisturbed machine (``Pace.load``)."""

    name: str
    """The column's own."""

    prefix: float = Field(ge=0)
    """Seconds of the forward pass below it, pixels made; 0 for the first column, whose steps make them."""

    step: float = Field(ge=0)
    """Seconds of a training step from here to the head, where what enters is read from a store. Everything
    above trains too."""

    val: float = Field(ge=0)
    """Seconds of validation, from a store too."""

    epoch: float = Field(default=0, ge=0)
    """Seconds of an epoch beside steps and validation, not by image: the checkpoint."""

    row_bytes: int = Field(default=0, ge=0)
    """Bytes that a store takes for an image in one view."""

    refusal: str = ""
    """Why the model cannot be cut here: then it runs whole in every step."""

    unstored: str = ""
    """Why nothing is stored here, though it can be cut."""

    measured: bool = True
    """Whether a step was measured; else it lies between measured ones, by the forward pass of the columns."""


class Pace(Value):
    """How fast a model is on a device."""

    borders: tuple[Border, ...] = Field(min_length=2)
    """Of every column, stem first."""

    run: float = Field(default=0, ge=0)
    """Seconds to set up one run: building the model, tying the schedule to it."""

    setup: float = Field(default=0, ge=0)
    """Seconds to cut the model at a border for the first time, which is done once in a search."""

    heads: float = Field(default=1, ge=1)
    """Steps of a single head that one of a sweep of heads takes."""

    load: float = Field(default=1, ge=1)
    """How many times as long everything takes, since other programs use the processor. Seen where a run has
    one thread; 1 elsewhere, and seconds are then as the clock tells them."""

    def step(self, boundary: int, trains: Sequence[bool]) -> float:
        """Seconds of a training step by image, from a store where the model can be cut.

        Args:
            boundary: The lowest column that trains or has trained.
            trains: Which columns train now.
        """
        borders = self.borders
        lowest = next(column for column, on in enumerate(trains) if on)
        seconds = borders[lowest].step + borders[boundary].val - borders[lowest].val
        # A column that the gradient only passes through works out two products where another has three.
        passed = [column for column in range(lowest + 1, len(borders) - 1) if not trains[column]]
        seconds -= sum(max(borders[c].step - borders[c + 1].step, 0.0) for c in passed) / 3
        return max(seconds, 0.0) + self._uncut(boundary)

    def val(self, boundary: int) -> float:
        """Seconds of validation by image, from a store where the model can be cut."""
        return self.borders[boundary].val + self._uncut(boundary)

    def _uncut(self, boundary: int) -> float:
        border = self.borders[boundary]
        return border.prefix if border.refusal else 0.0


class Range(Value):
    """Seconds, of which nobody knows exactly how many: in four of five cases they lie between the ends."""

    low: float
    middle: float
    high: float

    def holds(self, seconds: float) -> bool:
        """Whether it was right."""
        return self.low <= seconds <= self.high


class Times(Value):
    """What a search and what follows it are expected to take."""

    search: Range
    tuning: Range | None = None
    confirmation: Range | None = None
    whole: Range


class StoreSize(Value):
    """What a store would take."""

    border: str
    """The lowest column that trains."""

    views: int
    """How many views of each image would be stored; 0: none, since views never repeat."""

    image_bytes: int
    """By image and view."""

    whole_bytes: int
    why_not: str = ""
    """Why it would not be stored; empty where it is."""


class Memory(Value):
    """Memory of the process, in bytes."""

    step_bytes: int
    """At the peak of a step that trains everything: parameters, gradients, the optimizer's state, and what
    the backward pass needs."""

    measured: bool
    """Whether the device told it; else it was counted."""

    process_bytes: int | None = None
    """Most that the process has held so far, all else included; None where the system does not tell."""


class Plan(Value):
    """What a search is expected to cost."""

    pace: Pace
    n_train: int
    """Images that a run trains on, in one fold."""

    n_val: int
    """Images that a run is scored on, in one fold."""

    folds: int
    epochs: float
    trials: int
    """Trials that are left to run."""

    baselines: dict[str, float]
    """Baseline that is left to run -> its seconds, when all is set up."""

    draw: float
    """Seconds of an average draw of the space that is trained to its end."""

    tuning: int = 0
    """Trials by which baselines are tuned after the search."""

    fresh_seeds: int = 0
    """Fresh seeds at most on which the finalists are confirmed."""

    reuse: bool = True
    """Whether the search keeps what frozen layers give; of the times below one holds then, else the other."""

    stored: Times
    """With the cache."""

    anew: Times
    """Without it."""

    work_shares: tuple[float, ...]
    stores: tuple[StoreSize, ...] = ()
    budget_bytes: int | None = None
    """What the cache may hold in all."""

    memory: Memory | None = None

    @property
    def expected(self) -> Times:
        """The times of the search as it was asked for."""
        return self.stored if self.reuse else self.anew

    @property
    def draws(self) -> int:
        """How many trials are left beside the baselines."""
        return self.trials - len(self.baselines)

    def work(self, column: int, *, stored: bool) -> float:
        """Forward-equivalents of a training step by image, with a column as the lowest that trains."""
        trains = [number >= column for number in range(len(self.work_shares))]
        below = sum(self.work_shares[:column]) if stored and not self.pace.borders[column].refusal else 0.0
        return step_work(self.work_shares, trains, 1) - below
