"""What a trial has come to: its result, from its curves so far."""

from collections.abc import Sequence
from typing import Any

from autofreeze import recipes
from autofreeze.job import EpochRecord, Thaw
from autofreeze.live import LiveTrial
from autofreeze.results import Ending, MemberResult, TrialResult
from autofreeze.scoring import Scoring, curves_of, leader, why_fallen


def result_of(
    live: LiveTrial, ending: Ending, reason: str, *, scoring: Scoring, affordable: bool
) -> TrialResult:
    """Put together how a trial ended; of a sweep, how the head did that leads.

    Args:
        live: The trial.
        ending: How it ended.
        reason: Why; empty where that needs no words.
        scoring: What its records are worth.
        affordable: Whether it may win.
    """
    spent = [live.curves[fold][-1] for fold in sorted(live.curves) if live.curves[fold]]
    place = leader(scoring, live.curves)
    head = live.members[place] if place is not None else live
    complete = ending is Ending.COMPLETE
    scored = _scores(live, place, scoring) if complete else {"fold_values": _values_so_far(live, place)}
    swept = {} if place is None else live.members[place].params
    return TrialResult(
        number=live.number,
        baseline=live.baseline,
        tuned=live.tuned,
        recipe=recipes.name_of(head.schedule),
        schedule=head.schedule,
        regime=head.regime,
        params=dict(live.optuna_trial.params) | swept,
        ending=ending,
        reason=reason,
        affordable=affordable,
        warm_start=live.optuna_trial.user_attrs.get("warm_start"),
        work=sum(record.work for record in spent),
        seconds=sum(record.seconds for record in spent),
        thaw=_first_thaw(live.curves.get(0, ())),
        drift=live.curves[0][-1].drift if live.curves.get(0) else None,
        member=place,
        members=tuple(_member_result(live, one, ending, scoring) for one in range(len(live.members))),
        **scored,
    )


def _scores(live: LiveTrial, place: int | None, scoring: Scoring) -> dict[str, Any]:
    """Score a trial that was trained to its end, or one head of it, in the fields of its result."""
    ends = [curve[-1] for _, curve in sorted(curves_of(live.curves, place).items())]
    return dict(scoring.score(ends))


def _member_result(live: LiveTrial, place: int, ending: Ending, scoring: Scoring) -> MemberResult:
    member, reason = live.members[place], why_fallen(live.curves, place)
    scored = _scores(live, place, scoring) if ending is Ending.COMPLETE and not reason else {}
    scored.pop("n_val", None)
    settings = member.settings_digest
    return MemberResult(params=member.params, settings=settings, reason=reason, **scored)


def _values_so_far(live: LiveTrial, place: int | None) -> tuple[float, ...]:
    """Give the value by fold as far as a trial came, or one head of it; nothing of a fold that broke off."""
    ends = (curve[-1] for _, curve in sorted(curves_of(live.curves, place).items()) if curve)
    return tuple(end.value for end in ends if end.is_finite)


def _first_thaw(curve: Sequence[EpochRecord]) -> Thaw | None:
    """Give the first thaw of a run in which a backbone column comes in."""
    return next((thaw for record in curve for thaw in record.thaws if thaw.of_backbone), None)
