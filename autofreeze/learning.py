"""Learning curves as a report keeps them: what each epoch of a run came to, without what it predicted."""

import math
from collections.abc import Sequence
from pathlib import Path

from autofreeze.job import EpochRecord
from autofreeze.records import entries
from autofreeze.results import Ending, StudyResult, TrialResult, rank
from autofreeze.scale import Scale
from autofreeze.values import Value

MOST = 5
"""Schedules of an unconfirmed search whose curves are kept, the best ones, baselines aside."""


class LearningPoint(Value):
    """One epoch."""

    epochs_done: float
    train_loss: float | None
    """In nats, augmented, in training mode; None where it is not finite or was not told."""

    val_loss: float | None
    train_top1: float | None
    value: float | None
    """The metric as people read it; None where it is not finite."""


class LearningCurve(Value):
    """One run of a trial."""

    trial: int
    fold: int | None
    """None of a run on a fresh seed."""

    fresh: int | None
    """Number of the fresh seed; None of a run of the search."""

    points: tuple[LearningPoint, ...]


def trials_shown(result: StudyResult) -> tuple[TrialResult, ...]:
    """Choose whose curves a report keeps: candidates of the confirmation, and baselines as usually run.

    Without a confirmation the best few complete trials stand for its candidates.
    """
    if result.confirmation is not None:
        chosen = {one.trial for one in result.confirmation.candidates}
    else:
        complete = [one for one in result.trials if one.ending is Ending.COMPLETE and one.same_as is None]
        best = sorted((one for one in complete if not one.baseline), key=rank, reverse=True)
        chosen = {one.number for one in best[:MOST]}
        chosen |= set() if result.best is None else {result.best.number}
    chosen |= {one.number for one in result.baselines}
    return tuple(one for one in result.trials if one.number in chosen)


def curves_of(folder: Path, trials: Sequence[TrialResult], scale: Scale) -> tuple[LearningCurve, ...]:
    """Read the curves of some trials from the records in a run folder.

    A trial that took over the result of an equal one has the curves of that one. Of a sweep they are those of
    the head that the trial is told as.

    Args:
        folder: The run folder.
        trials: Whose; lines of others are not read to their end.
        scale: Of the metric.

    Returns:
        By trial in the order given, runs of the search first, then those on fresh seeds.
    """
    wanted = {one.number for one in trials} | {one.origin for one in trials}
    runs: dict[tuple[int, int | None, int | None], list[EpochRecord]] = {}
    for entry in entries(folder):
        if entry.trial in wanted:
            fold = entry.fold if entry.fresh is None else None
            run = runs.setdefault((entry.trial, fold, entry.fresh), [])
            if entry.epoch == len(run):
                run.append(entry.record())
    found = []
    for fresh in (False, True):
        for trial in trials:
            number = trial.number if fresh else trial.origin
            own = [key for key in runs if key[0] == number and (key[1] is None) == fresh]
            found += [_curve(trial, key, runs[key], scale) for key in sorted(own, key=lambda key: key[1:])]
    return tuple(found)


def _curve(
    trial: TrialResult, key: tuple[int, int | None, int | None], run: Sequence[EpochRecord], scale: Scale
) -> LearningCurve:
    _, fold, fresh = key
    own = [_of_trial(record, trial) for record in run]
    points = [_point(record, scale) for epoch, record in enumerate(own) if record.epoch == epoch]
    return LearningCurve(trial=trial.number, fold=fold, fresh=fresh, points=tuple(points))


def _of_trial(record: EpochRecord, trial: TrialResult) -> EpochRecord:
    """Give the record of a sweep's leading head; on a fresh seed that head is trained alone."""
    return record if trial.member is None or not record.members else record.members[trial.member]


def _point(record: EpochRecord, scale: Scale) -> LearningPoint:
    return LearningPoint(
        epochs_done=record.epochs_done,
        train_loss=_finite(record.train_loss),
        val_loss=_finite(record.val_loss),
        train_top1=_finite(record.train_top1),
        value=_finite(scale.shown(record.value)) if math.isfinite(record.value) else None,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
