"""Fifty trials in one process: does a trial get dearer, or the process larger, by those before it.

    python benchmarks/fifty_trials.py DATA [--model NAME] [--weights FILE] [--image-size 64] [--trials 50]

Runs trials of the default space one after the other on one opened task, two epochs each, as a search does,
and the same head-only trial before each of them. Tells the seconds of that trial, and the memory, over
the first and the last ten.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from autofreeze import recipes
from autofreeze.job import Job
from autofreeze.provenance import machine, versions
from autofreeze.regime import Regime
from autofreeze.space import SpaceSpec
from autofreeze.task import Task
from autofreeze.trial import Workbench, run

PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure, print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="mobilenetv2_100")
    parser.add_argument("--weights")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        bench = Workbench.open(
            Task(
                data=given.data, model=given.model, weights=given.weights, from_scratch=given.weights is None,
                image_size=given.image_size, threads=given.threads, cache_folder=cache, folds=1,
            )
        )  # fmt: skip
        seconds, resident = measured(bench, given.trials)
    table = {
        "trials": given.trials,
        "head_trial_seconds": ends(seconds),
        "resident_mb": ends(resident) | {"every_tenth": resident[9::10]},
        "machine": machine(str(bench.device), given.threads),
        "versions": versions(),
    }
    print(json.dumps(table, indent=1))
    if given.out:
        given.out.write_text(json.dumps(table, indent=1) + "\n")


def ends(values: list[float]) -> dict[str, Any]:
    """Give the medians of ten at the beginning, the very first left out, and of the last ten."""
    return {"first": statistics.median(values[1:11]), "last": statistics.median(values[-10:])}


def measured(bench: Workbench, trials: int) -> tuple[list[float], list[float]]:
    """Run the trials; seconds of the head-only one before each, and the memory after each, MB."""
    groups = bench.backbone.groups.names
    space = SpaceSpec.load("default").resolve(groups, 2)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    head = recipes.linear_probe(groups, 2, head_lr=1e-3)
    seconds, resident = [], []
    for number in range(trials):
        began = time.perf_counter()
        list(run(Job(trial=number, fold=0, seed=0, schedule=head, regime=Regime()), bench))
        seconds.append(time.perf_counter() - began)
        schedule, regime = space.suggest(study.ask())
        list(run(Job(trial=number, fold=0, seed=number, schedule=schedule, regime=regime), bench))
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6)
    return seconds, resident


if __name__ == "__main__":
    main()
