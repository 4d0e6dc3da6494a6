"""The three questions of a search: freeze first or not, how deep, and how the backbone's rate is spread.

Each has a few possible answers, which sort schedules into kinds. The winner gives the answer, and how surely
follows from how it compares with the best of each other kind.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from autofreeze.confirmation import Confirmation, arm_of
from autofreeze.figures import error_of, lead, name_of_trial, shown_mean, shown_value
from autofreeze.intervals import Interval
from autofreeze.looks import Comparison, Decision, decide
from autofreeze.phrases import counted, listed
from autofreeze.results import Ending, StudyResult, TrialResult, rank
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule
from autofreeze.values import Value

NOT_BY_LUCK = 2.0
"""Standard errors that a lead in the search must exceed to be called one."""

EVEN = 1e-4
"""By how much steps between rates may differ in their logarithm: rates are kept to six digits."""

Basis = Literal["fresh seeds", "search", ""]


class Side(Value):
    """One possible answer, by its best schedule."""

    kind: str
    """In words: ``training at once``."""

    trial: int | None = None
    """The schedule that stands for it: on the winner's side the winner, else the best that is known."""

    name: str = ""
    value: float | None = None
    """The metric as people read it; the confirmed mean where the basis is fresh seeds."""

    basis: Basis = ""
    heads: int = 0
    """Heads that the complete ones trained, each of a sweep's counted."""

    complete: int = 0
    """Complete trials of this kind."""

    trials: int = 0
    """All of this kind that were run."""

    pruned: int = 0
    """Of these, those pruned because they were clearly behind."""

    lead: float | None = None
    """By how much the winner is better, in the metric's unit."""

    low: float | None = None
    high: float | None = None
    """Ends of the interval of the lead; of the winner's lead over whichever of this kind is the best."""

    decision: Decision | None = None


class Answer(Value):
    """What is said to a question."""

    question: str
    answer: str
    """In a word or two: ``at once``, ``no difference``, ``undecided``."""

    sentence: str
    confirmed: bool
    """Whether it rests on fresh seeds alone, in a confirmation that was concluded."""

    standing: str = ""
    """The same in a word or two; empty where there is no answer."""

    sides: tuple[Side, ...] = ()
    """The winner's first."""


@dataclass(frozen=True)
class Question:
    """A question and the kinds of schedules that are its answers."""

    text: str
    answers: Mapping[str, str]
    """Kind -> the answer in a word."""

    kinds: Mapping[str, str]
    """Kind -> what schedules of it do."""

    kind_of: Callable[[Schedule], str | None]
    """Sorts a schedule; None where the question does not apply to it."""


def depth_of(schedule: Schedule) -> str:
    """Say how much of the backbone ever trains: ``head`` for nothing of it, ``part`` or ``all``."""
    *backbone, _ = zip(*(phase.lrs for phase in schedule.phases), strict=True)
    trains = [any(lr is not None for lr in column) for column in backbone]
    return "all" if trains and all(trains) else "part" if any(trains) else "head"


def spread_of(schedule: Schedule) -> str | None:
    """Say how the backbone's rates are spread in the last phase; None where none of it trains.

    Rates that fall evenly in their logarithm from the top group down are a decay; all that are neither equal
    nor that are given by group. Which rule they were drawn by does not matter.
    """
    rates = [lr for lr in schedule.phases[-1].lrs[:-1] if lr is not None]
    if not rates:
        return None
    if max(rates) <= min(rates) * (1 + 1e-9):
        return "one"
    steps = [math.log(high / low) for low, high in pairwise(rates)]
    mean = math.log(rates[-1] / rates[0]) / len(steps)
    even = all(abs(step - mean) <= EVEN for step in steps)
    return "decay" if even and mean > 0 else "per_group"


FREEZE_FIRST = Question(
    "freeze first, or not?",
    {"freeze_first": "freeze first", "at_once": "at once"},
    {"freeze_first": "freezing first", "at_once": "training the backbone at once"},
    arm_of,
)
HOW_DEEP = Question(
    "how deep?",
    {"head": "the head alone", "part": "a part of the backbone", "all": "all of the backbone"},
    {"head": "the head alone", "part": "a part of the backbone", "all": "all of the backbone"},
    depth_of,
)
RATES = Question(
    "one rate, a decay, or rates by group?",
    {"one": "one rate", "decay": "decay", "per_group": "rates by group"},
    {"one": "one rate", "decay": "a decay with depth", "per_group": "rates by group"},
    spread_of,
)


def answer(question: Question, result: StudyResult) -> Answer:
    """Answer a question, from fresh seeds where candidates allow, else from the search alone.

    The winner is better than a kind when it is better than every candidate of that kind. So the interval of
    its lead over the best of them reaches from the lowest low end to the lowest high end of its comparisons.
    """
    best = result.best
    if best is None:
        return Answer(
            question=question.text, answer="none", sentence="no trial was completed", confirmed=False
        )
    own = question.kind_of(best.schedule)
    if own is None:
        words = "the best schedule trains no group of the backbone"
        return Answer(question=question.text, answer="not asked", sentence=words, confirmed=False)
    mine = _own_side(question, result, best, own)
    tried = {
        kind: side
        for kind in question.kinds
        if kind != own and (side := _other_side(question, result, best, kind)).trials
    }
    reached = {kind: side for kind, side in tried.items() if side.value is not None}
    compared = {kind: side for kind, side in reached.items() if side.basis == "fresh seeds"}
    found = result.confirmation
    concluded = found is not None and found.concluded
    confirmed = concluded and bool(compared) and compared.keys() == reached.keys()
    word = _word(question, result, best, own, compared or reached)
    return Answer(
        question=question.text,
        answer=word,
        sentence=_sentence(result, mine, tried, compared),
        confirmed=confirmed,
        standing=_standing(word, concluded and bool(compared), confirmed) if reached else "",
        sides=(mine, *tried.values()),
    )


# The sides


def _own_side(question: Question, result: StudyResult, best: TrialResult, own: str) -> Side:
    found = result.confirmation
    candidate = found.winner if found is not None else None
    value = shown_value(result.scale, best)
    if candidate is not None:
        value = shown_mean(result.scale, candidate)
    run, complete = _trials_of(question, result, own)
    return Side(
        kind=question.kinds[own],
        trial=best.number,
        name=name_of_trial(best),
        value=value,
        basis="search" if candidate is None else "fresh seeds",
        heads=_heads_of(complete),
        complete=len(complete),
        trials=len(run),
        pruned=sum(one.ending is Ending.UNPROMISING for one in run),
    )


def _other_side(question: Question, result: StudyResult, best: TrialResult, kind: str) -> Side:
    """Give the best of a kind that the winner is not of: among the candidates, else in the search."""
    run, complete = _trials_of(question, result, kind)
    side = Side(
        kind=question.kinds[kind],
        heads=_heads_of(complete),
        complete=len(complete),
        trials=len(run),
        pruned=sum(one.ending is Ending.UNPROMISING for one in run),
    )
    found = result.confirmation
    by_number = {trial.number: trial for trial in result.trials}
    if found is not None:
        rivals = [
            one
            for one in found.comparisons
            if by_number[one.against].affordable and question.kind_of(by_number[one.against].schedule) == kind
        ]
        if rivals:
            nearest = min(rivals, key=lambda one: one.interval.estimate)
            interval = lead_over_best(rivals)
            return side.model_copy(
                update={
                    "trial": nearest.against,
                    "name": name_of_trial(by_number[nearest.against]),
                    "value": shown_mean(result.scale, found.candidate(nearest.against)),
                    "basis": "fresh seeds",
                    "lead": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "decision": decide(interval, found.delta),
                }
            )
    top = max(complete, key=rank, default=None)
    if top is None:
        return side
    return side.model_copy(
        update={
            "trial": top.number,
            "name": name_of_trial(top),
            "value": shown_value(result.scale, top),
            "basis": "search",
            "lead": lead(result.scale, best, top),
        }
    )


def lead_over_best(comparisons: Sequence[Comparison]) -> Interval:
    """Give the interval of the winner's lead over whichever of several others is the best.

    That lead is the smallest of all, and where all intervals hold at once so do the smallest of their ends.

    Args:
        comparisons: At least one; the interval's errors are those of the smallest estimate.
    """
    nearest = min(comparisons, key=lambda one: one.interval.estimate).interval
    return nearest.model_copy(
        update={
            "low": min(one.interval.low for one in comparisons),
            "high": min(one.interval.high for one in comparisons),
        }
    )


def _trials_of(
    question: Question, result: StudyResult, kind: str
) -> tuple[list[TrialResult], list[TrialResult]]:
    """Give the trials of a kind that were run, and those of them that could have won."""
    run = [
        one
        for one in result.trials
        if one.ending not in (Ending.TOO_DEAR, Ending.UNFINISHED) and question.kind_of(one.schedule) == kind
    ]
    return run, [one for one in run if one.value is not None and one.affordable]


# The words


def _word(
    question: Question, result: StudyResult, best: TrialResult, own: str, sides: Mapping[str, Side]
) -> str:
    """Give the answer in a word or two, no more surely than what it rests on says."""
    if not sides:
        return "not compared"
    decisions = {kind: side.decision or _by_search(result, best, side) for kind, side in sides.items()}
    left = [kind for kind, decision in decisions.items() if decision != "better"]
    if not left:
        alone = depth_of(best.schedule) == "head"
        return "the head alone" if alone else question.answers[own]
    word = "no difference" if all(decisions[kind] == "no difference" for kind in left) else "undecided"
    if len(left) == len(question.kinds) - 1:
        return word
    remaining = [words for kind, words in question.answers.items() if kind in (own, *left)]
    return f"{word} between {listed(remaining)}"


def _standing(word: str, fresh: bool, confirmed: bool) -> str:
    if not fresh:
        return "unconfirmed"
    if word.startswith("undecided"):
        return "on fresh seeds"
    return "confirmed" if confirmed else "confirmed in part"


def _by_search(result: StudyResult, best: TrialResult, side: Side) -> Decision:
    """Say whether a lead in the search exceeds what luck gives to two schedules that are equal."""
    error = _error_of_lead(result, best, side)
    clear = error is not None and side.lead is not None and side.lead > NOT_BY_LUCK * error
    return "better" if clear else "undecided"


def _error_of_lead(result: StudyResult, best: TrialResult, side: Side) -> float | None:
    """Give the standard error of a lead in the search, as if on other images each: rather too large."""
    other = next(trial for trial in result.trials if trial.number == side.trial)
    errors = error_of(result, best), error_of(result, other)
    return None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1])


def _sentence(
    result: StudyResult, mine: Side, tried: Mapping[str, Side], compared: Mapping[str, Side]
) -> str:
    reached = [side for side in tried.values() if side.value is not None]
    lost = [_none_complete(side) for side in tried.values() if side.value is None]
    if not reached:
        return "; ".join([f"{mine.kind}, with {mine.name}, and nothing to compare it with", *lost])
    if not compared:
        told = [
            f"{mine.kind}, {_in_search(result.scale, mine)}",
            *(_told_from_search(result, side) for side in reached),
        ]
        return "from the search alone, unconfirmed: " + "; ".join([*told, *lost])
    found = result.confirmation
    assert found is not None
    told = [_told(found, result.scale, side) for side in compared.values()]
    told += [
        f"unconfirmed against {side.kind}, of which none was a candidate "
        f"(in the search {_in_search(result.scale, side)})"
        for kind, side in tried.items()
        if side.value is not None and kind not in compared
    ]
    head = "" if found.concluded else "not concluded: "
    return f"{head}{mine.kind}, with {mine.name}: " + "; ".join([*told, *lost])


def _none_complete(side: Side) -> str:
    pruned = f", {side.pruned} pruned as unpromising" if side.pruned else ""
    return f"{side.kind}: none of {counted(side.trials, 'trial')} was completed{pruned}"


def _heads_of(trials: Sequence[TrialResult]) -> int:
    return sum(max(len(trial.members), 1) for trial in trials)


def _in_search(scale: Scale, side: Side) -> str:
    run = f" of {side.trials} run" if side.trials > side.complete else ""
    heads = f", {side.heads} heads in all" if side.heads > side.complete else ""
    return f"{side.name} at {scale.figure(side.value)}, the best of {side.complete} complete{run}{heads}"


def _told_from_search(result: StudyResult, side: Side) -> str:
    best = result.best
    assert best is not None
    error = _error_of_lead(result, best, side)
    told = f"{side.kind}, {_in_search(result.scale, side)}: {result.scale.lead(side.lead)}"
    if error is None:
        return f"{told}, how surely is not known"
    width = result.scale.margin(round(NOT_BY_LUCK * error, 3))
    if _by_search(result, best, side) == "better":
        return f"{told}, more than luck alone gives ({width})"
    return f"{told}, which luck gives too (up to {width})"


def _told(found: Confirmation, scale: Scale, side: Side) -> str:
    """Say how the winner compares with the best candidate of another kind."""
    assert side.lead is not None
    assert side.low is not None
    assert side.high is not None
    by = f"{scale.lead(side.lead)} ({scale.lead_span(side.low, side.high)})"
    whom = f"{side.kind}, with {side.name}"
    within = scale.margin(found.delta)
    if side.decision == "better":
        small = f", by less than {within}" if side.high <= found.delta else ""
        return f"better than {whom}: {by}{small}"
    if side.decision == "worse":
        return f"behind {whom}, though chosen on the seeds before: {by}"
    if side.decision == "no difference":
        return f"no difference from {whom}: {by}, within {within}"
    return f"undecided against {whom}: {by}"
