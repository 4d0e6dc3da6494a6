"""Which classes are taken for which: the best schedule and the best baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autofreeze.phrases import counted, listed
from autofreeze.report.page.classified import MOST_CLASSES, Classified, Side
from autofreeze.report.page.figure import Absent, Cell, Figure, Table, Trace, label
from autofreeze.report.page.marks import cut, place
from autofreeze.report.page.palette import FROZEN, INK, PAPER, SEQUENTIAL
from autofreeze.report.report import Report
from autofreeze.scale import figure as share

ID, TITLE = "confusion", "Which classes are taken for which"
TABLE_ID, TABLE_TITLE = "confused", "Most often confused"

MEANING = (
    "A row is a class in the data, a column what its images were taken for. Colour is the share of the row; "
    "the diagonal, without colour, was right."
)
PER_CENT = " Numbers are per cent of the row."

WRITTEN = 12
"""Classes up to which the numbers stand in their cells."""

NAMED = 20
"""Columns up to which each has its name below; of more every second one has."""

MOST_PAIRS, TOLD = 20, 4
"""Pairs of classes in the table, and in words."""

CELL, SMALL_CELL = 34, 15
"""Height of a class in pixels, with a number in it and without."""

TOP, BETWEEN, BOTTOM = 84, 38, 120
"""Pixels above the first map, where the scale is; between two; and below, where the names are."""

SCALE = 22
"""Pixels above the scale, where its words are."""

PALE = 0.55
"""Part of the colour scale up to which ink is read on it; above it paper is."""

SHORT, NAMES = 14, 120_000
"""Characters of a class's name on hover where it was never taken for the other; and of all names together
where it was, so that the page stays small."""


def figure(report: Report) -> Figure | Absent:
    """Draw a map of each schedule, one above the other: a row for each class, a column for each again.

    Colour is the share of a row, of what is wrong alone: the diagonal would drown the rest.
    """
    found = Classified.of(report)
    if isinstance(found, str):
        return Absent(id=ID, title=TITLE, reason=found)
    n = len(found.names)
    if n > MOST_CLASSES:
        reason = f"Of {n:,} classes no map can be read: {MOST_CLASSES} are drawn at most. The pairs that are "
        return Absent(id=ID, title=TITLE, reason=f"{reason}most often confused are in the table.")
    maps = [_Map(found, found.best, "best schedule", 0)]
    if found.baseline is not None:
        maps.append(_Map(found, found.baseline, f"best baseline: {found.baseline.name}", 1))
    drawing = _Drawing(found, maps)
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(found),
        traces=tuple(trace for one in maps for trace in one.traces(drawing)),
        layout=drawing.layout(),
        height=drawing.height,
        note=f"{MEANING}{PER_CENT if n <= WRITTEN else ''} {found.basis}",
    )


def table(report: Report) -> Table | Absent:
    """Tabulate the pairs of classes that are most often confused."""
    found = Classified.of(report)
    if isinstance(found, str):
        return Absent(id=TABLE_ID, title=TABLE_TITLE, reason=found)
    pairs = _pairs(found)
    if not pairs:
        return Absent(
            id=TABLE_ID, title=TABLE_TITLE, reason=f"Every image was classified rightly: {found.basis}"
        )
    headings = ["class in the data", "taken for", "times", "of", "share"]
    if found.baseline is not None:
        headings += ["best baseline: times", "of", "share"]
    rows = tuple(
        (Cell(text=found.name(row)), Cell(text=found.name(column)), *_cells(found.best, row, column),
         *([] if found.baseline is None else _cells(found.baseline, row, column)))
        for row, column in pairs[:MOST_PAIRS]
    )  # fmt: skip
    return Table(
        id=TABLE_ID,
        title=TABLE_TITLE,
        headings=tuple(headings),
        rows=rows,
        left=(0, 1),
        note="" if len(pairs) <= MOST_PAIRS else f"{MOST_PAIRS} of {len(pairs):,} pairs.",
    )


def _cells(side: Side, row: int, column: int) -> list[Cell]:
    times, of = int(side.matrix[row, column]), int(side.scored[row])
    part = times / of if of else None
    return [
        Cell(text=f"{times:,}", key=float(times)),
        Cell(text=f"{of:,}", key=float(of)),
        Cell(text="–") if part is None else Cell(text=share(part), key=part),
    ]


def _pairs(found: Classified) -> list[tuple[int, int]]:
    """Give the pairs of classes that the best schedule confused, most often first, then by share."""
    wrong = found.best.matrix.copy()
    np.fill_diagonal(wrong, 0)
    parts = _parts(found.best)
    pairs = [(int(row), int(column)) for row, column in np.argwhere(wrong)]
    return sorted(pairs, key=lambda one: (-int(wrong[one]), -float(parts[one]), one))


def _parts(side: Side) -> NDArray[np.float64]:
    """Give the share of each row by column; 0 in a row that was never scored."""
    parts: NDArray[np.float64] = side.matrix / np.maximum(side.scored, 1)[:, np.newaxis]
    return parts


@dataclass(frozen=True)
class _Map:
    """One schedule's map."""

    found: Classified
    side: Side
    words: str
    number: int

    @cached_property
    def parts(self) -> NDArray[np.float64]:
        return _parts(self.side)

    @property
    def most(self) -> float:
        """The largest share outside the diagonal."""
        return float(np.where(np.eye(len(self.parts), dtype=bool), 0.0, self.parts).max())

    @property
    def heading(self) -> str:
        return label(f"{self.words}, {share(self.side.whole)} right")

    def traces(self, whole: "_Drawing") -> list[Trace]:
        """Draw what is wrong by colour, and what is right without."""
        most, maps = whole.most, len(whole.maps)
        n = len(self.parts)
        ends = "" if not self.number else str(self.number + 1)
        axes = {"type": "heatmap", "xaxis": f"x{ends}", "yaxis": f"y{ends}", "x": list(range(n)),
                "y": list(range(n)), "xgap": 1, "ygap": 1}  # fmt: skip
        wrong = {
            **axes,
            "z": [[self._wrong(row, column) for column in range(n)] for row in range(n)],
            "customdata": self._said(maps),
            "hovertemplate": "<b>%{customdata[0]}</b> taken for <b>%{customdata[1]}</b><br>"
            "%{customdata[2]} of %{customdata[3]} times: %{customdata[4]}<extra></extra>",
            "zmin": 0,
            "zmax": place(most),
            "colorscale": SEQUENTIAL,
            "showscale": not self.number,
            "colorbar": {
                "orientation": "h", "thickness": 9, "len": 1, "x": 0.5, "tickformat": ".0%", "nticks": 5,
                "yref": "container", "y": round(1 - SCALE / whole.height, 4), "yanchor": "top", "ypad": 0,
                "outlinewidth": 0,
            },
        }  # fmt: skip
        right = {
            **axes,
            "z": [[self._is_right(row, column) for column in range(n)] for row in range(n)],
            "colorscale": [[0, FROZEN], [1, FROZEN]],
            "showscale": False,
            "hoverinfo": "skip",
        }
        return [right, wrong, *([self._numbers(most, ends)] if n <= WRITTEN else [])]

    def _numbers(self, most: float, ends: str) -> Trace:
        """Write the shares into their cells, each in the colour that is read on its own."""
        places = [(row, column) for row, column in np.argwhere(self.side.matrix).tolist()]
        dark = [row != column and self.parts[row, column] > PALE * most for row, column in places]
        return {
            "type": "scatter",
            "mode": "text",
            "xaxis": f"x{ends}",
            "yaxis": f"y{ends}",
            "x": [column for _, column in places],
            "y": [row for row, _ in places],
            "text": [_percent(self.parts[cell]) for cell in places],
            "textfont": {"color": [PAPER if one else INK for one in dark]},
            "showlegend": False,
            "hoverinfo": "skip",
        }

    def _wrong(self, row: int, column: int) -> float | None:
        drawn = row != column and self.side.matrix[row, column]
        return round(float(self.parts[row, column]), 4) if drawn else None

    def _is_right(self, row: int, column: int) -> int | None:
        return 1 if row == column and self.side.scored[row] else None

    def _said(self, maps: int) -> list[list[list[Any]]]:
        """Give by cell: both names, the count, of how many, and the share unrounded."""
        matrix, scored = self.side.matrix, self.side.scored
        room = max(NAMES // (2 * maps * max(int(np.count_nonzero(matrix)), 1)), SHORT)
        whole, short = (
            [cut(name, most) for name in map(self.found.name, range(len(matrix)))] for most in (room, SHORT)
        )

        def cell(row: int, column: int) -> list[Any]:
            times, of = int(matrix[row, column]), int(scored[row])
            names = whole if times else short
            return [names[row], names[column], times, of, repr(times / of) if times else "0"]

        return [[cell(row, column) for column in range(len(matrix))] for row in range(len(matrix))]


def _percent(part: float) -> str:
    """Write a share in per cent, to be read in a small cell."""
    return label("<1") if part < 0.005 else label(">99") if 0.995 <= part < 1 else f"{100 * part:.0f}"


@dataclass(frozen=True)
class _Drawing:
    """The maps one above the other."""

    found: Classified
    maps: Sequence[_Map]

    @property
    def most(self) -> float:
        """The share at the end of the scale, which both share."""
        return max(one.most for one in self.maps) or 1.0

    @property
    def map_height(self) -> int:
        n = len(self.found.names)
        return max(n * (CELL if n <= WRITTEN else SMALL_CELL), 90)

    @property
    def plot_height(self) -> int:
        return len(self.maps) * self.map_height + (len(self.maps) - 1) * BETWEEN

    @property
    def height(self) -> int:
        return TOP + self.plot_height + BOTTOM

    def layout(self) -> dict[str, Any]:
        """Place axes, and a heading above each map; columns are named once, below."""
        n, last = len(self.found.names), len(self.maps) - 1
        short = 18 if n <= WRITTEN else 14
        shown = [cut(self.found.name(one), short) for one in range(n)]
        rows = {"tickvals": list(range(n)), "ticktext": shown}
        step = 1 if n <= NAMED else 2
        columns = {"tickvals": list(range(0, n, step)), "ticktext": shown[::step]}
        plain = {"showgrid": False, "zeroline": False, "automargin": True}
        beside = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom",
                  "showarrow": False, "font": {"color": INK}}  # fmt: skip
        scale = {**beside, "text": "share taken for another class:", "y": 1, "yshift": TOP - SCALE}
        layout: dict[str, Any] = {"margin": {"t": TOP}, "annotations": [scale]}
        for one in self.maps:
            ends = "" if not one.number else str(one.number + 1)
            top = 1 - one.number * (self.map_height + BETWEEN) / self.plot_height
            bottom = top - self.map_height / self.plot_height
            layout[f"xaxis{ends}"] = {
                **plain, **(columns if one.number == last else {"showticklabels": False, "ticks": ""}),
                "anchor": f"y{ends}", "range": [-0.5, n - 0.5],
                **({"title": {"text": "taken for"}} if one.number == last else {}),
                "autotickangles": [0, -90],
                **({"tickfont": {"size": 9}} if n > WRITTEN else {}),
            }  # fmt: skip
            layout[f"yaxis{ends}"] = {
                **plain, **rows, "anchor": f"x{ends}", "range": [n - 0.5, -0.5],
                "domain": [max(round(bottom, 4), 0.0), round(top, 4)],
                **({"tickfont": {"size": 10}} if n > WRITTEN else {}),
            }  # fmt: skip
            layout["annotations"].append({**beside, "text": one.heading, "y": round(top, 4)})
        return layout


def _alt(found: Classified) -> str:
    told = [f"The best schedule classifies {share(found.best.whole)} of all rightly"]
    if found.baseline is not None:
        told[0] += f", {found.baseline.name} {share(found.baseline.whole)}"
    pairs = _pairs(found)
    if not pairs:
        return f"{told[0]}, and takes no class for another."
    most = listed(_confused(found, row, column) for row, column in pairs[:TOLD])
    told.append(f"It takes most often {most}")
    return f"{'. '.join(told)}. {counted(len(pairs), 'pair')} of classes are confused at all."


def _confused(found: Classified, row: int, column: int) -> str:
    times, of = found.best.matrix[row, column], found.best.scored[row]
    told = f"{found.short(row)} for {found.short(column)} ({times} of {of} times, {share(times / of)}"
    if found.baseline is not None:
        told += f"; the baseline {found.baseline.matrix[row, column]} of {found.baseline.scored[row]}"
    return f"{told})"
