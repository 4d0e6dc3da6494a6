"""The first gradient into the backbone, at once against after a warm-up."""

from collections.abc import Sequence
from typing import Any

from autofreeze.firstgradients import Beginning, FirstGradients, Side, first_steps
from autofreeze.instabilities import Row
from autofreeze.phrases import counted
from autofreeze.ranks import Median
from autofreeze.report.page.figure import Absent, Figure, label
from autofreeze.report.page.marks import ROW_MARKS, aside, dot, place
from autofreeze.report.page.palette import INK
from autofreeze.report.page.ticks import log_axis
from autofreeze.report.report import Report
from autofreeze.report.stability import groups_words

ID, TITLE = "gradient", "The first gradient into the backbone"
MOST_PLACES = 2
"""Sets of groups that are drawn; of the others it is said how many there are."""

SIDES: tuple[Row, ...] = ("at once", "after a warm-up")
TICKS: dict[Row, str] = {"at once": "at once<br>", "after a warm-up": "after a<br>warm-up"}
APART = 2.5
"""From one set of groups to the next; its two sides lie 1 apart."""

WIDTH = 0.28
"""Half of the width over which points are spread."""


def figure(report: Report) -> Figure | Absent:
    """Draw the size of each trial's first gradient, by what trains first, with the medians."""
    found = report.stability.beginnings
    if not found.gradients:
        reason = "No run tells of it: the backbone trained in none, or a version searched that kept no sizes."
        return Absent(id=ID, title=TITLE, reason=reason)
    both = [one for one in found.gradients if one.ratio is not None]
    drawn = (both or list(found.gradients))[:MOST_PLACES]
    begun = first_steps(report.result.trials)
    zeros = sum(one.norm == 0 for one in begun)
    places = {one.columns: APART * turn for turn, one in enumerate(drawn)}
    here = [one for one in begun if one.columns in places and one.norm > 0]
    if not here:
        reason = "The first gradient is zero in all runs: a head that begins at zero sends none down."
        return Absent(id=ID, title=TITLE, reason=reason)
    norms = [one.norm for one in here]
    traces = [_points(row, [one for one in here if one.row == row], places, len(here)) for row in SIDES]
    traces += [_medians(drawn), _figures(drawn)]
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(drawn),
        traces=tuple(one for one in traces if one["x"]),
        layout=_layout(drawn, norms),
        height=430,
        note=_note(report, drawn, len(begun) - len(here) - zeros, zeros),
    )


def _points(
    row: Row, begun: Sequence[Beginning], places: dict[tuple[int, ...], float], points: int
) -> dict[str, Any]:
    mark = ROW_MARKS[row]
    side = SIDES.index(row)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": mark.words,
        "x": [place(places[one.columns] + side + WIDTH * aside(one.trial.number)) for one in begun],
        "y": [place(one.norm) for one in begun],
        "customdata": [[one.trial.number, one.norm, one.thaw.loss, one.relative] for one in begun],
        "hovertemplate": (
            f"<b>trial %{{customdata[0]}}</b>, {mark.words}<br>gradient %{{customdata[1]}}<br>"
            "over the weights %{customdata[3]}<br>loss %{customdata[2]} nats<extra></extra>"
        ),
        "marker": dot(mark, points),
    }


def _sides(drawn: Sequence[FirstGradients]) -> list[tuple[float, Row, FirstGradients, Side]]:
    found = []
    for turn, one in enumerate(drawn):
        for side, row in enumerate(SIDES):
            told = one.at_once if row == "at once" else one.after_warmup
            if told is not None:
                found.append((APART * turn + side, row, one, told))
    return found


def _medians(drawn: Sequence[FirstGradients]) -> dict[str, Any]:
    sides = [one for one in _sides(drawn) if one[3].norm.median > 0]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "median and its 95 % interval",
        "x": [x for x, *_ in sides],
        "y": [place(told.norm.median) for *_, told in sides],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [place(_end(told.norm.high, told) - told.norm.median) for *_, told in sides],
            "arrayminus": [place(told.norm.median - _end(told.norm.low, told)) for *_, told in sides],
            "color": INK,
            "thickness": 1.5,
            "width": 6,
        },
        "customdata": [
            [row, label(groups_words(one)), told.norm.median, told.norm.n, told.runs, told.loss.median]
            for _, row, one, told in sides
        ],
        "hovertemplate": (
            "<b>median, %{customdata[0]}</b> (%{customdata[1]})<br>"
            "gradient %{customdata[2]}<br>runs: %{customdata[4]}, different gradients: %{customdata[3]}<br>"
            "loss %{customdata[5]} nats<extra></extra>"
        ),
        "marker": {"color": INK, "symbol": "line-ew", "size": 26, "line": {"width": 3, "color": INK}},
        "cliponaxis": False,
    }


def _figures(drawn: Sequence[FirstGradients]) -> dict[str, Any]:
    """Write the medians beside their marks."""
    sides = [one for one in _sides(drawn) if one[3].norm.median > 0]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [x + WIDTH + 0.1 for x, *_ in sides],
        "y": [place(told.norm.median) for *_, told in sides],
        "text": [f"{told.norm.median:.3g}" for *_, told in sides],
        "textposition": "middle right",
        "textfont": {"color": INK},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _end(end: float | None, told: Side) -> float:
    return told.norm.median if end is None else end


def _layout(drawn: Sequence[FirstGradients], norms: Sequence[float]) -> dict[str, Any]:
    ticks = {
        x: f"{TICKS[row]}<br>n = {told.runs}<br>loss {told.loss.median:.2f}"
        for x, row, _, told in _sides(drawn)
    }
    last = APART * (len(drawn) - 1) + 1
    return {
        "legend": {"itemsizing": "constant"},
        "xaxis": {
            "range": [-0.6, last + 0.75],
            "tickvals": list(ticks),
            "ticktext": list(ticks.values()),
            "tickangle": 0,
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        "yaxis": {
            "title": {"text": "2-norm of the gradient"},
            **log_axis(norms, "{:g}".format),
            "automargin": True,
        },
        "annotations": [
            {
                "xref": "x",
                "yref": "paper",
                "x": APART * turn + 0.5,
                "y": 1.0,
                "yanchor": "bottom",
                "showarrow": False,
                "text": label(_short(groups_words(one))),
            }
            for turn, one in enumerate(drawn)
        ],
        "shapes": [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": APART * turn - (APART - 1) / 2,
                "x1": APART * turn - (APART - 1) / 2,
                "y0": 0,
                "y1": 1,
                "line": {"color": INK, "width": 0.5, "dash": "dot"},
            }
            for turn in range(1, len(drawn))
        ],
    }


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:29]}…"


def _alt(drawn: Sequence[FirstGradients]) -> str:
    told = []
    for one in drawn:
        parts = [
            f"{told_of.norm.median:.3g} {row} ({counted(told_of.runs, 'run')}, at a loss of "
            f"{told_of.loss.median:.2f} nats)"
            for _, row, same, told_of in _sides(drawn)
            if same is one
        ]
        ratio = "" if one.ratio is None else f"; after a warm-up it is {_ratio(one.ratio)} times as large"
        told.append(
            f"Where {groups_words(one)} trains first, its median size is {' and '.join(parts)}{ratio}."
        )
    return " ".join(told)


def _note(report: Report, drawn: Sequence[FirstGradients], elsewhere: int, zeros: int) -> str:
    told = [
        f"Where {_short(groups_words(one))} trains first, it is after a warm-up × {_ratio(one.ratio)} of "
        f"that at once, by {counted(one.ratio.n, 'warm-up')}."
        for one in drawn
        if one.ratio is not None
    ]
    if not told:
        told = ["No groups begin both at once and after a warm-up, so there is nothing to compare."]
    told.append("Points are runs, of each trial the first fold; in the median equal gradients count once.")
    if elsewhere:
        other = len(report.stability.beginnings.gradients) - len(drawn)
        told.append(
            f"Not drawn: {counted(elsewhere, 'run')} in which other groups train first "
            f"({counted(other, 'set')} of groups)."
        )
    if zeros:
        told.append(f"{counted(zeros, 'run')} had a gradient of zero, which this axis has no place for.")
    return " ".join(told)


def _ratio(one: Median) -> str:
    if one.low is None or one.high is None:
        return f"{one.median:.2g} (too few for an interval)"
    return f"{one.median:.2g} ({one.low:.2g} to {one.high:.2g})"
