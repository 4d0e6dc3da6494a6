"""The report on the terminal."""

from collections import Counter
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autofreeze.report.words import conditions, endings, points, standard_error, verdict
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.schedule import Schedule, format_rate


def show(result: StudyResult, console: Console) -> None:
    """Print the report of a search.

    Args:
        result: What the search found.
        console: Where to print; its width is kept to.
    """
    console.print(render(result, console.width))


def render(result: StudyResult, width: int = 80) -> RenderableType:
    """Compose the report: best schedule, baselines, how trials ended, cost, conditions.

    Args:
        result: What the search found.
        width: Characters in a line.
    """
    parts: list[RenderableType] = [Text(_capitalised(verdict(result)), style="bold"), Text()]
    if result.best is not None:
        parts += [schedule_table(result.best.schedule, width), Text(_certainty(result, result.best)), Text()]
        parts += [_against_baselines(result, result.best), Text()]
    parts += [Text(line) for line in _closing(result)]
    return Padding(Group(*parts), (1, 0))


def schedule_table(schedule: Schedule, width: int = 80) -> Table:
    """Draw a schedule: a row for each phase where the line has room, else a row for each group."""
    needed = sum(max(len(name), 7) + 3 for name in ("phase", "epochs", *schedule.groups)) + 1
    by_phase = needed <= width
    table = Table(box=SIMPLE_HEAD, caption=f"rate curve: {schedule.curve_words}", caption_justify="left")
    spans = list(_spans(schedule))
    cells = [["–" if lr is None else format_rate(lr) for lr in phase.lrs] for phase in schedule.phases]
    headings = ("phase", "epochs", *schedule.groups) if by_phase else ("group", *spans)
    for heading in headings:
        table.add_column(heading, justify="right")
    if by_phase:
        for number, (span, row) in enumerate(zip(spans, cells, strict=True)):
            table.add_row(str(number), span.removeprefix("epochs "), *row)
    else:
        for name, *row in zip(schedule.groups, *cells, strict=True):
            table.add_row(name, *row)
    return table


def _spans(schedule: Schedule) -> Iterator[str]:
    """When each phase runs: ``epochs 0–1.5``."""
    start = 0.0
    for phase in schedule.phases:
        end = start + phase.epochs
        yield f"epochs {start:.4g}–{end:.4g}"
        start = end


def _certainty(result: StudyResult, best: TrialResult) -> str:
    assert best.value is not None
    folds = len(best.fold_values)
    over = f"{folds} folds, " if folds > 1 else ""
    error = standard_error(best.value, best.n_val)
    return (
        f"trial {best.number}: {result.metric} {best.value:.3f} ± {error:.3f} on {best.n_val} validation "
        f"images ({over}one seed; ± is the binomial standard error).\n"
        "Unconfirmed: the best of many is partly luck; its score on fresh seeds is likely lower."
    )


def _against_baselines(result: StudyResult, best: TrialResult) -> Table:
    table = Table(box=SIMPLE_HEAD, title="Against the baselines, as usually run", title_justify="left")
    table.add_column("schedule")
    for heading in (result.metric, "best leads by", "log loss", "work"):
        table.add_column(heading, justify="right")
    table.add_column("ended", overflow="fold")
    for trial in (best, *(trial for trial in result.baselines if trial.number != best.number)):
        name = trial.baseline or trial.recipe
        marked = f"best: {name}" if trial is best else name
        table.add_row(
            marked,
            f"{trial.value:.3f}" if trial.value is not None else "–",
            _lead(best, trial),
            f"{trial.val_loss:.3f}" if trial.val_loss is not None else "–",
            f"{_work_of(result, trial):,.0f}",
            _how_it_ended(trial),
        )
    return table


def _lead(best: TrialResult, trial: TrialResult) -> str:
    """Points by which the best schedule leads a baseline."""
    if trial is best or trial.value is None or best.value is None:
        return ""
    return f"{points(best.value - trial.value)} pt"


def _how_it_ended(trial: TrialResult) -> str:
    if trial.same_as is not None:
        return f"same as trial {trial.same_as}"
    return trial.ending.value + (f": {trial.reason}" if trial.reason else "")


def _work_of(result: StudyResult, trial: TrialResult) -> float:
    """Work of the run behind a trial, also when the trial took it over."""
    if trial.same_as is None:
        return trial.work
    return next(other.work for other in result.trials if other.number == trial.same_as)


def _closing(result: StudyResult) -> list[str]:
    lines = [f"{len(result.trials)} trials: {endings(result.trials)}"]
    equal = sum(trial.same_as is not None for trial in result.trials)
    if equal:
        lines[0] += f"; {equal} had the schedule of an earlier one and took over its result"
    reasons = Counter(
        f"{trial.ending.value}: {trial.reason}"
        for trial in result.trials
        if trial.ending in (Ending.UNSTABLE, Ending.FAILED)
    )
    lines += [f"  {count} × {reason}" for reason, count in reasons.most_common()]
    lines.append(
        f"work: {result.work:,.0f} forward passes of one image; time: {duration(result.seconds)} "
        f"on {result.machine.get('device', '?')}, {result.machine.get('threads', '?')} threads"
    )
    if result.cut_short:
        lines.append(f"cut short: {result.cut_short}; go on with --resume")
    lines += conditions(result.data, result.backbone)
    if result.command:
        lines.append(f"command: {result.command}")
    lines.append("versions: " + ", ".join(f"{name} {number}" for name, number in result.versions.items()))
    return lines


def duration(seconds: float) -> str:
    """Write a time for people: ``43 s``, ``12 min 5 s``, ``3 h 20 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
