"""The front of value against work: schedules that no other one beats in both."""

from autofreeze.figures import error_of, name_of_trial, shown_mean, shown_value, work_of_full, work_of_run
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.values import Value


class FrontPoint(Value):
    """A schedule than which every better one costs more."""

    trial: int
    name: str
    value: float
    """The metric in the search, as people read it."""

    standard_error: float | None
    confirmed: float | None
    """Its mean on fresh seeds, where it was a candidate."""

    work: float
    """Forward-equivalents of one run."""

    share: float | None
    """The same in runs of full fine-tuning."""

    affordable: bool
    """Whether it keeps to the cost that was allowed."""

    best: bool


def front_of(result: StudyResult) -> tuple[FrontPoint, ...]:
    """Give the front among the complete trials, the cheapest first.

    It rests on the search's values, each of one seed a fold, so that neighbours on it may well be equal.
    Schedules over the cost that was allowed are shown, and marked.
    """
    known = [
        (work, one)
        for one in result.trials
        if one.ending is Ending.COMPLETE and (work := work_of_run(result, one)) is not None
    ]
    points: list[FrontPoint] = []
    top = float("-inf")
    for work, trial in sorted(known, key=lambda pair: (pair[0], -(pair[1].value or 0.0), pair[1].number)):
        assert trial.value is not None
        if trial.value > top:
            top = trial.value
            points.append(_point(result, trial, work))
    return tuple(points)


def _point(result: StudyResult, trial: TrialResult, work: float) -> FrontPoint:
    full, found = work_of_full(result), result.confirmation
    candidates = found.candidates if found is not None and found.chosen is not None else ()
    mean = next((shown_mean(result.scale, one) for one in candidates if one.trial == trial.number), None)
    value = shown_value(result.scale, trial)
    assert value is not None
    return FrontPoint(
        trial=trial.number,
        name=name_of_trial(trial),
        value=value,
        standard_error=error_of(result, trial),
        confirmed=mean,
        work=work,
        share=None if not full else work / full,
        affordable=trial.affordable,
        best=result.best is not None and trial.number == result.best.number,
    )
