"""One session of a search on one data set: its study, its plan, its reports."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autofreeze import recipes
from autofreeze.budget import default_epochs
from autofreeze.confirm import Confirming
from autofreeze.confirmation import Confirmation
from autofreeze.cost import run_work
from autofreeze.display import Display
from autofreeze.errors import AutofreezeError, RunFolderError
from autofreeze.executors.local import LocalExecutor
from autofreeze.forecast import forecast
from autofreeze.imagescoring import FreshImageScoring, ImageScoring
from autofreeze.job import EpochRecord
from autofreeze.live import LiveTrial
from autofreeze.metrics import effective_images
from autofreeze.plan import Plan
from autofreeze.provenance import machine, versions
from autofreeze.regime import Regime
from autofreeze.report.files import read_report, write_report
from autofreeze.report.plan import plan_lines
from autofreeze.report.words import conditions, found
from autofreeze.results import UNDER_WAY, Ending, StudyResult, TrialResult
from autofreeze.run import RunFolder, check_same_study, check_usable
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule
from autofreeze.searchoptions import LONGEST, Decided
from autofreeze.seeds import derive
from autofreeze.space import Space, SpaceSpec
from autofreeze.study import Limits, Study
from autofreeze.testsplit import read_test_split
from autofreeze.trial import Workbench, run

SEARCH_SHARE = 0.6
"""Share of a given time that the search may take; the rest is kept for the confirmation."""


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
        self._confirmation: Confirmation | None = None

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
        searched = not before.cut_short and len(before.searched) >= self.options.trials
        return searched and self._is_confirmed(before)

    def _is_confirmed(self, before: StudyResult) -> bool:
        found = before.confirmation
        if not self.options.confirm or not before.finalists_possible:
            return True
        return found is not None and not found.cut_short and found.planned == self.options.confirm

    def plan(self) -> Plan:
        """Measure a few steps, and say what the search will cost: what is left of it, where it is resumed.

        Raises:
            RunFolderError: It is to be resumed, and the run folder cannot be read.
        """
        before = read_report(self.out).trials if self.options.resume else ()
        return self._foreseen(before)

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
                self.display.begin(self.options.trials, study.results, Scale.of(self.bench.metric))
                data = data_facts(self.bench)
                for line in (*conditions(data, backbone_facts(self.bench)), *found(data)):
                    self.display.tell(line)
            self._foresee(study.results, seconds)
            watcher.after_trial()
            try:
                with self.display.shown() if self.display else nullcontext():
                    cut_short = study.search(self._limits(seconds), should_stop)
                    self._write(study.results, cut_short or (UNDER_WAY if self.options.confirm else ""))
                    if not should_stop():
                        self._confirm(folder, study, seconds, should_stop)
            except (AutofreezeError, KeyboardInterrupt) as error:
                self._write(study.results, " ".join(str(error).split()) or "interrupted")
                raise
            return self._write(study.results, cut_short or should_stop())

    def _limits(self, seconds: float | None) -> Limits:
        """Say when the search ends; of a given time a part is kept for the confirmation."""
        share = SEARCH_SHARE if self.options.confirm else 1.0
        left = None if seconds is None else share * (seconds - (time.monotonic() - self.began))
        return Limits(self.options.trials, left, self.options.tuned)

    def _confirm(
        self, folder: RunFolder, study: Study, seconds: float | None, should_stop: Callable[[], str]
    ) -> None:
        """Run the finalists on fresh seeds, and read the test split once all is decided."""
        finalists = study.finalists() if self.options.confirm else ()
        if not finalists:
            return
        bench = self.bench
        confirming = Confirming(
            folder,
            self._executor(folder),
            finalists,
            scoring=FreshImageScoring(
                bench.metric,
                bench.dataset.labels,
                bench.split_of,
                n_classes=len(bench.dataset.classes),
                own_split=bool(len(bench.dataset.val)),
            ),
            seed=self.options.seed,
            planned=self.options.confirm,
            delta=self.options.delta,
            observer=self.display,
        )
        left = None if seconds is None else seconds - (time.monotonic() - self.began)
        found = confirming.confirm(left, should_stop)
        if found.chosen is not None and not found.cut_short and len(bench.dataset.test):
            found = read_test_split(found, confirming.test_jobs(found), bench, folder, self.display)
        if not found.cut_short:
            confirming.drop_models()
        self._confirmation = found

    def _take_up(self) -> None:
        """Go on counting the time of an earlier session, and keep its plan."""
        with suppress(RunFolderError):  # none yet; what the study knows does not hang on the report
            before = read_report(self.out)
            self._earlier, self._plan = before.seconds, before.plan

    def _foresee(self, results: tuple[TrialResult, ...], seconds: float | None) -> None:
        """Measure a few steps and tell what the trials that are left will cost; only where it is shown."""
        if self.display is None or _ended(results) >= self.options.trials:
            return
        try:
            self._plan = self._foreseen(results)
        except RuntimeError as error:  # torch's own: the trials will meet it too, and tell it
            self.display.tell(f"plan: no step could be measured ({' '.join(str(error).split())[:200]})")
            return
        if seconds is not None:
            seconds -= time.monotonic() - self.began
        device = str(self.bench.device)
        for line in plan_lines(self._plan, device=device, out=self.out, seconds=seconds):
            self.display.tell(line)

    def _foreseen(self, results: Sequence[TrialResult]) -> Plan:
        """Plan the trials that are left."""
        most = self._max_work()
        return forecast(
            self.bench,
            self.space,
            sampler=self.options.sampler,
            seed=self.options.seed,
            trials=self.options.trials,
            ended=_ended(results),
            known=frozenset(trial.baseline for trial in results if trial.baseline and not trial.tuned),
            tuned=self.options.tuned,
            fresh_seeds=self.options.confirm,
            prune=self.options.prune,
            affordable=lambda *point: most is None or self._run_work(*point) <= most,
            progress=self.display.preparing if self.display else None,
        )

    def _study(self, folder: RunFolder, observer: "_Watcher") -> Study:
        return Study(
            folder,
            self.space,
            self._executor(folder),
            scoring=ImageScoring.of(self.bench.metric, self.bench.dataset.labels, self.bench.splits),
            seed=self.options.seed,
            sampler=self.options.sampler,
            prune=self.options.prune,
            observer=observer,
            run_work=self._run_work,
            max_work=self._max_work(),
            can_sweep=lambda: not self.bench.sweep_refusal,
        )

    def _executor(self, folder: RunFolder) -> LocalExecutor:
        return LocalExecutor(lambda job: run(job, self.bench, checkpoint=folder.checkpoint(job)))

    def _run_work(self, schedule: Schedule, regime: Regime) -> float:
        """Forward-equivalents of one run on the first fold."""
        split = self.bench.splits[0]
        timetable = schedule.timetable(math.ceil(len(split.train) / regime.batch_size))
        shares = self.bench.backbone.groups.work_shares
        return run_work(timetable, shares, n_train=len(split.train), n_val=len(split.val))

    def _max_work(self) -> float | None:
        if self.options.max_cost is None:
            return None
        full = recipes.full(self.space.groups, self.space.epochs, head_lr=1e-3, backbone_ratio=1.0)
        return self.options.max_cost * self._run_work(full, self.space.fixed_regime)

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
            "max_cost": self.options.max_cost,
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
                "confirm": self.options.confirm,
                "delta": self.options.delta,
                "tuned": list(self.options.tuned),
                "max_cost": self.options.max_cost,
                "max_work": self._max_work(),
            },
            trials=trials,
            confirmation=self._confirmation,
            engine=self.bench.engine.notes,
            metric=self.bench.metric,
            seconds=self._earlier + time.monotonic() - self.began,
            cut_short=cut_short,
            plan=self._plan,
            command=self.command,
            versions=versions(),
            machine=machine(str(self.bench.device), self.threads),
        )


def _ended(results: Sequence[TrialResult]) -> int:
    """Count the trials of the search that were run."""
    return sum(
        trial.ending not in (Ending.TOO_DEAR, Ending.UNFINISHED) and not trial.tuned for trial in results
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
        "class_images": np.bincount(dataset.labels[dataset.train], minlength=len(dataset.classes)).tolist(),
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
