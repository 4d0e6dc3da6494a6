"""The best schedule and the others as a table: on fresh seeds, on the test split, in the search."""

import math

from autofreeze.phrases import capitalised
from autofreeze.report.comparison import Compared
from autofreeze.report.owntraining import work_figure, work_unit
from autofreeze.report.page.figure import Absent, Cell, Table
from autofreeze.report.page.runwork import run_work, share_of_full
from autofreeze.report.report import Report
from autofreeze.report.telling import fresh_cells
from autofreeze.scale import figure

TABLE_ID, TABLE_TITLE = "against-table", "The same in numbers"
DASH = Cell(text="–")


def table(report: Report) -> Table | Absent:
    """Give the numbers of the comparison, the best schedule first."""
    if not report.compared:
        return Absent(id=TABLE_ID, title=TABLE_TITLE, reason=f"{capitalised(report.verdict.headline)}.")
    fresh = any(row.confirmed is not None for row in report.compared)
    parts = [
        *([(_FRESH, _fresh)] if fresh else ()),
        *([(_TEST, _test)] if report.verdict.test else ()),
        (_SEARCH, _search),
    ]
    headings = ["schedule"]
    rows = [
        [Cell(text=f"best: {row.name}" if row.best else row.name, strong=row.best)] for row in report.compared
    ]
    for names, cells in parts:
        headings += [name.format(metric=report.result.metric) for name in names]
        for row, line in zip(report.compared, rows, strict=True):
            line += cells(report, row)
    return Table(
        id=TABLE_ID,
        title=TABLE_TITLE,
        headings=tuple(headings),
        rows=tuple(map(tuple, rows)),
        left=tuple(at for at, name in enumerate(headings) if name in ("schedule", "the best is", "ended")),
        note=f"Work of one run is counted in {work_unit(report.result)}. Intervals are explained above.",
    )


_FRESH = ("{metric}", "interval", "fresh seeds", "the best leads by", "interval of the lead", "the best is")
_TEST = ("test", "interval on test")
_SEARCH = ("{metric} in the search", "log loss there", "work of a run", "× full", "ended")


def _name(row: Compared) -> Cell:
    return Cell(text=f"best: {row.name}" if row.best else row.name, strong=row.best)


def _fresh(report: Report, row: Compared) -> list[Cell]:
    """Give what fresh seeds say; of what was no candidate nothing, its search values stand to the right."""
    if row.confirmed is None:
        return [DASH, DASH, Cell(text="0", key=0.0), DASH, DASH, Cell(text="search only")]
    scale = report.result.scale
    mean, lead, span, words = fresh_cells(scale, row)
    shown = row.confirmed
    ends = None not in (shown.low, shown.high)
    return [
        _number(mean, shown.mean),
        Cell(text=scale.value_span(shown.low or 0.0, shown.high or 0.0)) if ends else DASH,
        Cell(text=str(row.seeds), key=float(row.seeds)),
        _number(lead or "–", row.lead),
        Cell(text=span or "–"),
        Cell(text=words or "–"),
    ]


def _test(report: Report, row: Compared) -> list[Cell]:
    found = next((one for one in report.verdict.test if one.trial == row.trial), None)
    if found is None:
        return [DASH, DASH]
    scale = report.result.scale
    ends = found.low is not None and found.high is not None
    span = scale.value_span(found.low or 0.0, found.high or 0.0) if ends else "–"
    return [_number(scale.figure(found.value), found.value), Cell(text=span)]


def _search(report: Report, row: Compared) -> list[Cell]:
    result = report.result
    work, share = run_work(result, row.trial), share_of_full(result, row.trial)
    return [
        _number(result.scale.figure(row.value, row.standard_error), row.value),
        _number(figure(row.log_loss), row.log_loss),
        DASH if work is None else _number(work_figure(result, work), work),
        DASH if share is None else _number(f"{share:.2f}", share),
        Cell(text=row.ended),
    ]


def _number(text: str, key: float | None) -> Cell:
    return Cell(text=text, key=key if key is not None and math.isfinite(key) else None)
