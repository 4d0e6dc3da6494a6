"""What a search will cost in time: from a few measured seconds to an estimate, by arithmetic alone.

A training step costs more the deeper it trains, in proportion to the forward work of the columns that its
backward pass runs through. So two measured steps, head alone and whole model, give the seconds of any step.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from autofreeze.regime import Regime
from autofreeze.schedule import Schedule, Timetable
from autofreeze.values import Value

CANDIDATES = 6
"""Schedules that are confirmed, as a rule: four or five finalists, and a baseline or two that could win."""


class Pace(Value):
    """Measured seconds. All are of one machine at one moment, so what follows from them is rough."""

    head_image: float = Field(ge=0)
    """Seconds of a training step in which the head alone trains, by image of the step."""

    whole_image: float = Field(ge=0)
    """The same for a step in which everything trains."""

    val_image: float = Field(ge=0)
    """Seconds of validation, by image."""

    head_epoch: float = Field(default=0, ge=0)
    """Seconds that an epoch of the head alone takes beside its steps and its validation: the checkpoint."""

    whole_epoch: float = Field(default=0, ge=0)
    """The same when everything trains."""

    run: float = Field(default=0, ge=0)
    """Seconds to build the model of one run."""

    def step_image(self, backward: float, head: float) -> float:
        """Seconds of a training step by image.

        Args:
            backward: Share of forward work that the backward pass runs through, 0..1.
            head: The head's own share.
        """
        return _between(self.head_image, self.whole_image, _depth(backward, head))

    def epoch(self, backward: float, head: float) -> float:
        """Seconds beside steps and validation of an epoch; arguments as for :meth:`step_image`."""
        return _between(self.head_epoch, self.whole_epoch, _depth(backward, head))


def _depth(backward: float, head: float) -> float:
    """Where between the head alone (0) and the whole model (1) a backward pass ends."""
    return (backward - head) / (1 - head) if head < 1 else 1.0


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * min(max(share, 0.0), 1.0)


@dataclass(frozen=True)
class Sizes:
    """How much is trained and scored in one fold, and how many folds there are."""

    n_train: int
    n_val: int
    folds: int


def trial_seconds(
    schedule: Schedule, regime: Regime, pace: Pace, work_shares: Sequence[float], sizes: Sizes
) -> float:
    """Estimate the seconds of a trial that is trained to its end on every fold.

    Args:
        schedule: Of the trial.
        regime: Its batch size decides the steps.
        pace: What was measured.
        work_shares: Share of forward work by column, stem first; they sum to 1.
        sizes: Of the folds.
    """
    steps_per_epoch = -(-sizes.n_train // regime.batch_size)
    timetable = schedule.timetable(steps_per_epoch)
    images_per_step = sizes.n_train / steps_per_epoch
    seconds = pace.run + pace.val_image * sizes.n_val * len(timetable.epoch_ends)
    start = 0
    for phase, end in zip(schedule.phases, timetable.ends, strict=True):
        lowest = next(column for column, lr in enumerate(phase.lrs) if lr is not None)
        backward = sum(work_shares[lowest:])
        seconds += (end - start) * images_per_step * pace.step_image(backward, work_shares[-1])
        seconds += _epochs_ending(timetable, start, end) * pace.epoch(backward, work_shares[-1])
        start = end
    return seconds * sizes.folds


def _epochs_ending(timetable: Timetable, start: int, end: int) -> int:
    return sum(start < mark <= end for mark in timetable.epoch_ends)


class Plan(Value):
    """What a search is expected to cost, without pruning."""

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
    """Baseline that is left to run -> its seconds."""

    draw: float
    """Seconds of an average draw of the space."""

    longest_draw: float
    """Seconds of the longest of the draws that were looked at."""

    tuning: int = 0
    """Trials by which baselines are tuned after the search."""

    fresh_seeds: int = 0
    """Fresh seeds at most on which the finalists are confirmed."""

    @property
    def seconds(self) -> float:
        """Seconds of all trials that are left, if every one is trained to its end."""
        return sum(self.baselines.values()) + self.draws * self.draw

    @property
    def most_seconds(self) -> float:
        """The same if every draw were the longest: however the sampler chooses, it is hardly more."""
        return sum(self.baselines.values()) + self.draws * self.longest_draw

    @property
    def tuning_seconds(self) -> float:
        """Seconds of tuning the baselines, each trial taken for an average draw."""
        return self.tuning * self.draw

    @property
    def confirmation_seconds(self) -> float:
        """Seconds of the confirmation, if nobody is left behind; each run is taken for an average draw's."""
        return self.fresh_seeds * CANDIDATES * self.draw / self.folds

    @property
    def draws(self) -> int:
        """How many trials are left beside the baselines."""
        return self.trials - len(self.baselines)


def make_plan(
    pace: Pace,
    work_shares: Sequence[float],
    sizes: Sizes,
    *,
    epochs: float,
    trials: int,
    baselines: Mapping[str, tuple[Schedule, Regime]],
    draws: Iterable[tuple[Schedule, Regime]],
    tuning: int = 0,
    fresh_seeds: int = 0,
) -> Plan:
    """Estimate a search.

    Args:
        pace: What was measured.
        work_shares: Share of forward work by column.
        sizes: Of the folds.
        epochs: Length of each run.
        trials: Trials that are left to run, >= 1.
        baselines: Those that are left to run, in order; more than ``trials`` are not counted.
        draws: Points of the space, drawn evenly; at least one.
        tuning: Trials by which baselines are tuned.
        fresh_seeds: Fresh seeds at most on which the finalists are confirmed.
    """
    first = list(baselines.items())[:trials]
    drawn = [trial_seconds(*point, pace, work_shares, sizes) for point in draws]
    return Plan(
        pace=pace,
        n_train=sizes.n_train,
        n_val=sizes.n_val,
        folds=sizes.folds,
        epochs=epochs,
        trials=trials,
        baselines={name: trial_seconds(*point, pace, work_shares, sizes) for name, point in first},
        draw=sum(drawn) / len(drawn),
        longest_draw=max(drawn),
        tuning=tuning,
        fresh_seeds=fresh_seeds,
    )
