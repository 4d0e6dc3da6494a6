"""One session of a search on one data set: its study, its plan, its reports."""

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autofreeze.budget import default_epochs
from autofreeze.display import Display
from autofreeze.errors import AutofreezeError, ConfigError, RunFolderError
from autofreeze.executors.local import LocalExecutor
from autofreeze.forecast import forecast
from autofreeze.job import EpochRecord, Job
from autofreeze.metrics import effective_images
from autofreeze.plan import Plan
from autofreeze.presets import PRESETS
from autofreeze.provenance import machine, versions
from autofreeze.report.files import read_report, write_report
from autofreeze.report.plan import plan_lines
from autofreeze.report.words import conditions, found
from autofreeze.results import UNDER_WAY, StudyResult, TrialResult
from autofreeze.run import RunFolder, check_same_study, check_usable
from autofreeze.samplers import SAMPLERS, SamplerName
from autofreeze.seeds import derive
from autofreeze.space import Space, SpaceSpec
from autofreeze.study import Limits, LiveTrial, Study
from autofreeze.trial import Workbench, run
from autofreeze.values import did_you_mean

LONGEST = 100_000
"""Epochs of a run, at most."""


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
            problems.append(f"epochs: got {self.epochs:g}; must be above zero")
        if self.sampler not in SAMPLERS:
            problems.append(
                f"sampler: {self.sampler!r} is unknown{did_you_mean(self.sampler, list(SAMPLERS))}"
            )
        if self.preset not in PRESETS:
            problems.append(f"preset: {self.preset!r} is unknown{did_you_mean(self.preset, list(PRESETS))}")
        if problems:
            raise ConfigError(problems)
        preset = PRESETS[self.preset]
        return Decided(
            trials=preset.trials if self.trials is None else self.trials,
            seconds=self.seconds,
            epochs=self.epochs,
            steps=preset.steps,
            space=SpaceSpec.load(preset.space if self.space is None else self.space),
            folds=preset.folds if self.folds is None else self.folds,
            seed=self.seed,
            sampler=self.sampler,
            prune=self.prune,
            resume=self.resume,
        )


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


class SearchSession:
    """A search on an opened task, from now until it ends or is stopped.

    Args:
        bench: The opened task.
        options: How to search.
        out: The run folder; nothing is written before :meth:`search`.
        display: Shows progress; nothing is shown when left out.
        command: Told in the report.

    Raises:
        ConfigError: The space does not fit the model or the length of the runs.
    """

    def __init__(
        self, bench: Workbench, options: Decided, out: Path, *, display: Display | None, command: str
    ) -> None:
        self.bench, self.options, self.out = bench, options, out
        self.display, self.command = display, command
        self.space = self._resolve(options.space)
        self.began = time.monotonic()
        self._earlier = 0.0
        self._plan: Plan | None = None

    def _resolve(self, spec: SpaceSpec) -> Space:
        groups = self.bench.backbone.groups.names
        # Read at the longest run, which every space fits: the batch size does not hang on it.
        batch_size = spec.resolve(groups, self.options.epochs or LONGEST).fixed_regime.batch_size
        n_train = len(self.bench.splits[0].train)
        epochs = self.options.epochs or default_epochs(n_train, batch_size, self.options.steps)
        return spec.resolve(groups, epochs)

    def check(self) -> None:
        """Refuse a run folder that cannot be used; touches nothing.

        Raises:
            RunFolderError: It holds something else, or another study.
        """
        check_usable(self.out, resume=self.options.resume)
        check_same_study(self.out, self._identity())

    @property
    def threads(self) -> int:
        """Threads of each run on a CPU."""
        return torch.get_num_threads()

    @property
    def is_done(self) -> bool:
        """Whether an earlier session has run all trials."""
        try:
            before = read_report(self.out)
        except AutofreezeError:
            return False
        return not before.cut_short and len(before.trials) >= self.options.trials

    def search(
        self, should_stop: Callable[[], str] = lambda: "", seconds: float | None = None
    ) -> StudyResult:
        """Run trials until a limit is reached; the report is written as trials end.

        Args:
            should_stop: Asked after every epoch; a reason ends the search.
            seconds: What is left of the time that was given, the plan included.

        Raises:
            RunFolderError: The run folder cannot be used.
            TrainingError: The first trials all failed.
        """
        self.began = time.monotonic()
        with RunFolder(
            self.out, self._identity(), resume=self.options.resume, command=self.command
        ) as folder:
            self._take_up()
            watcher = _Watcher(self.display)
            study = self._study(folder, watcher)
            watcher.after_trial = lambda: self._write(study.results, UNDER_WAY)
            if self.display:
                self.display.begin(self.options.trials, study.results, self.bench.metric)
                data = data_facts(self.bench)
                for line in (*conditions(data, backbone_facts(self.bench)), *found(data)):
                    self.display.tell(line)
            self._foresee(study.results, seconds)
            watcher.after_trial()
            left = None if seconds is None else seconds - (time.monotonic() - self.began)
            try:
                with self.display.shown() if self.display else nullcontext():
                    cut_short = study.search(Limits(self.options.trials, left), should_stop)
            except (AutofreezeError, KeyboardInterrupt) as error:
                self._write(study.results, " ".join(str(error).split()) or "interrupted")
                raise
            return self._write(study.results, cut_short)

    def _take_up(self) -> None:
        """Go on counting the time of an earlier session, and keep its plan."""
        with suppress(RunFolderError):  # none yet; what the study knows does not hang on the report
            before = read_report(self.out)
            self._earlier, self._plan = before.seconds, before.plan

    def _foresee(self, results: tuple[TrialResult, ...], seconds: float | None) -> None:
        """Measure a few steps and tell what the trials that are left will cost; only where it is shown."""
        if self.display is None or len(results) >= self.options.trials:
            return
        try:
            self._plan = forecast(
                self.bench,
                self.space,
                sampler=self.options.sampler,
                seed=self.options.seed,
                trials=self.options.trials,
                ended=len(results),
                known=frozenset(trial.baseline for trial in results if trial.baseline),
            )
        except RuntimeError as error:  # torch's own: the trials will meet it too, and tell it
            self.display.tell(f"plan: no step could be measured ({' '.join(str(error).split())[:200]})")
            return
        if seconds is not None:
            seconds -= time.monotonic() - self.began
        device = str(self.bench.device)
        for line in plan_lines(self._plan, device=device, out=self.out, seconds=seconds):
            self.display.tell(line)

    def _study(self, folder: RunFolder, observer: "_Watcher") -> Study:
        def runner(job: Job) -> Any:
            return run(job, self.bench, checkpoint=folder.checkpoint(job))

        return Study(
            folder,
            self.space,
            LocalExecutor(runner),
            labels=self.bench.dataset.labels,
            splits=self.bench.splits,
            seed=self.options.seed,
            sampler=self.options.sampler,
            metric=self.bench.metric,
            prune=self.options.prune,
            observer=observer,
        )

    def _identity(self) -> dict[str, Any]:
        """Give what makes the study what it is; where things lie and how fast they run does not."""
        task, backbone = self.bench.task, self.bench.backbone
        return {
            "data": self.bench.dataset.fingerprint,
            "model": backbone.name,
            "weights": backbone.digest,
            "preprocessing": backbone.preprocessing.model_dump(mode="json"),
            "groups": list(backbone.groups.names),
            "folds": [[len(split.train), len(split.val)] for split in self.bench.splits],
            "split_seed": task.split_seed,
            "metric": self.bench.metric,
            "space": self.space.spec.model_dump(mode="json"),
            "epochs": self.space.epochs,
            "seed": self.options.seed,
            "sampler": self.options.sampler,
            "prune": self.options.prune,
        }

    def _write(self, trials: tuple[TrialResult, ...], cut_short: str) -> StudyResult:
        """Write the report as things stand."""
        result = self._collect(trials, cut_short)
        write_report(result, self.out)
        return result

    def _collect(self, trials: tuple[TrialResult, ...], cut_short: str) -> StudyResult:
        folds = range(len(self.bench.splits))
        return StudyResult(
            data=data_facts(self.bench),
            backbone=backbone_facts(self.bench),
            settings={
                "task": self.bench.task.model_dump(mode="json"),
                "epochs": self.space.epochs,
                "space": self.space.spec.model_dump(mode="json"),
                "trials": self.options.trials,
                "seed": self.options.seed,
                "fold_seeds": [derive(self.options.seed, "fold", fold) for fold in folds],
                "sampler": self.options.sampler,
            },
            trials=trials,
            metric=self.bench.metric,
            seconds=self._earlier + time.monotonic() - self.began,
            cut_short=cut_short,
            plan=self._plan,
            command=self.command,
            versions=versions(),
            machine=machine(str(self.bench.device), self.threads),
        )


class _Watcher:
    """Tells the display what happens, and has the report written again after each trial."""

    def __init__(self, display: Display | None) -> None:
        self._display = display
        self.after_trial: Callable[[], object] = lambda: None

    def trial_started(self, trial: LiveTrial) -> None:
        if self._display:
            self._display.trial_started(trial)

    def epoch_done(self, trial: LiveTrial, record: EpochRecord) -> None:
        if self._display:
            self._display.epoch_done(trial, record)

    def trial_ended(self, result: TrialResult) -> None:
        if self._display:
            self._display.trial_ended(result)
        self.after_trial()


def data_facts(bench: Workbench) -> dict[str, Any]:
    """Collect what a report and an exported file say of the data."""
    dataset = bench.dataset
    scored = np.concatenate([dataset.labels[split.val] for split in bench.splits])
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "layout": dataset.layout,
        "classes": list(dataset.classes),
        "images": {"train": len(dataset.train), "val": len(dataset.val), "test": len(dataset.test)},
        "folds": [{"train": len(split.train), "val": len(split.val)} for split in bench.splits],
        "findings": [finding.brief() for finding in bench.findings],
        "effective_images": effective_images(bench.metric, scored),
    }


def backbone_facts(bench: Workbench) -> dict[str, Any]:
    """Collect what a report and an exported file say of the backbone."""
    backbone = bench.backbone
    return {
        "model": backbone.name,
        "source": backbone.source,
        "digest": backbone.digest,
        "coverage": backbone.coverage,
        "preprocessing": backbone.preprocessing.model_dump(mode="json"),
        "preprocessing_from": dict(backbone.preprocessing_from),
        "groups": {group.name: list(group.parameters) for group in backbone.groups.groups},
        "work_shares": list(backbone.groups.work_shares),
    }
