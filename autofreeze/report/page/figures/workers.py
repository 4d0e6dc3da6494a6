"""What each worker did, and when."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from autofreeze.phrases import counted, duration, listed, printable
from autofreeze.report.page.figure import Absent, Figure, label
from autofreeze.report.page.marks import BASELINE_MARK, ENDING_MARKS, Mark, cut, place
from autofreeze.report.page.palette import INK, MUTED, SERIES, WARN
from autofreeze.report.report import Report
from autofreeze.results import Ending, TrialResult
from autofreeze.timeline import Stretch

ID, TITLE = "workers", "What each worker did, and when"

HERE = "this machine"
NAMED_ROWS = 40
"""Workers up to which each has its name beside its row."""

HIGHEST = 900
"""Of the figure, in pixels, however many workers there are."""

TOLD = 4
"""Workers whose idle times are told one by one."""

PAUSE_SECONDS, PAUSE_SHARE = 60.0, 0.03
"""A time in which nobody trained counts as a pause when it exceeds both: seconds, and a share of all."""

MARKED_PAUSES = 6
FRESH = Mark("fresh seed", SERIES[0], "star", "\\")
BASELINE = BASELINE_MARK._replace(hatch=".")
OTHERWISE = Mark("another end", WARN, "cross", "-")


class _Row(NamedTuple):
    """A worker: a lane at a place."""

    where: str
    lane: int


class _Pause(NamedTuple):
    """A time in which nobody trained, as between two sessions: left out of the axis."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def figure(report: Report) -> Figure | Absent:
    """Draw a row for each worker, a bar for each stretch."""
    stretches = report.evidence.timeline
    if not stretches:
        reason = "The report does not say when runs were trained: none was, or no times were kept."
        return Absent(id=ID, title=TITLE, reason=reason)
    rows = {
        row: turn for turn, row in enumerate(sorted({_row(one) for one in stretches}, key=_order(stretches)))
    }
    pauses = pauses_of(stretches)
    whole = max(one.ended for one in stretches) - sum(one.seconds for one in pauses)
    start = min(one.began for one in stretches)
    unit, unit_word = _unit(whole - start)
    trials = {one.number: one for one in report.result.trials}
    groups: dict[Mark, list[Stretch]] = defaultdict(list)
    for one in stretches:
        groups[_mark(one, trials.get(one.trial))].append(one)
    named = len(rows) <= NAMED_ROWS
    traces = [
        _bars(mark, groups[mark], rows, pauses, unit, named=named)
        for mark in sorted(groups, key=lambda mark: -len(groups[mark]))
    ]
    busy = busy_of(stretches)
    idle = {row: max(1 - busy[row] / (whole - start), 0.0) if whole > start else 0.0 for row in rows}
    traces.append(_names(rows, idle, stretches, whole / unit))
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(stretches, rows, idle, whole - start, pauses),
        traces=tuple(traces),
        layout=_layout(rows, pauses, unit, unit_word, whole, named=named),
        height=min(200 + 26 * len(rows), HIGHEST),
        note=_note(rows, idle, pauses),
    )


def pauses_of(stretches: Sequence[Stretch]) -> list[_Pause]:
    """Find the times in which nobody trained that are too long to lie between two runs."""
    ordered = sorted(stretches, key=lambda one: one.began)
    least = max(PAUSE_SECONDS, PAUSE_SHARE * (max(one.ended for one in ordered) - ordered[0].began))
    found, reached = [], ordered[0].ended
    for one in ordered:
        if one.began - reached > least:
            found.append(_Pause(reached, one.began))
        reached = max(reached, one.ended)
    return found


def busy_of(stretches: Sequence[Stretch]) -> dict[_Row, float]:
    """Give for how many seconds each worker trained; what overlaps counts once."""
    lanes: dict[_Row, list[Stretch]] = defaultdict(list)
    for one in sorted(stretches, key=lambda one: one.began):
        lanes[_row(one)].append(one)
    busy = {}
    for row, members in lanes.items():
        total, reached = 0.0, members[0].began
        for one in members:
            total += max(one.ended - max(one.began, reached), 0.0)
            reached = max(reached, one.ended)
        busy[row] = total
    return busy


def _row(one: Stretch) -> _Row:
    return _Row(one.where, one.lane)


def _order(stretches: Sequence[Stretch]) -> Any:
    """Sort places by when they came in, lanes by their number."""
    came: dict[str, int] = {}
    for one in stretches:
        came.setdefault(one.where, len(came))
    return lambda row: (came[row.where], row.lane)


def _name(row: _Row, rows: dict[_Row, int]) -> str:
    lanes = sum(one.where == row.where for one in rows)
    return (row.where or HERE) + (f" · {row.lane + 1}" if lanes > 1 else "")


def _mark(one: Stretch, trial: TrialResult | None) -> Mark:
    if one.fresh is not None:
        return FRESH
    if trial is None:
        return OTHERWISE
    if trial.baseline:
        return BASELINE
    told = (Ending.COMPLETE, Ending.UNPROMISING, Ending.UNSTABLE)
    return ENDING_MARKS[trial.ending] if trial.ending in told else OTHERWISE


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")


def _without(time: float, pauses: Sequence[_Pause]) -> float:
    """Give a time on an axis that leaves pauses out."""
    return time - sum(min(max(time - one.began, 0.0), one.seconds) for one in pauses)


# Traces and axes


def _bars(
    mark: Mark,
    stretches: Sequence[Stretch],
    rows: dict[_Row, int],
    pauses: Sequence[_Pause],
    unit: float,
    *,
    named: bool,
) -> dict[str, Any]:
    who, run = ("%{y}", "fold") if named else ("worker %{y}", "fold")
    if mark is FRESH:
        run = "fresh seed"
    return {
        "type": "bar",
        "orientation": "h",
        "name": mark.words,
        "y": [rows[_row(one)] for one in stretches],
        "base": [place(_without(one.began, pauses) / unit) for one in stretches],
        "x": [place((one.ended - one.began) / unit) for one in stretches],
        "customdata": [
            [one.trial, one.fold if one.fresh is None else one.fresh, one.began, one.ended]
            for one in stretches
        ],
        "hovertemplate": (
            f"<b>trial %{{customdata[0]}}</b>, {run} %{{customdata[1]}}: {mark.words}<br>{who}<br>"
            "from %{customdata[2]} s to %{customdata[3]} s<extra></extra>"
        ),
        "marker": {
            "color": mark.colour,
            "pattern": {"shape": mark.hatch, "fillmode": "replace", "size": 5},
            "line": {"width": 0.5 if len(stretches) < 500 else 0, "color": mark.colour},
        },
    }


def _names(
    rows: dict[_Row, int], idle: dict[_Row, float], stretches: Sequence[Stretch], whole: float
) -> dict[str, Any]:
    """Draw a mark before each row that tells the worker's whole name and how long it was idle."""
    runs: dict[_Row, int] = defaultdict(int)
    for one in stretches:
        runs[_row(one)] += 1
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [place(-0.015 * whole)] * len(rows),
        "y": list(rows.values()),
        "customdata": [[label(_name(row, rows)), runs[row], idle[row]] for row in rows],
        "hovertemplate": (
            "<b>%{customdata[0]}</b><br>runs: %{customdata[1]}<br>idle share %{customdata[2]}<extra></extra>"
        ),
        "marker": {"symbol": "triangle-right", "size": 7, "color": MUTED},
        "showlegend": False,
        "cliponaxis": False,
    }


def _layout(
    rows: dict[_Row, int], pauses: Sequence[_Pause], unit: float, unit_word: str, whole: float, *, named: bool
) -> dict[str, Any]:
    every = 1 if named else -(-len(rows) // 20)
    ticks = [(turn, row) for row, turn in rows.items() if turn % every == 0]
    marked = pauses[:MARKED_PAUSES]
    cuts = [place(_without(one.began, pauses) / unit) for one in pauses]
    return {
        "barmode": "overlay",
        "bargap": 0.25 if named else 0.05,
        "hovermode": "closest",
        "xaxis": {
            "title": {
                "text": f"{unit_word} since the first run began" + (", pauses left out" if pauses else "")
            },
            "range": [place(-0.03 * whole / unit), place(1.01 * whole / unit)],
            "nticks": 6,
            "zeroline": False,
            "automargin": True,
        },
        "yaxis": {
            "tickvals": [turn for turn, _ in ticks],
            "ticktext": [cut(_name(row, rows), 20) if named else str(turn) for turn, row in ticks],
            "title": {"text": "" if named else "worker"},
            "range": [len(rows) - 0.4, -0.6],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        "shapes": [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": where,
                "x1": where,
                "y0": 0,
                "y1": 1,
                "line": {"color": INK, "width": 1, "dash": "dash"},
            }
            for where in cuts
        ],
        "annotations": [
            {
                "xref": "x",
                "yref": "paper",
                "x": where,
                "y": 1,
                "yanchor": "bottom",
                "showarrow": False,
                "text": f"pause: {duration(one.seconds)}",
            }
            for one, where in zip(marked, cuts, strict=False)
        ],
    }


# Words


def _alt(
    stretches: Sequence[Stretch],
    rows: dict[_Row, int],
    idle: dict[_Row, float],
    seconds: float,
    pauses: Sequence[_Pause],
) -> str:
    fresh = sum(one.fresh is not None for one in stretches)
    stretch = "stretch" if len(stretches) == 1 else "stretches"
    told = f"{counted(len(rows), 'worker')}, {len(stretches):,} {stretch} of training"
    told += f" in {duration(seconds)}" + (", pauses left out" if pauses else "")
    told += f"; {fresh:,} of them on fresh seeds" if fresh else ""
    return f"{told}. {_idle_words(rows, idle)}"


def _idle_words(rows: dict[_Row, int], idle: dict[_Row, float]) -> str:
    if len(rows) <= TOLD:
        each = listed(f"{printable(_name(row, rows))} for {_percent(idle[row])}" for row in rows)
        return f"Idle: {each} of the time."
    shares = sorted(idle.values())
    return (
        f"Idle for {_percent(shares[0])} to {_percent(shares[-1])} of the time, median "
        f"{_percent(median(shares))} of {len(rows)} workers."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _note(rows: dict[_Row, int], idle: dict[_Row, float], pauses: Sequence[_Pause]) -> str:
    told = [
        _idle_words(rows, idle),
        "Idle is whatever lies between two runs of a worker: asking, judging, building models, waiting.",
    ]
    if pauses:
        total = duration(sum(one.seconds for one in pauses))
        told.append(f"{counted(len(pauses), 'pause')} in which nobody trained, {total} in all, left out.")
    if any(later.where == one.where for one, later in pairwise(rows)):
        told.append("Nobody notes which worker of a machine a run was on: rows are told apart by time alone.")
    return " ".join(told)
