"""The report on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autofreeze.figures import error_of, shown_value
from autofreeze.front import FrontPoint
from autofreeze.phrases import capitalised, printable
from autofreeze.report.comparison import compare
from autofreeze.report.drawing import draw
from autofreeze.report.owntraining import work_figure
from autofreeze.report.placing import placing_lines
from autofreeze.report.stability import lines, map_grid, stability_of
from autofreeze.report.telling import answer_lines, fresh_cells, note_lines, test_lines
from autofreeze.report.words import (
    certainty,
    conditions,
    cost_line,
    found,
    reasons,
    spans,
    standing,
    trials_line,
    versions_line,
)
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.scale import Scale, figure
from autofreeze.schedule import Schedule, format_rate
from autofreeze.verdict import Verdict, verdict_of

BAR = 16
"""Characters of the longest bar."""


def show(result: StudyResult, console: Console) -> None:
    """Print the report of a search.

    Args:
        result: What the search found.
        console: Where to print; its width is kept to.
    """
    console.print(render(result, console.width))


def render(result: StudyResult, width: int = 80) -> RenderableType:
    """Compose the report: best schedule, how sure it is, the answers, how trials ended, cost, conditions.

    Args:
        result: What the search found.
        width: Characters in a line.
    """
    verdict = verdict_of(result)
    parts: list[RenderableType] = [Text(capitalised(verdict.headline), style="bold"), Text()]
    if result.best is not None:
        parts += [
            *schedule_tables(result.best.schedule, width),
            Text(f"rate curve: {result.best.schedule.curve_words}"),
            Text(),
            Text(draw(result.best.schedule, width)),
            Text(),
        ]
        parts += [Text(_certainty(result, result.best, verdict)), Text()]
        fresh = any(row.confirmed for row in compare(result))
        parts += [_on_fresh_seeds(result) if fresh else _against_baselines(result), Text()]
        parts += _answers(verdict)
        parts.append(_notes(note_lines(verdict)))
        if len(verdict.front) > 1:
            parts += [Text(), _front(result.scale, verdict.front)]
        parts += [Text(), *(Text(line) for line in test_lines(result, verdict))]
        parts += [Text()] if verdict.test else []
    parts += _stability(result)
    parts += [Text(line) for line in _closing(result)]
    return Padding(Group(*parts), (1, 0))


def schedule_tables(schedule: Schedule, width: int = 80) -> list[Table]:
    """Draw a schedule: a row for each phase where the line has room, else a row for each group.

    Where the phases have no room in one line either, they follow in further tables.
    """
    cells = [["–" if lr is None else format_rate(lr) for lr in phase.lrs] for phase in schedule.phases]
    times = spans(schedule)
    if sum(max(len(name), 7) + 3 for name in ("phase", "epochs", *schedule.groups)) + 1 <= width:
        table = _table("phase", "epochs", *schedule.groups)
        for number, (span, row) in enumerate(zip(times, cells, strict=True)):
            table.add_row(str(number), span, *row)
        return [table]
    room = width - max(map(len, schedule.groups)) - 4
    at_once = max(room // (max(7, *map(len, times)) + 3), 1)
    tables = []
    for start in range(0, len(times), at_once):
        part = slice(start, start + at_once)
        table = _table("group", *(f"epochs\n{span}" for span in times[part]))
        for name, *row in zip(schedule.groups, *cells[part], strict=True):
            table.add_row(name, *row)
        tables.append(table)
    return tables


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _certainty(result: StudyResult, best: TrialResult, verdict: Verdict) -> str:
    shown, error = shown_value(result.scale, best), error_of(result, best)
    in_search = f"{certainty(result.scale, best, shown, error)}."
    return verdict.basis if verdict.standing == "confirmed" else f"{in_search}\n{verdict.basis}"


def _answers(verdict: Verdict) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for question, told in answer_lines(verdict):
        parts += [Text(printable(question), style="bold"), Padding(Text(printable(told)), (0, 0, 0, 2))]
    return [*parts, Text()]


def _notes(lines: Sequence[str]) -> RenderableType:
    """Set lines with their topics, each told once, in a column of their own."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for line in lines:
        topic, _, told = line.partition(": ")
        style = "bold" if topic == "at the edge" else ""
        table.add_row(Text("" if topic == before else f"{topic}:", style=style), Text(printable(told)))
        before = topic
    return table


def _on_fresh_seeds(result: StudyResult) -> Table:
    """Tabulate the candidates of the confirmation, and the baselines that were none."""
    title = "The best schedule against the others, on fresh seeds (± standard error)"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("schedule", overflow="fold")
    for heading in (result.metric, "best leads by", "interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("best is", overflow="fold")
    for row in compare(result):
        mean, lead, span, decision = fresh_cells(result.scale, row)
        name = Text(f"best: {row.name}" if row.best else row.name)
        table.add_row(name, mean, lead, span, Text(printable(decision)))
    return table


def _front(scale: Scale, front: Sequence[FrontPoint]) -> Table:
    """Draw the front of the metric against work."""
    title = f"{scale.metric} against the work of one run, from the search (unconfirmed)"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("× full", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(scale.metric, justify="right", no_wrap=True)
    table.add_column("schedule", overflow="fold")
    most = max(one.work for one in front)
    for one in front:
        mark = "best: " if one.best else "" if one.affordable else "over the cost allowed: "
        table.add_row(
            "–" if one.share is None else f"{one.share:.2f}",
            "▆" * max(round(BAR * one.work / most), 1),
            scale.figure(one.value, one.standard_error),
            Text(f"{mark}{one.name}"),
        )
    return table


def _stability(result: StudyResult) -> list[RenderableType]:
    """Say what became unstable, and tabulate where."""
    found = stability_of(result)
    told = [Text(f"{capitalised(line)}.") for line in lines(found)]
    grid = map_grid(found.instabilities)
    if grid is None:
        return [*told, Text()] if told else []
    table = _table(*grid.headings)
    table.title, table.title_justify = grid.title, "left"
    for row in grid.rows:
        table.add_row(*row)
    return [*told, table, Text()]


def _against_baselines(result: StudyResult) -> Table:
    table = Table(box=SIMPLE_HEAD, title="Against the baselines, as usually run", title_justify="left")
    table.add_column("schedule")
    for heading in (result.metric, "best leads by", "log loss", "work"):
        table.add_column(heading, justify="right")
    table.add_column("ended", overflow="fold")
    for row in compare(result):
        table.add_row(
            f"best: {row.name}" if row.best else row.name,
            result.scale.figure(row.value),
            result.scale.lead(row.lead),
            figure(row.log_loss),
            work_figure(result, row.work),
            Text(printable(row.ended)),
        )
    return table


def _closing(result: StudyResult) -> list[str]:
    ended = sum(trial.ending is not Ending.UNFINISHED for trial in result.trials)
    lines = [
        trials_line(result),
        *(f"  {reason}" for reason in reasons(result.trials)),
        cost_line(result),
        standing(result.cut_short, ended, result.settings.get("trials")),
        *conditions(result.data, result.backbone),
        *found(result.data),
        *(f"engine: {line}" for line in result.engine),
        *placing_lines(result.placing),
        f"command: {result.command}" if result.command else "",
        f"versions: {versions_line(result.versions)}",
    ]
    return [line for line in lines if line]
