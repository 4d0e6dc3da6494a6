"""What a study takes between two trials, by the number of trials before: nothing is trained.

    python benchmarks/ask_latency.py [--finished 100 300 1000 3000 10000] [--asks 20] [--sampler tpe]

Writes a run folder with so many finished trials of the default space, as a search leaves it, with made-up
curves: half of them complete, the rest pruned. Opens it and runs further trials on it, whose records are
made up too. Timed is all that is not a run: from the moment at which a trial's last record is there to the
one at which the next trial is submitted (judge, tell, arms, ask, twin), the study's answer to a record
within a run, opening the folder, and writing the report. ``cpu`` is the process's own time, which a busy
machine does not lengthen; waiting for the disk is not in it. Prints a line of JSON for each number of trials.
"""

import argparse
import json
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from autofreeze import recipes
from autofreeze.baselines import BASELINES
from autofreeze.executors.local import LocalExecutor
from autofreeze.executors.protocol import Event, Recorded
from autofreeze.imagescoring import ImageScoring
from autofreeze.job import EpochRecord, Job, settings_digest, sweep_digest
from autofreeze.metrics import pack_classes
from autofreeze.provenance import machine, versions
from autofreeze.records import line_of
from autofreeze.report.files import write_report
from autofreeze.results import Ending, MemberResult, StudyResult, TrialResult
from autofreeze.run import RunFolder
from autofreeze.samplers import SAMPLERS
from autofreeze.schedule import Schedule
from autofreeze.scoring import joined, leader
from autofreeze.space import Space, SpaceSpec
from autofreeze.splits import Split
from autofreeze.study import Limits, Study
from autofreeze.sweeps import members_of, points_of

GROUPS = ("stem", "blocks.0-1", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6", "head")
"""Of mobilenetv2_100."""

EPOCHS = 12.0
N_VAL, N_CLASSES = 500, 6
STEPS = 16
"""Of an epoch."""

LABELS = np.arange(2 * N_VAL) % N_CLASSES
SPLIT = Split(np.arange(N_VAL, 2 * N_VAL), np.arange(N_VAL))
SCORING = ImageScoring("top1", [LABELS[SPLIT.val]])
Times = tuple[float, float]
"""Seconds by the clock and of the process."""

IDENTITY = {"benchmark": "ask latency"}


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 300, 1000, 3000, 10_000])
    parser.add_argument("--asks", type=int, default=20)
    parser.add_argument("--sampler", choices=SAMPLERS, default="tpe")
    parser.add_argument("--folder", type=Path, help="where the run folders lie; a temporary one by default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(json.dumps({"machine": machine("cpu", 1), "versions": versions()}))
    lines = []
    for finished in given.finished:
        with tempfile.TemporaryDirectory(dir=given.folder) as root:
            lines.append(measured(Path(root) / "run", finished, given.asks, given.sampler))
        print(json.dumps(lines[-1]), flush=True)
        if given.out:
            with given.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(lines[-1]) + "\n")
    for name in ("between_trials", "within_a_run", "open_seconds", "report_seconds"):
        if len(lines) > 1:
            print(f"{name} grows with the power {growth(lines, name):.2f} of the finished trials")


def growth(lines: list[dict[str, Any]], name: str) -> float:
    """Give the exponent between the last two numbers of trials."""
    before, after = lines[-2:]
    seconds = [line[name]["cpu"] if isinstance(line[name], dict) else line[name] for line in (before, after)]
    return math.log(seconds[1] / seconds[0]) / math.log(after["finished"] / before["finished"])


def measured(path: Path, finished: int, asks: int, sampler: str) -> dict[str, Any]:
    """Write a run folder, go on with it, and time that."""
    space = SpaceSpec.load("default").resolve(GROUPS, EPOCHS)
    write_run(path, space, finished)
    began = time.perf_counter()
    with RunFolder(path, IDENTITY, resume=True) as folder:
        executor = Stopwatch()
        study = Study(
            folder, space, executor, scoring=SCORING, seed=0, sampler=sampler,
            can_sweep=lambda: True,
        )  # fmt: skip
        opened = time.perf_counter() - began
        study.search(Limits(finished + asks + 1))
        began = time.perf_counter()
        write_report(report_of(study, space), path)
        report = time.perf_counter() - began
        journal = (path / "study.journal").stat().st_size
        return {
            "finished": finished,
            "sampler": sampler,
            "between_trials": spread(executor.between),
            "within_a_run": spread(executor.within),
            "open_seconds": round(opened, 3),
            "report_seconds": round(report, 3),
            "journal_mb": round(journal / 1e6, 1),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def spread(seconds: Sequence[Times]) -> dict[str, float]:
    """Medians by the clock and of the process, the longest, and the number."""
    clock, cpu = zip(*seconds, strict=True)
    return {
        "median": round(statistics.median(clock), 5),
        "cpu": round(statistics.median(cpu), 5),
        "max": round(max(clock), 5),
        "max_cpu": round(max(cpu), 5),
        "n": len(seconds),
    }


class Stopwatch:
    """A local executor of made-up runs that notes how long the study takes to answer.

    Attributes are seconds by the clock and of the process: ``between`` from the last record of a run to the
    submission of the next, ``within`` from any other record to the moment at which the next one is asked for.
    """

    capacity = 1

    def __init__(self) -> None:
        self._local = LocalExecutor(curve)
        self.between: list[Times] = []
        self.within: list[Times] = []
        self._since: Times | None = None
        self._spent: Times = (0.0, 0.0)
        self._inside = False

    def submit(self, job: Job) -> None:
        """Take a job, and note how long it took to find it."""
        if self._since is not None:
            self._stop()
            self.between.append(self._spent)
        self._inside = False
        self._local.submit(job)

    def next_event(self) -> Event:
        """Give the next event; what the study does with it is timed from here on."""
        self._stop()
        if self._inside:
            self.within.append(self._spent)
        event = self._local.next_event()
        if isinstance(event, Recorded):
            self._spent = (0.0, 0.0)
            self._inside = not event.record.last
        self._since = now()
        return event

    def stop(self, job: Job) -> None:
        """Drop a job."""
        self._local.stop(job)

    def _stop(self) -> None:
        if self._since is not None:
            clock, cpu = now()
            self._spent = (self._spent[0] + clock - self._since[0], self._spent[1] + cpu - self._since[1])
        self._since = None


def now() -> Times:
    """Read both clocks."""
    return time.perf_counter(), time.process_time()


# Made-up runs


def curve(job: Job) -> Iterator[EpochRecord]:
    """Give the records of a job."""
    if not job.members:
        yield from single(job.schedule)
        return
    curves = [list(single(member.schedule)) for member in job.members]
    for epoch in range(len(curves[0])):
        yield joined(
            [one[epoch] for one in curves],
            range(len(curves)),
            work=2e3 * (epoch + 1),
            seconds=2.0 * (epoch + 1),
        )


def single(schedule: Schedule) -> Iterator[EpochRecord]:
    """Give the records of a run: how well it does follows from the table, with noise."""
    timetable = schedule.timetable(STEPS)
    rng = np.random.default_rng(int(settings_digest(schedule, REGIME)[:8], 16))
    goal = skill(schedule) + rng.normal(0, 0.01)
    labels = LABELS[SPLIT.val]
    for epoch in range(math.ceil(schedule.epochs)):
        step = min((epoch + 1) * STEPS, timetable.total_steps)
        right = rng.random(N_VAL) < goal * (1 - 0.5 ** (epoch + 1))
        predicted = np.where(right, labels, (labels + 1) % N_CLASSES)
        value = float(right.mean())
        rates = timetable.rates(step - 1)
        yield EpochRecord(
            epoch=epoch,
            epochs_done=step / STEPS,
            step=step,
            train_loss=2.0 - value,
            phase_start_loss=2.0,
            val_loss=2.0 - value,
            value=value,
            predicted=pack_classes(predicted),
            n_val=N_VAL,
            rates=rates,
            grad_norms=tuple(None if rate is None else 1.0 for rate in rates),
            grad_norms_max=tuple(None if rate is None else 2.0 for rate in rates),
            work=2e3 * (epoch + 1),
            seconds=2.0 * (epoch + 1),
            epochs_since_unfreeze=(step - timetable.last_unfreeze) / STEPS,
            last=step == timetable.total_steps,
        )


def skill(schedule: Schedule) -> float:
    """Make up how good a schedule is: best at a rate of the head of 3e-3 and of the backbone of 3e-4."""
    head = math.log10((schedule.phases[-1].lrs[-1] or 1e-9) / 3e-3)
    rates = [lr for lr in schedule.phases[-1].lrs[:-1] if lr is not None]
    backbone = math.log10(max(rates, default=1e-6) / 3e-4)
    return float(0.9 - 0.05 * head**2 - 0.03 * backbone**2)


# A folder of finished trials


def write_run(path: Path, space: Space, finished: int) -> None:
    """Write a run folder with finished trials, in what order and form a search keeps them.

    The first ones bear the names of the baselines, so that none is queued.
    """
    blank = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1), direction="maximize")
    with RunFolder(path, IDENTITY) as folder, (path / "records.jsonl").open("a", encoding="utf-8") as stream:
        for number in range(finished):
            trial = blank.ask()
            schedule, regime = space.suggest(trial)
            points = points_of(space, trial.params) if not schedule.unfreeze_depth else ()
            members = members_of(space, trial.params, points)
            job = Job(trial=number, fold=0, seed=1, schedule=schedule, regime=regime, members=members)
            records = list(curve(job))
            ended = number % 10  # of ten: five complete, four behind, one unstable
            if ended >= 5:
                records = records[: 7 + ended % 3]
            stream.writelines(line_of(job, record, at=record.seconds) for record in records)
            result = result_of(job, trial.params, records, ended)
            folder.study.add_trial(frozen(trial, job, points, result, records))


def result_of(job: Job, params: dict[str, Any], records: list[EpochRecord], ended: int) -> TrialResult:
    """Make the outcome of a trial."""
    ending = Ending.COMPLETE if ended < 5 else Ending.UNSTABLE if ended == 9 else Ending.UNPROMISING
    place = leader(SCORING, {0: records})
    head = job.members[place] if place is not None else job
    last = records[-1] if place is None else records[-1].members[place]
    score = dict(SCORING.score([last])) if ending is Ending.COMPLETE else {}
    return TrialResult(
        number=job.trial,
        recipe=recipes.name_of(head.schedule),
        schedule=head.schedule,
        regime=head.regime,
        params=params | (job.members[place].params if place is not None else {}),
        ending=ending,
        reason="" if ending is Ending.COMPLETE else "made up",
        work=records[-1].work,
        seconds=records[-1].seconds,
        member=place,
        members=tuple(
            MemberResult(params=one.params, settings=one.settings_digest, value=0.5) for one in job.members
        ),
        **score,
    )


def frozen(
    trial: optuna.Trial, job: Job, points: tuple[dict[str, Any], ...], result: TrialResult, records: Any
) -> optuna.trial.FrozenTrial:
    """Give the trial as Optuna holds it at its end."""
    digests = [member.settings_digest for member in job.members]
    usual = {"baseline": BASELINES[job.trial], "in_space": True} if job.trial < len(BASELINES) else {}
    attributes = {
        **usual,
        **({"sweep": list(points)} if points else {}),
        "schedule": job.schedule.model_dump_json(),
        "regime": job.regime.model_dump_json(),
        "digest": sweep_digest(digests) if digests else job.settings_digest,
        "result": result.model_dump_json(),
    }
    complete = result.ending is Ending.COMPLETE
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        value=result.value if complete else None,
        params=result.params,
        distributions=trial.distributions,
        user_attrs=attributes,
        system_attrs={"constraints:stable": 1.0 if result.ending is Ending.UNSTABLE else 0.0},
        intermediate_values={record.epoch: record.value for record in records},
    )


def report_of(study: Study, space: Space) -> StudyResult:
    """Make what a session writes."""
    return StudyResult(
        data={"name": "made up", "classes": list("abcdef"), "folds": [{"train": N_VAL, "val": N_VAL}],
              "images": {"train": N_VAL, "val": N_VAL, "test": 0}, "class_images": [83] * 6},
        backbone={"model": "mobilenetv2_100", "source": "made up", "coverage": "all",
                  "preprocessing": {"image_size": 96}, "preprocessing_from": {}},
        settings={"trials": len(study.results), "epochs": EPOCHS, "task": {"data": "made up"},
                  "space": space.spec.model_dump(mode="json")},
        trials=study.results,
        metric="top1",
        seconds=1.0,
    )  # fmt: skip


REGIME = SpaceSpec.load("default").resolve(GROUPS, EPOCHS).fixed_regime

if __name__ == "__main__":
    main()
