"""The best schedule beside the baselines: every figure once, for the terminal, Markdown and JSON alike."""

import math
from typing import Any

from autofreeze.answers import Answer
from autofreeze.confirmation import Candidate
from autofreeze.figures import Shown, error_of, lead, name_of_trial, shown_candidate, shown_value
from autofreeze.looks import Decision
from autofreeze.phrases import sentence
from autofreeze.report.words import endings
from autofreeze.results import DatasetOutcome, StudyResult, TrialResult
from autofreeze.values import Value
from autofreeze.verdict import verdict_of


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
    """By how much the best schedule is better, in the metric's unit; None for itself and without a value. On
    fresh seeds where the schedule was a candidate of the confirmation, else in the search."""

    low: float | None = None
    high: float | None = None
    """Ends of the lead's interval, for new images and seeds."""

    decision: Decision | None = None
    """What the interval means, for the best schedule; None where nothing was confirmed."""

    confirmed: Shown | None = None
    """The mean on fresh seeds, and its interval."""

    confirmed_error: float | None = None
    """Standard error of that mean."""

    seeds: int = 0
    """Fresh seeds that it ran on."""

    reason: str = ""
    """Why it was not run on all of them."""

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
    if result.confirmation is None or result.confirmation.chosen is None:
        return tuple(_compared(result, best, trial) for trial in (best, *others))
    ranked = sorted(result.confirmation.candidates, key=_place)
    trials = {trial.number: trial for trial in result.trials}
    candidates = [trials[one.trial] for one in ranked if one.trial != best.number]
    absent = (trial for trial in others if trial not in candidates)
    return tuple(_compared(result, best, trial) for trial in (best, *candidates, *absent))


def _place(candidate: Candidate) -> float:
    """Sort the best first, and those without a mean last."""
    return math.inf if candidate.mean is None else -candidate.mean


def _compared(result: StudyResult, best: TrialResult, trial: TrialResult) -> Compared:
    fresh = _on_fresh_seeds(result, trial)
    return Compared(
        trial=trial.number,
        name=(trial.baseline or trial.recipe) if trial is best else name_of_trial(trial),
        best=trial is best,
        value=shown_value(result.scale, trial),
        standard_error=error_of(result, trial),
        log_loss=trial.val_loss,
        work=_work_of(result, trial),
        ended=_how_it_ended(trial),
        **{"lead": lead(result.scale, best, trial), **fresh},
    )


def _on_fresh_seeds(result: StudyResult, trial: TrialResult) -> dict[str, Any]:
    """Give what the confirmation says of a trial: nothing when it was no candidate."""
    found = result.confirmation
    candidates = () if found is None or found.chosen is None else found.candidates
    candidate = next((one for one in candidates if one.trial == trial.number), None)
    if found is None or candidate is None:
        return {}
    fresh: dict[str, Any] = {
        "confirmed": shown_candidate(result.scale, candidate),
        "confirmed_error": candidate.standard_error,
        "seeds": len(candidate.values),
        "reason": candidate.reason,
        "lead": None,
    }
    for one in found.comparisons:
        if one.against == trial.number:
            interval = one.interval
            fresh |= {"lead": interval.estimate, "low": interval.low, "high": interval.high}
            fresh["decision"] = one.decision
    return fresh


def _how_it_ended(trial: TrialResult) -> str:
    if trial.same_as is not None:
        return f"same as trial {trial.same_as}"
    return trial.ending.value + (f": {trial.reason}" if trial.reason else "")


def _work_of(result: StudyResult, trial: TrialResult) -> float:
    if trial.same_as is None:
        return trial.work
    return next(other.work for other in result.trials if other.number == trial.same_as)


def _in_short(answer: Answer) -> str:
    return answer.answer + (f" ({answer.standing})" if answer.standing else "")


def outcome_of(name: str, result: StudyResult) -> DatasetOutcome:
    """Take from the report of one data set what the summary says of it.

    Args:
        name: Of its run folder.
        result: The search on it.
    """
    rows = compare(result)
    best, verdict = result.best, verdict_of(result)
    baselines = {trial.number for trial in result.baselines}
    rivals = [row for row in rows if not row.best and row.trial in baselines]
    leads = {row.name: row.lead for row in rivals if row.lead is not None}
    if best is not None and best.number in baselines and best.baseline:
        leads[best.baseline] = 0.0
    value, error = (rows[0].value, rows[0].standard_error) if rows else (None, None)
    if rows and rows[0].confirmed is not None:
        value, error = rows[0].confirmed.mean, rows[0].confirmed_error
    return DatasetOutcome(
        name=name,
        data=str(result.settings.get("task", {}).get("data", "")),
        images=sum(result.data["images"].values()),
        classes=len(result.data["classes"]),
        metric=result.metric,
        best_trial=None if best is None else best.number,
        sentence="" if best is None else sentence(best.schedule),
        value=value,
        standard_error=error,
        lead_over=leads,
        decision_over={row.name: row.decision for row in rivals if row.decision is not None},
        confirmed=verdict.confirmed,
        freeze_first="" if best is None else _in_short(verdict.freeze_first),
        trials=len(result.trials),
        endings=endings(result.trials),
        work=result.work,
        seconds=result.seconds,
        cut_short=result.cut_short,
    )
