"""The verdict in lines, for the terminal and Markdown alike."""

from autofreeze.phrases import capitalised
from autofreeze.report.comparison import Compared
from autofreeze.results import StudyResult
from autofreeze.scale import Scale
from autofreeze.verdict import Verdict


def answer_lines(verdict: Verdict) -> list[tuple[str, str]]:
    """Give each question with its answer, and what that rests on."""
    return [
        (
            f"{capitalised(one.question)} {capitalised(one.answer)}"
            + (f" ({one.standing})" if one.standing else ""),
            f"{capitalised(one.sentence)}.",
        )
        for one in verdict.answers
    ]


def note_lines(verdict: Verdict) -> list[str]:
    """Give what is said beside the answers, a line each, its topic before the first colon."""
    return [
        *(f"{one.topic}: {one.sentence}" for one in verdict.notes),
        *(f"at the edge: {line}" for line in verdict.at_edge),
        *(f"not searched: {line}" for line in verdict.not_searched),
    ]


def test_lines(result: StudyResult, verdict: Verdict) -> list[str]:
    """Give the scores on the test split, after on what they rest."""
    if not verdict.test:
        return []
    best = None if result.best is None else result.best.number
    scores, scale = [], result.scale
    for one in verdict.test:
        interval = "" if one.low is None or one.high is None else f" ({scale.value_span(one.low, one.high)})"
        scores.append(f"{'best' if one.trial == best else one.name} {scale.figure(one.value)}{interval}")
    return [f"{capitalised(verdict.test_basis)}: {result.metric} {', '.join(scores)}."]


def fresh_cells(scale: Scale, row: Compared) -> tuple[str, str, str, str]:
    """Write what fresh seeds say of a schedule: mean, lead, its interval, what it means.

    What was no candidate has its score and lead in the search, in brackets.
    """
    if row.confirmed is None:
        shown = f"({scale.figure(row.value)})" if row.value is not None else "–"
        lead = f"({scale.lead(row.lead)})" if row.lead is not None else ""
        return shown, lead, "", "search only" if row.value is not None else row.ended
    span = "" if row.low is None or row.high is None else scale.lead_span(row.low, row.high)
    decision = row.decision or ("" if row.best else row.reason)
    if row.decision and row.reason:
        decision += f", {row.seeds} seeds"
    return (
        scale.figure(row.confirmed.mean, row.confirmed_error),
        scale.lead(row.lead),
        span,
        decision,
    )
