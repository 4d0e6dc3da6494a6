"""A search on many workers, played on a simulated clock with the driver's own time in it.

    python benchmarks/scale.py play   LINES.jsonl [--cell hym_v2] [--workers 1 4 16]
        [--per-worker 10 | --trials 160] [--seconds 300] [--replays 8] [--times 1] [--sampler tpe]
        [--reports spared]
    python benchmarks/scale.py report LINES.jsonl…

``play`` plays searches on the surrogate of a cell's recorded tables (``benchmarks/replay``), each replay on
other images and another landscape. The study is the product's own, with its journal and its reports; the
processor time that it takes between two events moves the simulated clock on, while workers wait or train
(``simulated_cluster.py``). Added are a constant for each report of a worker (``--handling``) and one for each
wait for the disk (``--disk``). Trials last ``--seconds`` on average in the search with one worker, which is
played first. ``report`` prints Markdown.
"""

import argparse
import json
import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from ask_latency import report_of
from cells import DEPTHS, TABLES
from regret import some_schedules
from scale_tables import Line, alone, print_tables
from search_cost import DELTA, World, run_folder
from simulated_cluster import SimulatedCluster, seconds_within

from autofreeze.confirm import Confirming
from autofreeze.imagescoring import FreshImageScoring
from autofreeze.job import EpochRecord
from autofreeze.live import LiveTrial
from autofreeze.provenance import machine, versions
from autofreeze.recorded.fitting import fit_surrogate
from autofreeze.recorded.surrogate import Surrogate
from autofreeze.recorded.tables import read_table
from autofreeze.report.files import write_report
from autofreeze.results import Ending, TrialResult, rank
from autofreeze.run import RunFolder
from autofreeze.samplers import SAMPLERS
from autofreeze.searching import FREE_WRITING, WRITE_PAUSE
from autofreeze.space import Space, SpaceSpec
from autofreeze.study import Limits, Study

REPORTS = {"always": FREE_WRITING, "spared": 0.0, "never": math.inf}
"""When the report is written again after a trial: by the rule of a search on one machine; by that of one on a
cluster, with a pause after each; never."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    play = commands.add_parser("play")
    play.add_argument("lines", type=Path)
    play.add_argument("--cell", choices=sorted(DEPTHS), default="hym_v2")
    play.add_argument("--times", type=int, default=1, help="as many times the images, to score more")
    play.add_argument("--first", type=int, default=1)
    play.add_argument("--replays", type=int, default=1)
    play.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    play.add_argument("--per-worker", type=int, default=10, help="trials")
    play.add_argument("--trials", type=int, help="in all; instead of --per-worker")
    play.add_argument("--seconds", type=float, nargs="+", default=[300.0], help="of a trial, on average")
    play.add_argument("--handling", type=float, default=0.005, help="seconds of the driver for each report")
    play.add_argument("--disk", type=float, default=0.004, help="seconds of each wait for the disk")
    play.add_argument(
        "--state", type=float, default=0.0, help="seconds of the driver for each state of a run"
    )
    play.add_argument("--sampler", choices=SAMPLERS, default="tpe")
    play.add_argument("--reports", choices=REPORTS, default="spared")
    play.add_argument("--confirm", type=int, default=12, help="fresh seeds at most")
    play.add_argument("--no-prune", action="store_true")
    report = commands.add_parser("report")
    report.add_argument("lines", type=Path, nargs="+")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    if given.command == "play":
        play_all(given)
    else:
        print_tables([json.loads(line) for file in given.lines for line in file.read_text().splitlines()])


# Played searches


def play_all(given: argparse.Namespace) -> None:
    """Play the searches that are missing."""
    print(json.dumps({"machine": machine("cpu", 1), "versions": versions()}))
    surrogate = fit_surrogate(
        read_table(TABLES / f"{given.cell}.breadth.jsonl.xz"),
        read_table(TABLES / f"{DEPTHS[given.cell]}.depth.jsonl.xz"),
    ).enlarged(given.times)
    space = SpaceSpec.load("default").resolve(surrogate.facts.groups, surrogate.facts.epochs)
    places = surrogate.place(some_schedules(space))
    known = given.lines.read_text().splitlines() if given.lines.exists() else []
    lines = [json.loads(line) for line in known]
    for ask in asked_for(given):
        if any(line.items() >= ask.items() for line in lines):
            continue
        pace = 1.0 if ask["workers"] == 1 else ask["seconds"] / alone(lines, ask)["mean_seconds"]
        began = time.perf_counter()
        line = ask | play(surrogate, space, places, ask, pace, given.confirm)
        line["wall_seconds"] = round(time.perf_counter() - began, 1)
        lines.append(line)
        with given.lines.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps({key: line[key] for key in SHOWN}), flush=True)


def asked_for(given: argparse.Namespace) -> Iterator[Line]:
    """Give the beginnings of all lines, each search with one worker before those that are held beside it."""
    for number in range(given.first, given.first + given.replays):
        for workers in given.workers:
            what = {
                "cell": given.cell, "times": given.times, "number": number,
                "trials": given.trials or given.per_worker * workers, "sampler": given.sampler,
                "prune": not given.no_prune,
            }  # fmt: skip
            costs = {"handling": given.handling, "disk": given.disk}
            yield {**what, **costs, "workers": 1, "seconds": None, "reports": "never", "state": 0.0}
            for seconds in given.seconds if workers > 1 else ():
                own = {"workers": workers, "seconds": seconds, "reports": given.reports, "state": given.state}
                yield {**what, **costs, **own}


SHOWN = ("number", "workers", "trials", "seconds", "efficiency", "driver_share", "truth", "wall_seconds")


def play(surrogate: Surrogate, space: Space, places: Any, ask: Line, pace: float, planned: int) -> Line:
    """Play one search with its confirmation."""
    world = World(surrogate.drawn(ask["number"]), space, ask["number"], {}, planned)
    cluster = SimulatedCluster(
        world.surrogate.player(world.split_of), workers=ask["workers"], pace=pace, handling=ask["handling"],
        state=ask["state"],
        stopwatch=time.process_time,
    )  # fmt: skip
    with run_folder(world) as folder, disk_charged(cluster, ask["disk"]):
        watcher = Watcher(world, cluster, folder, REPORTS[ask["reports"]])
        study = Study(
            folder, space, cluster, scoring=world.scoring, seed=world.number, sampler=ask["sampler"],
            prune=ask["prune"], observer=watcher,
        )  # fmt: skip
        watcher.study = study
        study._proposals.ask = watcher.timed(study._proposals.ask)  # type: ignore[method-assign]
        study.search(Limits(ask["trials"]))
        line = watcher.told() | cluster_line(cluster, watcher)
        line["at_best_of_space"] = round(float(world.surrogate.truths(places).max()), 5)
        return line | {"confirmed": confirmed(world, study, folder, cluster)}


@contextmanager
def disk_charged(cluster: SimulatedCluster, seconds: float) -> Iterator[None]:
    """Charge the driver for every wait for the disk."""
    before = os.fsync

    def charged(descriptor: int) -> None:
        before(descriptor)
        cluster.charge("disk", seconds)

    os.fsync = charged  # type: ignore[assignment]
    try:
        yield
    finally:
        os.fsync = before


class Watcher:
    """Notes what becomes of a search, and writes its reports as a session does.

    Args:
        world: What is searched.
        cluster: Where.
        folder: The run folder.
        slow: Seconds of writing a report after which the next one waits.
    """

    def __init__(self, world: World, cluster: SimulatedCluster, folder: RunFolder, slow: float) -> None:
        self._world, self._cluster, self._folder, self._slow = world, cluster, folder, slow
        self.study: Study | None = None
        self.asks: list[float] = []
        self.asked_at = 0.0
        """When the last trial was asked for."""

        self._results: list[TrialResult] = []
        self._truths: list[float] = []
        self._best: TrialResult | None = None
        self._curve: list[tuple[float, float]] = []
        self._in_hand: dict[int, str] = {}
        self._twins: set[int] = set()
        self._writing = self._write_again_at = 0.0
        self.written = 0

    def timed(self, ask: Callable[[], Any]) -> Callable[[], Any]:
        """Book asks under their own name, and note how long each took."""

        def timed_ask() -> Any:
            before = self._cluster.driver.get("ask", 0.0)
            with self._cluster.doing("ask"):
                proposal = ask()
            self.asks.append(self._cluster.driver["ask"] - before)
            self.asked_at = self._cluster.clock
            return proposal

        return timed_ask

    def trial_started(self, trial: LiveTrial) -> None:
        """Note whether an equal trial is in hand."""
        with self._cluster.paused():
            digest = trial.settings_digest
            if digest in self._in_hand.values():
                self._twins.add(trial.number)
            self._in_hand[trial.number] = digest

    def epoch_done(self, trial: LiveTrial, record: EpochRecord) -> None:
        """Nothing to note."""

    def trial_ended(self, result: TrialResult) -> None:
        """Note what would be chosen now, and write the report."""
        with self._cluster.paused():
            self._note(result)
        if self._cluster.clock >= self._write_again_at and self._slow < math.inf:
            before = self._cluster.clock
            assert self.study is not None
            with self._cluster.doing("report"):
                write_report(report_of(self.study, self._world.space), self._folder.path)
            self.written += 1
            took = self._cluster.clock - before
            self._writing += took
            if self._writing > self._slow:
                self._write_again_at = self._cluster.clock + WRITE_PAUSE * took

    def _note(self, result: TrialResult) -> None:
        self._in_hand.pop(result.number, None)
        self._results.append(result)
        self._truths.append(self._world.truth(result))
        if result.ending is Ending.COMPLETE and (self._best is None or rank(result) > rank(self._best)):
            self._best = result
            self._curve.append((round(self._cluster.work, 1), round(self._truths[-1], 5)))

    def told(self) -> dict[str, Any]:
        """Tell how good the search was."""
        results = self._results
        return {
            "folds": len(self._world.splits),
            "images": len(self._world.train),
            "endings": Counter(one.ending.value for one in results),
            "taken_over": sum(one.same_as is not None for one in results),
            "run_twice": len(self._twins),
            "at_best_of_trials": round(max(self._truths), 5),
            "truth": self._curve[-1][1],
            "curve": self._curve,
            "work": round(self._cluster.work, 1),
        }


def cluster_line(cluster: SimulatedCluster, watcher: Watcher) -> dict[str, Any]:
    """Tell how well workers and driver were used; ``of_workers`` are shares of all their time."""
    span, all_seconds = cluster.clock, cluster.clock * cluster.capacity
    busy = seconds_within(cluster.stretches, 0.0, span)
    late = seconds_within(cluster.stretches, watcher.asked_at, span)
    tail = (span - watcher.asked_at) * cluster.capacity - late
    asks = np.array(watcher.asks)
    return {
        "makespan": round(span, 2),
        "mean_seconds": busy / len(watcher.asks),
        "busy": round(busy, 2),
        "efficiency": round(busy / all_seconds, 4),
        "of_workers": {
            "for the driver": round((all_seconds - busy - tail) / all_seconds, 4),
            "after the last trial was asked for": round(tail / all_seconds, 4),
        },
        "driver_share": round(sum(cluster.driver.values()) / span, 4),
        "driver": {name: round(seconds, 3) for name, seconds in cluster.driver.items()},
        "reports_of_workers": cluster.reports,
        "reports_written": watcher.written,
        "wait_for_driver": round(cluster.waited / cluster.reports, 4),
        "ask": [round(float(value), 4) for value in (np.median(asks), np.quantile(asks, 0.95), asks.max())],
    }


def confirmed(world: World, study: Study, folder: RunFolder, cluster: SimulatedCluster) -> dict[str, Any]:
    """Confirm on the same cluster."""
    finalists, began, before = study.finalists(), cluster.clock, len(cluster.stretches)
    found = Confirming(
        folder, cluster, finalists,
        scoring=FreshImageScoring(
            world.metric, world.labels, world.split_of, n_classes=len(world.surrogate.facts.classes)
        ),
        seed=world.number, planned=world.planned, delta=DELTA,
    ).confirm()  # fmt: skip
    chosen = next((one.trial for one in finalists if one.trial.number == found.chosen), finalists[0].trial)
    span = cluster.clock - began
    busy = seconds_within(cluster.stretches[before:], began, cluster.clock)
    return {
        "truth": round(world.truth(chosen), 5),
        "seeds": found.seeds,
        "candidates": len(finalists),
        "makespan": round(span, 2),
        "efficiency": round(busy / span / cluster.capacity, 4),
    }


if __name__ == "__main__":
    main()
