"""Accuracy by class: the best schedule and the best baseline."""

from typing import Any

from autofreeze.phrases import counted, printable
from autofreeze.report.page.classified import MOST_CLASSES, Classified, Side
from autofreeze.report.page.figure import Absent, Cell, Figure, Table, Trace, label
from autofreeze.report.page.marks import cut, place
from autofreeze.report.page.palette import BASELINE, BEST, MUTED
from autofreeze.report.report import Report
from autofreeze.scale import figure as share
from autofreeze.scale import points

ID, TITLE = "classes", "Accuracy by class"
TABLE_ID, TABLE_TITLE = "class-table", "By class"

ROW, ROOM = 24, 120
"""Pixels of a class, and of all that is around them."""

_BEST, _BASELINE = (BEST, "circle", 12), (BASELINE, "diamond-open", 11)
"""Colour, symbol and size of the points."""

TOLD = 6
"""Classes that are told in words, one by one."""

NOT_INDEPENDENT = (
    "An image that several runs were scored on counts in each; such counts are no independent images, so no "
    "interval is given."
)


def figure(report: Report) -> Figure | Absent:
    """Draw a row for each class: a point for each schedule, and a line between them."""
    found = Classified.of(report)
    if isinstance(found, str):
        return Absent(id=ID, title=TITLE, reason=found)
    shown = found.order[:MOST_CLASSES]
    sides = [_points(found, shown, found.best, "the best schedule", _BEST)]
    if found.baseline is not None:
        name = f"the best baseline, {label(printable(found.baseline.name))}"
        sides.insert(0, _points(found, shown, found.baseline, name, _BASELINE))
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(found, shown),
        traces=(*_lines(found, shown), *sides),
        layout=_layout(found, shown),
        height=ROOM + ROW * len(shown),
        note=_note(found, shown),
    )


def table(report: Report) -> Table | Absent:
    """Tabulate all classes, in the order of the data."""
    found = Classified.of(report)
    if isinstance(found, str):
        return Absent(id=TABLE_ID, title=TABLE_TITLE, reason=found)
    training = report.result.data.get("class_images")
    rows = [_row(found, training, one) for one in range(len(found.names))]
    headings = ["class", "training images", "validation images", "scored", "right", "best"]
    if found.baseline is not None:
        headings += ["best baseline", "difference (pt)"]
    return Table(
        id=TABLE_ID,
        title=TABLE_TITLE,
        headings=tuple(headings),
        rows=tuple(rows),
    )


def _row(found: Classified, training: list[int] | None, one: int) -> tuple[Cell, ...]:
    best = found.best
    cells = [
        Cell(text=found.name(one)),
        _count(training[one] if training else None),
        _count(best.confusion.images[one]),
        _count(int(best.scored[one])),
        _count(int(best.right[one])),
        _share(best.accuracy(one)),
    ]
    if found.baseline is not None:
        lead = _lead(found, one)
        cells += [
            _share(found.baseline.accuracy(one)),
            Cell(text="–") if lead is None else Cell(text=points(lead), key=lead),
        ]
    return tuple(cells)


def _count(number: int | None) -> Cell:
    return Cell(text="–") if number is None else Cell(text=f"{number:,}", key=float(number))


def _share(value: float | None) -> Cell:
    return Cell(text="–") if value is None else Cell(text=share(value), key=value)


def _lead(found: Classified, one: int) -> float | None:
    """Give by how much the best schedule is better on a class."""
    best = found.best.accuracy(one)
    other = None if found.baseline is None else found.baseline.accuracy(one)
    return None if best is None or other is None else best - other


def _points(found: Classified, shown: list[int], side: Side, name: str, look: tuple[str, str, int]) -> Trace:
    colour, symbol, size = look
    said = []
    for one in shown:
        told = f"{side.right[one]} of {side.scored[one]} ({counted(side.confusion.images[one], 'image')})"
        said.append([label(found.name(one)), repr(side.accuracy(one)), told])
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [place(side.accuracy(one)) for one in shown],
        "y": list(range(len(shown))),
        "customdata": said,
        "hovertemplate": f"<b>%{{customdata[0]}}</b><br>{name}: %{{customdata[1]}}<br>"
        "right %{customdata[2]}<extra></extra>",
        "marker": {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}},
        "cliponaxis": False,
    }


def _lines(found: Classified, shown: list[int]) -> list[Trace]:
    """Draw the differences, as one trace with gaps."""
    if found.baseline is None:
        return []
    x: list[float | None] = []
    y: list[float | None] = []
    for row, one in enumerate(shown):
        x += [place(found.best.accuracy(one)), place(found.baseline.accuracy(one)), None]
        y += [row, row, None]
    line = {"color": MUTED, "width": 2}
    return [
        {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "showlegend": False,
         "hoverinfo": "skip"}
    ]  # fmt: skip


def _layout(found: Classified, shown: list[int]) -> dict[str, Any]:
    sides = [one for one in (found.best, found.baseline) if one is not None]
    shares = [value for one in shown for side in sides if (value := side.accuracy(one)) is not None]
    low = min(shares, default=0.0)
    ticks = [cut(found.name(one)) + ("" if found.best.scored[one] else " (not scored)") for one in shown]
    return {
        "xaxis": {
            "title": {"text": "share of the class classified rightly"},
            "range": [max(round(low - 0.06, 2), -0.02), 1],
            "automargin": True,
        },
        "yaxis": {
            "tickvals": list(range(len(shown))),
            "ticktext": ticks,
            "range": [len(shown) - 0.4, -0.6],
            "automargin": True,
            "zeroline": False,
        },
        "hovermode": "closest",
    }


def _note(found: Classified, shown: list[int]) -> str:
    told = [found.basis]
    if len(found.best.confusion.runs) > 1:
        told.append(NOT_INDEPENDENT)
    if len(shown) < len(found.names):
        told.append(f"Of {len(found.names):,} classes the {len(shown)} lowest are drawn; the table has all.")
    return " ".join(told)


def _alt(found: Classified, shown: list[int]) -> str:
    scored = [one for one in shown if found.best.scored[one]]
    told = [f"The best schedule classifies {share(found.best.whole)} of all rightly{_others(found)}."]
    if len(scored) <= TOLD:
        told += [_told(found, one) for one in scored]
    elif scored:
        told.append(f"Lowest is {_told(found, scored[0])}")
        told.append(f"Highest is {_told(found, scored[-1])}" if len(shown) == len(found.names) else "")
        leads = {one: lead for one in shown if (lead := _lead(found, one)) is not None}
        if leads:
            most, least = max(leads, key=lambda one: leads[one]), min(leads, key=lambda one: leads[one])
            told.append(
                f"It is furthest ahead on {found.short(most)} ({points(leads[most])} pt), and least on "
                f"{found.short(least)} ({points(leads[least])} pt)."
            )
    never = [found.short(one) for one in shown if not found.best.scored[one]]
    if never:
        told.append(f"No image was scored of {', '.join(never[:TOLD])}{', …' if len(never) > TOLD else ''}.")
    return " ".join(one for one in told if one)


def _others(found: Classified) -> str:
    if found.baseline is None:
        return "; there is no baseline to compare with"
    return f", the best baseline, {printable(found.baseline.name)}, {share(found.baseline.whole)}"


def _told(found: Classified, one: int) -> str:
    other = None if found.baseline is None else found.baseline.accuracy(one)
    against = "" if other is None else f" against {share(other)}"
    return f"{found.short(one)}: {share(found.best.accuracy(one))}{against}."
