"""The best value so far, trial by trial."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from autofreeze.figures import name_of_trial, shown_value
from autofreeze.phrases import counted
from autofreeze.report.owntraining import work_figure, work_unit
from autofreeze.report.page.figure import Absent, Figure, label
from autofreeze.report.page.marks import (
    BASELINE_MARK,
    ENDING_MARKS,
    Mark,
    dot,
    in_template,
    place,
    value_title,
)
from autofreeze.report.page.palette import BEST, INK
from autofreeze.report.page.strip import STRIP_NOTE, strip_axis, strip_of
from autofreeze.report.report import Report
from autofreeze.results import Ending, StudyResult, TrialResult, rank

ID, TITLE = "progress", "The best value so far"


def figure(report: Report) -> Figure | Absent:
    """Draw every trial in the order in which they were asked for, and the best value up to each."""
    result = report.result
    order = {one.number: turn for turn, one in enumerate(result.trials, start=1)}
    shown = [one for one in result.trials if place(shown_value(result.scale, one)) is not None]
    if not shown:
        return Absent(id=ID, title=TITLE, reason="No trial has a value yet: none was completed.")
    work = dict(zip(order, accumulate(one.work for one in result.trials), strict=True))
    steps = best_so_far(result)
    strip = strip_of(result.trials)
    groups = {
        "drawn": ([one for one in shown if not one.baseline], ENDING_MARKS[Ending.COMPLETE]),
        "baseline": ([one for one in shown if one.baseline], BASELINE_MARK),
    }
    traces = [_line(result, steps, order, work)]
    traces += [_points(result, *group, order, work) for group in groups.values() if group[0]]
    if result.best is not None and result.best in shown:
        traces.append(_best(result, result.best, order))
    if strip.rows:
        places = {number: float(turn) for number, turn in order.items()}
        traces += strip.traces(places, {"xaxis": "x", "yaxis": "y2"})
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(result, steps, order, work),
        traces=tuple(traces),
        layout=_layout(result, strip.rows, len(order)),
        height=440 + 22 * len(strip.rows),
        note=_note(result, bool(strip.rows)),
    )


def best_so_far(result: StudyResult) -> list[TrialResult]:
    """Give each trial that was better than all before it, in the order in which they were asked for.

    Those over the cost that was allowed cannot be best.
    """
    best: list[TrialResult] = []
    for one in result.trials:
        may_win = one.ending is Ending.COMPLETE and one.affordable
        known = place(shown_value(result.scale, one)) is not None
        if may_win and known and (not best or rank(one) > rank(best[-1])):
            best.append(one)
    return best


def _line(
    result: StudyResult, steps: Sequence[TrialResult], order: dict[int, int], work: dict[int, float]
) -> dict[str, Any]:
    last = len(order)
    values = [shown_value(result.scale, one) for one in steps]
    x = [order[one.number] for one in steps]
    told = [[one.number, value, work[one.number]] for one, value in zip(steps, values, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "line": {"shape": "hv", "color": BEST, "width": 2.5},
        "x": [*x, last] if steps else [],
        "y": [place(value) for value in [*values, *values[-1:]]],
        "customdata": [*told, *told[-1:]],
        "hovertemplate": (
            f"best so far: trial %{{customdata[0]}}<br>{in_template(result.metric)} %{{customdata[1]}}<br>"
            f"after %{{customdata[2]}} {work_unit(result)}<extra></extra>"
        ),
    }


def _points(
    result: StudyResult,
    members: Sequence[TrialResult],
    mark: Mark,
    order: dict[int, int],
    work: dict[int, float],
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": mark.words,
        "x": [order[one.number] for one in members],
        "y": [place(shown_value(result.scale, one)) for one in members],
        "customdata": [
            [one.number, shown_value(result.scale, one), work[one.number], label(_kind(one))]
            for one in members
        ],
        "hovertemplate": (
            "<b>trial %{customdata[0]}</b>, %{customdata[3]}<br>"
            f"{in_template(result.metric)} %{{customdata[1]}}<br>"
            "work up to it %{customdata[2]}<extra></extra>"
        ),
        "marker": dot(mark, 0 if mark is BASELINE_MARK else len(order)),
    }


def _kind(trial: TrialResult) -> str:
    name = name_of_trial(trial) if trial.baseline else trial.recipe
    return name if trial.same_as is None else f"{name}, same as trial {trial.same_as}"


def _best(result: StudyResult, best: TrialResult, order: dict[int, int]) -> dict[str, Any]:
    confirmed = result.confirmation is not None and result.confirmation.chosen is not None
    name = "chosen on fresh seeds" if confirmed else "best schedule"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [order[best.number]],
        "y": [place(shown_value(result.scale, best))],
        "customdata": [[best.number, shown_value(result.scale, best)]],
        "hovertemplate": (
            f"<b>{name}: trial %{{customdata[0]}}</b><br>"
            f"{in_template(result.metric)} %{{customdata[1]}} in the search<extra></extra>"
        ),
        "marker": {"color": BEST, "symbol": "star", "size": 16, "line": {"width": 1.5, "color": INK}},
    }


def _layout(result: StudyResult, rows: Sequence[Ending], trials: int) -> dict[str, Any]:
    share = 0.075 * len(rows)
    axes: dict[str, Any] = {
        "legend": {"itemsizing": "constant"},
        "xaxis": {
            "title": {"text": "trials, in order"},
            "range": [0.5 - 0.02 * trials, trials + 0.5 + 0.02 * trials],
            "anchor": "y2" if rows else "y",
            "tickformat": ",d",
            **({"dtick": 1} if trials <= 8 else {"nticks": 9}),
            "zeroline": False,
            "automargin": True,
        },
        "yaxis": {
            "title": {"text": value_title(result.scale)},
            "domain": [share + (0.03 if rows else 0), 1],
            "zeroline": False,
            "automargin": True,
        },
    }
    if rows:
        axes["yaxis2"] = {**strip_axis(rows), "domain": [0, share], "anchor": "x"}
    return axes


def _alt(
    result: StudyResult, steps: Sequence[TrialResult], order: dict[int, int], work: dict[int, float]
) -> str:
    scale = result.scale
    if not steps:
        return f"Of {counted(len(order), 'trial')} none within the cost allowed was completed."
    first, last = steps[0], steps[-1]
    told = (
        f"Over {counted(len(order), 'trial')} the best {scale.metric} so far went from "
        f"{scale.figure(shown_value(scale, first))} ({name_of_trial(first)}) to "
        f"{scale.figure(shown_value(scale, last))} ({name_of_trial(last)}), in "
        f"{counted(len(steps) - 1, 'step')}. "
        f"The last step came with trial {order[last.number]} of {len(order)}, after "
        f"{work_figure(result, work[last.number])} of {work_figure(result, result.work)} {work_unit(result)}."
    )
    best = result.best
    if best is not None and best.number != last.number:
        value = scale.figure(shown_value(scale, best))
        told += f" Fresh seeds chose trial {best.number}, which had {value} in the search."
    return told


def _note(result: StudyResult, strip: bool) -> str:
    told = [
        "Search values, of one seed: the best of many is partly luck, so the line flatters, and fresh seeds "
        "decide."
    ]
    if strip:
        told.append(STRIP_NOTE)
    dear = sum(one.ending is Ending.TOO_DEAR for one in result.trials)
    if dear:
        told.append(f"{counted(dear, 'draw')} over the cost allowed left a gap.")
    return " ".join(told)
