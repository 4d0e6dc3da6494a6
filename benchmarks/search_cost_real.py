"""What ``search_cost.py`` compares by replay, on real images: a search by hand and one of autofreeze.

    python benchmarks/search_cost_real.py hand   DATA MODEL WEIGHTS FOLDER [--image-size 64] [--epochs 6]
        [--trials 24] [--folds N] [--seed 0]
    python benchmarks/search_cost_real.py ours   DATA MODEL WEIGHTS FOLDER …the same
    python benchmarks/search_cost_real.py report FOLDER…

By hand: Optuna's TPE as it comes, without pruning and without baselines, every trial on all folds, over a
strong loop (decoded images in memory, frozen layers in eval mode and without gradients, run for every batch).
Both searches have the same space, folds, heads, orders and number of trials, so that equal schedules get
equal values but for rounding. Quality is the best value so far. Seconds are those of the processor in
training and validation, on one thread; of autofreeze with the filling of its stores, which start empty.
Images are decoded before.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna

from autofreeze import api, fused, training
from autofreeze.imagescoring import ImageScoring
from autofreeze.job import Job
from autofreeze.provenance import machine, versions
from autofreeze.report.files import read_report
from autofreeze.results import Ending, TrialResult
from autofreeze.seeds import derive
from autofreeze.space import SpaceSpec
from autofreeze.task import Task
from autofreeze.trial import Workbench, run


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("hand", "ours"):
        search = commands.add_parser(name)
        for argument in ("data", "model", "weights"):
            search.add_argument(argument)
        search.add_argument("folder", type=Path)
        search.add_argument("--image-size", type=int, default=64)
        search.add_argument("--epochs", type=float, default=6)
        search.add_argument("--trials", type=int, default=24)
        search.add_argument("--folds", type=int, default=None)
        search.add_argument("--seed", type=int, default=0)
        search.add_argument("--metric", default="top1")
    report = commands.add_parser("report")
    report.add_argument("folders", type=Path, nargs="+")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    {"hand": search_one, "ours": search_one, "report": print_report}[given.command](given)


def search_one(given: argparse.Namespace) -> None:
    """Search in one way; write what each trial cost and gave."""
    # Records tell seconds of the clock, which others on the machine lengthen; here they tell the processor's.
    for module in (training, fused):
        module.time = SimpleNamespace(perf_counter=time.process_time)  # type: ignore[attr-defined]
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        asked: dict[str, Any] = {
            "weights": given.weights, "image_size": given.image_size, "threads": 1, "metric": given.metric,
            "cache_folder": f"{folder}/cache",
        }  # fmt: skip
        if given.command == "hand":
            trials = search_by_hand(given, asked)
        else:
            trials = search_ours(given, asked, Path(folder) / "run")
    result = {
        "data": Path(given.data).name, "model": given.model, "image_size": given.image_size,
        "epochs": given.epochs, "trials": trials, "machine": machine("cpu", 1), "versions": versions(),
    }  # fmt: skip
    file = given.folder / f"{given.command}.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def search_by_hand(given: argparse.Namespace, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Search as somebody does who knows Optuna."""
    task = Task(
        data=given.data, model=given.model, split_seed=given.seed, folds=given.folds, reuse=False, **asked
    )
    bench = Workbench.open(task)
    space = SpaceSpec.load("default").resolve(bench.backbone.groups.names, given.epochs)
    scoring = ImageScoring.of(bench.metric, bench.dataset.labels, bench.splits)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=given.seed))
    trials: list[dict[str, Any]] = []
    for number in range(given.trials):
        trial = study.ask()
        schedule, regime = space.suggest(trial)
        ends = []
        for fold in range(len(bench.splits)):
            seed = derive(given.seed, "fold", fold)
            job = Job(trial=number, fold=fold, seed=seed, schedule=schedule, regime=regime)
            ends.append(list(run(job, bench))[-1])
            if not ends[-1].is_finite:
                break
        value = scoring.score(ends).value if all(end.is_finite for end in ends) else None
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
        trials.append(
            {
                "value": value,
                "work": sum(end.work for end in ends),
                "seconds": round(sum(end.seconds for end in ends), 2),
                "folds": len(ends),
            }
        )
        print("by hand", number, trials[-1], flush=True)
    return trials


def search_ours(given: argparse.Namespace, asked: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """Search as ``autofreeze search`` does."""
    api.search(
        given.data, given.model, out=out, trials=given.trials, epochs=given.epochs, space="default",
        folds=given.folds, seed=given.seed, confirm=0, **asked,
    )  # fmt: skip
    return [told(trial) for trial in read_report(out).trials]


def told(trial: TrialResult) -> dict[str, Any]:
    """Put a trial into the file."""
    complete = trial.ending is Ending.COMPLETE
    return {
        "value": trial.value if complete else None,
        "work": trial.work,
        "seconds": round(trial.seconds, 2),
        "folds": len(trial.fold_values),
        "ending": trial.ending.value,
        "baseline": trial.baseline,
        "recipe": trial.recipe,
    }


def print_report(given: argparse.Namespace) -> None:
    """Print a row for each folder."""
    columns = (
        "data", "trials, folds", "best by hand", "best of autofreeze", "until as good: seconds", "work",
        "whole search: seconds", "work",
    )  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|---|---|---:|---:|---:|---:|---:|---:|")
    for folder in given.folders:
        print_one(*(json.loads((folder / f"{name}.json").read_text()) for name in ("hand", "ours")))


def print_one(by_hand: dict[str, Any], autofreeze: dict[str, Any]) -> None:
    """Print one comparison as a row."""
    hand, ours = by_hand["trials"], autofreeze["trials"]
    best = np.maximum.accumulate([one["value"] or 0.0 for one in hand])
    own = np.maximum.accumulate([one["value"] or 0.0 for one in ours])
    good = np.flatnonzero(own >= best[-1] - 1e-9)
    cells = []
    for upto in (good[0] + 1 if len(good) else None, len(ours)):
        for unit in ("seconds", "work"):
            spent = sum(one[unit] for one in hand)
            cells.append(f"{spent / sum(one[unit] for one in ours[:upto]):.1f}×" if upto else "not reached")
    reached = f" (trial {good[0]})" if len(good) else ""
    folds = max(one["folds"] for one in hand)
    name = f"{by_hand['data']}, {by_hand['model']}, {by_hand['image_size']} px"
    row = (
        name,
        f"{len(hand)}, {folds}",
        f"{best[-1]:.3f}",
        f"{own[-1]:.3f}",
        f"{cells[0]}{reached}",
        *cells[1:],
    )
    print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
