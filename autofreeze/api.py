"""What ``import autofreeze`` offers beside the values: searching one data set, several, or any training."""

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autofreeze.display import Display
from autofreeze.errors import ConfigError, InputError, RunFolderError
from autofreeze.interruption import watch_for_interruption
from autofreeze.metrics import METRICS
from autofreeze.plan import Plan
from autofreeze.results import StudyResult, SummaryResult
from autofreeze.run import check_usable
from autofreeze.samplers import SamplerName
from autofreeze.scale import Direction
from autofreeze.searching import SearchSession
from autofreeze.searchoptions import Decided, SearchOptions
from autofreeze.several import SeveralSearch, check_usable_by_several, folder_names, gather, holds_several
from autofreeze.subject import Subject
from autofreeze.task import Task
from autofreeze.values import did_you_mean

if TYPE_CHECKING:
    from autofreeze.cluster.connection import Cluster
    from autofreeze.own.groups import Given
    from autofreeze.own.run import Fit

__all__ = ["command_line", "plan", "search", "search_all"]


def search(
    data: str | Path | None = None,
    model: str | None = None,
    *,
    out: str | Path,
    fit: "Fit | None" = None,
    groups: "Given | None" = None,
    direction: Direction = "maximize",
    held_out: float | None = None,
    reads: Sequence[str] = (),
    name: str | None = None,
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
    delta: float | None = None,
    tune_baselines: Sequence[str] = (),
    max_cost: float | None = None,
    views: str | None = None,
    erase: float | None = None,
    max_work: float | None = None,
    warm_start: Sequence[str | Path] = (),
    stuck_after: float | None = None,
    candidates: int = 1,
    ray: str | None = None,
    gpus_per_trial: float | None = None,
    cpus_per_trial: float | None = None,
    max_concurrent: int | None = None,
    storage: str | Path | None = None,
    log: Sequence[str] = (),
    display: Display | None = None,
    command: str = "",
    **task: Any,
) -> StudyResult:
    """Search the best freezing schedule for a data set and a pretrained model, or for any training loop.

    Images are given by ``data`` and ``model``; a training of one's own by ``fit`` and ``groups``
    (docs/own-training.md).

    Args:
        data: Images: a folder with ``train/ val/ test/`` or one folder per class, a ``.csv`` file, or a name.
        model: timm name of the backbone.
        out: Run folder; everything that is found is kept there as it is found.
        fit: A training: a generator of a job (``own.job.FitJob``) that yields after each epoch a number, an
            ``Epoch``, or a mapping of its fields.
        groups: Its layer groups, stem first, head last: name -> prefixes of parameter names, or ``Group``.
        direction: Whether ``maximize`` or ``minimize`` what ``fit`` yields.
        held_out: Share of the examples that each fold and each fresh seed of ``fit`` holds out anew to score
            on, 0..1; 0 where all are scored on the same. From ``folds`` when left out, else a fifth.
        reads: Axes that only ``fit`` can obey and that it reads from ``job.regime``, such as ``batch_size``.
        name: Of the training, for reports; that of the function when left out.
        preset: ``quick``, ``standard`` or ``thorough``; decides trials, epochs, space and folds where those
            are left out.
        trials: Trials in all, baselines included, >= 1.
        time_limit: Seconds after which no more is trained, counted from this call: preparing counts too.
        epochs: Length of each run; by the size of the data when nobody says (``budget.default_epochs``). A
            whole number, and needed, with ``fit``.
        space: Name of a shipped search space, or a YAML file.
        folds: Folds that a trial is scored on, 1..5; with ``fit`` 1 when left out.
        seed: Decides splits' folds, heads, orders, views and the sampler's draws.
        sampler: ``tpe``, ``random``, ``qmc`` or ``gp``.
        prune: End unpromising trials early; unstable ones are ended always.
        resume: Go on with the study in ``out``.
        confirm: Fresh seeds at most on which the finalists are confirmed: 0 (not at all), 6, 12 or 24.
        delta: Half-width of *no difference*, in points (1 is .01 of the metric; of a log loss .01 nat); 1
            when left out. With ``fit`` in the unit of what it yields; nothing is called equal when left out.
        tune_baselines: Names of baselines whose rate is tuned by as many trials as the search has; ``all``
            for all of them.
        max_cost: Work of one run at most, in runs of full fine-tuning: 0.5 is half. What costs more cannot
            win.
        views: ``none``, ``flip``, ``bank:K`` or ``online``, whatever the space says.
        erase: Share of the crops of ``bank:K`` and ``online`` in which a rectangle is erased, whatever the
            space says, 0..1.
        max_work: Work of one trial at most, over all its folds, in forward-equivalents (``cost.py``); with
            ``fit`` in forward passes over its training data. Beside ``max_cost`` the stricter one holds.
        warm_start: Run folders of earlier searches: what won there is tried right behind the baselines.
        stuck_after: Seconds without a record after which a run is broken off as stuck; by the runs before
            when left out (``executors/watchdog.py``).
        candidates: Draws among which each trial is chosen, by what they promise for their work
            (``frugality.py``); 1 runs what is drawn.
        ray: Where to run the trials (docs/cluster.md): ``local`` (a Ray of its own on this machine), ``auto``
            (the cluster that this machine belongs to), ``host:port`` or ``ray://host:port``. Here, one after
            the other, when left out. Which machines run a search is no part of the study.
        gpus_per_trial: GPUs of each trial on Ray: a share such as 0.25, a whole number, or 0 for CPUs alone;
            one when left out, where the cluster has any.
        cpus_per_trial: CPUs of each trial on Ray, above zero; by the cluster when left out.
        max_concurrent: Trials on Ray at once, at most; by the number of trials when left out.
        storage: Folder that all nodes see under the same path: what runs need to go on after a fault lies
            there. By way of Ray when left out.
        log: What else is written while it runs: ``tensorboard`` writes event files to ``out/tensorboard``
            (needs the extra of that name).
        display: Shows what it will cost and how it goes; nothing is shown when left out.
        command: Told in the report.
        task: Fields of :class:`autofreeze.task.Task`, such as ``weights``, ``metric`` or ``image_size``. With
            ``fit`` only ``metric``: a name for what it yields.

    Returns:
        What was found; also in ``out/report.json`` and, for people, ``report.html`` and ``report.md``, which
        are written as trials end.

    Raises:
        InputError: Something given is wrong; nothing has been overwritten.
        ClusterError: A Ray does not start.
        TrainingError: The first trials all failed.
    """
    began = time.monotonic()
    own = fit is not None or groups is not None
    asked = SearchOptions(
        preset, trials, time_limit, epochs, space, folds, seed, sampler, prune, resume, confirm,
        1.0 if own or delta is None else delta, tuple(tune_baselines), max_cost, views, erase, candidates,
        max_work=max_work, warm_start=tuple(warm_start), stuck_after=stuck_after, ray=ray,
        gpus_per_trial=gpus_per_trial, cpus_per_trial=cpus_per_trial, max_concurrent=max_concurrent,
        storage=storage, log=(log,) if isinstance(log, str) else tuple(log),
    )  # fmt: skip
    out = Path(out)
    subject: Subject | None = None
    settings: Task | None = None
    if own:
        from autofreeze.own.opening import open_own

        named = {"metric": task.pop("metric")} if "metric" in task else {}
        subject, options = open_own(
            fit, groups, asked, **named, direction=direction, delta=delta, held_out=held_out, reads=reads,
            name=name, not_for_own={"data": data, "model": model, "views": views, "erase": erase, **task},
        )  # fmt: skip
    else:
        options = asked.decided()
        given, backbone = _both(data, model)
        settings = _task(given, backbone, options, task)
    check_free(out, resume=resume)
    with _connected(options) as cluster:
        if settings is not None:
            from autofreeze.opening import open_one

            subject = open_one(settings, display)
        assert subject is not None
        session = SearchSession(subject, options, out, display=display, command=command, cluster=cluster)
        session.check()
        left = None if time_limit is None else time_limit - (time.monotonic() - began)
        with watch_for_interruption(display.tell if display else None) as interruption:
            return session.search(interruption, left)


@contextmanager
def _connected(options: Decided) -> "Iterator[Cluster | None]":
    """Connect to the cluster that was asked for; None without one."""
    if options.cluster is None:
        yield None
        return
    from autofreeze.cluster.connection import connect

    with connect(options.cluster) as cluster:
        yield cluster


def _both(data: str | Path | None, model: str | None) -> tuple[str | Path, str]:
    """Give data and model, both of which a search on images needs."""
    missing = [name for name, one in (("data", data), ("model", model)) if one is None]
    if data is None or model is None:
        raise ConfigError(
            f"{' and '.join(missing)}: missing; give data and model for a search on images, or fit and "
            "groups for a training of your own"
        )
    return data, model


def check_free(out: Path, *, resume: bool) -> None:
    """Refuse a run folder that a search on one data set cannot use; touches nothing."""
    if holds_several(out):
        raise RunFolderError(
            "holds a search on several data sets; give all of them, or choose another --out", where=str(out)
        )
    check_usable(out, resume=resume)


def plan(
    data: str | Path, model: str, *, out: str | Path = "", display: Display | None = None, **given: Any
) -> Plan:
    """Tell what a search would cost. A few steps are measured; nothing is kept but the decoded images.

    Args:
        data: As for :func:`search`.
        model: timm name of the backbone.
        out: Run folder; looked at where ``resume`` is given, so that what is left is planned.
        display: Shows progress.
        given: All else that :func:`search` takes. The plan is one for this machine, without Ray.

    Raises:
        InputError: Something given is wrong.
    """
    from autofreeze.opening import open_one  # torch loads only for those who open images

    given["seconds"] = given.pop("time_limit", None)
    given["tune_baselines"] = tuple(given.get("tune_baselines", ()))
    given["warm_start"] = tuple(given.get("warm_start", ()))
    log = given.get("log", ())
    given["log"] = (log,) if isinstance(log, str) else tuple(log)
    names = {field.name for field in fields(SearchOptions)}
    options = SearchOptions(**{name: given.pop(name) for name in names & given.keys()}).decided()
    subject = open_one(_task(data, model, options, given), display)
    found = SearchSession(subject, options, Path(out), display=display, command="").plan()
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
    max_work: float | None = None,
    warm_start: Sequence[str | Path] = (),
    stuck_after: float | None = None,
    candidates: int = 1,
    ray: str | None = None,
    gpus_per_trial: float | None = None,
    cpus_per_trial: float | None = None,
    max_concurrent: int | None = None,
    storage: str | Path | None = None,
    log: Sequence[str] = (),
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
        out: Folder for the reports of all, and a run folder for each data set, named after it.
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
        max_work: Work of one trial at most, in forward-equivalents.
        warm_start: Run folders of earlier searches, for each of the data sets.
        stuck_after: Seconds without a record after which a run counts as stuck.
        candidates: Draws among which each trial is chosen.
        ray: Where to run the trials.
        gpus_per_trial: GPUs of each trial on Ray.
        cpus_per_trial: CPUs of each trial on Ray.
        max_concurrent: Trials on Ray at once, at most.
        storage: Folder that all nodes see.
        log: What else is written while they run.
        display: Shows progress.
        command: Told in the reports.
        task: Fields of :class:`autofreeze.task.Task`.

    Returns:
        The best schedule of each; ``StudyResult`` of one by ``report.files.read_report(out / name)``.

    Raises:
        InputError: Something is wrong with any of the data sets or options: all of it is told, and nothing
            has been written.
    """
    from autofreeze.opening import open_all

    began = time.monotonic()
    options = SearchOptions(
        preset, trials, time_limit, epochs, space, folds, seed, sampler, prune, resume, confirm, delta,
        tuple(tune_baselines), max_cost, views, erase, candidates,
        max_work=max_work, warm_start=tuple(warm_start), stuck_after=stuck_after, ray=ray,
        gpus_per_trial=gpus_per_trial, cpus_per_trial=cpus_per_trial, max_concurrent=max_concurrent,
        storage=storage, log=(log,) if isinstance(log, str) else tuple(log),
    ).decided()  # fmt: skip
    given = [str(one) for one in data]
    _check_each_once(given)
    settings = [_task(one, model, options, task) for one in given]
    out = Path(out)
    check_usable_by_several(out, resume=resume)
    with _connected(options) as cluster:
        sessions: dict[str, SearchSession] = {}
        problems: list[tuple[str, InputError]] = []
        subjects = open_all(settings, display)
        names = folder_names([subject.bench.dataset.name for subject in subjects])
        for name, subject in zip(names, subjects, strict=True):
            try:
                session = SearchSession(
                    subject, options, out / name, display=display, command=command, cluster=cluster
                )
                session.check()
                sessions[name] = session
            except InputError as error:
                problems.append((subject.given, error))
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
    if options.cluster is not None and options.cluster.storage is not None and not given.get("cache_folder"):
        given = {**given, "cache_folder": str(options.cluster.storage / "cache")}
    fields = {"split_seed": options.seed, **given, "folds": options.folds, "data": str(data), "model": model}
    return Task.parse(fields)


def command_line() -> str:
    """Give the command as it was typed, for the report."""
    return shlex.join(["autofreeze", *sys.argv[1:]])
