"""The verdict: what a search and its confirmation come to, in words and numbers."""

import math
from collections.abc import Sequence
from typing import Literal

from autofreeze.answers import FREEZE_FIRST, HOW_DEEP, RATES, Answer, answer
from autofreeze.confirmation import Candidate, Confirmation
from autofreeze.figures import name_of_trial, shown_candidate
from autofreeze.front import FrontPoint, front_of
from autofreeze.looks import Comparison
from autofreeze.measures import (
    ClassShare,
    Gap,
    Robustness,
    TestScore,
    WorkSpent,
    classes_of,
    gaps_of,
    optimism_of,
    robustness_of,
    tell_classes,
    tell_gaps,
    tell_optimism,
    tell_robustness,
    tell_test,
    tell_views,
    tell_work,
    test_scores_of,
    work_of,
)
from autofreeze.phrases import capitalised, counted, listed, sentence
from autofreeze.reach import at_edge, not_searched
from autofreeze.results import Ending, StudyResult
from autofreeze.scale import Scale
from autofreeze.values import Value
from autofreeze.warmstart import tell_warm_starts

Standing = Literal["confirmed", "not concluded", "unconfirmed", "none"]

Outcome = Literal["better", "partly better", "no difference", "undecided", "no rival"]

UNCONFIRMED = "Unconfirmed: the best of many is partly luck; its score on fresh seeds is likely lower."
NAMED = 3
"""Schedules that a sentence names; of more it gives the number."""


class Note(Value):
    """One more thing to say."""

    topic: str
    sentence: str


class Verdict(Value):
    """All that is said of a search."""

    standing: Standing
    headline: str
    basis: str
    """What the headline rests on."""

    freeze_first: Answer
    how_deep: Answer
    rates: Answer
    optimism: float | None
    """Score in the search less the confirmed mean of the winner, in the metric's unit."""

    gaps: tuple[Gap, ...]
    classes: tuple[ClassShare, ...]
    """Empty where classes are even."""

    work: WorkSpent
    robustness: tuple[Robustness, ...]
    notes: tuple[Note, ...]
    at_edge: tuple[str, ...]
    not_searched: tuple[str, ...]
    front: tuple[FrontPoint, ...]
    test: tuple[TestScore, ...]
    test_basis: str
    """On what the test scores rest; empty where the test split was not read."""

    @property
    def confirmed(self) -> bool:
        """Whether the winner was confirmed on fresh seeds, to the end."""
        return self.standing == "confirmed"

    @property
    def answers(self) -> tuple[Answer, Answer, Answer]:
        """The three answers."""
        return self.freeze_first, self.how_deep, self.rates


def verdict_of(result: StudyResult) -> Verdict:
    """Say what a search has found: pure, from its result alone."""
    gaps, classes, work, robust = gaps_of(result), classes_of(result), work_of(result), robustness_of(result)
    optimism, test = optimism_of(result), test_scores_of(result)
    notes = [
        Note(topic="by class", sentence=tell_classes(result, classes)),
        Note(topic="optimism", sentence=tell_optimism(result, optimism)),
        Note(topic="views", sentence=tell_views(result)),
        Note(topic="gap", sentence=tell_gaps(gaps)),
        Note(topic="robustness", sentence=tell_robustness(result, robust)),
        Note(topic="work", sentence=tell_work(result, work)),
        Note(topic="warm start", sentence=tell_warm_starts(result)),
    ]
    return Verdict(
        standing=standing_of(result),
        headline=headline(result),
        basis=_basis(result),
        freeze_first=answer(FREEZE_FIRST, result),
        how_deep=answer(HOW_DEEP, result),
        rates=answer(RATES, result),
        optimism=optimism,
        gaps=gaps,
        classes=classes,
        work=work,
        robustness=robust,
        notes=tuple(note for note in notes if note.sentence),
        at_edge=at_edge(result),
        not_searched=not_searched(result),
        front=front_of(result),
        test=test,
        test_basis=tell_test(result) if test else "",
    )


def standing_of(result: StudyResult) -> Standing:
    """Say how sure the best schedule is; a confirmation that was cut short after a look is not concluded."""
    if result.best is None:
        return "none"
    found = result.confirmation
    if found is None or found.chosen is None:
        return "unconfirmed"
    return "confirmed" if found.concluded else "not concluded"


# The headline


def headline(result: StudyResult) -> str:
    """Say in one sentence what is best, how surely, and against what."""
    best, found = result.best, result.confirmation
    if best is None:
        completed = any(one.ending is Ending.COMPLETE for one in result.trials)
        which = "no trial within the cost allowed" if completed else "no trial"
        return f"{which} was completed, so there is no best schedule"
    if found is None or found.chosen is None:
        return f"best schedule found (unconfirmed): {sentence(best.schedule)}"
    told = f"{sentence(best.schedule)}; {_value(result.scale, found.candidate(found.chosen))}"
    against = _against(result, found)
    if not found.concluded:
        how = f"not concluded, {found.seeds} of up to {found.planned} fresh seeds"
        return f"best schedule so far ({how}): {told}{against}"
    seeds = counted(found.seeds, "fresh seed")
    rivals, outcome = _rivals(result, found), conclusion_of(result)
    if outcome == "no rival":
        return f"best schedule (confirmed on {seeds}, with no rival): {told}{against}"
    if outcome == "no difference":
        others = "the other one is" if len(rivals) == 1 else f"the {len(rivals)} others are each"
        within = f"{others} within {result.scale.margin(found.delta)} of the simplest of the best"
        return f"no difference (confirmed on {seeds}): {within}: {told}"
    if outcome in ("better", "partly better"):
        return f"best schedule (confirmed on {seeds}): {told}{against}"
    return f"undecided after {seeds}; the simplest of those that lead: {told}{against}"


def conclusion_of(result: StudyResult) -> Outcome | None:
    """Say what a confirmation came to, all rivals together; None before it was concluded.

    What is over the cost allowed is no rival.
    """
    found = result.confirmation
    if found is None or not found.concluded:
        return None
    decisions = {one.decision for one in _rivals(result, found)}
    if not decisions:
        return "no rival"
    if decisions == {"no difference"}:
        return "no difference"
    if "better" not in decisions or "worse" in decisions:
        return "undecided"
    return "better" if decisions == {"better"} else "partly better"


def _rivals(result: StudyResult, found: Confirmation) -> list[Comparison]:
    dear = {one.number for one in result.trials if not one.affordable}
    return [one for one in found.comparisons if one.against not in dear]


def _value(scale: Scale, candidate: Candidate) -> str:
    shown = shown_candidate(scale, candidate)
    if shown.low is None or shown.high is None or not math.isfinite(shown.high - shown.low):
        return f"{scale.metric} {scale.figure(shown.mean, candidate.standard_error)}"
    return f"{scale.metric} {scale.figure(shown.mean)} ({scale.value_span(shown.low, shown.high)})"


def _against(result: StudyResult, found: Confirmation) -> str:
    """Sum up the comparisons: ``; better than full: +2.1 pt (+0.4 to +3.8); undecided against lp_ft: …``."""
    names = {
        one.number: name_of_trial(one) + ("" if one.affordable else " (over the cost allowed)")
        for one in result.trials
    }
    groups = {
        "better than {}": [one for one in found.comparisons if one.decision == "better"],
        f"no more than {result.scale.margin(found.delta)} from {{}}": [
            one for one in found.comparisons if one.decision == "no difference"
        ],
        "undecided against {}": [one for one in found.comparisons if one.decision == "undecided"],
        "behind {} on the seeds of the estimate": [
            one for one in found.comparisons if one.decision == "worse"
        ],
    }
    told = []
    for words, members in groups.items():
        if not members:
            continue
        if len(members) == len(found.comparisons) > NAMED:
            who = f"all {len(members)} others"
        elif len(members) > NAMED:
            who = f"{len(members)} others"
        else:
            who = listed(names[one.against] for one in members)
        told.append(words.format(who) + _by(result.scale, members))
    return "".join(f"; {one}" for one in told)


def _by(scale: Scale, members: Sequence[Comparison]) -> str:
    if len(members) == 1:
        interval = members[0].interval
        span = scale.lead_span(interval.low, interval.high)
        return f": {scale.lead(interval.estimate)} ({span})"
    leads = sorted(one.interval.estimate for one in members)
    return f": {scale.lead(leads[0])} to {scale.lead(leads[-1])}"


def _basis(result: StudyResult) -> str:
    """Say what the headline rests on."""
    found = result.confirmation
    if result.best is None:
        return ""
    if found is None:
        return UNCONFIRMED
    if found.chosen is None:
        why = (
            f"the confirmation was cut short before its first look ({found.cut_short})"
            if found.cut_short
            else "every candidate broke off on fresh seeds"
        )
        return f"{UNCONFIRMED} {capitalised(why)}."
    first, end = found.estimate_seeds
    if first < found.choice_seeds:
        how = f"chosen and estimated on the same {counted(end - first, 'fresh seed')}"
        how += ", at limits that allow for it" if found.concluded else ""
    else:
        how = f"chosen on the first {found.choice_seeds} fresh seeds, estimated on the next {end - first}"
    cut = "" if found.concluded else f" The confirmation was cut short ({found.cut_short})."
    if result.kind == "own":
        return f"{capitalised(how)}; {_own_basis(found)}.{cut}"
    varied = (
        "order and head vary by seed, the validation part is your own"
        if found.own_split
        else "order, head and split vary by seed"
    )
    return (
        f"{capitalised(how)}; {varied}; trained on {found.n_train:,} images and scored on "
        f"{found.n_val:,}. Intervals are for new images and seeds.{cut}"
    )


def _own_basis(found: Confirmation) -> str:
    """Say what fresh seeds of a training of the user's own let vary, and for what intervals hold."""
    images = max((one.interval.images for one in found.comparisons), default=1)
    varied = f"all{' but the examples that are scored' if found.own_split else ''} varies by seed"
    if images > 1:
        scored = counted(f"{images:,}", "example")
        return f"{varied}; scored on {scored} in all. Intervals are for new examples and seeds"
    known = "new seeds on the same examples" if found.own_split else "new seeds and splits"
    return f"{varied}; each run is one number. Intervals are for {known}"
