"""What augmentation is worth: none, flips, a bank of crops and ever new crops, by schedule and data set.

    python benchmarks/views.py run   DATA OUT.jsonl [--minutes 45] [--epochs 8] [--sets trashnet6 …]
    python benchmarks/views.py table OUT.jsonl [--json OUT.json]
    python benchmarks/views.py pace  [--sizes 96 160] [--json OUT.json]

DATA holds a folder for each set and weights/mobilenetv2_100.imagenet.fp16.safetensors. Every run draws what
it trains on and what it is scored on anew by its seed, from the training part alone; the runs of one seed
see the same images, heads and orders, so that views are compared in pairs. Seconds are those of the
processor, which other programs do not lengthen much. A recording that was stopped goes on where it was.
``pace`` measures how many images a second are rendered.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from autofreeze import metrics
from autofreeze.baselines import baselines
from autofreeze.binding import Columns
from autofreeze.job import EpochRecord
from autofreeze.pixels import render
from autofreeze.provenance import machine, versions
from autofreeze.regime import Regime
from autofreeze.seeds import derive
from autofreeze.space import SpaceSpec
from autofreeze.splits import Split
from autofreeze.task import Task
from autofreeze.training import evaluate, fit
from autofreeze.trial import Workbench
from autofreeze.views import numbers

EPOCHS = 8
BATCH, REPEATS = 32, 101
VIEWS = ("none", "flip", "bank:4", "online")
"""A bank of four, so that each crop comes twice: as often as one of eight does in a run of usual length."""

SCHEDULES = ("linear_probe", "last_block", "full", "gradual")
"""Baselines, at their usual rates."""


class Setting(NamedTuple):
    """How a set is run."""

    image_size: int
    n_train: int
    """Images that a run trains on."""

    n_val: int
    """Images of the rest that it is scored on, at most."""

    seeds: int
    """Seeds in a round."""


DEFAULT_SETS = ("trashnet6", "cifar10s", "hymenoptera2")
SETS = {
    "trashnet6": Setting(64, 400, 800, 1),
    "cifar10s": Setting(64, 400, 800, 1),
    "hymenoptera2": Setting(96, 150, 800, 2),
    "covidxray3": Setting(96, 150, 800, 2),
}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("data", type=Path)
    run.add_argument("out", type=Path)
    run.add_argument("--minutes", type=float, default=45)
    run.add_argument("--sets", nargs="*", default=DEFAULT_SETS)
    run.add_argument("--schedules", nargs="*", default=SCHEDULES)
    run.add_argument("--views", nargs="*", default=VIEWS)
    run.add_argument("--epochs", type=int, default=EPOCHS)
    tabulate = commands.add_parser("table")
    tabulate.add_argument("out", type=Path)
    tabulate.add_argument("--json", type=Path)
    measure = commands.add_parser("pace")
    measure.add_argument("--sizes", type=int, nargs="*", default=[96, 160])
    measure.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.command == "pace":
        pace(given.sizes, given.json)
        return
    if given.command == "run":
        record(given)
        return
    runs = [json.loads(line) for line in given.out.read_text(encoding="utf-8").splitlines()]
    facts = {
        key: value for key, value in runs[0].items() if key in ("versions", "machine", "epochs", "model")
    }
    found = summary([one for one in runs[1:] if one["seed"] in whole_seeds(runs[1:], one["set"])])
    if given.json:
        given.json.write_text(json.dumps({**facts, **found}, indent=1) + "\n", encoding="utf-8")
    print(table(found))


# Recording


def record(given: argparse.Namespace) -> None:
    """Run seed after seed until the time is over; a seed of a set that has begun is finished."""
    began, out = time.monotonic(), given.out
    benches = {name: open_set(given.data, name) for name in given.sets}
    done = (
        {key_of(json.loads(line)) for line in out.read_text("utf-8").splitlines()} if out.exists() else set()
    )
    with out.open("a", encoding="utf-8") as file:
        if not done:
            facts = {"model": "mobilenetv2_100", "epochs": given.epochs, "versions": versions()}
            facts["machine"] = machine("cpu", torch.get_num_threads())
            print(json.dumps(facts), file=file, flush=True)
        for name, seed in turns(given.sets):
            if time.monotonic() - began > 60 * given.minutes:
                return
            for schedule, view in product(given.schedules, given.views):
                if (name, schedule, view, seed) not in done:
                    made = one_run(benches[name], name, schedule, view, seed, given.epochs)
                    print(json.dumps(made), file=file, flush=True)


def turns(sets: list[str]) -> Iterator[tuple[str, int]]:
    """Give sets and seeds in the order that they are run in, without end."""
    for turn in range(1000):
        for name in sets:
            for seed in range(turn * SETS[name].seeds, (turn + 1) * SETS[name].seeds):
                yield name, seed


def key_of(line: dict[str, Any]) -> tuple[Any, ...]:
    """Name a run."""
    return tuple(line.get(key) for key in ("set", "schedule", "views", "seed"))


def open_set(root: Path, name: str) -> Workbench:
    """Open one set; one fold, since images are drawn here."""
    weights = str(root / "weights" / "mobilenetv2_100.imagenet.fp16.safetensors")
    size = SETS[name].image_size
    return Workbench.open(
        Task(
            data=str(root / name),
            model="mobilenetv2_100",
            weights=weights,
            image_size=size,
            threads=1,
            folds=1,
        )
    )


def one_run(bench: Workbench, name: str, schedule: str, view: str, seed: int, epochs: int) -> dict[str, Any]:
    """Train once and score once, at the end."""
    dataset = bench.dataset
    split = drawn(dataset.labels, np.concatenate([dataset.train, dataset.val]), SETS[name], seed)
    space = SpaceSpec.from_text("head_lr: {low: 1.0e-6, high: 1}").resolve(
        bench.backbone.groups.names, epochs
    )
    usual = {one.name: one for one in baselines(space.n_backbone, epochs)}[schedule]
    steps, _ = space.build(usual.params)
    model = bench.build_model(seed)
    columns = Columns.of(model, bench.backbone.groups)
    few = bench.examples(Split(train=split.train, val=split.val[:1]))  # all of them are scored at the end
    began = time.process_time()
    regime = Regime(views=view)
    records: list[EpochRecord] = list(
        fit(
            model,
            columns,
            steps,
            regime,
            few,
            seed=derive(seed, "run"),
            device=bench.device,
            engine=bench.engine,
        )
    )
    seconds = time.process_time() - began
    predicted, losses = evaluate(model, few, split.val, bench.device)
    value = metrics.score("top1", dataset.labels[split.val], predicted, float(losses.mean()))
    return {
        "set": name,
        "image_size": SETS[name].image_size,
        "schedule": schedule,
        "views": view,
        "seed": seed,
        "n_train": len(split.train),
        "n_val": len(split.val),
        "value": value,
        "log_loss": float(losses.mean()),
        "train_top1": records[-1].train_top1,
        "seconds": seconds,
    }


def drawn(labels: np.ndarray, pool: np.ndarray, setting: Setting, seed: int) -> Split:
    """Draw what is trained on and what is scored on, of each class its share."""
    rng = np.random.default_rng([seed, 11])
    train, val = [], []
    for label in np.unique(labels[pool]):
        ids = rng.permutation(pool[labels[pool] == label])
        first, more = (round(n * len(ids) / len(pool)) for n in (setting.n_train, setting.n_val))
        train += [*ids[:first]]
        val += [*ids[first : first + more]]
    return Split(train=np.sort(train), val=np.sort(val))


def pace(sizes: list[int], out: Path | None) -> None:
    """Render batches of 32 by each kind of views in turn, on one thread; medians of processor time."""
    torch.set_num_threads(1)
    kinds = (("none", 0.0), ("flip", 0.0), ("bank:8", 0.0), ("online", 0.0), ("online", 0.25))
    ids, half = np.arange(BATCH), (0.5, 0.5, 0.5)
    rates = {}
    for size in sizes:
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8))
        times: dict[tuple[str, float], list[float]] = {kind: [] for kind in kinds}
        for epoch in range(REPEATS):
            for view, erase in kinds:
                began = time.process_time()
                which = numbers(view, 1, ids, epoch)
                render(view, images, ids, which, half, half, seed=1, erase=erase)
                times[view, erase].append(time.process_time() - began)
        rates[size] = {kind: BATCH / float(np.median(times[kind])) for kind in kinds}
    names = [view + (f", erase {erase:g}" if erase else "") for view, erase in kinds]
    print(f"| px | {' | '.join(names)} |\n|---|{'---|' * len(kinds)}")
    for size, of in rates.items():
        print(f"| {size} | {' | '.join(f'{rate:,.0f}' for rate in of.values())} |")
    if out:
        facts = {"repeats": REPEATS, "versions": versions(), "machine": machine("cpu", 1)}
        told = {size: dict(zip(names, of.values(), strict=True)) for size, of in rates.items()}
        out.write_text(json.dumps({**facts, "images_per_second": told}, indent=1) + "\n", encoding="utf-8")


# Reading


def whole_seeds(runs: list[dict[str, Any]], name: str) -> set[int]:
    """Give the seeds of a set for which every schedule has run with every view."""
    keys = {key_of(one) for one in runs}
    views, schedules = {one["views"] for one in runs}, {one["schedule"] for one in runs}
    seeds = {one["seed"] for one in runs if one["set"] == name}
    return {seed for seed in seeds if all((name, s, view, seed) in keys for s in schedules for view in views)}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean values, and paired differences from flips, by set and schedule and over all; ± standard errors."""
    of = {key_of(one): one for one in runs}
    views = [
        view for view in ("none", "flip", "bank:4", "bank:8", "online") if any(view == key[2] for key in of)
    ]
    schedules = [schedule for schedule in SCHEDULES if any(schedule == key[1] for key in of)]
    rows, by_set, losses = [], {}, {}
    for name in [name for name in SETS if any(key[0] == name for key in of)]:
        seeds = sorted({key[3] for key in of if key[0] == name})
        values = np.array([[[of[name, s, v, d]["value"] for v in views] for s in schedules] for d in seeds])
        seconds = np.array(
            [[[of[name, s, v, d]["seconds"] for v in views] for s in schedules] for d in seeds]
        )
        some = of[name, schedules[0], views[0], seeds[0]]
        about = {"set": name, "n": len(seeds), "n_train": some["n_train"], "n_val": some["n_val"]}
        about["image_size"] = some["image_size"]
        for place, schedule in enumerate((*schedules, "all")):
            part = values.mean(axis=1) if place == len(schedules) else values[:, place]
            time_of = seconds.mean(axis=(0, 1)) if place == len(schedules) else seconds[:, place].mean(axis=0)
            rows.append({**about, "schedule": schedule, "views": cells(views, part, time_of)})
        by_set[name] = values.mean(axis=1)
        losses[name] = np.array(
            [[np.mean([of[name, s, v, d]["log_loss"] for s in schedules]) for v in views] for d in seeds]
        )
    both = {"overall": overall(views, by_set), "overall_log_loss": overall(views, losses)}
    return {"views": views, "rows": rows, **both}


def cells(views: list[str], values: np.ndarray, seconds: np.ndarray) -> dict[str, Any]:
    """Summarise values (seeds, views)."""
    apart = values - values[:, [views.index("flip")]]
    return {
        view: {
            "mean": values[:, place].mean(),
            "se": error_of(values[:, place]),
            "against_flip": apart[:, place].mean(),
            "against_flip_se": error_of(apart[:, place]),
            "seconds": seconds[place],
        }
        for place, view in enumerate(views)
    }


def overall(views: list[str], by_set: dict[str, np.ndarray]) -> dict[str, Any]:
    """Every view against every other: the mean over the sets, each weighing alike."""
    found: dict[str, Any] = {}
    for place, view in enumerate(views):
        for other, against in enumerate(views):
            apart = [values[:, place] - values[:, other] for values in by_set.values()]
            error = np.sqrt(sum(error_of(one) ** 2 for one in apart)) / len(apart)
            found.setdefault(view, {})[against] = {
                "mean": np.mean([one.mean() for one in apart]),
                "se": error,
            }
    return found


def error_of(values: np.ndarray) -> float:
    """Give the standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def table(found: dict[str, Any]) -> str:
    """Write it as Markdown: top-1 with flips, and differences in points; seconds beside."""
    views = found["views"]
    others = [view for view in views if view != "flip"]
    headings = [
        "data set",
        "schedule",
        "flip",
        *(f"{view} − flip" for view in others),
        f"s ({', '.join(views)})",
    ]
    lines = [
        f"| {' | '.join(headings)} |",
        "|---|---|---|" + "---|" * (len(others) + 1),
    ]
    for row in found["rows"]:
        of = row["views"]
        where = f"{row['set']}, {row['image_size']} px, {row['n_train']} / {row['n_val']}, n = {row['n']}"
        times = ", ".join(f"{of[view]['seconds']:.1f}" for view in views)
        apart = " | ".join(points(of[view]["against_flip"], of[view]["against_flip_se"]) for view in others)
        value = f"{of['flip']['mean']:.3f} ± {of['flip']['se']:.3f}"
        lines.append(f"| {where} | {row['schedule']} | {value} | {apart} | {times} |")
    for what, key in (("points", "overall"), ("log loss in hundredths of a nat", "overall_log_loss")):
        headings = [f"over all sets, {what}", *(f"− {view}" for view in views)]
        lines += ["", f"| {' | '.join(headings)} |", "|---|" + "---|" * len(views)]
        for view in views:
            apart = [
                points(one["mean"], one["se"]) if against != view else ""
                for against, one in found[key][view].items()
            ]
            lines.append(f"| {view} | {' | '.join(apart)} |")
    return "\n".join(lines)


def points(mean: float, error: float) -> str:
    """Write a difference in points."""
    return f"{100 * mean:+.1f} ± {100 * error:.1f}"


if __name__ == "__main__":
    main()
