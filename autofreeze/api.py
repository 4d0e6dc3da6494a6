"""What ``import autofreeze`` offers beside the values: searching one data set or several, and training."""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from autofreeze.display import Display
from autofreeze.errors import ConfigError, InputError, RunFolderError
from autofreeze.imagesubject import ImageSubject
from autofreeze.interruption import watch_for_interruption
from autofreeze.metrics import METRICS
from autofreeze.plan import Plan
from autofreeze.results import StudyResult, SummaryResult
from autofreeze.retraining import train
from autofreeze.run import check_usable
from autofreeze.samplers import SamplerName
from autofreeze.searching import SearchSession
from autofreeze.searchoptions import Decided, SearchOptions
from autofreeze.several import SeveralSearch, check_usable_by_several, folder_names, gather, holds_several
from autofreeze.task import Task
from autofreeze.trial import Workbench
from autofreeze.values import did_you_mean

__all__ = ["command_line", "plan", "search", "search_all", "train"]


def search(
    data: str | Path,
    model: str,
    *,
    out: str | Path,
    preset: str = "standard",
    trials: int | None = None,
    time_limit: float | None = None,
    epochs: float | None = None,
    space: str | None = None,
    folds: int | None = None,
    seed: int = 0,
    sampler: SamplerName = "tpe",
    prune: bool = True,
    resume: bool = False,
    confirm: int | None = None,
    delta: float = 1.0,
    tune_baselines: Sequence[str] = (),
    max_cost: float | None = None,
    views: str | None = None,
    erase: float | None = None,
    display: Display | None = None,
    command: str = "",
    **task: Any,
) -> StudyResult:
    """Search the best freezing schedule for a data set and a pretrained model.

    Args:
        data: Images: a folder with ``train/ val/ test/`` or one folder per class, a ``.csv`` file, or a name.
        model: timm name of the backbone.
        out: Run folder; everything that is found is kept there as it is found.
        preset: ``quick``, ``standard`` or ``thorough``; decides trials, epochs, space and folds where those
            are left out.
        trials: Trials in all, baselines included, >= 1.
        time_limit: Seconds after which no more is trained, counted from this call: preparing counts too.
        epochs: Length of each run; by the size of the data when nobody says (``budget.default_epochs``).
        space: Name of a shipped search space, or a YAML file.
        folds: Folds that a trial is scored on, 1..5.
        seed: Decides splits' folds, heads, orders, views and the sampler's draws.
        sampler: ``tpe``, ``random``, ``qmc`` or ``gp``.
        prune: End unpromising trials early; unstable ones are ended always.
        resume: Go on with the study in ``out``.
        confirm: Fresh seeds at most on which the finalists are confirmed: 0 (not at all), 6, 12 or 24.
        delta: Half-width of *no difference*, in points (1 is .01 of the metric; of a log loss .01 nat).
        tune_baselines: Names of baselines whose rate is tuned by as many trials as the search has; ``all``
            for all of them.
        max_cost: Work of one run at most, in runs of full fine-tuning: 0.5 is half. What costs more cannot
            win.
        views: ``none``, ``flip``, ``bank:K`` or ``online``, whatever the space says.
        erase: Share of the crops of ``bank:K`` and ``online`` in which a rectangle is erased, whatever the
            space says, 0..1.
        display: Shows what it will cost and how it goes; nothing is shown when left out.
        command: Told in the report.
        task: Fields of :class:`autofreeze.task.Task`, such as ``weights``, ``metric`` or ``image_size``.

    Returns:
        What was found; also in ``out/report.json`` and ``out/report.md``, which are written as trials end.

    Raises:
        InputError: Something given is wrong; nothing has been overwritten.
        TrainingError: The first trials all failed.
    """
    began = time.monotonic()
    options = SearchOptions(
        preset, trials, time_limit, epochs, space, folds, seed, sampler, prune, resume, confirm, delta,
        tuple(tune_baselines), max_cost, views, erase,
    ).decided()  # fmt: skip
    settings = _task(data, model, options, task)
    out = Path(out)
    if holds_several(out):
        raise RunFolderError(
            "holds a search on several data sets; give all of them, or choose another --out", where=str(out)
        )
    check_usable(out, resume=resume)
    bench = _open(settings, display)
    session = SearchSession(ImageSubject(bench), options, out, display=display, command=command)
    session.check()
    left = None if time_limit is None else time_limit - (time.monotonic() - began)
    with watch_for_interruption(display.tell if display else None) as interruption:
        return session.search(interruption, left)


def plan(
    data: str | Path, model: str, *, out: str | Path = "", display: Display | None = None, **given: Any
) -> Plan:
    """Tell what a search would cost. A few steps are measured; nothing is kept but the decoded images.

    Args:
        data: As for :func:`search`.
        model: timm name of the backbone.
        out: Run folder; looked at where ``resume`` is given, so that what is left is planned.
        display: Shows progress.
        given: All else that :func:`search` takes.

    Raises:
        InputError: Something given is wrong.
    """
    given["seconds"] = given.pop("time_limit", None)
    given["tune_baselines"] = tuple(given.get("tune_baselines", ()))
    names = {field.name for field in fields(SearchOptions)}
    options = SearchOptions(**{name: given.pop(name) for name in names & given.keys()}).decided()
    bench = _open(_task(data, model, options, given), display)
    found = SearchSession(ImageSubject(bench), options, Path(out), display=display, command="").plan()
    assert found is not None  # images can always be measured
    return found


def search_all(
    data: Sequence[str | Path],
    model: str,
    *,
    out: str | Path,
    preset: str = "standard",
    trials: int | None = None,
    time_limit: float | None = None,
    epochs: float | None = None,
    space: str | None = None,
    folds: int | None = None,
    seed: int = 0,
    sampler: SamplerName = "tpe",
    prune: bool = True,
    resume: bool = False,
    confirm: int | None = None,
    delta: float = 1.0,
    tune_baselines: Sequence[str] = (),
    max_cost: float | None = None,
    views: str | None = None,
    erase: float | None = None,
    display: Display | None = None,
    command: str = "",
    **task: Any,
) -> SummaryResult:
    """Search the best freezing schedule for each of several data sets, with the same model and options.

    All are opened and checked before the first is searched. A search that breaks off on one of them goes on
    with the next.

    Args:
        data: The data sets, each as for :func:`search`; at least one, none twice.
        model: timm name of the backbone.
        out: Folder for ``report.json``, ``report.md``, and a run folder for each data set, named after it.
        preset: As for :func:`search`, like all that follow.
        trials: Trials of each data set.
        time_limit: Seconds for all together, split evenly over the data sets that are left.
        epochs: Length of each run.
        space: Search space.
        folds: Folds that a trial is scored on.
        seed: Of each search.
        sampler: Which sampler proposes.
        prune: End unpromising trials early.
        resume: Go on with all of them; those that are done are passed over.
        confirm: Fresh seeds at most.
        delta: Half-width of *no difference*, in points.
        tune_baselines: Baselines whose rate is tuned.
        max_cost: Work of one run at most, in runs of full fine-tuning.
        views: Augmentation, whatever the space says.
        erase: Share of crops with a rectangle erased, whatever the space says.
        display: Shows progress.
        command: Told in the reports.
        task: Fields of :class:`autofreeze.task.Task`.

    Returns:
        The best schedule of each; ``StudyResult`` of one by ``report.files.read_report(out / name)``.

    Raises:
        InputError: Something is wrong with any of the data sets or options: all of it is told, and nothing
            has been written.
    """
    began = time.monotonic()
    options = SearchOptions(
        preset, trials, time_limit, epochs, space, folds, seed, sampler, prune, resume, confirm, delta,
        tuple(tune_baselines), max_cost, views, erase,
    ).decided()  # fmt: skip
    given = [str(one) for one in data]
    _check_each_once(given)
    settings = [_task(one, model, options, task) for one in given]
    out = Path(out)
    check_usable_by_several(out, resume=resume)
    benches = _open_all(settings, display)
    sessions: dict[str, SearchSession] = {}
    problems: list[tuple[str, InputError]] = []
    for name, bench in zip(folder_names([bench.dataset.name for bench in benches]), benches, strict=True):
        try:
            subject = ImageSubject(bench)
            session = SearchSession(subject, options, out / name, display=display, command=command)
            session.check()
            sessions[name] = session
        except InputError as error:
            problems.append((bench.task.data, error))
    if problems:
        raise gather(problems, len(given))
    several = SeveralSearch(
        sessions,
        out,
        model=model,
        display=display,
        command=command,
        deadline=None if time_limit is None else began + time_limit,
        began=began,
    )
    with watch_for_interruption(display.tell if display else None) as interruption:
        return several.search(interruption)


def _check_each_once(data: Sequence[str]) -> None:
    twice = sorted({one for one in data if data.count(one) > 1})
    if twice or not data:
        raise ConfigError(
            f"data: {', '.join(twice)} given twice; name each data set once"
            if twice
            else "data: none given; name at least one data set"
        )


def _task(data: str | Path, model: str, options: Decided, given: dict[str, Any]) -> Task:
    metric = given.get("metric", "auto")
    known = ["auto", *METRICS]
    if metric not in known:
        raise ConfigError(f"metric: {metric!r} is unknown{did_you_mean(str(metric), known)}")
    fields = {"split_seed": options.seed, **given, "folds": options.folds, "data": str(data), "model": model}
    return Task.parse(fields)


def _open_all(settings: Sequence[Task], display: Display | None) -> list[Workbench]:
    """Open every task. Pixels stay on disk, mapped; the pretrained tensors are held once.

    Raises:
        InputError: Some cannot be opened; what is wrong with each is told.
    """
    benches: list[Workbench] = []
    problems: list[tuple[str, InputError]] = []
    for task in settings:
        if display and len(settings) > 1:
            display.tell(f"opening {task.data}")
        try:
            bench = _open(task, display)
        except InputError as error:
            problems.append((task.data, error))
            continue
        if benches and benches[0].backbone.digest == bench.backbone.digest:
            bench = replace(bench, backbone=benches[0].backbone)
        benches.append(bench)
    if problems:
        raise gather(problems, len(settings))
    return benches


def _open(task: Task, display: Display | None) -> Workbench:
    """Open a task, and show how far that is."""
    if display is None:
        return Workbench.open(task)
    with display.shown():
        return Workbench.open(task, progress=display.preparing)


def command_line() -> str:
    """Give the command as it was typed, for the report."""
    return shlex.join(["autofreeze", *sys.argv[1:]])
