"""Figures of trials as people read them: values, their errors, what one run costs."""

from autofreeze.phrases import loss_of, standard_error
from autofreeze.results import StudyResult, TrialResult


def shown_value(metric: str, trial: TrialResult) -> float | None:
    """Give what people read as the trial's value: the log loss itself where that is the metric."""
    return loss_of(trial.value) if metric == "log_loss" and trial.value is not None else trial.value


def error_of(result: StudyResult, trial: TrialResult) -> float | None:
    """Give the binomial standard error of a trial's value; None where there is no value or it is no share.

    Metrics that weigh classes alike rest on fewer images than were scored: ``data["effective_images"]``.
    """
    if trial.value is None or not trial.n_val or result.metric == "log_loss":
        return None
    return standard_error(trial.value, result.data.get("effective_images", trial.n_val))


def lead(metric: str, best: TrialResult, trial: TrialResult) -> float | None:
    """By how much the best trial is better than another, in the metric's unit."""
    if trial is best or best.value is None or trial.value is None:
        return None
    if metric == "log_loss":
        return loss_of(trial.value) - loss_of(best.value)
    return best.value - trial.value
