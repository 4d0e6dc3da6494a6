"""One session of a search: its study, its plan, its reports."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autofreeze import recipes
from autofreeze.confirm import Confirming
from autofreeze.confirmation import Confirmation
from autofreeze.display import Display
from autofreeze.earlier import warm_starts
from autofreeze.errors import AutofreezeError, ConfigError, RunFolderError
from autofreeze.eventlog import EventLog
from autofreeze.executing import Workplace, workplace
from autofreeze.executors.protocol import Executor
from autofreeze.faults import fault_in, told
from autofreeze.gathering import gather
from autofreeze.phrases import counted
from autofreeze.plan import Plan
from autofreeze.provenance import versions
from autofreeze.regime import Regime
from autofreeze.report.files import read_report, write_report
from autofreeze.results import UNDER_WAY, StudyResult, TrialResult, ended_trials
from autofreeze.run import RunFolder, check_same_study, check_usable, gone
from autofreeze.schedule import Schedule
from autofreeze.searchoptions import LONGEST, Decided
from autofreeze.seeds import derive
from autofreeze.space import Space, SpaceSpec
from autofreeze.study import Limits, Study
from autofreeze.subject import Remaining, Subject
from autofreeze.watching import Listener, Watcher, reason_of

if TYPE_CHECKING:
    from autofreeze.cluster.connection import Cluster

FREE_WRITING, WRITE_PAUSE = 3.0, 20.0
"""Once a session has written reports for so many seconds in all, one is written again after so many times as
long as it took at the earliest; on a cluster from the first one on, since there workers wait."""

SEARCH_SHARE = 0.6
"""Share of a given time that the search may take; the rest is kept for the confirmation."""


class SearchSession:
    """A search, from now until it ends or is stopped.

    Args:
        subject: What is searched.
        options: How to search.
        out: The run folder; nothing is written before :meth:`search`.
        display: Shows progress; nothing is shown when left out.
        command: Told in the report.
        cluster: Where jobs run; in this process when left out.

    Raises:
        ConfigError: The space does not fit the model or the length of the runs; not even a head alone may be
            trained with the work that is allowed; an earlier search cannot be used.
    """

    def __init__(
        self,
        subject: Subject,
        options: Decided,
        out: Path,
        *,
        display: Display | None,
        command: str,
        cluster: "Cluster | None" = None,
    ) -> None:
        self.subject, self.options, self.out, self.cluster = subject, options, out, cluster
        self.display, self.command = display, command
        self.space = self._resolve(options.space)
        self._refuse_too_little_work()
        self.warm = warm_starts(
            options.warm_start,
            out,
            resume=options.resume,
            space=self.space,
            work_shares=self._work_shares(),
            trials=options.trials,
        )
        self._logs = self._open_logs()
        self._workplace: Workplace | None = None
        self._writing = self._write_again_at = 0.0
        self.began = time.monotonic()
        self._earlier = 0.0
        self._plan: Plan | None = None
        self._confirmation: Confirmation | None = None

    def _resolve(self, spec: SpaceSpec) -> Space:
        groups = self.subject.groups
        # Read at the longest run, which every space fits: the batch size does not hang on it.
        batch_size = spec.resolve(groups, self.options.epochs or LONGEST).fixed_regime.batch_size
        epochs = self.options.epochs or self.subject.default_epochs(batch_size, self.options.steps)
        return spec.resolve(groups, epochs)

    def check(self) -> None:
        """Refuse a run folder that cannot be used; touches nothing.

        Raises:
            RunFolderError: It holds something else, or another study.
        """
        check_usable(self.out, resume=self.options.resume)
        check_same_study(self.out, self._identity())

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

    def plan(self) -> Plan | None:
        """Measure a few steps, and say what the search will cost: what is left of it, where it is resumed.

        None where nothing can be measured beforehand.

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
        with (
            self._open_folder() as folder,
            self._watcher() as watcher,
            self._open_workplace(folder) as self._workplace,
        ):
            self._take_up()
            self.subject.begin(folder)
            study = self._study(folder, watcher, self._workplace.executor)
            watcher.take_up(study.results)
            for log in self._logs:
                log.take_up(study.results)
            watcher.after_trial = lambda: self._write_now_and_then(study)
            if self.display:
                self.display.begin(self.options.trials, study.results, self.subject.scale)
                for line in self.subject.introduction():
                    self.display.tell(line)
                for line in self.warm.lines:
                    self.display.tell(f"warm start: {line}")
            self._foresee(study.results, seconds)
            watcher.after_trial()
            try:
                with self._seen_to_go(), self.display.shown() if self.display else nullcontext():
                    limits = self._limits(seconds)
                    watcher.searching(limits.seconds)
                    cut_short = study.search(limits, should_stop)
                    study.let_go()
                    self._write(study.results, cut_short or (UNDER_WAY if self.options.confirm else ""))
                    if not should_stop():
                        self._confirm(folder, study, watcher, seconds, should_stop)
            except (AutofreezeError, KeyboardInterrupt) as error:
                with suppress(OSError, RunFolderError):  # what broke it off may keep this from being written
                    self._write(study.results, reason_of(error))
                raise
            except (OSError, MemoryError, RuntimeError) as error:
                fault = error if isinstance(error, OSError) else fault_in(error)
                if fault is None:
                    raise
                raise told(fault, after="then go on with --resume", where=str(self.out)) from error
            found = self._confirmation
            watcher.ends(cut_short or should_stop() or (found.cut_short if found else ""))
            return self._write(study.results, cut_short or should_stop())

    def _open_folder(self) -> RunFolder:
        asked = self.options.cluster
        return RunFolder(
            self.out,
            self._identity(),
            resume=self.options.resume,
            command=self.command,
            storage=asked.storage if asked else None,
        )

    def _open_workplace(self, folder: RunFolder) -> AbstractContextManager[Workplace]:
        tell = self.display.tell if self.display else None
        regime = self.space.fixed_regime
        return workplace(self.subject, self.options, folder, regime=regime, cluster=self.cluster, tell=tell)

    def _open_logs(self) -> list[EventLog]:
        """Give the logs that were asked for; nothing is written yet."""
        tell = self.display.tell if self.display else _warn
        return [EventLog(self.out, self.subject.scale, tell) for _ in self.options.log]

    def _watcher(self) -> Watcher:
        trials = self.options.trials
        listeners: list[Listener] = [self.display] if self.display else []
        return Watcher(
            [*listeners, *self._logs],
            self.out,
            trials=trials,
            scale=self.subject.scale,
            tunings=trials * len(self.options.tuned),
            command=self.command,
        )

    def _limits(self, seconds: float | None) -> Limits:
        """Say when the search ends; of a given time a part is kept for the confirmation."""
        share = SEARCH_SHARE if self.options.confirm else 1.0
        left = None if seconds is None else share * (seconds - (time.monotonic() - self.began))
        return Limits(self.options.trials, left, self.options.tuned)

    def _confirm(
        self,
        folder: RunFolder,
        study: Study,
        watcher: Watcher,
        seconds: float | None,
        should_stop: Callable[[], str],
    ) -> None:
        """Run the finalists on fresh seeds, and read the test split once all is decided."""
        finalists = study.finalists() if self.options.confirm else ()
        if not finalists:
            return
        assert self._workplace is not None
        confirming = Confirming(
            folder,
            self._workplace.executor,
            finalists,
            scoring=self.subject.fresh_scoring,
            seed=self.options.seed,
            planned=self.options.confirm,
            delta=self.options.delta,
            observer=watcher,
        )
        self._workplace.use_all()
        left = None if seconds is None else seconds - (time.monotonic() - self.began)
        watcher.confirming_begins(self.options.confirm, left)
        found = confirming.confirm(left, should_stop)
        if found.chosen is not None and not found.cut_short:
            watcher.reading_begins()
            found = self.subject.read_test(found, confirming.test_jobs(found), folder, self.display)
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
        if self.display is None or ended_trials(results) >= self.options.trials:
            return
        try:
            plan = self._foreseen(results)
        except (RuntimeError, MemoryError, OSError) as error:
            # Torch's own, which the trials will meet too, and tell; or no room for temporary files.
            self.display.tell(f"plan: no step could be measured ({' '.join(str(error).split())[:200]})")
            return
        if plan is None:
            return
        self._plan = plan
        if seconds is not None:
            seconds -= time.monotonic() - self.began
        for line in self.subject.plan_lines(plan, self.out, seconds):
            self.display.tell(line)

    def _foreseen(self, results: Sequence[TrialResult]) -> Plan | None:
        """Plan the trials that are left."""
        most = self._max_work()

        def affordable(schedule: Schedule, regime: Regime) -> bool:
            return most is None or self.subject.run_work(schedule, regime) <= most

        return self.subject.foresee(Remaining(self.space, self.options, results, affordable), self.display)

    def _study(self, folder: RunFolder, observer: Watcher, executor: Executor) -> Study:
        return Study(
            folder,
            self.space,
            executor,
            scoring=self.subject.scoring,
            seed=self.options.seed,
            sampler=self.options.sampler,
            prune=self.options.prune,
            observer=observer,
            run_work=self.subject.run_work,
            max_work=self._max_work(),
            warm_starts=self.warm.taken,
            can_sweep=self.subject.can_sweep,
            candidates=self.options.candidates,
        )

    def _work_shares(self) -> tuple[float, ...]:
        """Share of forward work by column; even where nobody knows."""
        n = len(self.space.groups)
        shares = self.subject.facts().get("backbone", {}).get("work_shares", ())
        return tuple(shares) if len(shares) == n else (1 / n,) * n

    def _refuse_too_little_work(self) -> None:
        given, folds = self.options.max_work, self.subject.scoring.n_folds
        if given is None:
            return
        probe = recipes.linear_probe(self.space.groups, self.space.epochs, head_lr=1e-3)
        least = folds * self.subject.run_work(probe, self.space.fixed_regime)
        if given < least:
            raise ConfigError(
                f"max-work: got {given:,.0f}; a head alone takes {least:,.0f} forward-equivalents in "
                f"{self.space.epochs:g} epochs on {counted(folds, 'fold')}: give more, or fewer epochs"
            )

    def _max_work(self) -> float | None:
        """Give the work that one run may take, by the stricter of two limits."""
        limits = []
        if self.options.max_work is not None:
            limits.append(self.options.max_work / self.subject.scoring.n_folds)
        if self.options.max_cost is not None:
            limits.append(self.options.max_cost * self._full_work())
        return min(limits, default=None)

    def _full_work(self) -> float:
        full = recipes.full(self.space.groups, self.space.epochs, head_lr=1e-3, backbone_ratio=1.0)
        return self.subject.run_work(full, self.space.fixed_regime)

    def _identity(self) -> dict[str, Any]:
        """Give what makes the study what it is; where things lie and how fast they run does not."""
        return {
            **self.subject.identity(),
            "space": self.space.spec.model_dump(mode="json"),
            "epochs": self.space.epochs,
            "seed": self.options.seed,
            "sampler": self.options.sampler,
            "prune": self.options.prune,
            "max_cost": self.options.max_cost,
            **({} if self.options.max_work is None else {"max_work": self.options.max_work}),
            **({"warm_start": self.warm.model_dump(mode="json")} if self.warm.runs else {}),
            **({"candidates": self.options.candidates} if self.options.candidates > 1 else {}),
        }

    @property
    def _is_there(self) -> bool:
        """Whether the run folder is still where it was."""
        return (self.out / "run.json").exists()

    @contextmanager
    def _seen_to_go(self) -> Iterator[None]:
        """Tell that the run folder was removed or renamed, when an error in the block comes from that.

        Raises:
            RunFolderError: It does.
        """
        try:
            yield
        except (OSError, MemoryError, RuntimeError) as error:
            if not self._is_there:
                raise gone(self.out) from error
            raise

    def _write(self, trials: tuple[TrialResult, ...], cut_short: str) -> StudyResult:
        """Write the report as things stand.

        Raises:
            RunFolderError: The run folder was removed or renamed: a report alone could not be resumed.
        """
        if not self._is_there:
            raise gone(self.out)
        began = time.monotonic()
        result = self._collect(trials, cut_short)
        with self._seen_to_go():
            write_report(result, self.out, gather(result, self.out, self.subject, self.space))
        took = time.monotonic() - began
        self._writing += took
        spared = self._writing > FREE_WRITING or self.cluster is not None
        self._write_again_at = time.monotonic() + (WRITE_PAUSE * took if spared else 0.0)
        return result

    def _write_now_and_then(self, study: Study) -> None:
        """Write the report after a trial, but in the long run for no more than a twentieth of the time."""
        if time.monotonic() >= self._write_again_at:
            self._write(study.results, UNDER_WAY)

    def _collect(self, trials: tuple[TrialResult, ...], cut_short: str) -> StudyResult:
        folds = range(self.subject.scoring.n_folds)
        return StudyResult(
            **self.subject.facts(),
            settings={
                **self.subject.settings(),
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
                "candidates": self.options.candidates,
                "max_work": self._max_work(),
                "trial_work": self.options.max_work,
                "warm_start": self.warm.model_dump(mode="json"),
            },
            trials=trials,
            confirmation=self._confirmation,
            seconds=self._earlier + time.monotonic() - self.began,
            cut_short=cut_short,
            plan=self._plan,
            placing=self._workplace.placing() if self._workplace else None,
            command=self.command,
            versions=versions(),
        )


def _warn(line: str) -> None:
    """Tell a line where nothing is shown."""
    warnings.warn(line, RuntimeWarning, stacklevel=2)
