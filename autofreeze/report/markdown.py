"""The report as Markdown, for GitHub. Every figure stands in ``report.json`` too."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from autofreeze.figures import error_of, shown_value
from autofreeze.phrases import capitalised, duration
from autofreeze.report.comparison import Compared
from autofreeze.report.drawing import draw
from autofreeze.report.owntraining import is_own, work_figure
from autofreeze.report.placing import placing_lines
from autofreeze.report.plan import expected_line
from autofreeze.report.report import Report
from autofreeze.report.stability import Stability, drift_line, gradient_grid, lines, map_grid
from autofreeze.report.summary import over, unconfirmed_lines
from autofreeze.report.telling import answer_lines, fresh_cells, note_lines, test_lines
from autofreeze.report.using import use_of, use_of_all
from autofreeze.report.words import (
    certainty,
    conditions,
    cost_line,
    curve_line,
    found,
    reasons,
    spans,
    standing_of,
    standing_of_all,
    title,
    title_of_all,
    trials_line,
    versions_line,
)
from autofreeze.results import Ending, StudyResult, SummaryResult, TrialResult
from autofreeze.scale import figure
from autofreeze.schedule import Schedule, format_rate
from autofreeze.verdict import Verdict

DRAWING_WIDTH = 76


def page(report: Report) -> str:
    """Write the report of a search on one data set."""
    result, verdict = report.result, report.verdict
    parts = [
        f"# {escape(title(result))}",
        f"**{escape(capitalised(verdict.headline))}**",
        *_standing(result),
    ]
    if result.best is not None:
        parts += _best(report, result.best)
    parts += _stability(report.stability)
    parts += _trials(result)
    parts += _data(result)
    parts += [
        "## Conditions",
        bullets(
            escape(line)
            for line in (
                *conditions(result.data, result.backbone)[1:],
                *(f"engine: {line}" for line in result.engine),
                *placing_lines(result.placing),
            )
        ),
        f"Versions: {escape(versions_line(result.versions))}.",
    ]
    if result.command:
        parts += ["The command:", code(result.command, "sh")]
    parts += _use(result)
    return "\n\n".join(parts) + "\n"


def _standing(result: StudyResult) -> list[str]:
    line = standing_of(result)
    return [f"*{escape(capitalised(line))}.*"] if line else []


def _best(report: Report, best: TrialResult) -> list[str]:
    result, verdict, rows = report.result, report.verdict, report.compared
    shown, error = shown_value(result.scale, best), error_of(result, best)
    in_search = f"{escape(capitalised(certainty(result.scale, best, shown, error)))}. "
    fresh = any(row.confirmed for row in rows)
    return [
        ("" if verdict.standing == "confirmed" else in_search) + escape(verdict.basis),
        "## The best schedule",
        schedule_table(best.schedule),
        escape(curve_line(best.schedule)),
        code(draw(best.schedule, DRAWING_WIDTH)),
        "## Against the others, on fresh seeds" if fresh else "## Against the baselines",
        _on_fresh_seeds(result, rows) if fresh else _comparison(result, rows),
        "## The answers",
        *(f"**{escape(question)}** {escape(told)}" for question, told in answer_lines(verdict)),
        bullets(escape(line) for line in note_lines(verdict)),
        *_classes(verdict),
        *_front(result, verdict),
        *(escape(line) for line in test_lines(result, verdict)),
    ]


def _on_fresh_seeds(result: StudyResult, rows: Sequence[Compared]) -> str:
    cells = [
        (
            f"**best: {escape(row.name)}**" if row.best else escape(row.name),
            *figures,
            escape(decision),
            result.scale.figure(row.value),
            figure(row.log_loss),
            work_figure(result, row.work),
        )
        for row in rows
        for *figures, decision in [fresh_cells(result.scale, row)]
    ]
    headings = (
        "schedule", escape(result.metric), "best leads by", "interval", "best is",
        "in the search", "log loss there", "work there",
    )  # fmt: skip
    return table(headings, cells, left=(0, 4))


def _classes(verdict: Verdict) -> list[str]:
    if not verdict.classes:
        return []
    rows = [
        (
            escape(one.name),
            "–" if one.images is None else f"{one.images:,}",
            figure(one.accuracy),
            figure(one.baseline),
        )
        for one in verdict.classes
    ]
    return ["By class:", table(("class", "training images", "best", "best baseline"), rows)]


def _front(result: StudyResult, verdict: Verdict) -> list[str]:
    if len(verdict.front) < 2:  # nothing to weigh
        return []
    scale = result.scale
    rows = [
        (
            f"**best: {escape(one.name)}**" if one.best else escape(one.name),
            scale.figure(one.value, one.standard_error),
            scale.figure(one.confirmed),
            work_figure(result, one.work),
            "–" if one.share is None else f"{one.share:.2f}",
            "yes" if one.affordable else "no",
        )
        for one in verdict.front
    ]
    headings = (
        "schedule", f"{escape(scale.metric)} in the search", "on fresh seeds", "work of a run", "× full",
        "allowed",
    )  # fmt: skip
    return ["Value against work, the front of all complete trials:", table(headings, rows, left=(0, 5))]


def schedule_table(schedule: Schedule) -> str:
    """Write a schedule as a table: a row for each group, stem first, a column for each phase."""
    cells = [["–" if lr is None else format_rate(lr) for lr in phase.lrs] for phase in schedule.phases]
    rows = zip(map(escape, schedule.groups), *cells, strict=True)
    return table(("group", *(f"epochs {span}" for span in spans(schedule))), rows)


def _comparison(result: StudyResult, compared: Sequence[Compared]) -> str:
    rows = [
        (
            f"**best: {escape(row.name)}**" if row.best else escape(row.name),
            result.scale.figure(row.value, row.standard_error),
            result.scale.lead(row.lead),
            figure(row.log_loss),
            work_figure(result, row.work),
            escape(row.ended),
        )
        for row in compared
    ]
    headings = ("schedule", escape(result.metric), "best leads by", "log loss", "work", "ended")
    return table(headings, rows, left=(0, 5))


def _stability(found: Stability) -> list[str]:
    told = lines(found)
    if not told:
        return []
    told.append(drift_line(found.beginnings))
    parts = ["## Stability", bullets(f"{escape(capitalised(line))}." for line in told if line)]
    for grid in (map_grid(found.instabilities, intervals=True), gradient_grid(found.beginnings)):
        if grid is not None:
            rows = [tuple(map(escape, row)) for row in grid.rows]
            parts += [f"{escape(grid.title)}:", table(grid.headings, rows)]
    return parts


def _trials(result: StudyResult) -> list[str]:
    counts = Counter(trial.ending for trial in result.trials)
    rows = [(ending.value, str(counts[ending])) for ending in Ending if counts[ending]]
    parts = ["## Trials and cost", f"{escape(capitalised(trials_line(result)))}."]
    if rows:
        parts.append(table(("ended", "trials"), rows))
    why = reasons(result.trials)
    if why:
        parts += ["Unstable and failed ones, by reason:", bullets(escape(line) for line in why)]
    parts.append(f"{escape(capitalised(cost_line(result)))}.")
    if result.plan is not None:
        parts.append(expected_line(result.plan))
    return parts


def _data(result: StudyResult) -> list[str]:
    line = conditions(result.data, result.backbone)[0]
    if is_own(result.data):
        return ["## Training", f"{escape(capitalised(line))}."]
    classes = result.data["classes"]
    parts = ["## Data", f"{escape(capitalised(line))}."]
    parts.append("Classes: " + ", ".join(escape(name) for name in classes) + ".")
    lines = found(result.data)
    if lines:
        parts += ["Found in the images:", bullets(escape(line) for line in lines)]
    return parts


def _use(result: StudyResult) -> list[str]:
    use = use_of(result)
    return [] if use is None else ["## Use it", escape(use.sentence), code("\n".join(use.commands), "sh")]


def summary_page(summary: SummaryResult) -> str:
    """Write the summary of a search on several data sets."""
    parts = [f"# {escape(title_of_all(summary))}"]
    if summary.cut_short:
        parts.append(f"*{escape(capitalised(standing_of_all(summary)))}.*")
    rows = [
        (
            f"[{escape(one.name)}]({link(one.name)}/report.md)" if not one.problem else escape(one.name),
            "–" if one.images is None else f"{one.images:,}",
            "–" if one.classes is None else f"{one.classes:,}",
            escape(one.sentence or one.problem or "no trial was completed"),
            escape(one.metric),
            figure(one.value, one.standard_error),
            over(one, "linear_probe"),
            over(one, "full"),
            escape(one.freeze_first) or "–",
            f"{one.trials}" + (f" ({escape(one.cut_short)})" if one.cut_short else ""),
            f"{one.work:,.0f}",
            duration(one.seconds),
        )
        for one in summary.datasets
    ]
    headings = (
        "data set", "images", "classes", "best schedule", "metric", "value",
        "over linear_probe", "over full", "freeze first?", "trials", "work", "time",
    )  # fmt: skip
    parts += [table(headings, rows, left=(0, 3, 4, 8)), *map(escape, unconfirmed_lines(summary.datasets))]
    parts += [
        f"All together: {duration(summary.seconds)}. Versions: {escape(versions_line(summary.versions))}."
    ]
    if summary.command:
        parts += ["The command:", code(summary.command, "sh")]
    use = use_of_all()
    parts += [escape(use.sentence), code("\n".join(use.commands), "sh")]
    return "\n\n".join(parts) + "\n"


# Markdown


def escape(text: str) -> str:
    """Write any text so that GitHub shows it as it is, also in the cell of a table.

    Names of classes and files may hold pipes, backticks, tags, links, formulas and line breaks. An underscore
    inside a word means nothing in GitHub's Markdown, and stays readable.
    """
    text = "".join(char if char.isprintable() else " " for char in text).strip()
    text = re.sub(r"([\\`*\[\]|~#!$])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"^([-+=])", r"\\\1", text)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)


def code(text: str, language: str = "text") -> str:
    """Write a block of code, fenced by more backticks than it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def bullets(lines: Iterable[str]) -> str:
    """Write lines, escaped already, as a list."""
    return "\n".join(f"- {line}" for line in lines)


def link(name: str) -> str:
    """Write a folder's name as a part of a link."""
    return quote(name)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Write a table of cells, escaped already; numbers to the right, the columns in ``left`` to the left."""
    rule = ("---" if column in left else "---:" for column in range(len(headings)))
    lines = [headings, tuple(rule), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
