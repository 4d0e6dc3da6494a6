"""Values by warm-up, depth and rates: small multiples."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from autofreeze.figures import shown_value
from autofreeze.instabilities import ROWS, Row, peak_rate, peak_rate_of_head, row_of
from autofreeze.phrases import counted, listed
from autofreeze.report.page.figure import Absent, Figure
from autofreeze.report.page.marks import ROW_MARKS, aside, dot, in_template, place, value_title
from autofreeze.report.page.palette import BEST, INK
from autofreeze.report.page.strip import STRIP_NOTE, strip_axis, strip_of
from autofreeze.report.page.ticks import log_axis
from autofreeze.report.report import Report
from autofreeze.results import Ending, TrialResult
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule, format_rate

ID, TITLE = "slices", "Values by warm-up, depth and rates"

SPREAD, SPREAD_OF_ALL = 0.3, 0.03
"""How far points at one value are spread sideways: at most this share of the way to the next value, and this
share of the whole range."""


class Panel(NamedTuple):
    """One of the small multiples."""

    title: str
    where: Callable[[Schedule], float | None]
    """Place of a schedule on the axis; None: it has none there."""

    told: str
    """What is read on hover, of the exact place."""

    axis: dict[str, Any]
    log: bool = False


def warmup_share(schedule: Schedule) -> float:
    """Give the share of the run in which the head trains alone at first, 0..1."""
    return min(schedule.warmup_epochs / schedule.epochs, 1.0)


def _depth(schedule: Schedule) -> float:
    return schedule.unfreeze_depth


def _head(schedule: Schedule) -> float | None:
    return peak_rate_of_head(schedule) or None


def _backbone(schedule: Schedule) -> float | None:
    return peak_rate(schedule) if schedule.unfreeze_depth else None


PANELS = (
    Panel(
        "head-only share",
        warmup_share,
        "head alone for %{customdata[2]} of the run",
        {"tickformat": ".0%"},
    ),
    Panel("groups that train", _depth, "%{customdata[2]} backbone groups train", {}),
    Panel("head's peak rate", _head, "head's peak rate %{customdata[2]}", {}, log=True),
    Panel("backbone's peak rate", _backbone, "backbone's peak rate %{customdata[2]}", {}, log=True),
)


def figure(report: Report) -> Figure | Absent:
    """Draw four panels of the same trials: complete ones by value, broken ones on a strip below."""
    scale, best = report.result.scale, report.result.best
    trials = [one for one in report.result.trials if one.same_as is None]
    shown = [one for one in trials if _value(scale, one) is not None]
    strip = strip_of(trials)
    if not shown:
        return Absent(id=ID, title=TITLE, reason="No trial has a value yet: none was completed.")
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"legend": {"itemsizing": "constant"}}
    for number, panel in enumerate(PANELS):
        places = _places(panel, [*shown, *strip.trials])
        width = 0.0 if panel.log else _width(places.values())
        spread = {trial: where + width * aside(trial) for trial, where in places.items()}
        traces += _points(panel, number, scale, shown, places, spread)
        if best is not None and best.number in places and _value(scale, best) is not None:
            traces.append(_best(number, scale, best, places[best.number]))
        if strip.rows:
            traces += strip.traces(spread, _ids(2 * number + 1, number))
        layout |= _axes(panel, number, scale, strip.rows, places)
    alone = sum(not one.schedule.unfreeze_depth for one in (*shown, *strip.trials))
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(report, scale, shown, strip.trials),
        traces=tuple(traces),
        layout=layout,
        height=620 + 24 * len(strip.rows),
        note=_note(alone, sum(one.same_as is not None for one in report.result.trials), bool(strip.rows)),
    )


def _value(scale: Scale, trial: TrialResult) -> float | None:
    return place(shown_value(scale, trial))


# Points


def _places(panel: Panel, trials: Sequence[TrialResult]) -> dict[int, float]:
    """Give where on a panel's axis each trial stands, exactly; those that have no place are left out."""
    found = ((one.number, panel.where(one.schedule)) for one in trials)
    return {number: where for number, where in found if where is not None}


def _points(
    panel: Panel,
    number: int,
    scale: Scale,
    shown: Sequence[TrialResult],
    places: dict[int, float],
    spread: dict[int, float],
) -> list[dict[str, Any]]:
    rows: dict[Row, list[TrialResult]] = defaultdict(list)
    for one in shown:
        if one.number in places:
            rows[row_of(one.schedule)].append(one)
    traces = []
    for row in ROWS:
        mark, members = ROW_MARKS[row], rows[row]
        if not members:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": mark.words,
                "legendgroup": row,
                "showlegend": number == 0,
                "x": [place(spread[one.number]) for one in members],
                "y": [_value(scale, one) for one in members],
                "customdata": [[one.number, shown_value(scale, one), places[one.number]] for one in members],
                "hovertemplate": (
                    f"<b>trial %{{customdata[0]}}</b>, {mark.words}<br>"
                    f"{in_template(scale.metric)} %{{customdata[1]}}<br>{panel.told}<extra></extra>"
                ),
                "marker": dot(mark, len(shown)),
                **_ids(2 * number, number),
            }
        )
    return traces


def _best(number: int, scale: Scale, best: TrialResult, where: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "best schedule",
        "legendgroup": "best",
        "showlegend": number == 0,
        "x": [place(where)],
        "y": [_value(scale, best)],
        "customdata": [[best.number, shown_value(scale, best), where]],
        "hovertemplate": (
            f"<b>best: trial %{{customdata[0]}}</b><br>{in_template(scale.metric)} %{{customdata[1]}}<br>"
            f"{PANELS[number].told}<extra></extra>"
        ),
        "marker": {"color": BEST, "symbol": "star", "size": 15, "line": {"width": 1.5, "color": INK}},
        **_ids(2 * number, number),
    }


def _width(places: Iterable[float]) -> float:
    """Give how far aside points may lie; not at all where all stand at one place."""
    ordered = sorted({round(one, 6) for one in places})
    if len(ordered) < 2:
        return 0.0
    gap = min(high - low for low, high in pairwise(ordered))
    return min(SPREAD * gap, SPREAD_OF_ALL * (ordered[-1] - ordered[0]))


# Axes: two panels beside each other, twice, each with its strip


def _ids(y: int, x: int) -> dict[str, str]:
    return {"xaxis": _numbered("x", x), "yaxis": _numbered("y", y)}


def _numbered(name: str, number: int) -> str:
    return name if number == 0 else f"{name}{number + 1}"


def _axes(
    panel: Panel, number: int, scale: Scale, rows: Sequence[Ending], places: dict[int, float]
) -> dict[str, Any]:
    right, lower = number % 2, number // 2
    left = (0.0, 0.54)[right]
    top = (1.0, 0.44)[lower]
    bottom = top - 0.44
    share = 0.03 * len(rows)
    middle = bottom + share + (0.02 if rows else 0)
    values, strip = 2 * number, 2 * number + 1
    x = {
        "domain": [left, left + 0.46],
        "anchor": _numbered("y", strip if rows else values),
        "title": {"text": panel.title, "standoff": 6},
        "nticks": 5,
        "tickangle": 0,
        "automargin": True,
        "zeroline": False,
        **panel.axis,
    }
    if panel.log:
        x |= log_axis(places.values(), format_rate)
    elif panel.where is _depth:
        x |= _whole_ticks(places.values())
    y = {
        "domain": [middle, top],
        "anchor": _numbered("x", number),
        "automargin": True,
        "nticks": 6,
        "zeroline": False,
        "showticklabels": not right,
        "title": {"text": "" if right else value_title(scale)},
    }
    if number:
        y["matches"] = "y"
    found = {f"xaxis{'' if not number else number + 1}": x, f"yaxis{'' if not values else values + 1}": y}
    if rows:
        found[f"yaxis{strip + 1}"] = {
            **strip_axis(rows, labelled=not right),
            "domain": [bottom, bottom + share],
            "anchor": _numbered("x", number),
        }
    return found


def _whole_ticks(places: Iterable[float]) -> dict[str, Any]:
    most = int(max(places, default=1))
    every = max(math.ceil((most + 1) / 9), 1)
    return {"range": [-0.6, most + 0.6], "tickvals": list(range(0, most + 1, every))}


# Words


def _alt(report: Report, scale: Scale, shown: Sequence[TrialResult], broken: Sequence[TrialResult]) -> str:
    told = [f"{counted(len(shown), 'trial')} with a value"]
    if broken:
        told[0] += f" and {len(broken)} without one"
    told[0] += ", each in four panels."
    best = report.result.best
    if best is not None:
        told.append(_standing(scale, best))
    by_decade: dict[int, list[float]] = defaultdict(list)
    for one in shown:
        rate, value = _backbone(one.schedule), shown_value(scale, one)
        if rate and value is not None:
            by_decade[math.floor(math.log10(rate) + 1e-9)].append(value)
    if by_decade:
        falls = scale.unit == "nats" or scale.direction == "minimize"
        pick = min if falls else max
        parts = listed(
            f"{scale.figure(pick(values))} at 1e{decade} to 1e{decade + 1} ({counted(len(values), 'trial')})"
            for decade, values in sorted(by_decade.items())
        )
        told.append(f"By the backbone's peak rate the best {scale.metric} is {parts}.")
    return " ".join(told)


def _standing(scale: Scale, best: TrialResult) -> str:
    schedule = best.schedule
    depth = counted(schedule.unfreeze_depth, "backbone group")
    rates = f"the head's peak rate is {format_rate(peak_rate_of_head(schedule))}"
    if schedule.unfreeze_depth:
        rates += f", the backbone's {format_rate(peak_rate(schedule))}"
    value = scale.figure(shown_value(scale, best))
    return (
        f"The best schedule, trial {best.number}, with {scale.metric} {value}, "
        f"trains the head alone for {100 * warmup_share(schedule):.0f} % of the run at first; "
        f"{depth} {'trains' if schedule.unfreeze_depth == 1 else 'train'}; {rates}."
    )


def _note(alone: int, equal: int, strip: bool) -> str:
    told = ["Search values, of one seed; each trial stands once in each panel."]
    if strip:
        told.append(STRIP_NOTE)
    if alone:
        have = "trains the head alone and has" if alone == 1 else "train the head alone and have"
        told.append(f"{counted(alone, 'trial')} {have} no rate of the backbone.")
    if equal:
        told.append(
            f"{counted(equal, 'trial')} with the schedule of an earlier one {_stands(equal)} with it."
        )
    told.append("Peak rates are the highest that the rate curve lets through.")
    told.append("Points at one length or depth are spread a little sideways.")
    return " ".join(told)


def _stands(number: int) -> str:
    return "stands" if number == 1 else "stand"
