"""How the trials ended."""

from collections import Counter

from autofreeze.phrases import capitalised, counted
from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.page.marks import ENDING_MARKS
from autofreeze.report.page.palette import INK
from autofreeze.report.report import Report
from autofreeze.report.words import trials_line
from autofreeze.results import Ending, TrialResult

ID, TITLE = "endings", "How the trials ended"

MEANINGS = {
    Ending.COMPLETE: "trained to the end; only these have a value",
    Ending.UNPROMISING: "ended early: behind by more than luck gives",
    Ending.UNSTABLE: "ended early: it broke down; the sampler is told to keep away",
    Ending.TOO_DEAR: "never trained: over the cost that was allowed",
    Ending.NOT_COMPARABLE: "trained, but under other conditions than the others",
    Ending.FAILED: "broke off with an error; no score, and no sign of a bad schedule",
    Ending.UNFINISHED: "under way, or left by a search that was cut short",
}
"""What each ending means."""

KINDS = ("drawn by the sampler", "baseline", "baseline at a tuned rate")
HATCHES = ("", "/", "x")


def figure(report: Report) -> Figure | Absent:
    """Draw a bar for each ending, its parts the drawn trials and the baselines."""
    trials = report.result.trials
    if not trials:
        return Absent(id=ID, title=TITLE, reason="No trial has ended yet.")
    counts = Counter(one.ending for one in trials)
    shown = [ending for ending in Ending if counts[ending]]
    by_kind = Counter((one.ending, _kind(one)) for one in trials)
    kinds = [kind for kind in range(len(KINDS)) if any(by_kind[ending, kind] for ending in shown)]
    bars = tuple(_bar(shown, [by_kind[ending, kind] for ending in shown], kind) for kind in kinds)
    layout = {
        "barmode": "stack",
        "legend": {"traceorder": "normal"},
        "bargap": 0.35,
        "showlegend": kinds != [0],
        "xaxis": {
            "title": {"text": "trials"},
            "range": [0, 1.15 * max(counts.values())],
            "tickformat": ",d",
            **({"dtick": 1} if max(counts.values()) <= 6 else {"nticks": 6}),
            "automargin": True,
        },
        "yaxis": {
            "tickvals": list(range(len(shown))),
            "ticktext": [ENDING_MARKS[ending].words for ending in shown],
            "automargin": True,
            "ticklabelstandoff": 6,
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
        },
    }
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(counts, len(trials)),
        traces=(*bars, _totals(shown, counts)),
        layout=layout,
        height=150 + 38 * len(shown),
        note=f"{capitalised(trials_line(report.result))}.",
    )


def _kind(trial: TrialResult) -> int:
    return 2 if trial.tuned else 1 if trial.baseline else 0


def _bar(shown: list[Ending], numbers: list[int], kind: int) -> dict[str, object]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": KINDS[kind],
        "y": list(range(len(shown))),
        "x": numbers,
        "customdata": [
            [ENDING_MARKS[ending].words, MEANINGS[ending], number]
            for ending, number in zip(shown, numbers, strict=True)
        ],
        "hovertemplate": (
            "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>"
            f"{KINDS[kind]}: %{{customdata[2]}}<extra></extra>"
        ),
        "marker": {
            "color": [ENDING_MARKS[ending].colour for ending in shown],
            "pattern": {"shape": HATCHES[kind], "fillmode": "replace", "size": 6},
        },
    }


def _totals(shown: list[Ending], counts: Counter[Ending]) -> dict[str, object]:
    """Write the number of trials at the end of each bar."""
    return {
        "type": "scatter",
        "mode": "text",
        "y": list(range(len(shown))),
        "x": [counts[ending] for ending in shown],
        "text": [f" {counts[ending]:,}" for ending in shown],
        "textposition": "middle right",
        "textfont": {"color": INK},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _alt(counts: Counter[Ending], trials: int) -> str:
    parts = [f"{counts[one]} {ENDING_MARKS[one].words} ({MEANINGS[one]})" for one in Ending if counts[one]]
    return f"Of {counted(trials, 'trial')}: {'; '.join(parts)}."
