"""Tables of the page that belong to no figure."""

from collections.abc import Mapping
from typing import Any

from autofreeze.figures import error_of, name_of_trial, shown_value, work_of_run
from autofreeze.phrases import duration
from autofreeze.report.owntraining import is_own, work_figure
from autofreeze.report.page.figure import Absent, Cell, Table
from autofreeze.report.report import Report
from autofreeze.report.stability import Grid
from autofreeze.report.words import spans
from autofreeze.results import StudyResult, TrialResult
from autofreeze.scale import figure
from autofreeze.schedule import Schedule, format_rate

DASH = Cell(text="–")


def schedule_table(schedule: Schedule) -> Table:
    """Write a schedule as a table: a row for each group, stem first, a column for each phase."""
    cells = [[_rate(lr) for lr in phase.lrs] for phase in schedule.phases]
    rows = zip((Cell(text=name) for name in schedule.groups), *cells, strict=True)
    return Table(
        id="schedule-table",
        title="The same as a table",
        headings=("group", *(f"epochs {span}" for span in spans(schedule))),
        rows=tuple(rows),
    )


def front_table(report: Report) -> Table | Absent:
    """Tabulate the front of value against work."""
    result, front, scale = report.result, report.verdict.front, report.result.scale
    title = "The front of all complete trials"
    if len(front) < 2:
        why = "Fewer than two schedules are on it, so that there is nothing to weigh."
        return Absent(id="front-table", title=title, reason=why)
    rows = [
        (
            Cell(text=f"best: {one.name}" if one.best else one.name, strong=one.best),
            _number(scale.figure(one.value, one.standard_error), one.value),
            _number(scale.figure(one.confirmed), one.confirmed),
            _number(work_figure(result, one.work), one.work),
            DASH if one.share is None else _number(f"{one.share:.2f}", one.share),
            Cell(text="yes" if one.affordable else "no"),
        )
        for one in front
    ]
    headings = (
        "schedule", f"{scale.metric} in the search", "on fresh seeds", "work of a run", "× full", "allowed",
    )  # fmt: skip
    return Table(id="front-table", title=title, headings=headings, rows=tuple(rows), left=(0, 5))


def grid_table(grid: Grid, id: str) -> Table:
    """Write a table in words."""
    rows = tuple(tuple(Cell(text=text) for text in row) for row in grid.rows)
    return Table(id=id, title=grid.title, headings=grid.headings, rows=rows)


def trials_table(result: StudyResult) -> Table | Absent:
    """Tabulate all trials, in the order in which they were asked for."""
    title = "All trials"
    if not result.trials:
        return Absent(id="trials", title=title, reason="No trial has been run.")
    own, best = result.kind == "own", result.best
    headings = (
        "trial", "schedule", "ended", result.metric, *(() if own else ("log loss",)), "head-only epochs",
        "depth", "head rate", "backbone rate", "work of a run", "time", "reason",
    )  # fmt: skip
    return Table(
        id="trials",
        title=title,
        headings=headings,
        rows=tuple(_trial_row(result, one, best=one is best, own=own) for one in result.trials),
        left=(1, 2, len(headings) - 1),
        note="Values are those of the search: one seed, the same for all trials. Rates are the highest of "
        "any phase and group.",
    )


def _trial_row(result: StudyResult, trial: TrialResult, *, best: bool, own: bool) -> tuple[Cell, ...]:
    schedule, shown, scale = trial.schedule, shown_value(result.scale, trial), result.scale
    *backbone, head = zip(*(phase.lrs for phase in schedule.phases), strict=True)
    peak = max((lr for column in backbone for lr in column if lr is not None), default=None)
    head_rate = max((lr for lr in head if lr is not None), default=None)
    work = work_of_run(result, trial)
    reason = trial.reason or (f"same as trial {trial.same_as}" if trial.same_as is not None else "")
    name = name_of_trial(trial) if trial.baseline else trial.recipe
    return (
        Cell(text=str(trial.number), key=trial.number, strong=best),
        Cell(text=f"best: {name}" if best else name, strong=best),
        Cell(text=trial.ending.value),
        _number(scale.figure(shown, error_of(result, trial)), shown),
        *(() if own else (_number(figure(trial.val_loss), trial.val_loss),)),
        _number(f"{schedule.warmup_epochs:g}", schedule.warmup_epochs),
        _number(str(schedule.unfreeze_depth), schedule.unfreeze_depth),
        _rate(head_rate),
        _rate(peak),
        DASH if work is None else _number(work_figure(result, work), work),
        _number(duration(trial.seconds), trial.seconds),
        Cell(text=reason),
    )


def groups_table(result: StudyResult) -> Table | Absent:
    """Tabulate the layer groups: the columns of every schedule."""
    title, backbone = "Layer groups", result.backbone
    held: Mapping[str, Any] = backbone.get("groups") or {}
    if not held:
        return Absent(id="groups", title=title, reason="The report does not hold them.")
    own, best = is_own(result.data), result.best
    sizes: Mapping[str, int] = backbone.get("n_parameters") or {}
    shares = backbone.get("work_shares") or [None] * len(held)
    headings = (
        "group", "parameters by the names" if own else "tensors", *(("parameters",) if sizes else ()),
        "share of forward work", *(("highest rate of the best schedule",) if best else ()),
    )  # fmt: skip
    rows = [
        (
            Cell(text=name),
            Cell(text=", ".join(names)) if own else _number(f"{len(names):,}", len(names)),
            *((_number(f"{sizes[name]:,}", sizes[name]),) if sizes else ()),
            DASH if share is None else _number(f"{100 * share:.1f} %", share),
            *(() if best is None else (_rate(_peak_of(best.schedule, name)),)),
        )
        for (name, names), share in zip(held.items(), shares, strict=True)
    ]
    return Table(id="groups", title=title, headings=headings, rows=tuple(rows), left=(0, 1) if own else (0,))


def _peak_of(schedule: Schedule, group: str) -> float | None:
    if group not in schedule.groups:
        return None
    column = schedule.groups.index(group)
    return max((lr for phase in schedule.phases if (lr := phase.lrs[column]) is not None), default=None)


def _rate(lr: float | None) -> Cell:
    return DASH if lr is None else Cell(text=format_rate(lr), key=lr)


def _number(text: str, key: float | None) -> Cell:
    return Cell(text=text, key=key)
