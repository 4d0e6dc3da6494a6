"""What was spent, and what did not have to be."""

from itertools import accumulate
from typing import NamedTuple

from autofreeze.phrases import listed
from autofreeze.report.owntraining import work_figure, work_unit
from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.page.marks import place
from autofreeze.report.page.palette import GOOD, INK, OTHER, SERIES
from autofreeze.report.report import Report
from autofreeze.savings import Savings

ID, TITLE = "savings", "What was spent, and what did not have to be"


class _Part(NamedTuple):
    name: str
    work: float | None
    told: str
    colour: str
    hatch: str


def figure(report: Report) -> Figure | Absent:
    """Draw one bar in steps: what was computed, and what each saving took off."""
    found = report.evidence.savings
    if found is None:
        reason = "The report does not say what was saved; that is worked out when a search writes it."
        return Absent(id=ID, title=TITLE, reason=reason)
    parts = _parts(found)
    known = [one for one in parts if one.work is not None]
    whole = sum(one.work or 0.0 for one in known)
    if whole <= 0:
        return Absent(id=ID, title=TITLE, reason="Nothing was trained, so nothing was spent or saved.")
    ends = list(accumulate(one.work or 0.0 for one in known))
    starts = [0.0, *ends[:-1]]
    rows = list(range(len(known)))
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": rows,
        "base": [place(start) for start in starts],
        "x": [place(one.work) for one in known],
        "customdata": [[one.name, one.told, one.work, (one.work or 0.0) / whole] for one in known],
        "hovertemplate": (
            "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]} "
            f"{work_unit(report.result)}<br>share of all %{{customdata[3]}}<extra></extra>"
        ),
        "marker": {
            "color": [one.colour for one in known],
            "pattern": {"shape": [one.hatch for one in known], "fillmode": "replace", "size": 7},
            "line": {"width": 1, "color": [one.colour for one in known]},
        },
        "showlegend": False,
    }
    late = [start > 0.5 * whole for start in starts]
    right = [end for end, left in zip(ends, late, strict=True) if not left]
    labels = {
        "type": "scatter",
        "mode": "text",
        "y": rows,
        "x": [place(start if left else end) for start, end, left in zip(starts, ends, late, strict=True)],
        "text": [f" {_figure(report, one, whole)} " for one in known],
        "textposition": ["middle left" if left else "middle right" for left in late],
        "textfont": {"color": INK},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }
    layout = {
        "xaxis": {
            "title": {"text": work_unit(report.result)},
            "range": [0, place(max(1.02 * whole, *(end + 0.45 * whole for end in right)))],
            "nticks": 5,
            "automargin": True,
        },
        "yaxis": {
            "tickvals": rows,
            "ticktext": [one.name for one in known],
            "autorange": "reversed",
            "ticklabelstandoff": 6,
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        "bargap": 0.3,
    }
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(report, known, whole),
        traces=(bars, labels),
        layout=layout,
        height=120 + 46 * len(known),
        note=_note(found, [one for one in parts if one.work is None]),
    )


def _parts(found: Savings) -> list[_Part]:
    gone_on = "what {} trials would have gone on to spend"
    equal = "taken over from an earlier trial with the same schedule"
    there = "passes through frozen groups that were there already"
    computed = found.spent - (found.by_stores or 0.0)
    return [
        _Part("computed", computed, "work of the trials that was done", SERIES[0], ""),
        _Part("read from stores", found.by_stores, there, GOOD, "/"),
        _Part("pruned: unpromising", found.by_unpromising, gone_on.format("unpromising"), OTHER, "x"),
        _Part("pruned: unstable", found.by_unstable, gone_on.format("unstable"), SERIES[3], "."),
        _Part("equal trials", found.by_sharing, equal, SERIES[4], "-"),
    ]


def _figure(report: Report, one: _Part, whole: float) -> str:
    work = one.work or 0.0
    return f"{work_figure(report.result, work)} ({100 * work / whole:.0f} %)" if work else "0"


def _alt(report: Report, known: list[_Part], whole: float) -> str:
    first, *others = known
    saved = "; ".join(f"{one.name} {_figure(report, one, whole)}, {one.told}" for one in others)
    return (
        f"Without any saving the trials would have taken {work_figure(report.result, whole)} "
        f"{work_unit(report.result)}. Computed were {_figure(report, first, whole)}. Not computed: {saved}."
    )


def _note(found: Savings, unknown: list[_Part]) -> str:
    counting = "Spent is counted as if every run had the machine to itself."
    if found.by_stores is not None:
        counting = (
            "What reports call spent is both what was computed and what was read from stores: every run is "
            "counted as if it had the machine to itself. What stores spared is reckoned from the schedules, "
            "less what it takes to fill each of them once."
        )
    told = [
        "Work of the search's trials, without the confirmation.",
        counting,
        "What pruned trials would have gone on to spend follows from their schedules; nobody knows whether "
        "one of them would have been good after all.",
        "Work is no time: what is read from a store has to be read.",
    ]
    if unknown:
        told.append(f"Not known here: {listed(one.name for one in unknown)}.")
    return " ".join(told)
