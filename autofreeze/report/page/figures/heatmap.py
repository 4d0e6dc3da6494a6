"""The best schedule: what trains when, and how fast: groups as rows, time as columns."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from autofreeze.phrases import capitalised, counted, printable, sentence
from autofreeze.report.drawing import STEPS_PER_EPOCH, rate_span
from autofreeze.report.page.changes import Change, changes_of, groups_words, runs
from autofreeze.report.page.figure import Absent, Figure, Trace, label
from autofreeze.report.page.marks import cut, place
from autofreeze.report.page.palette import FROZEN, INK, MUTED, PAPER, SEQUENTIAL
from autofreeze.report.report import Report
from autofreeze.schedule import Schedule, Timetable, format_rate

ID, TITLE = "schedule", "The best schedule"

SLICES, MOST_CELLS = 192, 5000
"""Of the whole run, where the rate curve bends; of all groups together."""

NAME_LENGTH = 14
"""Characters of a group's name that stand beside its row."""

ROOM, ROOM_BESIDE = 0.022, 0.05
"""Shares of the run that a character and the space beside a text take up on a phone."""

MOST_WORDS = 16
"""Changes with words beside them; more are told on hover, and in words below."""

TOP, BOTTOM = 34, 108
"""Margins in pixels: for the legend, and for the time and the colour scale."""

GAP = 2
"""Pixels between rows."""

PALE = 0.55
"""Part of the colour scale up to which ink is read on it; above it paper is."""


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    best = report.result.best
    if best is None:
        return Absent(id=ID, title=TITLE, reason=f"{capitalised(report.verdict.headline)}.")
    drawing = _Drawing(best.schedule)
    certain = report.verdict.standing == "confirmed"
    return Figure(
        id=ID,
        title=TITLE if certain else f"{TITLE} so far ({report.verdict.standing})",
        alt=drawing.words,
        traces=tuple(drawing.traces()),
        layout=drawing.layout(),
        height=drawing.height,
        note=drawing.note,
    )


@dataclass(frozen=True)
class _Slice:
    """A stretch of time within which one rate is drawn."""

    start: float
    end: float
    """In epochs."""

    step: int
    """The one in its middle, whose rates are drawn."""


@dataclass(frozen=True)
class _Drawing:
    schedule: Schedule

    @cached_property
    def timetable(self) -> Timetable:
        return self.schedule.timetable(STEPS_PER_EPOCH)

    @cached_property
    def slices(self) -> tuple[_Slice, ...]:
        """The run cut at its phases, and finer where rates change within one."""
        found = []
        bends = self.schedule.curve != "constant" or self.schedule.lr_ramp_epochs > 0
        most = min(SLICES, MOST_CELLS // len(self.schedule.groups))
        edges = [0.0, *self.schedule.phase_ends]
        for phase, (start, end) in enumerate(pairwise(edges)):
            first, last = self.timetable.phase_start(phase), self.timetable.ends[phase]
            steps = last - first
            if not steps:
                continue
            share = most * steps / self.timetable.total_steps
            n = min(max(round(share), 1), steps) if bends else 1
            marks = [first + steps * one // n for one in range(n + 1)]
            borders = [start, *(mark / STEPS_PER_EPOCH for mark in marks[1:-1]), end]
            for (left, right), (begin, after) in zip(pairwise(borders), pairwise(marks), strict=True):
                found.append(_Slice(left, right, (begin + after) // 2))
        return tuple(found)

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        return changes_of(self.schedule)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Logarithms of the rates at the ends of the colour scale."""
        low, high = map(math.log10, rate_span(self.schedule))
        return (low, high) if high > low else (high - 1, high)

    @property
    def row_height(self) -> int:
        n = len(self.schedule.groups)
        return max(36, 120 // n) if n <= 10 else 26 if n <= 20 else 19

    @property
    def plot_height(self) -> int:
        return len(self.schedule.groups) * self.row_height

    @property
    def height(self) -> int:
        return self.plot_height + TOP + BOTTOM

    def names(self) -> list[str]:
        return [cut(printable(name), NAME_LENGTH) for name in self.schedule.groups]

    # Traces

    def traces(self) -> Iterator[Trace]:
        yield self._rates()
        if any(lr is None for phase in self.schedule.phases for lr in phase.lrs):
            yield self._frozen()
        for frozen in (False, True):
            if any(one.frozen if frozen else one.thawed for one in self.changes):
                yield self._marks(frozen=frozen)

    def _rates(self) -> Trace:
        groups = range(len(self.schedule.groups))
        names = [label(name) for name in self.schedule.groups]
        rates = [[self.timetable.rate(group, one.step) for one in self.slices] for group in groups]
        epochs = [place(one.step / STEPS_PER_EPOCH) for one in self.slices]
        return {
            "type": "heatmap",
            "x": [place(edge) for edge in (0.0, *(one.end for one in self.slices))],
            "y": list(groups),
            "z": [[None if rate is None else place(math.log10(rate)) for rate in row] for row in rates],
            "customdata": [
                [[names[group], epoch, rate] for epoch, rate in zip(epochs, rates[group], strict=True)]
                for group in groups
            ],
            "hovertemplate": (
                "<b>%{customdata[0]}</b><br>epoch %{customdata[1]}<br>rate %{customdata[2]}<extra></extra>"
            ),
            "hoverongaps": False,
            "colorscale": SEQUENTIAL,
            "zmin": place(self.ends[0]),
            "zmax": place(self.ends[1]),
            "ygap": GAP,
            "colorbar": self._colour_bar(),
        }

    def _colour_bar(self) -> dict[str, Any]:
        ticks = _nice_rates(*self.ends)
        texts = [format_rate(rate) for rate in ticks]
        bends = self.schedule.curve != "constant"
        if bends and ticks and math.isclose(math.log10(ticks[0]), self.ends[0], abs_tol=1e-9):
            texts[0] = f"≤ {texts[0]}"
        return {
            "orientation": "h", "x": 0.5, "xanchor": "center", "y": -60 / self.plot_height, "yanchor": "top",
            "thickness": 10, "len": 0.96, "outlinewidth": 0, "ypad": 0, "xpad": 0,
            "title": {"text": "learning rate", "side": "top", "font": {"size": 12}},
            "tickvals": [place(math.log10(rate)) for rate in ticks],
            "ticktext": texts,
        }  # fmt: skip

    def _frozen(self) -> Trace:
        """Draw a bar for each frozen cell of the table."""
        edges = [0.0, *self.schedule.phase_ends]
        cells = [
            (group, start, end)
            for (start, end), phase in zip(pairwise(edges), self.schedule.phases, strict=True)
            for group, lr in enumerate(phase.lrs)
            if lr is None
        ]
        return {
            "type": "bar",
            "orientation": "h",
            "name": "frozen",
            "y": [group for group, _, _ in cells],
            "base": [place(start) for _, start, _ in cells],
            "x": [place(end - start) for _, start, end in cells],
            "width": 1 - GAP / self.row_height,
            "marker": {
                "color": FROZEN,
                "line": {"width": 0},
                "pattern": {
                    "shape": "/", "size": 7, "solidity": 0.14, "bgcolor": FROZEN, "fgcolor": MUTED,
                },
            },
            "customdata": [
                [label(self.schedule.groups[group]), f"{start:g}", f"{end:g}"] for group, start, end in cells
            ],
            "hovertemplate": (
                "<b>%{customdata[0]}</b><br>frozen from epoch %{customdata[1]} to %{customdata[2]}"
                "<extra></extra>"
            ),
        }  # fmt: skip

    def _marks(self, *, frozen: bool) -> Trace:
        marked = [(one, column) for one in self.changes for column in (one.frozen if frozen else one.thawed)]
        return {
            "type": "scatter",
            "mode": "markers",
            "name": "freezes again" if frozen else "thaws",
            "x": [place(one.epoch) for one, _ in marked],
            "y": [column for _, column in marked],
            "marker": {
                "symbol": "square" if frozen else "triangle-right",
                "size": 8 if frozen else 11,
                "color": INK,
                "line": {"color": PAPER, "width": 1},
            },
            "customdata": [
                [label(self.schedule.groups[column]), self._change_words(one, column)]
                for one, column in marked
            ],
            "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        }

    def _change_words(self, change: Change, column: int) -> str:
        if column in change.frozen:
            return f"freezes again at epoch {change.epoch:g}"
        after = self.schedule.phases[self.schedule.phase_ends.index(change.epoch) + 1].lrs[column]
        return f"thaws at epoch {change.epoch:g}, table's rate {after!r}"

    # Layout

    def layout(self) -> dict[str, Any]:
        n, epochs = len(self.schedule.groups), self.schedule.epochs
        return {
            "barmode": "overlay",
            "bargap": 0,
            "hovermode": "closest",
            "margin": {"t": TOP, "b": BOTTOM},
            "xaxis": {
                "title": {"text": "epoch", "standoff": 6}, "range": [0, place(epochs)], "showgrid": False,
                "zeroline": False, "ticks": "outside", "ticklen": 4, "nticks": 9,
            },
            "yaxis": {
                "title": {"text": "input → output", "standoff": 8}, "range": [-0.5, n - 0.5],
                "showgrid": False, "zeroline": False, "automargin": True,
                "tickvals": list(range(n)), "ticktext": self.names(),
                "tickfont": {"size": 12 if self.row_height > 20 else 10},
            },
            "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "yref": "paper"},
            "showlegend": True,
            "shapes": list(self._lines()),
            "annotations": [*self._rate_texts(), *self._change_texts()],
        }  # fmt: skip

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Draw a line where a change is, along the rows that it concerns."""
        for one in self.changes:
            for columns, dash in ((one.thawed, "solid"), (one.frozen, "dot")):
                for low, high in runs(columns):
                    yield {
                        "type": "line", "x0": place(one.epoch), "x1": place(one.epoch), "y0": low - 0.5,
                        "y1": high + 0.5, "line": {"color": INK, "width": 2, "dash": dash},
                    }  # fmt: skip

    @cached_property
    def told(self) -> dict[tuple[float, int], str]:
        """What is said of changes, by time and the row that it is said in; nothing where that is too much."""
        told = {}
        for one in self.changes:
            for columns, verb in ((one.thawed, "thaws"), (one.frozen, "freezes again")):
                for low, high in runs(columns):
                    n = high - low + 1
                    who = verb if n == 1 else f"{n} groups {verb.replace('s', '', 1)}"
                    told[one.epoch, (low + high + 1) // 2] = f"{who} at {one.epoch:g}"
        return told if len(told) <= MOST_WORDS else {}

    def _change_texts(self) -> Iterator[dict[str, Any]]:
        """Say when groups thaw or freeze, left of the line where there is room."""
        for (epoch, column), words in self.told.items():
            if self._has_room_before(epoch, column, words):
                yield {
                    "x": place(epoch), "y": column, "xanchor": "right", "xshift": -7, "text": words,
                    "showarrow": False, "bgcolor": PAPER, "borderpad": 2, "font": {"size": 11, "color": INK},
                }  # fmt: skip

    def _has_room_before(self, epoch: float, column: int, words: str) -> bool:
        """Whether words have room between the column's last change and this one."""
        earlier = [
            one.epoch for one in self.changes if one.epoch < epoch and column in (*one.thawed, *one.frozen)
        ]
        return self._fits(words, epoch - max(earlier, default=0.0))

    def _fits(self, text: str, epochs: float) -> bool:
        return epochs >= (ROOM * len(text) + ROOM_BESIDE) * self.schedule.epochs

    def _rate_texts(self) -> Iterator[dict[str, Any]]:
        """Write the table's rate at the beginning of each stretch that has room for it, and when it thaws."""
        for group in range(len(self.schedule.groups)):
            for start, end, lr in self._stretches(group):
                words, text = self.told.get((start, group), ""), format_rate(lr)
                if words and not self._has_room_before(start, group, words):
                    text = f"{text}, {words}" if self._fits(f"{text}, {words}", end - start) else text
                if not self._fits(text, end - start):
                    continue
                yield {
                    "x": place(start), "y": group, "xanchor": "left", "xshift": 8, "text": text,
                    "showarrow": False, "font": {"size": 12, "color": self._ink_at(group, start, lr)},
                }  # fmt: skip

    def _ink_at(self, group: int, start: float, lr: float) -> str:
        """Give the colour that is read on a cell."""
        low, high = self.ends
        first = next((one for one in self.slices if one.end > start), self.slices[-1])
        rate = self.timetable.rate(group, first.step) or lr
        return INK if (math.log10(rate) - low) / (high - low) < PALE else PAPER

    def _stretches(self, group: int) -> Iterator[tuple[float, float, float]]:
        """Give from when to when a group has one rate in the table."""
        edges = [0.0, *self.schedule.phase_ends]
        found: list[tuple[float, float, float]] = []
        for (start, end), phase in zip(pairwise(edges), self.schedule.phases, strict=True):
            lr = phase.lrs[group]
            if lr is None:
                continue
            if found and found[-1][1:] == (start, lr):
                start = found.pop()[0]
            found.append((start, end, lr))
        yield from found

    # Words

    @property
    def note(self) -> str:
        return (
            f"{capitalised(printable(sentence(self.schedule)))}. The head is on top, what lies next to the "
            "input at the bottom; the number in a row is the table's rate, which the rate curve multiplies."
        )

    @property
    def words(self) -> str:
        """What is seen, rows that are alike together."""
        alike: dict[str, list[int]] = {}
        for group in reversed(range(len(self.schedule.groups))):
            alike.setdefault(self._row_words(group), []).append(group)
        names = self.schedule.groups
        rows = "; ".join(
            f"{groups_words(names, sorted(members))} {words}" for words, members in alike.items()
        )
        return (
            f"The learning rate of {counted(len(names), 'layer group')} over "
            f"{self.schedule.epochs:g} epochs, from the head down: {rows}. Rate curve: "
            f"{self.schedule.curve_words}."
        )

    def _row_words(self, group: int) -> str:
        edges = [0.0, *self.schedule.phase_ends]
        told: list[tuple[str, float, float]] = []
        for (start, end), phase in zip(pairwise(edges), self.schedule.phases, strict=True):
            lr = phase.lrs[group]
            words = "frozen" if lr is None else format_rate(lr)
            if told and told[-1][0] == words:
                start = told.pop()[1]
            told.append((words, start, end))
        *first, last = told
        if not first:
            return f"{last[0]} throughout"
        return ", then ".join([*(f"{words} until epoch {end:g}" for words, _, end in first), last[0]])


def _nice_rates(low: float, high: float) -> list[float]:
    """Give a few round rates between two logarithms, to label a scale with."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        rates = [digit * 10.0**decade for decade in decades for digit in digits]
        found = [rate for rate in rates if low - 1e-9 <= math.log10(rate) <= high + 1e-9]
        if len(found) >= 3:
            return found[:: -(-len(found) // 7)]
    return [10.0**end for end in (low, high)]
