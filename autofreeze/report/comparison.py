"""The best schedule beside the baselines: every figure once, for the terminal, Markdown and JSON alike."""

from autofreeze.figures import error_of, lead, shown_value
from autofreeze.phrases import sentence
from autofreeze.report.words import endings
from autofreeze.results import DatasetOutcome, StudyResult, TrialResult
from autofreeze.values import Value


class Compared(Value):
    """One schedule of the comparison."""

    trial: int
    name: str
    """Of the baseline; of the recipe for a best schedule that is no baseline."""

    best: bool
    value: float | None
    """The metric, higher is better; the mean log loss itself, in nats, where that is the metric."""

    standard_error: float | None
    lead: float | None
    """By how much the best schedule is better, in the metric's unit; None for itself and without a value."""

    log_loss: float | None
    work: float
    """Forward-equivalents of the run behind it, also when a trial took the result over."""

    ended: str


def compare(result: StudyResult) -> tuple[Compared, ...]:
    """Compare the best schedule with the baselines: the best one first, then the others as they ran."""
    best = result.best
    if best is None:
        return ()
    others = (trial for trial in result.baselines if trial.number != best.number)
    return tuple(_compared(result, best, trial) for trial in (best, *others))


def _compared(result: StudyResult, best: TrialResult, trial: TrialResult) -> Compared:
    return Compared(
        trial=trial.number,
        name=trial.baseline or trial.recipe,
        best=trial is best,
        value=shown_value(result.metric, trial),
        standard_error=error_of(result, trial),
        lead=lead(result.metric, best, trial),
        log_loss=trial.val_loss,
        work=_work_of(result, trial),
        ended=_how_it_ended(trial),
    )


def _how_it_ended(trial: TrialResult) -> str:
    if trial.same_as is not None:
        return f"same as trial {trial.same_as}"
    return trial.ending.value + (f": {trial.reason}" if trial.reason else "")


def _work_of(result: StudyResult, trial: TrialResult) -> float:
    if trial.same_as is None:
        return trial.work
    return next(other.work for other in result.trials if other.number == trial.same_as)


def outcome_of(name: str, result: StudyResult) -> DatasetOutcome:
    """Take from the report of one data set what the summary says of it.

    Args:
        name: Of its run folder.
        result: The search on it.
    """
    rows = compare(result)
    best = result.best
    leads = {row.name: row.lead for row in rows if not row.best and row.lead is not None}
    if best is not None and best.baseline:
        leads[best.baseline] = 0.0
    return DatasetOutcome(
        name=name,
        data=str(result.settings.get("task", {}).get("data", "")),
        images=sum(result.data["images"].values()),
        classes=len(result.data["classes"]),
        metric=result.metric,
        best_trial=None if best is None else best.number,
        sentence="" if best is None else sentence(best.schedule),
        value=rows[0].value if rows else None,
        standard_error=rows[0].standard_error if rows else None,
        lead_over=leads,
        trials=len(result.trials),
        endings=endings(result.trials),
        work=result.work,
        seconds=result.seconds,
        cut_short=result.cut_short,
    )
