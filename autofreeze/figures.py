"""Figures of trials as people read them: values, their errors, what one run costs."""

import math

from autofreeze import recipes
from autofreeze.confirmation import Candidate
from autofreeze.cost import run_work
from autofreeze.phrases import standard_error
from autofreeze.results import StudyResult, TrialResult
from autofreeze.scale import Scale
from autofreeze.values import Value


def shown_value(scale: Scale, trial: TrialResult) -> float | None:
    """Give what people read as the trial's value: the log loss itself where that is the metric."""
    return None if trial.value is None else scale.shown(trial.value)


def shown_mean(scale: Scale, candidate: Candidate) -> float | None:
    """Give what people read as a candidate's mean; of a log loss it is kept with its sign turned."""
    return None if candidate.mean is None else scale.shown_mean(candidate.mean)


def error_of(result: StudyResult, trial: TrialResult) -> float | None:
    """Give the binomial standard error of a trial's value; None where there is no value or it is no share.

    Metrics that weigh classes alike rest on fewer images than were scored: ``data["effective_images"]``.
    """
    if trial.value is None or not trial.n_val or result.scale.unit != "points":
        return None
    return standard_error(trial.value, result.data.get("effective_images", trial.n_val))


def lead(scale: Scale, best: TrialResult, trial: TrialResult) -> float | None:
    """By how much the best trial is better than another, in the metric's unit."""
    if trial is best or best.value is None or trial.value is None:
        return None
    return scale.merit(best.value) - scale.merit(trial.value)


def name_of_trial(trial: TrialResult) -> str:
    """Name a trial: its baseline, or its recipe and number: ``full``, ``trial 12 (lp_ft)``."""
    if trial.baseline:
        return f"{trial.baseline} at a tuned rate" if trial.tuned else trial.baseline
    return f"trial {trial.number} ({trial.recipe})"


def work_of_run(result: StudyResult, trial: TrialResult) -> float | None:
    """Give the work of one run of a complete trial, the mean over folds; None when there is none.

    A trial that took over the result of an equal one costs as much as that one.
    """
    if trial.same_as is not None:
        trial = next((one for one in result.trials if one.number == trial.same_as), trial)
    return trial.work / max(len(trial.fold_values), 1) if trial.value is not None and trial.work else None


def work_of_full(result: StudyResult) -> float | None:
    """Give the work of one run of full fine-tuning: as measured, else as computed; None when unknown."""
    for trial in result.baselines:
        if trial.baseline == "full" and (work := work_of_run(result, trial)) is not None:
            return work
    shares, folds = result.backbone.get("work_shares"), result.data.get("folds")
    if not shares or not result.trials:
        return None
    some = result.trials[0]
    full = recipes.full(some.schedule.groups, some.schedule.epochs, head_lr=1e-3, backbone_ratio=1.0)
    if result.kind == "own":  # counted in passes over the training data
        return run_work(full.timetable(1), shares, n_train=1, n_val=0)
    if not folds:
        return None
    timetable = full.timetable(math.ceil(folds[0]["train"] / some.regime.batch_size))
    return run_work(timetable, shares, n_train=folds[0]["train"], n_val=folds[0]["val"])


class Shown(Value):
    """A candidate's mean as people read it, and the ends of its interval."""

    mean: float | None
    low: float | None
    high: float | None


def shown_candidate(scale: Scale, candidate: Candidate) -> Shown:
    """Give a candidate's mean and interval as people read them, no end beyond what can be; see above."""
    low, high = scale.shown_ends(candidate.low, candidate.high)
    return Shown(mean=shown_mean(scale, candidate), low=low, high=high)
