"""What it takes to write the report of a search of many trials: one that was played, not trained.

    python benchmarks/replayed_report.py play OUT [--cell hym_v2] [--trials 2000] [--workers 4] [--confirm 12]
    python benchmarks/replayed_report.py measure OUT [--times 3]

``play`` searches on the surrogate of a cell's recorded tables (``benchmarks/replay``), confirms
finalists, and leaves a run folder with records and a report. Times are those of a simulated clock.
``measure`` gathers what the report rests on, and writes it, several times; it prints a line of JSON:
processor seconds of each part (medians), and sizes. Mistakes are not among them: they need the images.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from cells import DEPTHS, TABLES
from search_cost import DELTA, World, unit_pace

from autofreeze.confirm import Confirming
from autofreeze.evidence import Evidence
from autofreeze.executors.protocol import Event, Executor, Recorded
from autofreeze.executors.replay import ReplayExecutor
from autofreeze.imagescoring import FreshImageScoring
from autofreeze.job import Job
from autofreeze.learning import curves_of, trials_shown
from autofreeze.pedanova import importances_of
from autofreeze.provenance import machine, versions
from autofreeze.recorded.fitting import fit_surrogate
from autofreeze.recorded.tables import read_table
from autofreeze.records import RECORDS, read_ends
from autofreeze.report.files import read_report, write_report
from autofreeze.results import StudyResult
from autofreeze.run import RunFolder
from autofreeze.savings import savings_of
from autofreeze.space import Space, SpaceSpec
from autofreeze.study import Limits, Study
from autofreeze.timeline import stretches_of

SEED = 1


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    playing = commands.add_parser("play")
    playing.add_argument("out", type=Path)
    playing.add_argument("--cell", choices=sorted(DEPTHS), default="hym_v2")
    playing.add_argument("--trials", type=int, default=2000)
    playing.add_argument("--workers", type=int, default=4)
    playing.add_argument("--confirm", type=int, default=12)
    measuring = commands.add_parser("measure")
    measuring.add_argument("out", type=Path)
    measuring.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    print(json.dumps(play(given) if given.command == "play" else measure(given.out, given.times)))


class Placed:
    """Plays jobs at made-up places, on one clock for several executors.

    Args:
        world: What is played.
        workers: How many jobs at a time.
        began: Where the clock stands.
    """

    def __init__(self, world: World, workers: int, began: float = 0.0) -> None:
        self._played = ReplayExecutor(world.surrogate.player(world.split_of), capacity=workers)
        self._began = began
        self._free = [f"node-{number}" for number in range(workers)]
        self._places: dict[str, str] = {}
        self.capacity = workers

    @property
    def clock(self) -> float:
        """Simulated seconds since the first began."""
        return self._began + self._played.clock

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._played.submit(job)

    def next_event(self) -> Event:
        """Give what happens next, and where."""
        event = self._played.next_event()
        if isinstance(event, Recorded):
            where = self._places.setdefault(event.job.key, self._free[0] if self._free else "node-0")
            if where in self._free:
                self._free.remove(where)
            return replace(event, where=where, at=self._began + event.at)
        self._leave(event)
        return event

    def stop(self, job: Job) -> None:
        """Let a job go."""
        self._played.stop(job)
        self._release(job.key)

    def _leave(self, event: Event) -> None:
        job = getattr(event, "job", None)
        if job is not None:
            self._release(job.key)

    def _release(self, key: str) -> None:
        if key in self._places:
            self._free.append(self._places.pop(key))


def play(given: argparse.Namespace) -> dict[str, Any]:
    """Play a search and its confirmation, and write its report."""
    surrogate = fit_surrogate(
        read_table(TABLES / f"{given.cell}.breadth.jsonl.xz"),
        read_table(TABLES / f"{DEPTHS[given.cell]}.depth.jsonl.xz"),
    )
    facts = surrogate.facts
    space = SpaceSpec.load("default").resolve(facts.groups, facts.epochs)
    paces = {"work": unit_pace(facts.work_shares)}
    world = World(surrogate.drawn(SEED), space, SEED, paces, given.confirm)
    began = time.perf_counter()
    with RunFolder(given.out, {"replayed": given.cell}) as folder:
        executor: Executor = Placed(world, given.workers)
        study = Study(
            folder, space, executor, scoring=world.scoring, seed=SEED, sampler="tpe", run_work=world.run_work
        )  # fmt: skip
        study.search(Limits(given.trials))
        confirming = Confirming(
            folder, Placed(world, given.workers, executor.clock), study.finalists(),
            scoring=FreshImageScoring(
                world.metric, world.labels, world.split_of, n_classes=len(facts.classes)
            ),
            seed=SEED, planned=given.confirm, delta=DELTA,
        )  # fmt: skip
        found = confirming.confirm()
    result = result_of(world, study, given, found)
    write_report(result, given.out, evidence_of(result, given.out, space))
    return {"trials": len(result.trials), "wall_seconds": round(time.perf_counter() - began, 1)}


def result_of(world: World, study: Study, given: argparse.Namespace, found: Any) -> StudyResult:
    """Make what a session writes."""
    facts, sizes = world.surrogate.facts, world.sizes
    images = [len(world.train), 0, 0]
    return StudyResult(
        data={
            "name": given.cell, "fingerprint": "replayed", "classes": list(facts.classes),
            "folds": [{"train": sizes.n_train, "val": sizes.n_val}] * sizes.folds,
            "images": dict(zip(("train", "val", "test"), images, strict=True)),
        },
        backbone={
            "model": facts.model, "source": "recorded runs", "coverage": "all",
            "preprocessing": {"image_size": facts.image_size}, "preprocessing_from": {},
            "groups": {name: [name] for name in facts.groups}, "work_shares": list(facts.work_shares),
        },
        settings={
            "trials": given.trials, "epochs": facts.epochs, "task": {"data": given.cell}, "seed": SEED,
            "space": world.space.spec.model_dump(mode="json"), "confirm": given.confirm, "delta": DELTA,
        },
        trials=study.results, confirmation=found, metric=world.metric, seconds=1.0,
        command=f"benchmarks/replayed_report.py play --cell {given.cell} --trials {given.trials}",
        versions=versions(), machine=machine("cpu", 1),
    )  # fmt: skip


def evidence_of(result: StudyResult, folder: Path, space: Space) -> Evidence:
    """Gather what a session gathers, mistakes aside."""
    return Evidence(
        curves=curves_of(folder, trials_shown(result), result.scale),
        importances=importances_of(result.trials, space),
        timeline=stretches_of(folder),
        savings=savings_of(result),
    )


def measure(out: Path, times: int) -> dict[str, Any]:
    """Time each part."""
    result = read_report(out)
    spec = SpaceSpec.model_validate(result.settings["space"])
    space = spec.resolve(result.trials[0].schedule.groups, result.settings["epochs"])
    shown = trials_shown(result)
    evidence = evidence_of(result, out, space)
    parts: dict[str, Callable[[], Any]] = {
        "curves": lambda: curves_of(out, shown, result.scale),
        "importances": lambda: importances_of(result.trials, space),
        "timeline": lambda: stretches_of(out),
        "savings": lambda: savings_of(result),
        "last records of two trials": lambda: read_ends(out, [one.number for one in shown[:2]], "fresh"),
        "writing": lambda: write_report(result, out, evidence),
    }
    seconds = {}
    for name, part in parts.items():
        taken = []
        for _ in range(times):
            began = time.process_time()
            part()
            taken.append(time.process_time() - began)
        seconds[name] = round(statistics.median(taken), 3)
    sizes = {name: (out / name).stat().st_size for name in (RECORDS, "report.json", "report.html")}
    return {
        "trials": len(result.trials), "curves": len(evidence.curves), "stretches": len(evidence.timeline),
        "times": times, "seconds": seconds, "bytes": sizes, "machine": machine("cpu", 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
