"""Do the ranges of a plan hold? Real small searches, each beside what its plan said before it.

    python benchmarks/plan_ranges.py run DATA LINES.jsonl [--only NAME …] [--repeat N]
        [--clock wall|processor]
    python benchmarks/plan_ranges.py table LINES.jsonl [--json FILE]
    python benchmarks/plan_ranges.py played BREADTH DEPTH [--searches 12]

``run`` searches with one thread and an empty cache each time, one search after the other; DATA is the
folder with trashnet6, cifar10s, hymenoptera2, covidxray3 and weights. A search is timed from the last line of
its plan to the end of its last trial, the confirmation from there to the end. ``--clock processor`` takes all
seconds, the plan's and the search's, from the processor instead of the wall: where others use the machine,
that is what a quiet one would have shown. It goes on where it was. ``played`` judges the made-up part alone:
searches on surrogates of recorded runs (``autofreeze/recorded/``), in forward-equivalents instead of seconds.
"""

import argparse
import io
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "digits, default, 3 folds": {"data": "digits", "space": "default", "trials": 14, "epochs": 6, "folds": 3},
    "digits, no cache": {"data": "digits", "space": "quick", "trials": 14, "epochs": 8, "reuse": False},
    "hymenoptera, v2": {
        "data": "hymenoptera2", "model": "mobilenetv2_100", "space": "quick", "trials": 12, "epochs": 4,
    },
    "hymenoptera, v2, no cache": {
        "data": "hymenoptera2", "model": "mobilenetv2_100", "space": "quick", "trials": 10, "epochs": 4,
        "reuse": False,
    },
    "hymenoptera, birds, surgical": {
        "data": "hymenoptera2", "model": "mobilenetv2_100", "weights": "inat_birds", "space": "surgical",
        "trials": 12, "epochs": 4,
    },
    "covid, v1, default, 3 folds": {
        "data": "covidxray3", "model": "mobilenetv1_100", "space": "default", "trials": 8, "epochs": 4,
        "folds": 3,
    },
    "trashnet, small ResNet": {
        "data": "trashnet6", "model": "test_resnet", "weights": None, "space": "default", "trials": 12,
        "epochs": 2,
    },
    "hymenoptera, v1, new views": {
        "data": "hymenoptera2", "model": "mobilenetv1_100", "space": "quick", "trials": 10, "epochs": 4,
        "views": "online",
    },
    "cifar, small ViT, 4 views": {
        "data": "cifar10s", "model": "test_vit", "weights": None, "space": "quick", "trials": 10, "epochs": 2,
        "views": "bank:4",
    },
    "digits, confirmed": {"data": "digits", "space": "quick", "trials": 16, "epochs": 6, "confirm": 6},
    "covid, v1, confirmed": {
        "data": "covidxray3", "model": "mobilenetv1_100", "space": "quick", "trials": 10, "epochs": 2,
        "confirm": 6,
    },
    "trashnet, v2": {
        "data": "trashnet6", "model": "mobilenetv2_100", "space": "quick", "trials": 8, "epochs": 1,
    },
    "cifar, v1, rates by group": {
        "data": "cifar10s", "model": "mobilenetv1_100", "space": "per_group_rates", "trials": 8, "epochs": 1,
    },
}  # fmt: skip
"""Name -> what is searched. Data: a folder of DATA, or the demonstration's digits; 32 px, 1 fold, seed 0, not
confirmed and with the cache, unless said."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("data", type=Path)
    run.add_argument("lines", type=Path)
    run.add_argument("--only", nargs="*", default=list(CASES))
    run.add_argument("--repeat", type=int, default=1)
    run.add_argument("--clock", choices=("wall", "processor"), default="wall")
    table = commands.add_parser("table")
    table.add_argument("lines", type=Path)
    table.add_argument("--json", type=Path)
    played = commands.add_parser("played")
    played.add_argument("breadth", type=Path)
    played.add_argument("depth", type=Path)
    played.add_argument("--searches", type=int, default=12)
    played.add_argument("--first", type=int, default=1)
    given = parser.parse_args()
    match given.command:
        case "run":
            run_all(given)
        case "table":
            print_table(given)
        case "played":
            print_played(given)


# Real searches


def run_all(given: argparse.Namespace) -> None:
    """Search what is missing."""
    if given.clock == "processor":
        time.perf_counter = time.process_time
    known = (
        [json.loads(line) for line in given.lines.read_text().splitlines()] if given.lines.exists() else []
    )
    done = {(line["name"], line["turn"], line["clock"]) for line in known}
    for turn in range(given.repeat):
        for name in given.only:
            if (name, turn, given.clock) in done:
                continue
            line = {"clock": given.clock, **search(given.data, name, turn)}
            with given.lines.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            print(row_of(line), flush=True)


def search(data: Path, name: str, turn: int) -> dict[str, Any]:
    """Search one case, and give what its plan said and what it took."""
    from rich.console import Console

    from autofreeze import api
    from autofreeze.demo.digits import write_digits
    from autofreeze.demo.pretrain import MODEL, WEIGHTS
    from autofreeze.display import Display
    from autofreeze.provenance import machine, versions

    class Clock(Display):
        """Notes when what happens, by the clock and in processor seconds."""

        def __init__(self) -> None:
            super().__init__(console=Console(file=io.StringIO()))
            self.opened = self.planned = self.trials_done = now()

        def tell(self, line: str) -> None:
            if line.startswith("plan: "):
                self.planned = self.trials_done = now()

        def begin(self, *given: Any, **more: Any) -> None:
            self.opened = now()
            super().begin(*given, **more)

        def trial_ended(self, result: Any) -> None:
            self.trials_done = now()
            super().trial_ended(result)

    case = {"weights": "imagenet", "folds": 1, "seed": 0, "confirm": 0, "size": 32, **CASES[name]}
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        if case["data"] == "digits":
            write_digits(Path(scratch) / "digits", per_class=20, seed=turn)
            images, model, weights = Path(scratch) / "digits", MODEL, WEIGHTS
        else:
            images, model = data / case["data"], case["model"]
            weights = data / "weights" / f"{model}.{case['weights']}.fp16.safetensors"
        source = {"weights": str(weights)} if case["weights"] else {"from_scratch": True}
        result = api.search(
            images, model, out=Path(scratch) / "run", display=clock, space=case["space"],
            trials=case["trials"], epochs=case["epochs"], folds=case["folds"], seed=case["seed"] + turn,
            confirm=case["confirm"],
            views=case.get("views"), reuse=case.get("reuse", True), threads=1, device="cpu",
            image_size=case["size"],
            cache_folder=str(Path(scratch) / "cache"), **source,
        )  # fmt: skip
        done = now()
    plan = result.plan
    assert plan is not None
    spans = {
        "measuring": (clock.opened, clock.planned),
        "search": (clock.planned, clock.trials_done),
        "confirmation": (clock.trials_done, done),
        "whole": (clock.planned, done),
    }
    return {
        "name": name,
        "turn": turn,
        "case": case,
        "took": {span: [ends[1][kind] - ends[0][kind] for kind in (0, 1)] for span, ends in spans.items()},
        "expected": plan.expected.model_dump(),
        "pace": plan.pace.model_dump(),
        "cut_short": result.cut_short,
        "endings": [trial.ending.value for trial in result.trials],
        "seconds_in_runs": sum(trial.seconds for trial in result.trials),
        "machine": machine("cpu", 1),
        "versions": versions(),
    }


def now() -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    return time.perf_counter(), time.process_time()


# The table


def row_of(line: dict[str, Any]) -> str:
    """Give one search as a row of Markdown."""
    cells = [line["name"] + (f" (again, {line['turn']})" if line["turn"] else "")]
    for span in ("search", "confirmation"):
        expected, (wall, cpu) = line["expected"][span], line["took"][span]
        if expected is None:
            cells += ["–"] * 3
            continue
        inside = expected["low"] <= wall <= expected["high"]
        cells += [
            f"{expected['low']:.0f} – **{expected['middle']:.0f}** – {expected['high']:.0f}",
            f"{wall:.0f} ({100 * cpu / wall:.0f} %)",
            "yes" if inside else "above" if wall > expected["high"] else "below",
        ]
    return "| " + " | ".join([*cells, f"{line['took']['measuring'][0]:.1f}"]) + " |"


def print_table(given: argparse.Namespace) -> None:
    """Print all searches, and how many ranges held."""
    lines = [json.loads(line) for line in given.lines.read_text().splitlines()]
    print(
        "| search | range, s | took, s (share of the core) | inside | confirmation: range | took | inside "
        "| measuring |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for line in lines:
        print(row_of(line))
    held = {span: inside(lines, span) for span in ("search", "confirmation", "whole")}
    for span, (right, count) in held.items():
        print(f"\n{span}: {right} of {count} ranges held", end="")
    first = lines[0]
    print(f"\n\n{json.dumps(first['machine'])} {json.dumps(first['versions'])}")
    if given.json:
        given.json.write_text(json.dumps({"held": held, "searches": lines}, indent=1) + "\n")


def inside(lines: Sequence[dict[str, Any]], span: str) -> tuple[int, int]:
    """Count the ranges that held, and all."""
    there = [(line["expected"][span], line["took"][span][0]) for line in lines if line["expected"][span]]
    return sum(one["low"] <= wall <= one["high"] for one, wall in there), len(there)


# Searches that are played

SETTINGS = (
    (1, 24, 1, "default", 6), (1, 50, 5, "default", 12), (8, 50, None, "default", 12), (8, 16, 1, "quick", 6),
    (1, 16, 5, "quick", 6), (3, 24, 3, "default", 12),
)  # fmt: skip
"""Times the images, trials, folds, space, fresh seeds."""


def print_played(given: argparse.Namespace) -> None:
    """Play searches, and count how many lie in the ranges that were made up for them."""
    import optuna

    from autofreeze.plan import Border, Pace
    from autofreeze.recorded.fitting import fit_surrogate
    from autofreeze.recorded.tables import read_table

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    fitted = fit_surrogate(read_table(given.breadth), read_table(given.depth))
    shares, names = fitted.facts.work_shares, fitted.facts.groups
    pace = Pace(
        borders=tuple(
            Border(name=name, prefix=sum(shares[:k]), step=3 * sum(shares[k:]), val=sum(shares[k:]))
            for k, name in enumerate(names)
        )
    )
    print("| images, trials, folds, space, seeds | stored | anew | confirmation: stored | anew |")
    print("|---|---|---|---|---|")
    total = [0] * 4
    for setting in SETTINGS:
        numbers = range(given.first, given.first + given.searches)
        held = [
            played(fitted.enlarged(setting[0]).drawn(number), pace, number, setting) for number in numbers
        ]
        counts = [sum(one[place] for one in held) for place in range(4)]
        total = [before + count for before, count in zip(total, counts, strict=True)]
        print(
            f"| {', '.join(map(str, setting))} | " + " | ".join(f"{n} of {len(held)}" for n in counts) + " |"
        )
    print(f"all: {total} of {given.searches * len(SETTINGS)}")


def played(surrogate: Any, pace: Any, number: int, setting: tuple[Any, ...]) -> list[bool]:
    """Play one search; say whether it and its confirmation lie in their ranges, stored and anew."""
    import numpy as np

    from autofreeze.confirm import Confirming
    from autofreeze.courses import Ledger, Sizes, course_of
    from autofreeze.executors.replay import ReplayExecutor
    from autofreeze.forecast import set_scene
    from autofreeze.imagescoring import FreshImageScoring, ImageScoring
    from autofreeze.outlook import expect
    from autofreeze.records import read_fresh_records, read_records
    from autofreeze.run import RunFolder
    from autofreeze.space import SpaceSpec
    from autofreeze.splits import scoring_splits
    from autofreeze.study import Limits, Study

    _, trials, folds, name, seeds = setting
    facts = surrogate.facts
    labels, train, nobody = np.asarray(facts.labels), np.asarray(facts.train), np.zeros(0, dtype=np.int64)
    space = SpaceSpec.load(name).resolve(facts.groups, facts.epochs)
    splits = scoring_splits(labels, train, nobody, seed=number, folds=folds)

    def split_of(job: Any) -> Any:
        if job.fresh is None:
            return splits[job.fold]
        return scoring_splits(labels, train, nobody, seed=job.seed, folds=1)[0]

    executor = ReplayExecutor(surrogate.player(split_of))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "run"
        with RunFolder(path, {"played": number}) as folder:
            study = Study(
                folder, space, executor, scoring=ImageScoring.of(facts.metric, labels, splits), seed=number,
                sampler="tpe",
            )  # fmt: skip
            study.search(Limits(trials))
            Confirming(
                folder, executor, study.finalists(),
                scoring=FreshImageScoring(facts.metric, labels, split_of, n_classes=len(facts.classes)),
                seed=number, planned=seeds, delta=0.01,
            ).confirm()  # fmt: skip
        runs = read_records(path), read_fresh_records(path)
    sizes = Sizes(len(splits[0].train), len(splits[0].val), len(splits), n_stored=len(train))
    scene = set_scene(
        space, pace, sizes, facts.work_shares, sampler="tpe", seed=number, trials=trials, fresh_seeds=seeds
    )
    expected = expect(scene.priced, pace, sizes, seed=number, measuring=0.0)
    of = {one.number: course_of(one.schedule, one.regime, pace, sizes) for one in study.results}
    found = []
    for times, stores in zip(expected, (True, False), strict=True):
        ledger = Ledger(pace, sizes, stores=stores)
        spent = [
            sum(ledger.run(of[trial], len(curve)) for (trial, _), curve in sorted(part.items()))
            for part in runs
        ]
        found += [times.search.holds(spent[0]), times.confirmation.holds(spent[1])]
    return [found[0], found[2], found[1], found[3]]


if __name__ == "__main__":
    main()
