"""The plan of a search: what was measured, and the points of the space, made into times and sizes."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import optuna
from optuna.trial import FixedTrial

from autofreeze import recipes, views
from autofreeze.arms import ArmSampler, arms_of
from autofreeze.baselines import baseline_quota, baselines
from autofreeze.confirmation import arm_of
from autofreeze.cost import run_work
from autofreeze.courses import Course, Sizes, course_of, whole_run
from autofreeze.outlook import Priced, expect
from autofreeze.pacing import Progress, measure
from autofreeze.plan import Border, Pace, Plan, StoreSize
from autofreeze.regime import Regime
from autofreeze.rehearsal import Casting, Part
from autofreeze.samplers import NEED_ALL_AXES, SamplerName, make_sampler
from autofreeze.schedule import Schedule
from autofreeze.seeds import derive
from autofreeze.shelf import default_budget
from autofreeze.space import Space
from autofreeze.trial import Workbench

DRAWS = 96
"""Points of the space that a search is rehearsed with."""

Point = tuple[Schedule, Regime]
LEARNING: tuple[SamplerName, ...] = ("tpe", "gp")
"""Samplers whose draws move to what was good."""


def forecast(
    bench: Workbench,
    space: Space,
    *,
    sampler: SamplerName,
    seed: int,
    trials: int,
    ended: int,
    known: frozenset[str],
    tuned: Sequence[str] = (),
    fresh_seeds: int = 0,
    prune: bool = True,
    affordable: Callable[[Schedule, Regime], bool] = lambda *_: True,
    progress: Progress | None = None,
) -> Plan:
    """Plan what is left of a search.

    Args:
        bench: The opened task; its engine keeps what was cut while measuring.
        space: What may be tried.
        sampler: Some samplers run no baseline that lies outside the space.
        seed: Of the draws.
        trials: Trials in all.
        ended: Those that have been run, fewer.
        known: Baselines among them.
        tuned: Baselines whose rate is tuned, by as many trials each as the search has.
        fresh_seeds: Fresh seeds at most on which the finalists are confirmed.
        prune: Whether unpromising trials are ended early.
        affordable: Whether a draw may be run.
        progress: Told how far measuring has come.
    """
    split, dataset = bench.splits[0], bench.dataset
    sizes = Sizes(
        len(split.train), len(split.val), len(bench.splits),
        n_stored=len(np.union1d(dataset.train, dataset.val)), n_test=len(dataset.test),
    )  # fmt: skip
    measured = measure(bench, space.fixed_regime, progress=progress)
    pace, shares = measured.pace, bench.backbone.groups.work_shares
    scene = set_scene(
        space, pace, sizes, shares, sampler=sampler, seed=seed, trials=trials, ended=ended, known=known,
        tuned=tuned, fresh_seeds=fresh_seeds, prune=prune, affordable=affordable,
    )  # fmt: skip
    budget = bench.task.cache_bytes or default_budget(bench.cache_folder)
    room = max(budget - bench.store.images.nbytes, 0)
    there = _there(bench, scene.points)
    stored, anew = expect(scene.priced, pace, sizes, seed=seed, budget_bytes=room, there=there)
    reuse = bench.task.reuse
    times = pace.load * sizes.folds
    seconds = [times * whole_run(course, pace, sizes, stored=reuse) for course in scene.priced.searched]
    first = len(scene.baselines)
    return Plan(
        pace=pace,
        n_train=sizes.n_train,
        n_val=sizes.n_val,
        folds=sizes.folds,
        epochs=space.epochs,
        trials=trials - ended,
        baselines=dict(zip(scene.baselines, seconds, strict=False)),
        draw=float(np.mean(seconds[first : first + (scene.priced.casting.even or len(seconds))])),
        tuning=len(tuned) * trials,
        fresh_seeds=fresh_seeds,
        reuse=reuse,
        stored=stored,
        anew=anew,
        work_shares=shares,
        stores=tuple(_store_size(border, space.fixed_regime, sizes, room) for border in pace.borders[1:]),
        budget_bytes=budget,
        memory=measured.memory,
    )


@dataclass(frozen=True)
class Scene:
    """What a search is rehearsed with."""

    baselines: tuple[str, ...]
    """Those that are left to run, in order."""

    points: tuple[Point, ...]
    """Of the baselines, then the draws of the space."""

    priced: Priced


def set_scene(
    space: Space,
    pace: Pace,
    sizes: Sizes,
    work_shares: Sequence[float],
    *,
    sampler: SamplerName,
    seed: int,
    trials: int,
    ended: int = 0,
    known: frozenset[str] = frozenset(),
    tuned: Sequence[str] = (),
    fresh_seeds: int = 0,
    prune: bool = True,
    affordable: Callable[[Schedule, Regime], bool] = lambda *_: True,
) -> Scene:
    """Gather the baselines and draw from the space; arguments as for :func:`forecast`."""
    granted = dict(islice(_baselines(space, sampler), baseline_quota(trials)))
    left = {name: point for name, point in granted.items() if name not in known}
    first = dict(islice(left.items(), trials - ended))
    even, moved = _draws(space, seed)
    even = [point for point in even if affordable(*point)]
    draws = [*even, *(point for point in moved if affordable(*point))] or list(granted.values())
    points = (*first.values(), *draws)
    searched = [
        course_of(*point, pace, sizes, sweep=place >= len(first) and point[0].unfreeze_depth == 0)
        for place, point in enumerate(points)
    ]
    parts = _parts(points, searched, work_shares, sizes)
    casting = Casting(
        parts[: len(first)], parts[len(first) :], trials - ended, sizes.folds, sizes.n_val,
        arms=arms_of(space), planned=fresh_seeds, even=len(even), prune=prune, ended=ended,
        steered=sampler in LEARNING,
    )  # fmt: skip
    names = tuple(first)
    priced = Priced(
        casting,
        searched,
        [course_of(schedule, regime.for_training, pace, sizes) for schedule, regime in points],
        tuned=[names.index(name) for name in tuned if name in names],
        rates=trials,
    )
    return Scene(names, points, priced)


def _there(bench: Workbench, points: Sequence[Point]) -> frozenset[tuple[int, str]]:
    """Say what an earlier search has stored already."""
    kinds = {views.kind("none", 0)}
    for _, regime in points:
        count = views.prepared(regime.views) or 0
        kinds |= {views.kind(regime.views, number, erase=regime.erase) for number in range(count)}
    borders = range(1, len(bench.backbone.groups))
    return frozenset(
        (border, kind) for border in borders for kind in kinds if bench.engine.has_stored(border, kind)
    )


def _parts(
    points: Sequence[Point], courses: Sequence[Course], shares: Sequence[float], sizes: Sizes
) -> list[Part]:
    """Describe schedules as a rehearsal needs them."""
    timetables = [schedule.timetable(-(-sizes.n_train // regime.batch_size)) for schedule, regime in points]
    work = np.array([run_work(one, shares, n_train=sizes.n_train, n_val=sizes.n_val) for one in timetables])
    places = (work - work.min()) / max(float(np.ptp(work)), 1e-9)
    parts = []
    for (schedule, _), timetable, course, place in zip(points, timetables, courses, places, strict=True):
        thaw = timetable.last_unfreeze / timetable.steps_per_epoch
        parts.append(Part(arm_of(schedule), float(place), course.epochs, thaw))
    return parts


def _store_size(border: Border, regime: Regime, sizes: Sizes, room: int) -> StoreSize:
    count = views.prepared(regime.views)
    whole = sizes.n_stored * border.row_bytes * (count or 1)
    why_not = border.refusal or border.unstored
    if not why_not and whole > room:
        why_not = "the cache may not hold as much; allow more with --cache-size"
    return StoreSize(
        border=border.name, views=count or 0, image_bytes=border.row_bytes, whole_bytes=whole, why_not=why_not
    )


def _baselines(space: Space, sampler: SamplerName) -> Iterator[tuple[str, Point]]:
    """Give the baselines as the study will run them."""
    for baseline in baselines(space.n_backbone, space.epochs, space.fixed_regime.optimizer):
        placed = space.place(baseline.params)
        if placed is not None:
            yield baseline.name, space.suggest(FixedTrial(placed))
        elif sampler not in NEED_ALL_AXES:
            schedule = recipes.gradual(space.groups, space.epochs, **baseline.params)
            yield baseline.name, (schedule, space.fixed_regime)


def _draws(space: Space, seed: int) -> tuple[list[Point], list[Point]]:
    """Draw points of the space: evenly, and as they are moved into each arm."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(sampler=make_sampler("random", seed, 0))
            even = [space.suggest(study.ask()) for _ in range(DRAWS)]
            moved = []
            arms = arms_of(space)
            for arm in arms if len(arms) > 1 else ():
                for number in range(DRAWS // 3):
                    own = derive(seed, "plan", number)
                    study.sampler = ArmSampler(make_sampler("random", own, 0), space, arm, own)
                    moved.append(space.suggest(study.ask()))
            return even, moved
    finally:
        optuna.logging.set_verbosity(verbosity)
