"""What each worker did, and when."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from autofreeze.phrases import counted, duration, listed, printable
from autofreeze.report.page.figure import Absent, Figure, label
from autofreeze.report.page.marks import BASELINE_MARK, ENDING_MARKS, Mark, cut, place
from autofreeze.report.page.palette import INK, MUTED, SERIES, WARN
from autofreeze.report.page.shifts import (
    Bar,
    Pause,
    Worker,
    bars_of,
    busy_of,
    pauses_of,
    without,
    worker_of,
    workers_of,
)
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

MARKED_PAUSES = 6
FRESH = Mark("fresh seed", SERIES[0], "star", "\\")
BASELINE = BASELINE_MARK._replace(hatch=".")
OTHERWISE = Mark("another end", WARN, "cross", "-")
SAID = (Ending.COMPLETE, Ending.UNPROMISING, Ending.UNSTABLE)
"""Endings with a mark of their own."""


def figure(report: Report) -> Figure | Absent:
    """Draw a row for each worker, a bar for each stretch of training."""
    stretches = report.evidence.timeline
    if not stretches:
        reason = "The report does not say when runs were trained: none was, or no times were kept."
        return Absent(id=ID, title=TITLE, reason=reason)
    rows = {worker: row for row, worker in enumerate(workers_of(stretches))}
    pauses, busy = pauses_of(stretches), busy_of(stretches)
    end = without(max(one.ended for one in stretches), pauses)
    seconds = end - min(one.began for one in stretches)
    idle = {one: max(1 - busy[one] / seconds, 0.0) if seconds > 0 else 0.0 for one in rows}
    unit, unit_word = _unit(seconds)
    marks = {one.number: _mark_of(one) for one in report.result.trials}
    bars = bars_of(stretches, lambda one: _mark(one, marks), seconds)
    groups: dict[Mark, list[Bar]] = defaultdict(list)
    for bar in bars:
        groups[_mark(bar.stretches[0], marks)].append(bar)
    often = sorted(groups, key=lambda mark: -len(groups[mark]))
    merged = len(bars) < len(stretches)
    traces = [_bars(mark, groups[mark], rows, pauses, unit, merged=merged) for mark in often]
    traces.append(_names(rows, idle, stretches, end / unit))
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(stretches, rows, idle, seconds, pauses),
        traces=tuple(traces),
        layout=_layout(rows, pauses, unit, unit_word, end),
        height=min(230 + 26 * len(rows), HIGHEST),
        note=_note(rows, idle, pauses, merged=merged),
    )


def _mark_of(trial: TrialResult) -> Mark:
    if trial.baseline:
        return BASELINE
    return ENDING_MARKS[trial.ending] if trial.ending in SAID else OTHERWISE


def _mark(one: Stretch, marks: dict[int, Mark]) -> Mark:
    return FRESH if one.fresh is not None else marks.get(one.trial, OTHERWISE)


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")


def _name(worker: Worker, rows: dict[Worker, int]) -> str:
    lanes = sum(one.where == worker.where for one in rows)
    return (worker.where or HERE) + (f" · {worker.lane + 1}" if lanes > 1 else "")


# Traces and axes


def _bars(
    mark: Mark,
    bars: Sequence[Bar],
    rows: dict[Worker, int],
    pauses: Sequence[Pause],
    unit: float,
    *,
    merged: bool,
) -> dict[str, Any]:
    """Draw the bars of one kind; a merged one tells its first and last trial on hover, another its run."""
    who = "%{y}" if len(rows) <= NAMED_ROWS else "worker %{y}"
    run = "fresh seed" if mark is FRESH else "fold"
    what = f"trial %{{customdata[2]}}</b>, {run} %{{customdata[3]}}"
    what += "" if mark is FRESH else f": {mark.words}"
    told: list[list[Any]] = [[one.began, one.ended, *_run(one.stretches[0])] for one in bars]
    if merged:
        what = (
            f"%{{customdata[2]}}</b> from trial %{{customdata[3]}} to trial %{{customdata[4]}}: {mark.words}"
        )
        told = [
            [
                one.began,
                one.ended,
                counted(len(one.stretches), "run"),
                one.stretches[0].trial,
                one.stretches[-1].trial,
            ]
            for one in bars
        ]
    return {
        "type": "bar",
        "orientation": "h",
        "name": mark.words,
        "y": [rows[one.worker] for one in bars],
        "base": [place(without(one.began, pauses) / unit) for one in bars],
        "x": [place((one.ended - one.began) / unit) for one in bars],
        "customdata": told,
        "hovertemplate": (
            f"<b>{what}<br>{who}<br>from %{{customdata[0]}} s to %{{customdata[1]}} s<extra></extra>"
        ),
        "marker": {
            "color": mark.colour,
            "pattern": {"shape": mark.hatch, "fillmode": "replace", "size": 5},
            "line": {"width": 0.5 if len(bars) < 300 else 0, "color": mark.colour},
        },
    }


def _run(one: Stretch) -> tuple[int, int | None]:
    return one.trial, one.fold if one.fresh is None else one.fresh


def _names(
    rows: dict[Worker, int], idle: dict[Worker, float], stretches: Sequence[Stretch], end: float
) -> dict[str, Any]:
    """Draw a mark before each row that tells the worker's whole name and how long it was idle."""
    runs = Counter(map(worker_of, stretches))
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [place(-0.015 * end)] * len(rows),
        "y": list(rows.values()),
        "customdata": [[label(_name(one, rows)), runs[one], idle[one]] for one in rows],
        "hovertemplate": (
            "<b>%{customdata[0]}</b><br>runs: %{customdata[1]}<br>idle share %{customdata[2]}<extra></extra>"
        ),
        "marker": {"symbol": "triangle-right", "size": 7 if len(rows) <= NAMED_ROWS else 4, "color": MUTED},
        "showlegend": False,
        "cliponaxis": False,
    }


def _layout(
    rows: dict[Worker, int], pauses: Sequence[Pause], unit: float, unit_word: str, end: float
) -> dict[str, Any]:
    named = len(rows) <= NAMED_ROWS
    every = 1 if named else -(-len(rows) // 20)
    ticks = [(row, worker) for worker, row in rows.items() if row % every == 0]
    cuts = [place(without(one.began, pauses) / unit) for one in pauses]
    left_out = ", pauses left out" if pauses else ""
    return {
        "barmode": "overlay",
        "bargap": 0.25 if named else 0.05,
        "hovermode": "closest",
        "xaxis": {
            "title": {"text": f"{unit_word} since the first run began{left_out}"},
            "range": [place(-0.03 * end / unit), place(1.01 * end / unit)],
            "nticks": 6,
            "zeroline": False,
            "automargin": True,
        },
        "yaxis": {
            "tickvals": [row for row, _ in ticks],
            "ticktext": [cut(_name(worker, rows), 20) if named else str(row) for row, worker in ticks],
            "title": {"text": "" if named else "worker"},
            "range": [len(rows) - 0.4, -0.6],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        "shapes": [_cut_line(where) for where in cuts],
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
            for one, where in zip(pauses[:MARKED_PAUSES], cuts, strict=False)
        ],
    }


def _cut_line(where: float | None) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": where,
        "x1": where,
        "y0": 0,
        "y1": 1,
        "line": {"color": INK, "width": 1, "dash": "dash"},
    }


# Words


def _alt(
    stretches: Sequence[Stretch],
    rows: dict[Worker, int],
    idle: dict[Worker, float],
    seconds: float,
    pauses: Sequence[Pause],
) -> str:
    fresh = sum(one.fresh is not None for one in stretches)
    stretch = "stretch" if len(stretches) == 1 else "stretches"
    told = f"{counted(len(rows), 'worker')}, {len(stretches):,} {stretch} of training"
    told += f" in {duration(seconds)}" + (", pauses left out" if pauses else "")
    told += f"; {fresh:,} of them on fresh seeds" if fresh else ""
    return f"{told}. {_idle_words(rows, idle)}"


def _idle_words(rows: dict[Worker, int], idle: dict[Worker, float]) -> str:
    if len(rows) <= TOLD:
        each = listed(f"{printable(_name(one, rows))} for {_percent(idle[one])}" for one in rows)
        return f"Idle: {each} of the time."
    shares = sorted(idle.values())
    return (
        f"Idle for {_percent(shares[0])} to {_percent(shares[-1])} of the time, median "
        f"{_percent(median(shares))} of {len(rows)} workers."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _note(
    rows: dict[Worker, int], idle: dict[Worker, float], pauses: Sequence[Pause], *, merged: bool
) -> str:
    told = [
        _idle_words(rows, idle),
        "Idle is whatever lies between two runs of a worker: asking, judging, building models, waiting.",
    ]
    if pauses:
        total = duration(sum(one.seconds for one in pauses))
        told.append(f"{counted(len(pauses), 'pause')} in which nobody trained, {total} in all, left out.")
    if any(later.where == one.where for one, later in pairwise(rows)):
        told.append("Nobody notes which worker of a machine a run was on: rows are told apart by time alone.")
    if merged:
        told.append("Runs of one kind that follow each other at once are drawn as one bar.")
    return " ".join(told)
