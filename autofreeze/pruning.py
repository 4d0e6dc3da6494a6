"""Who goes on: pure decisions from records."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from autofreeze.job import EpochRecord
from autofreeze.scale import Unit, number
from autofreeze.stability import why_unstable

MIN_PEERS = 5
"""Other runs that a median needs."""

GRACE_SHARE = 0.5
"""Share of the epochs after the last thaw in which nothing is judged unpromising.

Fine-tuning everything at a high rate begins below the heads that others train on frozen features, and
passes them late, when the cosine has come down.
"""

GO_ON = 3
"""One in so many goes on from one fold to the next."""

BEHIND = 1.645
"""Standard errors by which a trial must trail the best on the same images: one-sided 5 %."""


@dataclass(frozen=True)
class Go:
    """The run goes on."""


@dataclass(frozen=True)
class Unpromising:
    """The run is stable, and behind."""

    reason: str


@dataclass(frozen=True)
class Unstable:
    """The run has diverged or is about to."""

    reason: str


Decision = Go | Unpromising | Unstable


def judge(
    record: EpochRecord,
    peers: Sequence[Sequence[EpochRecord]],
    *,
    epochs: float,
    n: float | None = None,
    spared: bool = False,
    before: Sequence[EpochRecord] = (),
    tell: Callable[[float], str] = "{:.3f}".format,
) -> Decision:
    """Judge a run by its newest record.

    A schedule that is cut before its last thaw would be judged by its head alone, so nothing is called
    unpromising until half of the time after it has gone. Then the run must lie below the median of its peers
    twice, by more than a standard error: at the same epoch, and at the same number of epochs since the last
    thaw. So a long warm-up is neither held against schedules that thawed long ago, nor favoured by the
    epochs that its head has had.

    Args:
        record: The newest record.
        peers: Records of other runs on the same fold, each run in order.
        epochs: Length of the run.
        n: Images that the value rests on, for its standard error; those of the record when left out.
        spared: Whether to judge stability alone, as for baselines.
        before: The run's earlier records, in order.
        tell: Writes a value as people read it.
    """
    reason = why_unstable(record, before)
    if reason:
        return Unstable(reason)
    if spared or record.last:
        return Go()
    reason = why_unpromising(record, peers, epochs=epochs, n=record.n_val if n is None else n, tell=tell)
    return Unpromising(reason) if reason else Go()


class Point(Protocol):
    """What is compared of a run at the end of an epoch; an ``EpochRecord`` is one."""

    @property
    def epoch(self) -> int:
        """From 0."""

    @property
    def epochs_done(self) -> float:
        """Epochs trained when the value was taken."""

    @property
    def epochs_since_unfreeze(self) -> float:
        """Epochs since the last thaw; negative before it."""

    @property
    def value(self) -> float:
        """The more, the better."""

    @property
    def is_finite(self) -> bool:
        """Whether the value may be compared."""


def why_unpromising(
    newest: Point,
    peers: Sequence[Sequence[Point]],
    *,
    epochs: float,
    n: float | None = None,
    tell: Callable[[float], str] = "{:.3f}".format,
) -> str:
    """Say why a run is behind its peers; empty when it is not, or when it is too early to tell.

    Args:
        newest: Where the run stands, at a finite value.
        peers: Other runs, each in order.
        epochs: Length of the run.
        n: Images of which the values are shares, for their standard error; none is allowed for without it.
        tell: Writes a value as people read it.
    """
    thawed_at = newest.epochs_done - newest.epochs_since_unfreeze
    if newest.epochs_since_unfreeze < GRACE_SHARE * (epochs - thawed_at) - 1e-9:
        return ""
    same_epoch = [
        other.value for run in peers for other in run if other.epoch == newest.epoch and other.is_finite
    ]
    same_age = [
        value for run in peers if (value := _value_at_age(run, newest.epochs_since_unfreeze)) is not None
    ]
    if min(len(same_epoch), len(same_age)) < MIN_PEERS:
        return ""
    bar = min(median(same_epoch), median(same_age))
    error = math.sqrt(max(abs(bar) * (1 - abs(bar)), 0.0) / n) if n else 0.0
    if newest.value >= bar - error:
        return ""
    return (
        f"{tell(newest.value)} after {newest.epochs_done:g} epochs; the median of {len(same_epoch)} others "
        f"is {tell(median(same_epoch))} at that epoch and {tell(median(same_age))} as long after the thaw"
    )


def _value_at_age(run: Sequence[Point], age: float) -> float | None:
    """Give the run's last finite value at no more than this many epochs since its last thaw."""
    values = [
        record.value for record in run if 0 < record.epochs_since_unfreeze <= age + 1e-9 and record.is_finite
    ]
    reached = run[-1].epochs_since_unfreeze >= age - 1e-9 if run else False
    return values[-1] if values and reached else None


Standing = tuple[float, float]
"""How a trial stands after some folds: its value over all of them, and the negative log loss, which breaks
ties; 0 where nobody knows it."""


def judge_standing(own: Standing, others: Sequence[Standing], *, folds: int) -> Decision:
    """Judge a trial between two folds, by its rank among all that have come as far.

    Folds are the rungs of asynchronous successive halving. On each of them a schedule is run whole: every
    phase has had its share, so that a long warm-up has paid, or has not. A third goes on, and whoever is
    level with the last of it. Ranks need no standard error, and hold for any metric. Replayed searches
    decided for this against limits on paired differences and smaller budgets (``docs/pruning.md``).

    Args:
        own: The trial's.
        others: Of the trials that have finished as many folds, whatever became of them since; fewer than
            ``MIN_PEERS`` judge nobody.
        folds: How many that is.

    Source:
        Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (ASHA), its rule for stopping.
    """
    if len(others) < MIN_PEERS:
        return Go()
    ahead, n = sum(other > own for other in others), len(others) + 1
    go_on = math.ceil(n / GO_ON)
    if ahead < go_on:
        return Go()
    after = f"{folds} fold{'s' if folds > 1 else ''}"
    return Unpromising(f"number {ahead + 1} of {n} after {after}, of which {go_on} go on")


def judge_fold(
    merits: NDArray[np.float64], best: NDArray[np.float64], *, unit: Unit = "points", overlap: float = 0.0
) -> Decision:
    """Judge whether a trial is behind the best one, paired over the images of the same folds.

    Args:
        merits: The trial's metric shared out to the images, (n,), as ``metrics.merits`` does it: their mean
            is the metric. For log loss the negative losses themselves.
        best: The same for the best complete trial so far, (n,).
        unit: What a difference is told in. Plain numbers may be few, such as one for each fold: their limit
            is Student's, and a single one, or some that all differ by the same, tell nothing.
        overlap: Of numbers that are whole runs on folds: validation examples by training examples, for their
            training parts have examples in common.

    Source:
        Nadeau and Bengio 2003, the corrected resampled t test (the overlap).
    """
    difference = merits - best
    if unit == "plain":
        return _judge_few(difference, overlap)
    mean = float(difference.mean())
    error = float(difference.std()) / math.sqrt(len(difference))
    if mean < -BEHIND * error and mean < 0:
        lead = (
            f"{-mean:.3f} ± {error:.3f} nats"
            if unit == "nats"
            else f"{-100 * mean:.1f} ± {100 * error:.1f} points"
        )
        return Unpromising(f"behind the best by {lead} on the same {len(difference)} images")
    return Go()


def _judge_few(difference: NDArray[np.float64], overlap: float) -> Decision:
    """Judge differences of plain numbers: of examples, or of whole runs."""
    n = len(difference)
    spread = float(difference.std(ddof=1)) if n > 1 else 0.0
    if not spread:
        return Go()
    mean, error = float(difference.mean()), spread * math.sqrt(1 / n + overlap)
    if mean >= -error * float(special.stdtrit(n - 1, special.ndtr(BEHIND))):
        return Go()
    what = "folds" if overlap else "examples or folds"
    return Unpromising(f"behind the best by {number(-mean, 3)} ± {number(error, 3)} on the same {n} {what}")
