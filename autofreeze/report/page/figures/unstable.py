"""Where trials were unstable, with and without a warm-up."""

from collections import Counter
from typing import NamedTuple

from autofreeze.instabilities import ROWS, Instabilities, Row
from autofreeze.instabilities import Cell as Place
from autofreeze.phrases import capitalised, counted, listed, printable
from autofreeze.report.page.figure import Absent, Cell, Figure, Table, label
from autofreeze.report.page.palette import INK, SEQUENTIAL
from autofreeze.report.report import Report
from autofreeze.report.stability import lines
from autofreeze.report.words import BROKEN
from autofreeze.results import Ending, TrialResult
from autofreeze.stability import kind_of

ID, TITLE = "unstable", "Where it was unstable, with and without a warm-up"
TABLE_ID, TABLE_TITLE = "unstable-reasons", "Why trials broke off"

COLUMNS: dict[Row, str] = {
    "at once": "backbone<br>at once",
    "after a warm-up": "after a<br>warm-up",
    "head alone": "head alone<br>(its rate)",
}
ALL = 2.75
"""Where the scale of colours would end, of shares: up to 1 every colour leaves the text on it legible."""

MOST_REASONS = 40
TOLD = 4
"""Cells that are told in words: those with the highest shares."""

NAMED = 6
"""Trials that a row of the table names."""


def figure(report: Report) -> Figure | Absent:
    """Draw the share of unstable runs in each cell: what trains first, by decade of the peak rate."""
    found = report.stability.instabilities
    if not found.unstable.of:
        reason = "No run has come so far that it can be told stable or unstable."
        return Absent(id=ID, title=TITLE, reason=reason)
    if not found.unstable.count:
        return Absent(id=ID, title=TITLE, reason=f"{capitalised(lines(report.stability)[0])}.")
    decades = list(range(min(one.decade for one in found.cells), max(one.decade for one in found.cells) + 1))
    cells = {(one.row, one.decade): one for one in found.cells}
    grid = [[cells.get((row, decade)) for row in ROWS] for decade in decades]
    trace = {
        "type": "heatmap",
        "x": list(range(len(ROWS))),
        "y": list(range(len(decades))),
        "z": [[None if one is None else _share(one) for one in line] for line in grid],
        "text": [["" if one is None else _count(one) for one in line] for line in grid],
        "texttemplate": "%{text}",
        "textfont": {"color": INK},
        "customdata": [
            [_told(row, decade, one) for row, one in zip(ROWS, line, strict=True)]
            for decade, line in zip(decades, grid, strict=True)
        ],
        "hovertemplate": (
            "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}<br>%{customdata[3]}<extra></extra>"
        ),
        "hoverongaps": False,
        "colorscale": SEQUENTIAL,
        "zmin": 0,
        "zmax": ALL,
        "xgap": 3,
        "ygap": 3,
        "showscale": False,
    }
    layout = {
        "margin": {"b": 12},
        "xaxis": {
            "tickvals": list(range(len(ROWS))),
            "ticktext": [COLUMNS[row] for row in ROWS],
            "side": "top",
            "ticks": "",
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        "yaxis": {
            "title": {"text": "peak rate of the backbone"},
            "tickvals": list(range(len(decades))),
            "ticktext": [f"1e{decade} to 1e{decade + 1}" for decade in decades],
            "ticks": "",
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
    }
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(found),
        traces=(trace,),
        layout=layout,
        height=90 + 58 * len(decades),
        note=_note(found),
    )


def _share(one: Place) -> float:
    return float(f"{one.unstable.count / one.unstable.of:.6g}")


def _count(one: Place) -> str:
    return f"{one.unstable.count} of {one.unstable.of}<br>{100 * _share(one):.0f} %"


def _told(row: Row, decade: int, one: Place | None) -> list[object]:
    where = f"{row}, peak rate 1e{decade} to 1e{decade + 1}"
    if one is None:
        return [where, "no run", "", ""]
    share = one.unstable
    kinds = listed(f"{count} × {label(kind)}" for kind, count in one.kinds.items())
    return [
        where,
        f"{share.count} of {counted(share.of, 'run')} unstable: share {share.count / share.of!r}",
        f"95 % interval {share.low!r} to {share.high!r}",
        kinds,
    ]


def _alt(found: Instabilities) -> str:
    there = sorted(found.cells, key=lambda one: -one.unstable.count / one.unstable.of)
    hit = [one for one in there[:TOLD] if one.unstable.count]
    told = listed(f"{one.unstable.count} of {one.unstable.of} {_where(one)}" for one in hit)
    kinds = listed(f"{count} × {printable(kind)}" for kind, count in found.kinds.items())
    whole = f"{found.unstable.count} of {counted(found.unstable.of, 'run')} became unstable ({kinds})"
    others = [one.unstable for one in there[len(hit) :]]
    count, of = sum(one.count for one in others), sum(one.of for one in others)
    rest = f" In the other {counted(len(others), 'cell')}, {count} of {counted(of, 'run')}." if others else ""
    return f"{whole}, most often {told}.{rest}"


def _where(one: Place) -> str:
    first = {
        "at once": "that trained the backbone at once",
        "after a warm-up": "that trained it after a warm-up",
        "head alone": "of the head alone",
    }
    return f"{first[one.row]} at peak rates of 1e{one.decade} to 1e{one.decade + 1}"


def _note(found: Instabilities) -> str:
    told = (
        "In each cell: unstable runs of all runs there, and their share; its 95 % interval stands in the "
        "table. Shares are those of what was tried: the sampler avoids what became unstable."
    )
    if found.too_early:
        were = "was" if found.too_early == 1 else "were"
        told += (
            f" {counted(found.too_early, 'run')} {were} pruned before the backbone trained, and in no cell."
        )
    return told


# Reasons


class _Why(NamedTuple):
    ending: Ending
    what: str


def table(report: Report) -> Table | Absent:
    """List why trials broke off: unstable ones by kind, others by what was said, the most frequent first."""
    broken = [one for one in report.result.trials if one.ending in BROKEN]
    if not broken:
        reason = "No trial became unstable, failed, or was left out of the comparison."
        if not report.result.trials:
            reason = "No trial has ended yet."
        return Absent(id=TABLE_ID, title=TABLE_TITLE, reason=reason)
    counts = Counter(map(_why, broken))
    rows = [
        _row(why, [one for one in broken if _why(one) == why]) for why, _ in counts.most_common(MOST_REASONS)
    ]
    more = len(counts) - len(rows)
    return Table(
        id=TABLE_ID,
        title=TABLE_TITLE,
        headings=("ended", "why", "trials", "such as", "trial numbers"),
        rows=tuple(rows),
        left=(0, 1, 3, 4),
        note=f"{counted(more, 'rarer reason')} more in report.json." if more > 0 else "",
    )


def _why(trial: TrialResult) -> _Why:
    """Put runs together that were unstable in one way, whatever their numbers were."""
    kind = kind_of(trial.reason) if trial.ending is Ending.UNSTABLE else None
    return _Why(trial.ending, kind or trial.reason)


def _row(why: _Why, trials: list[TrialResult]) -> tuple[Cell, ...]:
    named = ", ".join(str(one.number) for one in trials[:NAMED]) + (" …" if len(trials) > NAMED else "")
    example = trials[0].reason
    return (
        Cell(text=why.ending.value),
        Cell(text=printable(why.what) or "–"),
        Cell(text=f"{len(trials):,}", key=float(len(trials))),
        Cell(text=printable(example) if example != why.what else "–"),
        Cell(text=named, key=float(trials[0].number)),
    )
