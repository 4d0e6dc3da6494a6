"""What freezing first does to the first gradient into the backbone, and what comes of it.

    python benchmarks/first_gradient.py run DATA OUT.jsonl [--sets hymenoptera2 covidxray3] [--seeds 8]
    python benchmarks/first_gradient.py table OUT.jsonl

DATA holds a folder for each set and weights/mobilenetv2_100.imagenet.fp16.safetensors. One schedule, the
backbone at one rate, constant, eight epochs in all, is trained at once and with its first epochs for the head
alone. Each seed draws 64 training images, order and head; runs of one seed are pairs. First the beginnings of
all runs are recorded, up to an epoch after the thaw; then some are trained to their end, and scored on the
images that were not drawn. One thread; about six minutes of one core. The test parts are not read. A
recording that was stopped goes on where it was.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from autofreeze.binding import Columns
from autofreeze.examples import Examples
from autofreeze.job import EpochRecord, Thaw
from autofreeze.ranks import median_of
from autofreeze.regime import OptimizerName, Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.task import Task
from autofreeze.training import evaluate, fit
from autofreeze.trial import Workbench

Norm = Literal["follow", "eval"]

N_TRAIN, N_FOLLOWED, EPOCHS, BATCH = 64, 32, 8.0, 16
WARMUPS = (0.0, 0.5, 1.0, 2.0, 4.0)
TO_THE_END = (0.0, 1.0, 4.0)
"""Those by which AdamW's runs are scored at their end too."""

RATES: dict[tuple[OptimizerName, Norm], tuple[tuple[float, ...], float, tuple[float, ...]]] = {
    ("adamw", "follow"): ((1e-3, 1e-2), 3e-4, WARMUPS),
    ("adamw", "eval"): ((1e-3, 1e-2), 3e-4, TO_THE_END),
    ("sgd", "follow"): ((1e-2,), 1e-3, TO_THE_END),
}
"""Optimizer and BatchNorm of what trains -> rates of the head, the rate of the backbone, and warm-ups."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run")
    command.add_argument("data", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("--sets", nargs="*", default=["hymenoptera2", "covidxray3"])
    command.add_argument("--seeds", type=int, default=8)
    commands.add_parser("table").add_argument("out", type=Path)
    given = parser.parse_args()
    if given.command == "table":
        print(table([json.loads(line) for line in given.out.read_text().splitlines()]))
        return
    record(given)


# Recording


def record(given: argparse.Namespace) -> None:
    """Train what is still missing from the file, a line of JSON for each run: beginnings, then whole runs."""
    lines = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    begun = {tuple(line[name] for name in KEY) for line in lines}
    whole = {tuple(line[name] for name in KEY) for line in lines if "value" in line}
    benches = {name: open_set(given.data, name) for name in given.sets}
    with given.out.open("a") as stream:
        for to_the_end, done in ((False, begun), (True, whole)):
            for key in keys(given, to_the_end=to_the_end):
                if key not in done:
                    line = dict(zip(KEY, key, strict=True)) | trained(
                        benches[key[0]], key, to_the_end=to_the_end
                    )
                    print(json.dumps(line), file=stream, flush=True)


Key = tuple[str, OptimizerName, Norm, float, float, int]


def keys(given: argparse.Namespace, *, to_the_end: bool) -> Iterator[Key]:
    """Give all runs, seed after seed."""
    for seed, name in product(range(given.seeds), given.sets):
        for (optimizer, norm), (head_lrs, _, warmups) in RATES.items():
            if to_the_end and (optimizer, norm) != ("adamw", "follow"):
                continue
            for head_lr, warmup in product(head_lrs, TO_THE_END if to_the_end else warmups):
                yield name, optimizer, norm, head_lr, warmup, seed


KEY = ("set", "optimizer", "norm", "head_lr", "warmup", "seed")


def open_set(root: Path, name: str) -> Workbench:
    """Open one set at 64 px; one fold, since images are drawn here."""
    weights = str(root / "weights" / "mobilenetv2_100.imagenet.fp16.safetensors")
    task = Task(
        data=str(root / name), model="mobilenetv2_100", weights=weights, image_size=64, threads=1, folds=1
    )
    return Workbench.open(task)


def trained(bench: Workbench, key: Key, *, to_the_end: bool) -> dict[str, Any]:
    """Train once; give the first gradient, the drift after it, and how it ended."""
    _, optimizer, norm, head_lr, warmup, seed = key
    examples, rest = drawn(bench, seed)
    groups = bench.backbone.groups.names
    model = bench.build_model(seed)
    regime = Regime(optimizer=optimizer, batch_size=BATCH, norm=norm)
    schedule = schedule_of(groups, head_lr, RATES[optimizer, norm][1], warmup)
    records: list[EpochRecord] = []
    for one in fit(
        model, Columns.of(model, bench.backbone.groups), schedule, regime, examples,
        seed=seed, device=bench.device, engine=bench.engine,
    ):  # fmt: skip
        records.append(one)
        if not to_the_end and one.epochs_done >= warmup + 1:
            break
    found = first_gradient(next(thaw for one in records for thaw in one.thaws if thaw.of_backbone))
    found["drift"] = drift_after(records, warmup + 1)
    found["ended"] = records[-1].diverged
    if to_the_end:
        predicted, _ = evaluate(model, examples, rest, bench.device)
        found["value"] = balanced_accuracy_score(bench.dataset.labels[rest], predicted)
        found["n_val"] = len(rest)
    return found


def drawn(bench: Workbench, seed: int) -> tuple[Examples, np.ndarray]:
    """Draw training images, as many of each class; the others are what is scored at the end.

    Returns:
        Examples whose validation part is the first of the others, by which features are followed; and the ids
        of all others.
    """
    labels, rng = bench.dataset.labels, np.random.default_rng([seed, 7])
    pool = rng.permutation(np.concatenate([bench.dataset.train, bench.dataset.val]))
    classes = len(bench.dataset.classes)
    train = np.concatenate([pool[labels[pool] == label][: N_TRAIN // classes] for label in range(classes)])
    rest = pool[~np.isin(pool, train)]
    examples = Examples(
        images=bench.store.images,
        labels=labels,
        n_classes=classes,
        train=np.sort(train),
        val=np.sort(rest[:N_FOLLOWED]),
        preprocessing=bench.backbone.preprocessing,
    )
    return examples, np.sort(rest)


def schedule_of(groups: tuple[str, ...], head_lr: float, backbone_lr: float, warmup: float) -> Schedule:
    """Give the schedule whose first epochs train the head alone; all rates are constant."""
    n_backbone = len(groups) - 1
    rows = [(warmup, (None,) * n_backbone), (EPOCHS - warmup, (backbone_lr,) * n_backbone)]
    phases = tuple(Phase(epochs=epochs, lrs=(*lrs, head_lr)) for epochs, lrs in rows if epochs)
    return Schedule(groups=groups, phases=phases, curve="constant")


def first_gradient(thaw: Thaw) -> dict[str, float]:
    """Give the gradient of a thaw over the whole backbone, and over its weights."""
    norm, weights = (
        float(np.linalg.norm(np.array(norms[:-1], float))) for norms in (thaw.grad_norms, thaw.weight_norms)
    )
    return {"loss": thaw.loss, "gradient": norm, "over_weights": norm / weights}


def drift_after(records: Sequence[EpochRecord], epochs: float) -> float | None:
    """Give the drift at a time; between two records it is read off the line between them."""
    if records[-1].epochs_done < epochs or any(one.drift is None for one in records):
        return None
    times, drifts = [one.epochs_done for one in records], [one.drift or 0.0 for one in records]
    return float(np.interp(epochs, times, drifts))


# The table


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Write the table: medians over seeds, the least and the most, and what is paired by seed."""
    heading = (
        "| set | optimizer | BatchNorm | head rate | head alone, epochs | n | loss at the thaw "
        "| first gradient | over weights | × at once | drift an epoch later | × at once "
        "| value | over at once |"
    )
    return "\n".join([heading, "|---|---|---|---|---|" + "---:|" * 9, *rows(runs)])


def rows(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Give a row for each set, optimizer, rate and warm-up."""
    cells: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = {}
    for run in runs:
        cells.setdefault(tuple(run[name] for name in KEY[:-1]), {})[run["seed"]] = run
    for (name, optimizer, norm, head_lr, warmup), own in sorted(cells.items()):
        at_once = cells[name, optimizer, norm, head_lr, 0.0]
        told = [name, optimizer, norm, f"{head_lr:g}", f"{warmup:g}", str(len(own))]
        told += [spread(own, "loss", 2), spread(own, "gradient", 2), spread(own, "over_weights", 4)]
        told += [ratio(own, at_once, "gradient") if warmup else "1", spread(own, "drift", 3)]
        told += [ratio(own, at_once, "drift") if warmup else "1", spread(own, "value", 3)]
        told += [lead(own, at_once) if warmup else ""]
        yield "| " + " | ".join(told) + " |"


Cell = dict[int, dict[str, Any]]


def _values(cell: Cell, name: str) -> list[float]:
    return [run[name] for run in cell.values() if run.get(name) is not None]


def spread(cell: Cell, name: str, digits: int) -> str:
    """Write a median, the least and the most."""
    values = _values(cell, name)
    if not values:
        return "–"
    least, middle, most = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f}–{most:.{digits}f})"


def _paired(own: Cell, other: Cell, name: str, by: Callable[[float, float], float]) -> list[float]:
    seeds = [seed for seed in own if seed in other]
    pairs = [(own[seed].get(name), other[seed].get(name)) for seed in seeds]
    return [by(one, two) for one, two in pairs if one is not None and two is not None]


def ratio(own: Cell, at_once: Cell, name: str) -> str:
    """Write the median ratio to the run at once of the same seed, and its interval."""
    found = median_of(_paired(own, at_once, name, lambda one, two: one / two))
    if found is None:
        return "–"
    span = "" if found.low is None else f" ({found.low:.2f}–{found.high:.2f})"
    return f"{found.median:.2f}{span}"


def lead(own: Cell, at_once: Cell) -> str:
    """Write the mean lead over the run at once of the same seed, in points, and its standard error."""
    leads = [100 * lead for lead in _paired(own, at_once, "value", lambda one, two: one - two)]
    if len(leads) < 2:
        return "–"
    error = statistics.stdev(leads) / len(leads) ** 0.5
    return f"{statistics.mean(leads):+.1f} ± {error:.1f} pt (n = {len(leads)})"


if __name__ == "__main__":
    main()
