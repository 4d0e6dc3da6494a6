"""Outcomes, costs and conditions in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from autofreeze.phrases import counted, duration, printable
from autofreeze.report.owntraining import is_own, own_conditions, work_figure, work_unit
from autofreeze.results import UNDER_WAY, Ending, StudyResult, SummaryResult, TrialResult
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule


def endings(trials: tuple[TrialResult, ...]) -> str:
    """Count trials by how they ended: ``14 complete, 6 pruned (unpromising), 1 failed``."""
    counts = Counter(trial.ending for trial in trials)
    return ", ".join(f"{counts[ending]} {ending.value}" for ending in Ending if counts[ending])


def title(result: StudyResult) -> str:
    """Name what a report is of."""
    model = result.backbone.get("model")
    return f"{result.data['name']}: the best freezing schedule" + (f" for {model}" if model else "")


def title_of_all(summary: SummaryResult) -> str:
    """Name what the report of several data sets is of."""
    return f"The best schedule per data set for {summary.model}"


def conditions(data: Mapping[str, Any], backbone: Mapping[str, Any]) -> list[str]:
    """Say on which images and from which weights a search starts, and who decided the preprocessing.

    Args:
        data: ``StudyResult.data``.
        backbone: ``StudyResult.backbone``.
    """
    if is_own(data):
        return own_conditions(data, backbone)
    counts = ", ".join(f"{count:,} {part}" for part, count in data["images"].items() if count)
    folds = data["folds"]
    scored = sum(fold["val"] for fold in folds)
    rounds = f"{len(folds)} {'fold' if len(folds) == 1 else 'folds'}, training on {folds[0]['train']:,}"
    values, origins = backbone["preprocessing"], backbone["preprocessing_from"]
    chosen = ", ".join(f"{name} {_short(value)} ({origins.get(name, '?')})" for name, value in values.items())
    return [
        f"data: {printable(data['name'])}, {len(data['classes'])} classes, images: {counts}; each trial is "
        f"scored on {scored:,} images in {rounds}",
        f"backbone: {backbone['model']}, "
        + "; ".join(dict.fromkeys((backbone["source"], backbone["coverage"]))),
        f"preprocessing: {chosen}",
    ]


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return str(value[0]) if len(set(value)) == 1 else ",".join(str(part) for part in value)
    return str(value)


def certainty(scale: Scale, best: TrialResult, shown: float | None, error: float | None) -> str:
    """Say on what the best trial's value rests.

    Args:
        scale: Of the study's metric.
        best: The best trial.
        shown: Its value as people read it.
        error: Its standard error, when there is one.
    """
    folds = len(best.fold_values)
    over = f"{folds} folds, one seed" if folds > 1 else "one seed"
    meaning = (
        "" if error is None else f"; ± is {ERROR_WORDS.get(scale.metric, 'the binomial standard error')}"
    )
    heads = f", the best of {len(best.members)} heads in one sweep" if best.members else ""
    what = "examples" if scale.unit == "plain" else "validation images"
    on = f" on {best.n_val:,} {what}" if best.n_val else ""
    return f"trial {best.number}{heads}: {scale.metric} {scale.figure(shown, error)}{on} ({over}{meaning})"


_LIKE_BINOMIAL = "a binomial standard error that counts classes alike"
ERROR_WORDS = {"balanced_accuracy": _LIKE_BINOMIAL, "macro_f1": _LIKE_BINOMIAL}


BROKEN = (Ending.UNSTABLE, Ending.FAILED, Ending.NOT_COMPARABLE)
"""Endings whose reasons are told."""


def reasons(trials: Sequence[TrialResult]) -> list[str]:
    """Count why trials ended so, where they did not end well, the most frequent first: ``2 × failed: …``."""
    counts = Counter(f"{trial.ending.value}: {trial.reason}" for trial in trials if trial.ending in BROKEN)
    return [f"{count} × {reason}" for reason, count in counts.most_common()]


def trials_line(result: StudyResult) -> str:
    """Say how many trials there are and how they ended."""
    line = f"{len(result.trials)} trials" + (f": {endings(result.trials)}" if result.trials else "")
    equal = sum(trial.same_as is not None for trial in result.trials)
    line += f"; {equal} had the schedule of an earlier one and took over its result" if equal else ""
    return line + sweeps_words(result.trials)


def sweeps_words(trials: Sequence[TrialResult]) -> str:
    """Say how many trials were sweeps; empty when none was."""
    sizes = [len(trial.members) for trial in trials if trial.members]
    if not sizes:
        return ""
    heads = f"{min(sizes)}" if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
    were = "1 was a sweep" if len(sizes) == 1 else f"{len(sizes)} were sweeps"
    return f"; {were} of {heads} heads trained side by side, each counted as its best one"


def cost_line(result: StudyResult) -> str:
    """Say what the search has cost: work, time, and on what."""
    found = result.confirmation
    more = (
        f" in the search, {work_figure(result, found.work)} in the confirmation"
        if found is not None and found.work
        else ""
    )
    machine = result.machine
    on = f" on {machine.get('device', '?')}, {counted(machine.get('threads', '?'), 'thread')}"
    return (
        f"work: {work_figure(result, result.work)} {work_unit(result)}{more}; time: "
        f"{duration(result.seconds)}{'' if result.kind == 'own' else on}"
    )


def standing(cut_short: str, ended: int, trials: int | None) -> str:
    """Say that a search has not reached its end; empty when it has.

    Args:
        cut_short: ``StudyResult.cut_short``.
        ended: Trials that have ended.
        trials: Trials that were asked for, when that is known.
    """
    if not cut_short:
        return ""
    if cut_short == UNDER_WAY:
        of = f" of {trials}" if trials else ""
        return f"under way: {ended}{of} trials so far; one that was killed goes on with --resume"
    return f"cut short: {cut_short}; go on with --resume"


def standing_of(result: StudyResult) -> str:
    """Say of a result that its search has not reached its end; empty when it has."""
    ended = sum(trial.ending is not Ending.UNFINISHED for trial in result.trials)
    return standing(result.cut_short, ended, result.settings.get("trials"))


def standing_of_all(summary: SummaryResult) -> str:
    """Say that a search on several data sets has not reached its end."""
    begun = sum(one.trials > 0 for one in summary.datasets)
    if summary.cut_short == UNDER_WAY:
        of = f"{begun} of {len(summary.datasets)} data sets begun"
        return f"under way: {of}; one that was killed goes on with --resume"
    return f"cut short: {summary.cut_short}; go on with --resume"


def spans(schedule: Schedule) -> list[str]:
    """Say when each phase runs, in epochs: ``0–1.5``."""
    ends = list(accumulate(phase.epochs for phase in schedule.phases))
    return [f"{start:.4g}–{end:.4g}" for start, end in pairwise([0.0, *ends])]


def curve_line(schedule: Schedule) -> str:
    """Say below a schedule's table how its rates go on, and what a dash in it means."""
    return f"Rate curve: {schedule.curve_words}. A dash is frozen."


def versions_line(versions: Mapping[str, str]) -> str:
    """Name the versions of what was used."""
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def found(data: Mapping[str, Any]) -> list[str]:
    """Say what was found in the images, a line for each finding.

    Args:
        data: ``StudyResult.data``.
    """
    return [
        printable(f"{one['severity']}: {one['sentence']}; {one['way_out']}")
        for one in data.get("findings", [])
    ]
