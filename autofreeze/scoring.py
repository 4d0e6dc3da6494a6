"""What the records of a trial are worth on its folds, and which head of a sweep leads."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autofreeze import metrics
from autofreeze.job import EpochRecord
from autofreeze.stability import why_unstable
from autofreeze.values import Value

TrialCurves = Mapping[int, Sequence[EpochRecord]]
"""Fold -> the records of a trial on it, in order."""


class Score(Value):
    """What a trial is worth; fields as in ``TrialResult``."""

    value: float
    val_loss: float
    fold_values: tuple[float, ...]
    n_val: int


class Scoring:
    """Scores trials by a metric over the validation images of their folds.

    Args:
        metric: What is scored.
        classes: True classes of the validation images, an array for each fold.
    """

    def __init__(self, metric: metrics.MetricName, classes: Sequence[NDArray[np.int64]]) -> None:
        self.metric: metrics.MetricName = metric
        self._classes = tuple(classes)
        self.effective_images = [metrics.effective_images(metric, one) for one in self._classes]

    def score(self, ends: Sequence[EpochRecord]) -> Score:
        """Score a trial by its last record on each fold."""
        weights = [record.n_val for record in ends]
        val_loss = float(np.average([record.val_loss for record in ends], weights=weights))
        labels = np.concatenate(self._classes[: len(ends)])
        return Score(
            value=metrics.score(self.metric, labels, _predicted(ends), val_loss),
            val_loss=val_loss,
            fold_values=tuple(record.value for record in ends),
            n_val=sum(weights),
        )

    def merits(self, ends: Sequence[EpochRecord]) -> NDArray[np.float64]:
        """Share out the metric to the images of the first folds, from the last record of each."""
        if self.metric == "log_loss":
            return -np.concatenate([metrics.unpack_losses(record.losses) for record in ends])
        labels = np.concatenate(self._classes[: len(ends)])
        return metrics.merits(self.metric, labels, _predicted(ends))

    def leader(self, curves: TrialCurves) -> int | None:
        """Say which head of a sweep leads: over the folds that are finished, else at its last epoch so far.

        A head that was unstable once leads only where all were.

        Returns:
            Its place; None where the trial is no sweep, or has no record yet.
        """
        last = [curves[fold][-1] for fold in sorted(curves) if curves[fold]]
        if not last or not last[0].members:
            return None
        finished = [record for record in last if record.last]
        places = range(len(last[0].members))
        stable = [place for place in places if not why_fallen(curves, place)]
        return leading(
            {place: self._standing([record.members[place] for record in finished or last[-1:]],
                                   finished=bool(finished)) for place in stable or places}
        )  # fmt: skip

    def _standing(self, ends: Sequence[EpochRecord], *, finished: bool) -> tuple[float, float]:
        if not finished or not all(record.is_finite and record.predicted for record in ends):
            return ends[0].value, ends[0].val_loss
        found = self.score(ends)
        return found.value, found.val_loss


def leading(standings: Mapping[int, tuple[float, float]]) -> int:
    """Give who leads: the highest value, then the lower log loss, then the first place. A NaN never leads.

    Args:
        standings: By place, the metric as an objective, and the log loss.
    """

    def key(place: int) -> tuple[bool, float, float, int]:
        value, loss = standings[place]
        finite = np.isfinite(value) and np.isfinite(loss)
        return (True, value, -loss, -place) if finite else (False, 0.0, 0.0, -place)

    return max(standings, key=key)


def leading_now(members: Sequence[EpochRecord], going: Sequence[int]) -> int:
    """Say which head of a sweep leads in an epoch: of those that are stable, where any is.

    Args:
        members: The newest record of each head, by its place.
        going: Places of those that were trained in this epoch.
    """
    stable = [place for place in going if not why_unstable(members[place])]
    return leading({place: (members[place].value, members[place].val_loss) for place in stable or going})


def joined(
    members: Sequence[EpochRecord], going: Sequence[int], *, work: float, seconds: float
) -> EpochRecord:
    """Make the record of a sweep from those of its heads: that of the stable head that leads in this epoch.

    The sweep breaks off where no head is stable any more.

    Args:
        members: The newest record of each head, by its place.
        going: Places of those that were trained in this epoch.
        work: Forward-equivalents of the whole sweep so far.
        seconds: The same in time.
    """
    leader = leading_now(members, going)
    last = members[leader].last or bool(why_unstable(members[leader]))
    spare = {} if last else {"predicted": "", "losses": ""}
    kept = tuple(record.model_copy(update=spare) for record in members)
    return members[leader].model_copy(
        update={"work": work, "seconds": seconds, "last": last, "members": kept}
    )


def why_fallen(curves: TrialCurves, place: int) -> str:
    """Say why one head of a sweep is out: it was unstable in some epoch of some fold; empty when it is in."""
    records = (record.members[place] for fold in sorted(curves) for record in curves[fold])
    return next((reason for record in records if (reason := why_unstable(record))), "")


def curves_of(curves: TrialCurves, place: int | None) -> dict[int, list[EpochRecord]]:
    """Give the curves of one head of a sweep; those of an ordinary trial, without a place, as they are."""
    return {
        fold: [record if place is None else record.members[place] for record in curve]
        for fold, curve in curves.items()
    }


def _predicted(ends: Sequence[EpochRecord]) -> NDArray[np.int64]:
    return np.concatenate([record.predicted_classes for record in ends])
