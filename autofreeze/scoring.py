"""What is asked of a scoring of records, and which head of a sweep leads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autofreeze.job import EpochRecord, Job
from autofreeze.scale import Unit
from autofreeze.stability import why_unstable
from autofreeze.values import Value

TrialCurves = Mapping[int, Sequence[EpochRecord]]
"""Fold -> the records of a trial on it, in order."""


class Score(Value):
    """What a trial is worth; fields as in ``TrialResult``."""

    value: float
    val_loss: float | None
    fold_values: tuple[float, ...]
    n_val: int


class Scoring(Protocol):
    """What a study asks of those who know what its records mean."""

    @property
    def n_folds(self) -> int:
        """Folds that a trial is scored on, >= 1."""
        ...

    @property
    def unit(self) -> Unit:
        """What a difference of two trials is told in."""
        ...

    @property
    def overlap(self) -> float:
        """Where merits are those of whole folds, as for ``pruning.judge_fold``; 0 where they are examples."""
        ...

    def tell(self, objective: float) -> str:
        """Write the objective of a run as people read it."""
        ...

    def effective_examples(self, fold: int) -> float | None:
        """Give how many examples the value of one fold rests on; None where nobody knows."""
        ...

    def score(self, ends: Sequence[EpochRecord]) -> Score:
        """Score a trial by its last record on each of the first folds, in order."""
        ...

    def merits(self, ends: Sequence[EpochRecord]) -> NDArray[np.float64]:
        """Share out the value to the examples of the first folds, in an order that all trials have.

        Their mean is the value; two trials are compared example by example.
        """
        ...


@dataclass(frozen=True)
class FreshTables:
    """Runs on fresh seeds, shared out to examples; see ``looks.Scored`` and ``intervals.paired_interval``."""

    merits: Mapping[int, NDArray[np.float64]]
    """Trial -> (seeds, examples), seed 0 first, as far as it ran; NaN where an example was not scored with
    that seed. All trials have the same examples."""

    overlap: float
    """Validation examples by training examples where each seed has a split of its own, else 0."""

    strata: NDArray[np.int64] | None = None
    """Class of each example, (examples,), where the metric weighs classes alike."""


FreshRuns = Sequence[tuple[Job, EpochRecord]]
"""Runs of one trial on fresh seeds that have come to their end: each job and its last record."""


class FreshScoring(Protocol):
    """What a confirmation asks of those who know what its records mean."""

    @property
    def unit(self) -> Unit:
        """What a difference of two trials is told in."""
        ...

    @property
    def own_split(self) -> bool:
        """Whether all seeds are scored on the same examples."""
        ...

    def sizes(self, job: Job) -> tuple[int, int]:
        """Give the examples that a job trains on and is scored on; 0 where nobody knows."""
        ...

    def tables(self, runs: Mapping[int, FreshRuns]) -> FreshTables:
        """Lay out what is known of every candidate, so that they can be compared.

        Args:
            runs: Trial -> its runs.
        """
        ...

    def averages(self, runs: FreshRuns) -> dict[str, Any]:
        """Average what the last records say beside the value, in fields of ``Candidate``.

        Args:
            runs: Those of one trial that the estimate rests on, none of them broken off; may be empty.
        """
        ...


def leader(scoring: Scoring, curves: TrialCurves) -> int | None:
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
        {place: _standing(scoring, [record.members[place] for record in finished or last[-1:]],
                          finished=bool(finished)) for place in stable or places}
    )  # fmt: skip


def _standing(scoring: Scoring, ends: Sequence[EpochRecord], *, finished: bool) -> tuple[float, float]:
    if not finished or not all(record.is_finite and record.predicted for record in ends):
        return ends[0].value, ends[0].log_loss
    found = scoring.score(ends)
    return found.value, math.nan if found.val_loss is None else found.val_loss


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


def leading_now(
    members: Sequence[EpochRecord], going: Sequence[int], before: Sequence[EpochRecord] = ()
) -> int:
    """Say which head of a sweep leads in an epoch: of those that are stable, where any is.

    Args:
        members: The newest record of each head, by its place.
        going: Places of those that were trained in this epoch.
        before: Earlier records of the sweep, in order.
    """
    stable = [place for place in going if not why_unstable(members[place], of_head(before, place))]
    return leading({place: (members[place].value, members[place].log_loss) for place in stable or going})


def joined(
    members: Sequence[EpochRecord],
    going: Sequence[int],
    *,
    work: float,
    seconds: float,
    before: Sequence[EpochRecord] = (),
) -> EpochRecord:
    """Make the record of a sweep from those of its heads: that of the stable head that leads in this epoch.

    The sweep breaks off where no head is stable any more.

    Args:
        members: The newest record of each head, by its place.
        going: Places of those that were trained in this epoch.
        work: Forward-equivalents of the whole sweep so far.
        seconds: The same in time.
        before: Earlier records of the sweep, in order.
    """
    leader = leading_now(members, going, before)
    reason = why_unstable(members[leader], of_head(before, leader))
    last = members[leader].last or bool(reason)
    spare = {} if last else {"predicted": "", "losses": ""}
    kept = tuple(record.model_copy(update=spare) for record in members)
    return members[leader].model_copy(
        update={"work": work, "seconds": seconds, "diverged": reason, "last": last, "members": kept}
    )


def why_fallen(curves: TrialCurves, place: int) -> str:
    """Say why one head of a sweep is out: it was unstable in some epoch of some fold; empty when it is in."""
    runs = (of_head(curves[fold], place) for fold in sorted(curves))
    reasons = (why_unstable(record, run[:epoch]) for run in runs for epoch, record in enumerate(run))
    return next((reason for reason in reasons if reason), "")


def of_head(curve: Sequence[EpochRecord], place: int) -> list[EpochRecord]:
    """Give the records of one head of a sweep on one fold."""
    return [record.members[place] for record in curve]


def curves_of(curves: TrialCurves, place: int | None) -> dict[int, list[EpochRecord]]:
    """Give the curves of one head of a sweep; those of an ordinary trial, without a place, as they are."""
    return {
        fold: [record if place is None else record.members[place] for record in curve]
        for fold, curve in curves.items()
    }
