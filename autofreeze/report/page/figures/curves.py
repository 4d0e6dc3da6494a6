"""Learning curves: finalists and baselines, training and validation, unfreezes marked."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autofreeze.figures import name_of_trial
from autofreeze.learning import LearningCurve, LearningPoint
from autofreeze.phrases import counted, listed, printable
from autofreeze.report.page.changes import changes_of
from autofreeze.report.page.figure import Absent, Figure, Trace, label
from autofreeze.report.page.marks import cut, place, value_title
from autofreeze.report.page.palette import BASELINE, BEST, INK, MUTED, OTHER
from autofreeze.report.report import Report
from autofreeze.results import StudyResult, TrialResult
from autofreeze.scale import points

ID, TITLE = "curves", "Learning curves"

MOST, BASELINES = 6, 3
"""Schedules that are drawn, and baselines among them before other finalists."""

PANEL, GAP, TOP, BOTTOM = 132, 38, 52, 96
"""Heights in pixels: of a panel, between panels, of the margins."""

USUAL, FAR = 0.85, 2.0
"""Share of the losses that are usual; how many times the highest of those a loss may be and lie in range."""

BETWEEN = 0.13
"""Part of the width between two columns of panels."""

NONE = "No finalist and no baseline has come to its end."
UNKNOWN = "The report is of a version that kept no curves, or was written without the run folder's records."

LOSS, LOSS_TITLE = "loss", "loss, nats (less is better)"

Read = Callable[[LearningPoint], float | None]


def figure(report: Report) -> Figure | Absent:
    """Draw them."""
    shown = _shown(report)
    if not shown:
        return Absent(id=ID, title=TITLE, reason=NONE if report.result.best is None else UNKNOWN)
    columns = _columns(report.result, shown)
    if not columns:
        return Absent(id=ID, title=TITLE, reason="No epoch of the finalists told a finite loss or value.")
    drawing = _Drawing(report, shown, columns)
    return Figure(
        id=ID,
        title=TITLE,
        alt=drawing.words,
        traces=tuple(drawing.traces()),
        layout=drawing.layout(),
        height=drawing.height,
        note=drawing.note,
    )


@dataclass(frozen=True)
class _Shown:
    """A schedule and the runs of it that are drawn: on fresh seeds if there are any, else in the search."""

    trial: TrialResult
    runs: tuple[LearningCurve, ...]

    @property
    def fresh(self) -> bool:
        return self.runs[0].fresh is not None

    @property
    def words(self) -> str:
        """What the runs are."""
        n = len(self.runs)
        return counted(n, "fresh seed") if self.fresh else f"search, {counted(n, 'fold')}"


@dataclass(frozen=True)
class _Column:
    """A quantity that is drawn, of training and of validation."""

    name: str
    title: str
    validation: Read
    training: Read

    def tells(self, point: LearningPoint) -> bool:
        """Whether an epoch has a value of it."""
        return _finite(self.validation(point)) is not None or _finite(self.training(point)) is not None


@dataclass(frozen=True)
class _Epoch:
    """A quantity at one epoch, over the runs of a schedule; None where a run has no finite value."""

    done: float
    mean: float | None
    low: float | None
    high: float | None


def _shown(report: Report) -> tuple[_Shown, ...]:
    """Choose the best, a few baselines, and further finalists, as they stand in the comparison."""
    runs: dict[int, list[LearningCurve]] = {}
    for curve in report.evidence.curves:
        if curve.points:
            runs.setdefault(curve.trial, []).append(curve)
    trials = {one.number: one for one in report.result.trials}
    ranked = [row.trial for row in report.compared if row.trial in runs]
    ranked += [number for number in runs if number not in ranked and number in trials]
    best, baselines = report.result.best, {one.number for one in report.result.baselines}
    first = [number for number in ranked if best is not None and number == best.number]
    usual = [number for number in ranked if number in baselines and number not in first]
    others = [number for number in ranked if number not in baselines and number not in first]
    order = [*first, *usual[:BASELINES], *others, *usual[BASELINES:]][:MOST]
    return tuple(_Shown(trials[number], _of_one_kind(runs[number])) for number in order)


def _of_one_kind(runs: Sequence[LearningCurve]) -> tuple[LearningCurve, ...]:
    fresh = tuple(run for run in runs if run.fresh is not None)
    return fresh or tuple(runs)


def _columns(result: StudyResult, shown: Sequence[_Shown]) -> tuple[_Column, ...]:
    """Give what can be drawn: the metric, and the loss unless that is the metric."""
    scale = result.scale
    found = [_Column(LOSS, LOSS_TITLE, lambda one: one.val_loss, lambda one: one.train_loss)]
    if scale.unit != "nats":
        # Training tells top-1 alone: it stands beside metrics that are shares too, not beside other numbers.
        training: Read = (lambda one: one.train_top1) if scale.unit == "points" else (lambda _: None)
        found.insert(0, _Column(scale.metric, value_title(scale), lambda one: one.value, training))
    every = [point for one in shown for run in one.runs for point in run.points]
    return tuple(one for one in found if any(map(one.tells, every)))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _means(runs: Sequence[LearningCurve], read: Read) -> list[_Epoch]:
    """Give the mean over runs at each epoch that all of them came to; none where no epoch has one."""
    found = []
    for together in zip(*(run.points for run in runs), strict=False):
        known = [value for point in together if (value := _finite(read(point))) is not None]
        if len(known) == len(runs):
            mean = math.fsum(known) / len(known)
            found.append(_Epoch(together[0].epochs_done, mean, min(known), max(known)))
        else:
            found.append(_Epoch(together[0].epochs_done, None, None, None))
    return found if any(one.mean is not None for one in found) else []


@dataclass(frozen=True)
class _Drawing:
    report: Report
    shown: tuple[_Shown, ...]
    columns: tuple[_Column, ...]

    @property
    def height(self) -> int:
        n = len(self.shown)
        return TOP + BOTTOM + n * PANEL + (n - 1) * GAP

    @cached_property
    def epochs(self) -> float:
        return max(one.trial.schedule.epochs for one in self.shown)

    def _name(self, one: _Shown) -> str:
        best = self.report.result.best
        name = name_of_trial(one.trial)
        return f"best: {name}" if best is not None and one.trial.number == best.number else name

    def _colour(self, one: _Shown) -> str:
        best = self.report.result.best
        if best is not None and one.trial.number == best.number:
            return BEST
        return BASELINE if one.trial.baseline else OTHER

    def _panels(self) -> Iterator[tuple[int, int, str, _Shown, _Column]]:
        """Give row, column, the number of its axes, and what is drawn there."""
        for row, one in enumerate(self.shown):
            for at, column in enumerate(self.columns):
                number = row * len(self.columns) + at
                yield row, at, str(number + 1) if number else "", one, column

    @cached_property
    def spans(self) -> list[list[float | None] | None]:
        """By column, the range that leaves out few losses far above the others; None where all are in it."""
        return [self._span(column) if column.name == LOSS else None for column in self.columns]

    def _span(self, column: _Column) -> list[float | None] | None:
        found = [
            each
            for one in self.shown
            for read in (column.validation, column.training)
            for each in _means(one.runs, read)
        ]
        highs = sorted(each.high for each in found if each.high is not None)
        lows = [each.low for each in found if each.low is not None]
        usual = highs[int(USUAL * (len(highs) - 1))]
        if highs[-1] <= FAR * usual:
            return None
        return [place(min(lows) - 0.1 * usual), place(FAR * usual)]

    # Traces

    def traces(self) -> Iterator[Trace]:
        told: set[str] = set()
        for _, _, axes, one, column in self._panels():
            for part, read in (("validation", column.validation), ("training", column.training)):
                means = _means(one.runs, read)
                if means:
                    yield self._line(one, part, means, axes, shown=part not in told)
                    told.add(part)

    def _line(self, one: _Shown, part: str, means: Sequence[_Epoch], axes: str, *, shown: bool) -> Trace:
        colour = self._colour(one)
        training = part == "training"
        several = len(one.runs) > 1
        return {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"{part}, mean of runs",
            "legendgroup": part,
            "showlegend": shown,
            "x": [place(each.done) for each in means],
            "y": [place(each.mean) for each in means],
            "xaxis": f"x{axes}",
            "yaxis": f"y{axes}",
            "line": {"color": colour, "width": 2, "dash": "dash" if training else "solid"},
            "marker": {"symbol": "circle-open" if training else "circle", "size": 5, "color": colour},
            "error_y": {
                "type": "data",
                "symmetric": False,
                "visible": several,
                "array": [_distance(each.mean, each.high) for each in means],
                "arrayminus": [_distance(each.low, each.mean) for each in means],
                "color": colour,
                "thickness": 1,
                "width": 0,
            },
            "customdata": [
                [
                    label(self._name(one)),
                    repr(each.mean),
                    f"{each.low!r} to {each.high!r}" if several else "one run",
                ]
                for each in means
            ],
            "hovertemplate": (
                f"<b>%{{customdata[0]}}</b>, {part}<br>epoch %{{x}}<br>mean %{{customdata[1]}}<br>"
                f"%{{customdata[2]}}<br>{one.words}<extra></extra>"
            ),
        }

    # Layout

    def layout(self) -> dict[str, Any]:
        layout: dict[str, Any] = {
            "margin": {"t": TOP, "b": BOTTOM},
            "hovermode": "closest",
            "annotations": [*self._headings(), *self._titles()],
            "shapes": list(self._thaws()),
        }
        width = (1 - BETWEEN * (len(self.columns) - 1)) / len(self.columns)
        inner = self.height - TOP - BOTTOM
        last = len(self.shown) - 1
        for row, at, axes, _, _ in self._panels():
            top = 1 - row * (PANEL + GAP) / inner
            left = at * (width + BETWEEN)
            first, span = f"y{at + 1}" if at else "y", self.spans[at]
            layout[f"xaxis{axes}"] = {
                "anchor": f"y{axes}", "domain": [place(left), place(min(left + width, 1.0))],
                "range": [0, place(self.epochs * 1.02)], "showticklabels": row == last, "zeroline": False,
                "nticks": 7, **({"title": {"text": "epoch", "standoff": 4}} if row == last else {}),
            }  # fmt: skip
            layout[f"yaxis{axes}"] = {
                "anchor": f"x{axes}", "domain": [place(max(top - PANEL / inner, 0.0)), place(top)],
                "nticks": 5, "zeroline": False, "automargin": at == 0,
                **({"matches": first} if row else {}), **({"range": span} if span else {}),
            }  # fmt: skip
        return layout

    def _titles(self) -> Iterator[dict[str, Any]]:
        """Write above each column what it shows."""
        width = (1 - BETWEEN * (len(self.columns) - 1)) / len(self.columns)
        for at, column in enumerate(self.columns):
            yield {
                "xref": "paper", "yref": "paper", "x": place(at * (width + BETWEEN)), "y": 1,
                "xanchor": "left", "yanchor": "bottom", "yshift": 22, "showarrow": False,
                "text": column.title, "font": {"size": 11, "color": MUTED},
            }  # fmt: skip

    def _headings(self) -> Iterator[dict[str, Any]]:
        """Write above each row whose curves it holds."""
        inner = self.height - TOP - BOTTOM
        for row, one in enumerate(self.shown):
            yield {
                "xref": "paper", "yref": "paper", "x": 0, "y": place(1 - row * (PANEL + GAP) / inner),
                "xanchor": "left", "yanchor": "bottom", "yshift": 3, "showarrow": False,
                "text": f"<b>{cut(printable(self._name(one)), 26)}</b>, {one.words}", "font": {"size": 12},
            }  # fmt: skip

    def _thaws(self) -> Iterator[dict[str, Any]]:
        """Draw a line wherever groups thaw."""
        first = True
        for _, _, axes, one, _ in self._panels():
            for change in changes_of(one.trial.schedule):
                if change.thawed:
                    yield {
                        "type": "line", "xref": f"x{axes}", "yref": f"y{axes} domain",
                        "x0": place(change.epoch), "x1": place(change.epoch), "y0": 0, "y1": 1,
                        "line": {"color": INK, "width": 1, "dash": "dot"},
                        **({"showlegend": True, "name": "groups thaw"} if first else {}),
                    }  # fmt: skip
                    first = False

    # Words

    @property
    def note(self) -> str:
        told = ["Solid is validation, dashed is training, measured augmented and in training mode."]
        if any(len(one.runs) > 1 for one in self.shown):
            told.append("Lines are means; uprights reach from the lowest run to the highest.")
        metric = self.report.result.metric
        if self.report.result.scale.unit == "points" and metric != "top1":
            told.append(f"Of training top-1 is known alone, so that beside {metric} it shows no exact gap.")
        if any(_breaks_off(one) for one in self.shown):
            told.append("Epochs at which a run has no finite value, or had broken off, have no mean.")
        if any(self.spans):
            told.append("A few losses lie far above the others, and leave the panels at the upper edge.")
        if len({one.fresh for one in self.shown}) > 1:
            told.append("Runs of the search and on fresh seeds are not to be compared.")
        drawn = {one.trial.number for one in self.shown}
        left = {run.trial for run in self.report.evidence.curves} - drawn
        if left:
            told.append(f"{counted(len(left), 'further schedule')} with curves in report.json left out here.")
        return " ".join(told)

    @property
    def words(self) -> str:
        """What the last epoch of each came to."""
        gaps = {one.trial: one for one in self.report.verdict.gaps}
        told = []
        for one in self.shown:
            ends = [words for column in self.columns for words in self._end_words(one, column)]
            line = f"{self._name(one)} ({one.words}) ends at {listed(ends)}" if ends else self._name(one)
            thaws = [f"{each.epoch:g}" for each in changes_of(one.trial.schedule) if each.thawed]
            line += f"; groups thaw at epoch {listed(thaws)}" if thaws else ""
            gap = gaps.get(one.trial.number)
            line += f"; training top-1 less validation {points(gap.gap)} pt" if gap is not None else ""
            told.append(f"{line}.")
        return " ".join(told)

    def _end_words(self, one: _Shown, column: _Column) -> Iterator[str]:
        for part, read, name in (
            ("validation", column.validation, column.name),
            ("training", column.training, "top-1" if column.name != LOSS else LOSS),
        ):
            known = [each.mean for each in _means(one.runs, read) if each.mean is not None]
            if known:
                value = known[-1]
                shown = f"{value:.3f}" if column.name == LOSS else self.report.result.scale.figure(value)
                yield f"{part} {name} {shown}"


def _distance(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else place(high - low)


def _breaks_off(one: _Shown) -> bool:
    ends = {run.points[-1].epochs_done for run in one.runs}
    return len(ends) > 1 or any(point.value is None for run in one.runs for point in run.points)
