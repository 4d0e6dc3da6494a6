"""The plan of a search: a few steps measured on the real images and device, and the points of the space.

Models that are built for it are thrown away, and the global random state is left as it was, so that no
number of the search depends on whether there was a plan.
"""

import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FixedTrial
from torch import nn

from autofreeze import recipes
from autofreeze.baselines import baseline_quota, baselines
from autofreeze.binding import Columns
from autofreeze.plan import Pace, Plan, Sizes, make_plan
from autofreeze.regime import Regime
from autofreeze.samplers import NEED_ALL_AXES, SamplerName, make_sampler
from autofreeze.schedule import Schedule
from autofreeze.space import Space
from autofreeze.training import EVAL_CHUNK, Examples, evaluate, fit
from autofreeze.trial import Workbench

DRAWS = 64
"""Points of the space that an average is taken over."""

SECONDS = 3.0
"""About what the measured steps may take."""

PROBE = 8
"""Images of the first, rough look at how fast the model is."""

MOST = 8
"""How many times a depth is measured, at most."""


def forecast(
    bench: Workbench,
    space: Space,
    *,
    sampler: SamplerName,
    seed: int,
    trials: int,
    ended: int,
    known: frozenset[str],
    tuning: int = 0,
    fresh_seeds: int = 0,
) -> Plan:
    """Plan what is left of a search.

    Args:
        bench: The opened task.
        space: What may be tried.
        sampler: Some samplers run no baseline that lies outside the space.
        seed: Of the draws.
        trials: Trials in all.
        ended: Those that have been run, fewer.
        known: Baselines among them.
        tuning: Trials by which baselines are tuned.
        fresh_seeds: Fresh seeds at most on which the finalists are confirmed.
    """
    split = bench.splits[0]
    granted = islice(_baselines(space, sampler), baseline_quota(trials))
    first = {name: point for name, point in granted if name not in known}
    return make_plan(
        measure(bench, space.fixed_regime),
        bench.backbone.groups.work_shares,
        Sizes(len(split.train), len(split.val), len(bench.splits)),
        epochs=space.epochs,
        trials=trials - ended,
        baselines=first,
        draws=_draws(space, seed),
        tuning=tuning,
        fresh_seeds=fresh_seeds,
    )


def _baselines(space: Space, sampler: SamplerName) -> Iterator[tuple[str, tuple[Schedule, Regime]]]:
    """Give the baselines as the study will run them."""
    for baseline in baselines(space.n_backbone, space.epochs, space.fixed_regime.optimizer):
        placed = space.place(baseline.params)
        if placed is not None:
            yield baseline.name, space.suggest(FixedTrial(placed))
        elif sampler not in NEED_ALL_AXES:
            schedule = recipes.gradual(space.groups, space.epochs, **baseline.params)
            yield baseline.name, (schedule, space.fixed_regime)


def _draws(space: Space, seed: int) -> list[tuple[Schedule, Regime]]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(sampler=make_sampler("random", seed, 0))
            return [space.suggest(study.ask()) for _ in range(DRAWS)]
    finally:
        optuna.logging.set_verbosity(verbosity)


def measure(bench: Workbench, regime: Regime) -> Pace:
    """Measure training steps of the head alone and of everything, validation, and what lies between.

    On a model so slow that whole batches would take too long, smaller ones are measured; they are a little
    slower by image.

    Args:
        bench: The opened task; nothing in it is changed.
        regime: Batch size, optimizer and views of the steps.
    """
    examples = bench.examples(bench.splits[0])
    began = time.perf_counter()
    model = bench.build_model(0)
    Columns.of(model, bench.backbone.groups)
    run = time.perf_counter() - began
    val = examples.val if len(examples.val) else examples.train
    model = model.to(bench.device)
    _evaluation(bench, model, examples, val[:PROBE])
    rough = _evaluation(bench, model, examples, val[:PROBE])
    n_val = int(np.clip(0.1 * SECONDS / rough, PROBE, EVAL_CHUNK))
    val_image = _evaluation(bench, model, examples, val[:n_val])
    del model

    # A step of everything is about three forward passes, one of the head alone is one; each is done twice.
    affordable = max(int(SECONDS / (2 * (3 + 1) * val_image)), 2)
    batch = min(regime.batch_size, affordable, len(examples.train))
    steps = int(np.clip(0.05 / (val_image * batch), 1, len(examples.train) // batch))
    few = replace(examples, train=examples.train[: steps * batch], val=examples.val[:0])
    regime = regime.model_copy(update={"batch_size": batch})
    groups = bench.backbone.groups.names
    head = _training(bench, recipes.linear_probe(groups, MOST, head_lr=1e-4), regime, few)
    whole = _training(bench, recipes.full(groups, MOST, head_lr=1e-4, backbone_ratio=0.1), regime, few)
    return Pace(
        head_image=head[0] / len(few.train),
        whole_image=max(whole[0], head[0]) / len(few.train),
        val_image=val_image,
        head_epoch=head[1],
        whole_epoch=max(whole[1], head[1]),
        run=run,
    )


def _evaluation(bench: Workbench, model: nn.Module, examples: Examples, ids: NDArray[np.int64]) -> float:
    """Seconds of validation by image."""
    began = time.perf_counter()
    evaluate(model, examples, ids, bench.device)
    return (time.perf_counter() - began) / len(ids)


def _training(
    bench: Workbench, schedule: Schedule, regime: Regime, examples: Examples
) -> tuple[float, float]:
    """Train on a few images again and again, for about a second.

    Returns:
        Seconds of going through the images once, and seconds that a checkpoint takes: medians without the
        first time, which sets everything up.
    """
    model = bench.build_model(0)
    began = time.perf_counter()
    marks = [(began, 0.0)]
    with tempfile.TemporaryDirectory(prefix="autofreeze-") as folder:
        for record in fit(
            model,
            Columns.of(model, bench.backbone.groups),
            schedule,
            regime,
            examples,
            seed=0,
            device=bench.device,
            metric=bench.metric,
            checkpoint=Path(folder) / "plan.pt",
        ):
            marks.append((time.perf_counter(), record.seconds))
            if len(marks) > 2 and marks[-1][0] - began > SECONDS / 3:
                break
    walls, steps = np.diff(np.array(marks), axis=0)[1:].T
    return float(np.median(steps)), float(max(np.median(walls - steps), 0.0))
