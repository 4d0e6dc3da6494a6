"""What a search may be asked for, apart from the task; checked at once, and completed by a preset."""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from autofreeze.baselines import BASELINES
from autofreeze.cluster.asked import ClusterOptions, read_options
from autofreeze.errors import ConfigError
from autofreeze.looks import check_planned
from autofreeze.presets import PRESETS
from autofreeze.samplers import SAMPLERS, SamplerName
from autofreeze.space import SpaceSpec
from autofreeze.values import did_you_mean

LOGS = {"tensorboard": "tensorboard"}
"""What else may be written while a search runs -> the package that it needs; extras bear these names."""

LONGEST = 100_000
"""Epochs of a run, at most."""

MOST_CANDIDATES = 64
"""Draws among which a trial is chosen, at most: each takes the sampler some milliseconds."""


@dataclass(frozen=True)
class SearchOptions:
    """How to search, apart from the task. What is None is decided by the preset."""

    preset: str = "standard"
    trials: int | None = None
    seconds: float | None = None
    epochs: float | None = None
    space: str | None = None
    folds: int | None = None
    seed: int = 0
    sampler: SamplerName = "tpe"
    prune: bool = True
    resume: bool = False
    confirm: int | None = None
    delta: float = 1.0
    tune_baselines: tuple[str, ...] = ()
    max_cost: float | None = None
    views: str | None = None
    erase: float | None = None
    candidates: int = 1
    max_work: float | None = None
    warm_start: tuple[str | Path, ...] = ()
    stuck_after: float | None = None
    ray: str | None = None
    gpus_per_trial: float | None = None
    cpus_per_trial: float | None = None
    max_concurrent: int | None = None
    storage: str | Path | None = None
    log: tuple[str, ...] = ()

    def decided(self) -> "Decided":
        """Fill in what the preset decides.

        Raises:
            ConfigError: Some option is out of range; all are told.
        """
        problems = []
        if self.trials is not None and self.trials < 1:
            problems.append(f"trials: got {self.trials}; must be at least 1")
        if self.seconds is not None and not self.seconds > 0:
            problems.append(f"time: got {self.seconds:g} s; must be above zero")
        if self.epochs is not None and not 0 < self.epochs <= LONGEST:
            problems.append(f"epochs: got {self.epochs:g}; must be above zero, and {LONGEST:,.0f} at most")
        if self.sampler not in SAMPLERS:
            problems.append(
                f"sampler: {self.sampler!r} is unknown{did_you_mean(self.sampler, list(SAMPLERS))}"
            )
        if self.preset not in PRESETS:
            problems.append(f"preset: {self.preset!r} is unknown{did_you_mean(self.preset, list(PRESETS))}")
        try:
            check_planned(0 if self.confirm is None else self.confirm)
        except ConfigError as error:
            problems += error.problems
        if not 0 < self.delta < math.inf:
            problems.append(f"delta: got {self.delta:g}; must be above zero, in points: 1 is a point")
        if not 1 <= self.candidates <= MOST_CANDIDATES:
            problems.append(
                f"candidates: got {self.candidates}; must be 1 (run what is drawn) to {MOST_CANDIDATES}"
            )
        elif self.candidates > 1 and self.sampler != "tpe":
            problems.append(
                f"candidates: got {self.candidates} with the sampler {self.sampler}; only tpe's draws can be "
                "chosen among"
            )
        if self.max_cost is not None and not self.max_cost > 0:
            problems.append(
                f"max-cost: got {self.max_cost:g}; must be above zero; 0.5 is half a full fine-tuning"
            )
        if self.max_work is not None and not 0 < self.max_work < math.inf:
            problems.append(
                f"max-work: got {self.max_work:g}; must be above zero: forward passes of one image"
            )
        if self.stuck_after is not None and not 0 < self.stuck_after < math.inf:
            problems.append(f"stuck-after: got {self.stuck_after:g} s; must be above zero")
        tuned, unknown = _named_baselines(self.tune_baselines)
        problems += unknown
        problems += _unknown_logs(self.log)
        cluster = None
        try:
            cluster = self._cluster()
        except ConfigError as error:
            problems += error.problems
        preset = PRESETS.get(self.preset, PRESETS["standard"])
        try:
            space = SpaceSpec.load(preset.space if self.space is None else self.space)
            space = space.overridden(views=self.views, erase=self.erase)
        except ConfigError as error:
            if not problems:
                raise
            problems += [str(error)] if error.where else error.problems
        if problems:
            raise ConfigError(problems)
        return Decided(
            trials=preset.trials if self.trials is None else self.trials,
            seconds=self.seconds,
            epochs=self.epochs,
            steps=preset.steps,
            space=space,
            folds=preset.folds if self.folds is None else self.folds,
            seed=self.seed,
            sampler=self.sampler,
            prune=self.prune,
            resume=self.resume,
            confirm=preset.confirm if self.confirm is None else self.confirm,
            delta=self.delta / 100,
            tuned=tuned,
            max_cost=self.max_cost,
            max_work=self.max_work,
            warm_start=self.warm_start,
            stuck_after=self.stuck_after,
            candidates=self.candidates,
            cluster=cluster,
            log=tuple(dict.fromkeys(self.log)),
        )

    def _cluster(self) -> ClusterOptions | None:
        return read_options(
            self.ray,
            gpus_per_trial=self.gpus_per_trial,
            cpus_per_trial=self.cpus_per_trial,
            max_concurrent=self.max_concurrent,
            storage=self.storage,
        )


def _named_baselines(names: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Read the names of baselines, ``all`` among them; gives what is wrong beside."""
    if "all" in names:
        return BASELINES, []
    unknown = [name for name in names if name not in BASELINES]
    problems = [
        f"tune-baselines: {name!r} is unknown{did_you_mean(name, ['all', *BASELINES])}" for name in unknown
    ]
    return tuple(dict.fromkeys(names)), problems


def _unknown_logs(names: tuple[str, ...]) -> list[str]:
    """Say which logs there are none of, or none without a package that is missing."""
    unknown = [
        f"log: {name!r} is unknown{did_you_mean(name, list(LOGS))}" for name in names if name not in LOGS
    ]
    missing = [name for name in dict.fromkeys(names) if name in LOGS and not find_spec(LOGS[name])]
    return unknown + [
        f"log: {name} needs the package {LOGS[name]}: pip install 'autofreeze[{name}]', or leave --log out"
        for name in missing
    ]


@dataclass(frozen=True)
class Decided:
    """The same, nothing left open but what follows from the data."""

    trials: int
    seconds: float | None
    epochs: float | None
    """None: by the size of the data, so that a run has about ``steps`` steps."""

    steps: int

    space: SpaceSpec
    folds: int | None
    seed: int
    sampler: SamplerName
    prune: bool
    resume: bool
    confirm: int
    """Fresh seeds at most; 0 confirms nothing."""

    delta: float
    """Half-width of *no difference*, in the metric's unit: .01 is a point."""

    tuned: tuple[str, ...]
    """Baselines whose rate is tuned."""

    max_cost: float | None
    """Work of one run at most, in runs of full fine-tuning."""

    max_work: float | None
    """Work of one trial at most, over all its folds, in forward-equivalents."""

    warm_start: tuple[str | Path, ...]
    """Run folders of earlier searches, where this one begins."""

    stuck_after: float | None
    """Seconds without a record after which a run counts as stuck; None: by the runs before."""

    candidates: int
    """Draws among which a trial is chosen, by what they promise for their work; 1 runs what is drawn."""

    cluster: ClusterOptions | None
    """Where the jobs run; None: here, one after the other. No part of what the study is."""

    log: tuple[str, ...] = ()
    """What else is written while it runs, of ``LOGS``. No part of what the study is."""
