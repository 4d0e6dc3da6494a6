"""Value against work: all trials, the front, the baselines."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from autofreeze.figures import error_of, name_of_trial, shown_value, work_of_full, work_of_run
from autofreeze.front import FrontPoint
from autofreeze.phrases import counted, listed, printable
from autofreeze.report.owntraining import work_figure, work_unit
from autofreeze.report.page.figure import Absent, Figure, Trace, label
from autofreeze.report.page.marks import BASELINE_MARK, cut, place, value_title
from autofreeze.report.page.palette import BAD, BEST, INK, MUTED, OTHER, PAPER
from autofreeze.report.page.placement import Named, place_names
from autofreeze.report.page.strip import Strip, strip_axis, strip_of
from autofreeze.report.report import Report
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.savings import work_of_whole_run

ID, TITLE = "cost", "Value against work"

WIDTH, HEIGHT = 265, 320
"""Of the plot on a phone, in pixels."""

TOP, BOTTOM = 14, 126
"""Margins in pixels."""

ROW, APART = 22, 12
"""Height of a row of the strip below, and its distance from the plot, in pixels."""

LOGARITHMIC_FROM = 8.0
"""Times that the dearest schedule costs as much as the cheapest, from which on the axis is logarithmic."""

MANY = 300
"""Trials from which on points are small."""

FAR, FEWEST_FAR = 3.0, 20
"""How far below the best a value may lie, in spreads of the better three quarters, and still be in the range;
so many trials it takes to tell."""

MARGIN = 0.07
"""Part of an axis that stays free at either end."""

NAMED = 8
"""Points of the front that a sentence names."""


def figure(report: Report) -> Figure | Absent:
    """Draw it."""
    drawing = _Drawing(report)
    if not drawing.points:
        complete = any(one.ending is Ending.COMPLETE for one in report.result.trials)
        reason = "No trial's work is known." if complete else "No trial was completed."
        return Absent(id=ID, title=TITLE, reason=reason)
    return Figure(
        id=ID,
        title=TITLE,
        alt=drawing.words,
        traces=tuple(drawing.traces()),
        layout=drawing.layout(),
        height=drawing.height + TOP + BOTTOM,
        note=drawing.note,
    )


@dataclass(frozen=True)
class _Point:
    trial: TrialResult
    value: float
    """As people read it."""

    work: float
    """Of one run, in forward passes."""


@dataclass(frozen=True)
class _Axis:
    """From values to parts of a plot."""

    low: float
    high: float
    """Ends, or their decimal logarithms."""

    logarithmic: bool = False

    @classmethod
    def over(cls, numbers: Sequence[float], *, logarithmic: bool = False) -> "_Axis":
        low, high = min(numbers), max(numbers)
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
        margin = MARGIN * (high - low) or MARGIN * abs(high) or MARGIN
        return cls(low - margin, high + margin, logarithmic)

    @property
    def range(self) -> list[float | None]:
        return [place(self.low), place(self.high)]

    def at(self, number: float) -> float:
        """Give a place as an annotation has it."""
        return math.log10(number) if self.logarithmic else number

    def part(self, number: float) -> float:
        return (self.at(number) - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class _Drawing:
    report: Report

    @property
    def result(self) -> StudyResult:
        return self.report.result

    @cached_property
    def points(self) -> tuple[_Point, ...]:
        """The complete trials whose value and work are known."""
        found = []
        for one in self.result.trials:
            value, work = shown_value(self.result.scale, one), work_of_run(self.result, one)
            if one.ending is Ending.COMPLETE and value is not None and math.isfinite(value) and work:
                found.append(_Point(one, value, work))
        return tuple(found)

    @cached_property
    def unit(self) -> float:
        """Work of full fine-tuning, by which work is divided; 1 where it is not known."""
        return work_of_full(self.result) or 1.0

    @property
    def falls(self) -> bool:
        """Whether less is better."""
        return self.result.scale.unit == "nats" or self.result.scale.direction == "minimize"

    @cached_property
    def front(self) -> tuple[FrontPoint, ...]:
        return tuple(one for one in self.report.verdict.front if math.isfinite(one.value))

    @cached_property
    def best(self) -> _Point | None:
        best = self.result.best
        return next(
            (one for one in self.points if best is not None and one.trial.number == best.number), None
        )

    @cached_property
    def baselines(self) -> tuple[_Point, ...]:
        numbers = {one.number for one in self.result.baselines}
        return tuple(one for one in self.points if one.trial.number in numbers and one is not self.best)

    @cached_property
    def others(self) -> tuple[_Point, ...]:
        shown = {one.trial.number for one in (*self.baselines, *filter(None, [self.best]))}
        return tuple(one for one in self.points if one.trial.number not in shown)

    @cached_property
    def places(self) -> dict[int, float]:
        """Trial without a value -> the work that a whole run of its schedule takes, where it is known."""
        broke_off = strip_of(self.result.trials).trials
        works = {one.number: work_of_whole_run(self.result, one) for one in broke_off}
        return {number: work / self.unit for number, work in works.items() if work}

    @cached_property
    def strip(self) -> Strip:
        """The trials without a value that have a place."""
        return strip_of([one for one in self.result.trials if one.number in self.places])

    @property
    def height(self) -> int:
        """In pixels, the strip included."""
        return HEIGHT + (APART + ROW * len(self.strip.rows) if self.strip.rows else 0)

    # Axes

    @cached_property
    def limit(self) -> float:
        """The worst value that is in the range: few that are far worse would press all others together."""
        sign = -1.0 if self.falls else 1.0
        goods = sorted(sign * one.value for one in self.points)
        worst, top = goods[0], goods[-1]
        if len(goods) >= FEWEST_FAR:
            spread = top - goods[len(goods) // 4]
            named = [sign * one.value for one in (*self.baselines, *filter(None, [self.best]))]
            worst = max(worst, min(top - FAR * spread, *named, *(sign * one.value for one in self.front)))
        return sign * worst

    def _is_far(self, one: _Point) -> bool:
        return one.value > self.limit if self.falls else one.value < self.limit

    @cached_property
    def x_axis(self) -> _Axis:
        works = [*(one.work / self.unit for one in self.points), *self.places.values()]
        return _Axis.over(works, logarithmic=max(works) >= LOGARITHMIC_FROM * min(works))

    @cached_property
    def y_axis(self) -> _Axis:
        return _Axis.over([self.limit, *(one.value for one in self.points if not self._is_far(one))])

    # Traces

    def traces(self) -> Iterator[Trace]:
        far = [one for one in self.points if self._is_far(one)]
        near = [one for one in self.others if not self._is_far(one)]
        size = 5 if len(self.points) >= MANY else 8
        groups = (
            ([one for one in near if one.trial.affordable], "trial", "circle", OTHER, size, 0.7),
            ([one for one in near if not one.trial.affordable], "over the cost allowed", "x", BAD, size, 1.0),
        )
        for members, name, symbol, colour, pixels, opacity in groups:
            if members:
                yield self._points(members, name, symbol, colour, pixels) | {"opacity": opacity}
        if far:
            symbol = "triangle-up-open" if self.falls else "triangle-down-open"
            edge = place(self.limit)
            yield self._points(far, "far worse, beyond the edge", symbol, OTHER, 8) | {"y": [edge] * len(far)}
        if len(self.front) > 1:
            yield self._front()
        if self.baselines:
            yield self._points(
                self.baselines, BASELINE_MARK.words, BASELINE_MARK.symbol, BASELINE_MARK.colour, 11
            )
        if self.best is not None:
            yield self._points([self.best], "best", "star", BEST, 16)
        places = {number: place(work) or 0.0 for number, work in self.places.items()}
        yield from self.strip.traces(places, {"xaxis": "x", "yaxis": "y2"})

    def _points(
        self, points: Sequence[_Point], name: str, symbol: str, colour: str, size: int
    ) -> dict[str, Any]:
        share = "<br>%{customdata[4]} × full" if self.unit != 1.0 else ""
        outline = {} if "open" in symbol else {"line": {"color": PAPER, "width": 1}}
        return {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [place(one.work / self.unit) for one in points],
            "y": [place(one.value) for one in points],
            "marker": {"symbol": symbol, "size": size, "color": colour, **outline},
            "customdata": [
                [one.trial.number, label(_kind(one.trial)), one.value, one.work, place(one.work / self.unit)]
                for one in points
            ],
            "hovertemplate": (
                f"<b>trial %{{customdata[0]}}, %{{customdata[1]}}</b><br>{label(self.result.metric)} "
                f"%{{customdata[2]}} in the search<br>work of a run %{{customdata[3]}}{share}<extra></extra>"
            ),
        }

    def _front(self) -> Trace:
        return {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "front",
            "x": [place(one.work / self.unit) for one in self.front],
            "y": [place(one.value) for one in self.front],
            "line": {"color": INK, "width": 1.5, "dash": "dot", "shape": "hv"},
            "marker": {"symbol": "circle-open", "size": 12, "color": INK, "line": {"width": 1.5}},
            "customdata": [
                [label(one.name), one.value, one.work, self.result.scale.figure(one.confirmed)]
                for one in self.front
            ],
            "hovertemplate": (
                f"<b>on the front: %{{customdata[0]}}</b><br>{label(self.result.metric)} %{{customdata[1]}} "
                "in the search<br>on fresh seeds: %{customdata[3]}<br>work of a run %{customdata[2]}"
                "<extra></extra>"
            ),
        }

    # Layout

    def layout(self) -> dict[str, Any]:
        rows = self.strip.rows
        below = {"yaxis2": {**strip_axis(rows), "domain": [0, ROW * len(rows) / self.height], "anchor": "x"}}
        return {
            "margin": {"t": TOP, "b": BOTTOM},
            "hovermode": "closest",
            "xaxis": {
                "title": {"text": self._work_title(), "standoff": 6, "font": {"size": 12}},
                "range": self.x_axis.range,
                "zeroline": False,
                "nticks": 7,
                "anchor": "y2" if rows else "y",
                **self._log_ticks(),
            },
            "yaxis": {"title": {"text": value_title(self.result.scale)}, "range": self.y_axis.range,
                      "zeroline": False, "nticks": 7, "domain": [1 - HEIGHT / self.height, 1]},
            **(below if rows else {}),
            "annotations": list(self._names()),
        }  # fmt: skip

    def _work_title(self) -> str:
        unit = work_unit(self.result)
        if self.unit == 1.0:
            return f"work of one run<br>in {unit}"
        return f"work of one run, × full fine-tuning<br>1 × is {work_figure(self.result, self.unit)} {unit}"

    def _log_ticks(self) -> dict[str, Any]:
        if not self.x_axis.logarithmic:
            return {}
        low, high = self.x_axis.low, self.x_axis.high
        decades = range(math.floor(low), math.ceil(high) + 1)
        digits = (1, 2, 5) if high - low < 2.2 else (1,)
        ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,g}" for tick in ticks]}

    def _names(self) -> Iterator[dict[str, Any]]:
        """Name the best and the baselines directly, where no name lies on another."""
        named = [(one, False) for one in self.baselines]
        if self.best is not None:
            named.insert(0, (self.best, True))
        texts = [cut(printable(_kind(one.trial)), 18) for one, _ in named]
        texts = [f"best: {text}" if best else text for text, (_, best) in zip(texts, named, strict=True)]
        spots = [
            Named(*self._spot(one.work, one.value), len(text))
            for text, (one, _) in zip(texts, named, strict=True)
        ]
        offsets = place_names(spots, width=WIDTH, height=HEIGHT, lines=list(self._front_lines()))
        for text, (one, best), (right, down) in zip(texts, named, offsets, strict=True):
            yield {
                "x": place(self.x_axis.at(one.work / self.unit)), "y": place(one.value), "ax": round(right),
                "ay": round(down), "xanchor": "center", "yanchor": "middle", "showarrow": True,
                "arrowhead": 0, "arrowwidth": 1, "arrowcolor": MUTED, "standoff": 7,
                "bgcolor": PAPER, "text": f"<b>{text}</b>" if best else text,
                "font": {"size": 11, "color": INK},
            }  # fmt: skip

    def _spot(self, work: float, value: float) -> tuple[float, float]:
        """Give a place in pixels of the plot on a phone."""
        return WIDTH * self.x_axis.part(work / self.unit), HEIGHT * (1 - self.y_axis.part(value))

    def _front_lines(self) -> Iterator[tuple[float, float, float, float]]:
        for one, after in pairwise(self.front):
            (x0, y0), (x1, y1) = self._spot(one.work, one.value), self._spot(after.work, after.value)
            yield x0, y0, x1, y0
            yield x1, y0, x1, y1

    # Words

    @property
    def note(self) -> str:
        told = [
            "Values of the search, of one seed a fold: neighbours may well be equal, and the best of many is "
            "partly luck."
        ]
        error = None if self.best is None else error_of(self.result, self.best.trial)
        if error is not None:
            told.append(f"The best one's binomial standard error is {error:.3f}.")
        if self.report.verdict.standing in ("confirmed", "not concluded"):
            told.append("The best was chosen on fresh seeds; here it stands at its value in the search.")
        if self.places:
            broke_off = f"{counted(len(self.places), 'trial')} of {len(self.result.trials)} broke off"
            told.append(f"{broke_off} without a value: below, at what a whole run would cost.")
        absent = len(self.result.trials) - len(self.points) - len(self.places)
        if absent:
            told.append(f"Not drawn: {counted(absent, 'trial')} not run, or of unknown work.")
        return " ".join(told)

    @property
    def words(self) -> str:
        scale = self.result.scale
        works = [one.work for one in self.points]
        told = [
            f"Of {counted(len(self.points), 'complete trial')} one run costs "
            f"{self._work(min(works))} to {self._work(max(works))}."
        ]
        if self.best is not None:
            told.append(
                f"The best schedule, {name_of_trial(self.best.trial)}, has {scale.metric} "
                f"{scale.figure(self.best.value)} in the search at {self._work(self.best.work)}."
            )
        if self.baselines:
            each = listed(
                f"{one.trial.baseline} {scale.figure(one.value)} at {self._work(one.work)}"
                for one in self.baselines
            )
            told.append(f"Baselines: {each}.")
        shown = self.front[:NAMED]
        each = listed(f"{one.name} {scale.figure(one.value)} at {self._work(one.work)}" for one in shown)
        more = f", and {len(self.front) - NAMED} dearer ones" if len(self.front) > NAMED else ""
        told.append(f"On the front, from the cheapest: {each}{more}.")
        return " ".join(told)

    def _work(self, work: float) -> str:
        if self.unit != 1.0:
            return f"{work / self.unit:.2f} × full fine-tuning"
        return f"{work_figure(self.result, work)} {work_unit(self.result)}"


def _kind(trial: TrialResult) -> str:
    """Name the baseline, or the recipe."""
    return trial.baseline or trial.recipe
