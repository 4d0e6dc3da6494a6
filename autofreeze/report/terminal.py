"""The report on the terminal."""

from collections import Counter

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autofreeze.report.words import endings, points, standard_error, verdict
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.schedule import Schedule, format_rate


def show(result: StudyResult, console: Console) -> None:
    """Print the report of a search.

    Args:
        result: What the search found.
        console: Where to print; its width is kept to.
    """
    console.print(render(result))


def render(result: StudyResult) -> RenderableType:
    """Compose the report: best schedule, baselines, how trials ended, cost, conditions."""
    parts: list[RenderableType] = [Text(_capitalised(verdict(result)), style="bold"), Text()]
    if result.best is not None:
        parts += [schedule_table(result.best.schedule), Text(_certainty(result, result.best)), Text()]
        parts += [_against_baselines(result, result.best), Text()]
    parts += [Text(line) for line in _closing(result)]
    return Padding(Group(*parts), (1, 0))


def schedule_table(schedule: Schedule) -> Table:
    """Draw a schedule as its table."""
    table = Table(title=None, caption=f"rate curve: {schedule.curve_words}", caption_justify="left")
    for heading in ("phase", "epochs", *schedule.groups):
        table.add_column(heading, justify="right")
    for number, phase in enumerate(schedule.phases):
        cells = ("–" if lr is None else format_rate(lr) for lr in phase.lrs)
        table.add_row(str(number), f"{phase.epochs:.4g}", *cells)
    return table


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
    table = Table(title="Against the baselines, as usually run", title_justify="left")
    table.add_column("schedule")
    for heading in (result.metric, "best is ahead by (points)", "log loss", "work"):
        table.add_column(heading, justify="right")
    table.add_column("ended", overflow="fold")
    for trial in (best, *(trial for trial in result.baselines if trial.number != best.number)):
        name = trial.baseline or trial.recipe
        marked = f"best: {name} (trial {trial.number})" if trial is best else name
        done = trial.value is not None and best.value is not None
        table.add_row(
            marked,
            f"{trial.value:.3f}" if trial.value is not None else "–",
            points(best.value - trial.value) if done and trial is not best else "",  # type: ignore[operator]
            f"{trial.val_loss:.3f}" if trial.val_loss is not None else "–",
            f"{_work_of(result, trial):,.0f}",
            _how_it_ended(trial),
        )
    return table


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
