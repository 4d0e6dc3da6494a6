"""The best schedule and the others: confirmed means with their intervals, on validation and test."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autofreeze.looks import Decision
from autofreeze.measures import TestScore
from autofreeze.phrases import capitalised, counted, printable
from autofreeze.proportions import LIMIT
from autofreeze.report.comparison import Compared
from autofreeze.report.page.comparison import table
from autofreeze.report.page.figure import Absent, Figure, Trace, label
from autofreeze.report.page.marks import cut, place, value_title
from autofreeze.report.page.palette import (
    BAD,
    BASELINE,
    BEST,
    FROZEN,
    GOOD,
    INK,
    MUTED,
    OTHER,
    PAPER,
    SERIES,
    WARN,
)
from autofreeze.report.page.runwork import share_of_full, work_words
from autofreeze.report.report import Report

__all__ = ["figure", "table"]

ID, TITLE = "against", "The best schedule and the others"

NAME_LENGTH = 22

DECISION_MARKS: dict[Decision, tuple[str, str, str]] = {
    "better": ("the best is better", GOOD, "circle"),
    "no difference": ("no difference", OTHER, "square"),
    "undecided": ("undecided", WARN, "circle-open"),
    "worse": ("the best is worse", BAD, "x"),
}
"""What a comparison comes to, its colour and its symbol."""

ROW, TESTED_ROW, LEAST, GAP, TOP, BOTTOM = 50, 70, 90, 92, 30, 96
"""Heights in pixels: of rows, of those with two values, of a panel at least, between panels, of margins."""

RAISED, LOWERED = 0.18, -0.18
"""Where a row has two values: by how many rows validation lies above its middle, and test below."""

MARGIN = 0.08
"""Part of an axis that stays free at either end."""


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    if not report.compared:
        return Absent(id=ID, title=TITLE, reason=f"{capitalised(report.verdict.headline)}.")
    drawing = _Drawing(report)
    return Figure(
        id=ID,
        title=TITLE if drawing.fresh else f"{TITLE} in the search (unconfirmed)",
        alt=drawing.words,
        traces=tuple(drawing.traces()),
        layout=drawing.layout(),
        height=drawing.height,
        note=drawing.note,
    )


_Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class _Drawing:
    report: Report

    @cached_property
    def rows(self) -> tuple[Compared, ...]:
        return self.report.compared

    @cached_property
    def pairs(self) -> tuple[Compared, ...]:
        """The schedules that the best one was compared with on fresh seeds."""
        return tuple(row for row in self.rows if row.decision is not None)

    @cached_property
    def fresh(self) -> bool:
        """Whether anything was confirmed."""
        return any(row.confirmed is not None for row in self.rows)

    @cached_property
    def tests(self) -> dict[int, TestScore]:
        return {one.trial: one for one in self.report.verdict.test}

    @property
    def heights(self) -> tuple[int, int]:
        """Of both panels, in pixels; 0 where there is no second one."""
        row = TESTED_ROW if self.tests else ROW
        return max(row * len(self.rows), LEAST), max(ROW * len(self.pairs), LEAST) if self.pairs else 0

    @property
    def height(self) -> int:
        first, second = self.heights
        return TOP + BOTTOM + first + (GAP + second if second else 0)

    @property
    def raised(self) -> float:
        return RAISED if self.tests else 0.0

    # Values

    def traces(self) -> Iterator[Trace]:
        confirmed = [row for row in self.rows if row.confirmed is not None]
        if confirmed:
            yield self._spans(confirmed, [_confirmed_ends(row) for row in confirmed], self.raised)
            yield self._confirmed(confirmed)
        tested = [row for row in self.rows if row.trial in self.tests]
        if tested:
            yield self._spans(tested, [self._test_ends(row) for row in tested], LOWERED, "dot")
            yield self._tested(tested)
        searched = [row for row in self.rows if row.confirmed is None and row.value is not None]
        if searched:
            yield self._spans(searched, [self._binomial(row) for row in searched], self.raised)
            yield self._searched(searched)
        if self.pairs:
            yield self._differences()
            for decision in DECISION_MARKS:
                members = [row for row in self.pairs if row.decision == decision]
                if members:
                    yield self._leads(decision, members)

    def _test_ends(self, row: Compared) -> _Ends:
        return self.tests[row.trial].low, self.tests[row.trial].high

    def _y(self, row: Compared) -> int:
        return len(self.rows) - 1 - self.rows.index(row)

    def _colour(self, row: Compared) -> str:
        if row.best:
            return BEST
        baselines = {trial.number for trial in self.report.result.baselines}
        return BASELINE if row.trial in baselines else OTHER

    def _spans(
        self, rows: Sequence[Compared], ends: Sequence[_Ends], shift: float, dash: str = "solid"
    ) -> Trace:
        """Draw an interval for each row, those without ends left out."""
        x: list[float | None] = []
        y: list[float | None] = []
        for row, (low, high) in zip(rows, ends, strict=True):
            if low is not None and high is not None and math.isfinite(high - low):
                x += [low, high, None]
                y += [self._y(row) + shift, self._y(row) + shift, None]
        return {
            "type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip", "showlegend": False,
            "line": {"color": MUTED, "width": 3, "dash": dash},
        }  # fmt: skip

    def _confirmed(self, rows: Sequence[Compared]) -> Trace:
        shown = [row.confirmed for row in rows if row.confirmed is not None]
        return {
            "type": "scatter",
            "mode": "markers+text",
            "name": "validation, fresh seeds",
            "x": [place(one.mean) for one in shown],
            "y": [self._y(row) + self.raised for row in rows],
            "text": [self._figure(one.mean) for one in shown],
            "textposition": "top center",
            "textfont": {"size": 11},
            "cliponaxis": False,
            "marker": {
                "symbol": "circle", "size": 11, "color": [self._colour(row) for row in rows],
                "line": {"color": PAPER, "width": 1},
            },
            "customdata": [
                [label(row.name), repr(one.mean), _span(one.low, one.high), counted(row.seeds, "fresh seed")]
                for row, one in zip(rows, shown, strict=True)
            ],
            "hovertemplate": (
                "<b>%{customdata[0]}</b><br>validation %{customdata[1]}<br>95 %: %{customdata[2]}<br>"
                "%{customdata[3]}<extra></extra>"
            ),
        }  # fmt: skip

    def _tested(self, rows: Sequence[Compared]) -> Trace:
        scores = [self.tests[row.trial] for row in rows]
        return {
            "type": "scatter",
            "mode": "markers+text",
            "name": "test",
            "x": [place(one.value) for one in scores],
            "y": [self._y(row) + LOWERED for row in rows],
            "text": [self._figure(one.value) for one in scores],
            "textposition": "bottom center",
            "textfont": {"size": 11},
            "cliponaxis": False,
            "marker": {
                "symbol": "diamond", "size": 11, "color": SERIES[0], "line": {"color": PAPER, "width": 1},
            },
            "customdata": [[label(one.name), repr(one.value), _span(one.low, one.high)] for one in scores],
            "hovertemplate": (
                "<b>%{customdata[0]}</b><br>test %{customdata[1]}<br>95 %, new images: %{customdata[2]}"
                "<extra></extra>"
            ),
        }  # fmt: skip

    def _searched(self, rows: Sequence[Compared]) -> Trace:
        return {
            "type": "scatter",
            "mode": "markers+text",
            "name": "in the search, one seed a fold",
            "x": [place(row.value) for row in rows],
            "y": [self._y(row) + self.raised for row in rows],
            "text": [self._figure(row.value) for row in rows],
            "textposition": "top center",
            "textfont": {"size": 11},
            "cliponaxis": False,
            "marker": {
                "symbol": "circle-open", "size": 11, "color": [self._colour(row) for row in rows],
                "line": {"width": 2},
            },
            "customdata": [
                [label(row.name), repr(row.value), _span(*self._binomial(row))] for row in rows
            ],
            "hovertemplate": (
                "<b>%{customdata[0]}</b><br>in the search %{customdata[1]}<br>binomial 95 %: %{customdata[2]}"
                "<extra></extra>"
            ),
        }  # fmt: skip

    def _figure(self, value: float | None) -> str:
        return label(self.report.result.scale.figure(value))

    @staticmethod
    def _binomial(row: Compared) -> _Ends:
        """Give the 95 % interval that the images of the search leave to a share."""
        if row.value is None or row.standard_error is None:
            return None, None
        half = LIMIT * row.standard_error
        return max(row.value - half, 0.0), min(row.value + half, 1.0)

    # Differences

    @property
    def unit(self) -> float:
        """What a difference is multiplied by to be told: points are hundredths."""
        return 100.0 if self.report.result.scale.unit == "points" else 1.0

    def _pair_y(self, row: Compared) -> int:
        return len(self.pairs) - 1 - self.pairs.index(row)

    def _differences(self) -> Trace:
        x: list[float | None] = []
        y: list[float | None] = []
        for row in self.pairs:
            if row.low is not None and row.high is not None and math.isfinite(row.high - row.low):
                x += [self.unit * row.low, self.unit * row.high, None]
                y += [self._pair_y(row), self._pair_y(row), None]
        return {
            "type": "scatter", "mode": "lines", "x": x, "y": y, "xaxis": "x2", "yaxis": "y2",
            "hoverinfo": "skip", "showlegend": False, "line": {"color": MUTED, "width": 3},
        }  # fmt: skip

    def _leads(self, decision: Decision, rows: Sequence[Compared]) -> Trace:
        words, colour, symbol = DECISION_MARKS[decision]
        scale = self.report.result.scale
        return {
            "type": "scatter",
            "mode": "markers+text",
            "name": words,
            "x": [place(None if row.lead is None else self.unit * row.lead) for row in rows],
            "y": [self._pair_y(row) for row in rows],
            "xaxis": "x2",
            "yaxis": "y2",
            "showlegend": False,
            "text": [label(scale.lead(row.lead)) for row in rows],
            "textposition": "top center",
            "textfont": {"size": 11},
            "cliponaxis": False,
            "marker": {
                "symbol": symbol, "size": 11, "color": colour,
                "line": {"width": 2} if "open" in symbol else {"color": PAPER, "width": 1},
            },
            "customdata": [
                [label(row.name), repr(row.lead), _span(row.low, row.high), counted(row.seeds, "fresh seed")]
                for row in rows
            ],
            "hovertemplate": (
                f"<b>against %{{customdata[0]}}: {words}</b><br>best less other %{{customdata[1]}}<br>"
                "interval: %{customdata[2]}<br>%{customdata[3]}<extra></extra>"
            ),
        }  # fmt: skip

    # Layout

    def _places(self) -> list[float]:
        """Give all that the first panel must hold."""
        found: list[float | None] = []
        for row in self.rows:
            if row.confirmed is not None:
                found += [row.confirmed.mean, *_confirmed_ends(row)]
            else:
                found += [row.value, *self._binomial(row)]
            if row.trial in self.tests:
                found += [self.tests[row.trial].value, *self._test_ends(row)]
        return _finite(found) or [0.0]

    def _pair_places(self) -> list[float]:
        found = [end for row in self.pairs for end in (row.lead, row.low, row.high)]
        return [self.unit * end for end in _finite(found)]

    def layout(self) -> dict[str, Any]:
        first, second = self.heights
        inner = self.height - TOP - BOTTOM
        scale = self.report.result.scale
        layout: dict[str, Any] = {
            "margin": {"t": TOP, "b": BOTTOM},
            "hovermode": "closest",
            "xaxis": {**_value_axis(self._places()), "anchor": "y", "title": {"text": value_title(scale)}},
            "yaxis": _rows_axis([self._tick(row) for row in self.rows], (1 - first / inner, 1)),
            "annotations": [_heading("means on fresh seeds" if self.fresh else "values in the search", 1)],
        }
        if second:
            delta = self.unit * (found.delta if (found := self.report.result.confirmation) else 0.0)
            unit = {"points": ", pt", "nats": ", nat", "plain": ""}[scale.unit]
            top = second / inner
            layout |= {
                "xaxis2": {
                    **_value_axis([-delta, delta, *self._pair_places()]),
                    "anchor": "y2", "title": {"text": f"the best leads by{unit}"},
                    "zeroline": True, "zerolinecolor": INK, "zerolinewidth": 1,
                },
                "yaxis2": _rows_axis([self._pair_tick(row) for row in self.pairs], (0, top)),
                "shapes": [
                    {
                        "type": "rect", "xref": "x2", "yref": "y2 domain", "x0": -delta, "x1": delta, "y0": 0,
                        "y1": 1, "line": {"width": 0}, "fillcolor": FROZEN, "opacity": 0.6,
                        "layer": "below",
                    },
                ],
            }  # fmt: skip
            layout["annotations"].append(
                _heading(f"differences; grey: within {label(scale.margin(delta / self.unit))}", top)
            )
        return layout

    def _tick(self, row: Compared) -> str:
        name = cut(printable(row.name), NAME_LENGTH)
        told = [work] if (work := work_words(self.report.result, row.trial)) else []
        if row.confirmed is None:
            told.append("search only" if self.fresh and row.value is not None else "")
        if row.value is None and row.confirmed is None:
            told = [cut(row.ended, NAME_LENGTH + 6)]
        name = f"best: {cut(printable(row.name), NAME_LENGTH - 6)}" if row.best else name
        below = ", ".join(filter(None, told))
        return f"<b>{name}</b><br>{below}" if below else f"<b>{name}</b>"

    @staticmethod
    def _pair_tick(row: Compared) -> str:
        words = DECISION_MARKS[row.decision][0] if row.decision else ""
        seeds = f", {row.seeds} seeds" if row.reason else ""
        return f"<b>{cut(printable(row.name), NAME_LENGTH)}</b><br>{words}{seeds}"

    # Words

    @property
    def note(self) -> str:
        report = self.report
        told = []
        if self.fresh:
            told.append(
                "Bars of means are 95 % intervals; those of differences, paired by seed, allow for the "
                "choice and for several comparisons as well."
            )
            if any(row.confirmed is None and row.value is not None for row in self.rows):
                told.append("Hollow marks are search values, not to be compared with the others.")
        else:
            told.append("Hollow: search values, of one seed a fold.")
            if any(row.standard_error is not None for row in self.rows):
                told.append("Bars are binomial 95 % intervals, for new images alone.")
        if share_of_full(report.result, self.rows[0].trial) is not None:
            told.append("Below each name: the work of one run, in runs of full fine-tuning.")
        return " ".join(told)

    @property
    def words(self) -> str:
        """What is seen, a sentence for each row."""
        scale = self.report.result.scale
        told = []
        for row in self.rows:
            name = f"The best, {row.name}," if row.best else row.name
            if row.confirmed is not None:
                mean = f"{scale.figure(row.confirmed.mean)}{_in_brackets(self.report, row)}"
                line = f"{name} has {scale.metric} {mean} on {counted(row.seeds, 'fresh seed')}"
            elif row.value is not None:
                line = f"{name} has {scale.figure(row.value, row.standard_error)} in the search alone"
            else:
                line = f"{name} has no value: {printable(row.ended)}"
            if row.decision is not None and row.low is not None and row.high is not None:
                words = DECISION_MARKS[row.decision][0]
                span = scale.lead_span(row.low, row.high)
                line += f"; the best leads by {scale.lead(row.lead)} ({span}): {words}"
            if row.trial in self.tests:
                line += f"; on the test split {scale.figure(self.tests[row.trial].value)}"
            told.append(f"{line}.")
        return " ".join(told)


def _rows_axis(ticks: Sequence[str], domain: tuple[float, float]) -> dict[str, Any]:
    n = len(ticks)
    return {
        "domain": [max(domain[0], 0.0), domain[1]], "range": [-0.6, n - 0.35], "tickvals": list(range(n)),
        "ticktext": list(reversed(ticks)), "showgrid": False, "zeroline": False, "automargin": True,
        "ticks": "", "tickfont": {"size": 11},
    }  # fmt: skip


def _value_axis(places: Sequence[float]) -> dict[str, Any]:
    """Give an axis that holds all places, with room at its ends for what is written above them."""
    low, high = min(places), max(places)
    margin = MARGIN * (high - low) or MARGIN * abs(high) or MARGIN
    return {"range": [place(low - margin), place(high + margin)], "zeroline": False, "nticks": 6}


def _confirmed_ends(row: Compared) -> _Ends:
    return (None, None) if row.confirmed is None else (row.confirmed.low, row.confirmed.high)


def _heading(text: str, top: float) -> dict[str, Any]:
    return {
        "xref": "paper", "yref": "paper", "x": 0, "y": top, "xanchor": "left", "yanchor": "bottom",
        "yshift": 6, "showarrow": False, "text": f"<b>{text}</b>", "font": {"size": 12},
    }  # fmt: skip


def _finite(numbers: Sequence[float | None]) -> list[float]:
    return [one for one in numbers if one is not None and math.isfinite(one)]


def _span(low: float | None, high: float | None) -> str:
    """Write the ends of an interval in full."""
    if low is None or high is None or not math.isfinite(high - low):
        return "how far off is not known"
    return f"{low!r} to {high!r}"


def _in_brackets(report: Report, row: Compared) -> str:
    shown = row.confirmed
    if shown is None or shown.low is None or shown.high is None or not math.isfinite(shown.high - shown.low):
        return ""
    return f" ({report.result.scale.value_span(shown.low, shown.high)})"
