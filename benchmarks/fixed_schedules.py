"""The same schedules by three loops, in turn in one process: what a whole search gains from its engine.

    python benchmarks/fixed_schedules.py DATA [--model mobilenetv2_100] [--weights FILE] [--image-size 128]
        [--mixes uniform shallow warmup] [--repeats 5] [--tutorial] [--enlarge 12] [--out JSON]

(a) The loop of tutorials: ImageFolder and DataLoader (two workers), every image decoded in every epoch,
    ``requires_grad = False`` for what is frozen.
(b) A strong loop by hand: decoded images in memory, flips and normalisation by batch, frozen layers in eval
    mode and without gradients, channels_last, fused AdamW.
(c) autofreeze's ``fit`` with one engine for all schedules of the mix. Its store starts empty in every repeat,
    so that filling it is paid for; the images are decoded already, as in (b).

Every loop trains the same schedules on the same training part and scores the same validation part after each
epoch. The bound is what (c) could be at best: the measured seconds of the parts above each border for every
step and validation, and of the parts below once for every image and view; nothing else. DATA is a folder with
train/ or one folder per class. ``--enlarge 12`` compares (a) with (c), decoding included, on copies of 200
images enlarged to 12 megapixels, as cameras give them.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from autofreeze.backbone import Backbone
from autofreeze.binding import Columns, make_optimizer
from autofreeze.engine import Engine, Stage
from autofreeze.examples import Examples
from autofreeze.features import FeatureStores
from autofreeze.pixels import render
from autofreeze.provenance import machine, versions
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.task import Task
from autofreeze.training import EVAL_CHUNK, fit
from autofreeze.trial import Workbench

RATE = 1e-4
Rows = Sequence[tuple[int, int]]
"""(epochs, lowest column that trains), row after row."""


@dataclass(frozen=True)
class Mix:
    """Schedules as a search draws them."""

    name: str
    schedules: tuple[Rows, ...]


def mixes(n_columns: int, epochs: int) -> tuple[Mix, ...]:
    """Give the three mixes for a model of so many columns."""
    head = n_columns - 1
    depths = list(range(n_columns))
    shallow = [head, head, head, head - 1, head - 1, head - 2, head - 3, 0]
    return (
        Mix("uniform", tuple([(epochs, lowest)] for lowest in depths)),
        Mix("shallow", tuple([(epochs, max(lowest, 0))] for lowest in shallow)),
        Mix("warmup", tuple([(epochs // 2, head), (epochs - epochs // 2, lowest)] for lowest in depths[:-1])),
    )


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="mobilenetv2_100")
    parser.add_argument("--weights")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--mixes", nargs="*", default=["uniform", "shallow", "warmup"])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=256, help="of the training part, at most")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tutorial", action="store_true", help="run loop (a) on the mixes as well")
    parser.add_argument("--enlarge", type=float, help="megapixels")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        opening = {
            "model": given.model, "weights": given.weights, "from_scratch": given.weights is None,
            "image_size": given.image_size, "device": given.device, "threads": given.threads, "folds": 1,
        }  # fmt: skip
        if given.enlarge:
            results["enlarged"] = enlarged(given, opening, Path(folder))
        else:
            bench = opened(given.data, opening, Path(folder) / "cache", given.images)
            for mix in mixes(len(bench.backbone.groups), given.epochs):
                if mix.name in given.mixes:
                    results[mix.name] = compared(bench, mix, given, Path(folder))
            results["head_epoch"] = head_epochs(bench, given.repeats, Path(folder))
        conditions = {
            "model": given.model, "image_size": given.image_size, "repeats": given.repeats,
            "machine": machine(given.device, torch.get_num_threads()), "versions": versions(),
        }  # fmt: skip
    if given.out:
        given.out.write_text(json.dumps({**results, **conditions}, indent=1) + "\n")


@dataclass(frozen=True)
class Bench:
    """An opened task with a part of its images."""

    bench: Workbench
    examples: Examples

    @property
    def backbone(self) -> Backbone:
        """Of the task."""
        return self.bench.backbone


def opened(data: Path, opening: dict[str, Any], cache: Path, images: int) -> Bench:
    """Open the task, decode its images, take some of them."""
    bench = Workbench.open(Task(data=str(data), cache_folder=str(cache), **opening))
    examples = bench.examples(bench.splits[0])
    keep = np.sort(np.random.default_rng(0).permutation(examples.train)[:images])
    val = np.sort(np.random.default_rng(1).permutation(examples.val)[: max(images // 4, 1)])
    return Bench(bench, replace(examples, train=keep, val=val))


def compared(bench: Bench, mix: Mix, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the loops on a mix in turn; tell their seconds and the bound."""
    loops: dict[str, Callable[[], float]] = {
        "hand": lambda: hand_loop(bench, mix),
        "fit": lambda: fit_loop(bench, mix, folder),
    }
    if given.tutorial:
        loops["tutorial"] = lambda: tutorial_loop(bench, mix, Path(bench.bench.task.data))
    seconds: dict[str, list[float]] = {name: [] for name in (*loops, "bound", "hand_bound")}
    for name in loops:  # once unmeasured
        loops[name]()
    for repeat in range(given.repeats):
        for name in loops if repeat % 2 == 0 else reversed(loops):
            seconds[name].append(loops[name]())
        parts = measured_parts(bench)
        seconds["bound"].append(bound(bench, mix, parts))
        seconds["hand_bound"].append(bound(bench, mix, parts, stored=False))
    rows = {name: statistics.median(own) for name, own in seconds.items()}
    gains = [b / c for b, c in zip(seconds["hand"], seconds["fit"], strict=True)]
    possible = [b / c for b, c in zip(seconds["hand_bound"], seconds["bound"], strict=True)]
    result = {
        "seconds": rows,
        "gain": statistics.median(gains),
        "gain_range": [min(gains), max(gains)],
        "bound": statistics.median(possible),
        "of_bound": statistics.median([one / other for one, other in zip(gains, possible, strict=True)]),
        "n": given.repeats,
    }
    gain = rows["tutorial"] / rows["fit"] if given.tutorial else 0.0
    beside = f"; tutorial {rows['tutorial']:.2f} s: {gain:.2f}×" if given.tutorial else ""
    print(
        f"{mix.name:<8} hand {rows['hand']:7.2f} s, fit {rows['fit']:7.2f} s: {result['gain']:.2f}× "
        f"({min(gains):.2f}–{max(gains):.2f}); bound {result['bound']:.2f}×, "
        f"reached {result['of_bound']:.3f} of it{beside}",
        flush=True,
    )
    return result


# The three loops


def schedule_of(bench: Bench, rows: Rows) -> Schedule:
    """Write rows as a schedule with constant rates."""
    names = bench.backbone.groups.names
    phases = tuple(
        Phase(epochs=epochs, lrs=tuple(RATE if column >= lowest else None for column in range(len(names))))
        for epochs, lowest in rows
    )
    return Schedule(groups=names, phases=phases, curve="constant")


def empty_engine(bench: Bench, cache: Path) -> Engine:
    """Give an engine whose store is empty; the models have been cut before, as in any later trial."""
    old = bench.bench.engine
    stores = FeatureStores(cache, ids=np.union1d(bench.examples.train, bench.examples.val),
                           n_images=len(bench.examples.labels), device=bench.bench.device)  # fmt: skip
    engine = Engine(bench.backbone, old.n_classes, old.device, stores, decoded=old.decoded)
    engine.cutter = old.cutter
    return engine


def fit_loop(bench: Bench, mix: Mix, folder: Path) -> float:
    """Train by ``fit``; the store starts empty."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        own = empty_engine(bench, Path(cache))
        began = time.perf_counter()
        for rows in mix.schedules:
            model = bench.bench.build_model(0)
            columns = Columns.of(model, bench.backbone.groups)
            for _ in fit(model, columns, schedule_of(bench, rows), Regime(), bench.examples, seed=0,
                         device=bench.bench.device, engine=own):  # fmt: skip
                pass
        return time.perf_counter() - began


class Hand:
    """A model whose lower columns are frozen by hand."""

    def __init__(self, bench: Bench) -> None:
        self.device = bench.bench.device
        self.model = bench.bench.build_model(0).to(device=self.device, memory_format=torch.channels_last)
        self.columns = Columns.of(self.model, bench.backbone.groups)
        named = dict(self.model.named_parameters())
        self.owned = tuple(
            tuple(named[name] for name in group.parameters) for group in bench.backbone.groups.groups
        )
        self.optimizer = make_optimizer(self.owned, Regime())
        for entry in self.optimizer.param_groups:
            entry["lr"] = RATE

    def freeze_below(self, lowest: int, *, modes: bool = True) -> None:
        """Let the columns from ``lowest`` up train."""
        for column, own in enumerate(self.owned):
            for parameter in own:
                parameter.requires_grad_(column >= lowest)
        self.model.train()
        for name, module in self.model.named_modules():
            module.training = not modes or self.columns.of_module[name] >= lowest

    def step(self, pixels: Tensor, targets: Tensor) -> None:
        """Take one step; a loop by hand looks at its loss as well."""
        loss = F.cross_entropy(self.model(pixels), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss.item()
        self.optimizer.step()


def hand_loop(bench: Bench, mix: Mix) -> float:
    """Train by the strong loop."""
    images = np.asarray(bench.examples.images)
    images = torch.from_numpy(np.array(images))
    labels = torch.tensor(bench.examples.labels)
    preprocessing, device = bench.examples.preprocessing, bench.bench.device

    def pixels(ids: Tensor, flips: np.ndarray) -> Tensor:
        return render("flip", images[ids].to(device), ids.numpy(), flips, preprocessing.mean,
                      preprocessing.std, seed=0)  # fmt: skip

    rng = np.random.default_rng(0)
    began = time.perf_counter()
    for rows in mix.schedules:
        hand = Hand(bench)
        for epochs, lowest in rows:
            for _ in range(epochs):
                hand.freeze_below(lowest)
                order = torch.from_numpy(rng.permutation(bench.examples.train))
                for ids in order.split(32):
                    flips = rng.integers(0, 2, len(ids))
                    hand.step(pixels(ids, flips), labels[ids].to(device))
                hand.model.eval()
                with torch.no_grad():
                    for ids in torch.from_numpy(bench.examples.val).split(EVAL_CHUNK):
                        hand.model(pixels(ids, np.zeros(len(ids), np.int64))).argmax(1).cpu()
    return time.perf_counter() - began


def tutorial_loop(bench: Bench, mix: Mix, folder: Path) -> float:
    """Train as tutorials do."""
    size, device = bench.backbone.preprocessing.image_size, bench.bench.device
    preprocessing = bench.backbone.preprocessing
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preprocessing.mean, preprocessing.std)]  # fmt: skip
    resize = [v2.Resize(round(size / preprocessing.crop_pct)), v2.CenterCrop(size)]
    source = folder / "train" if (folder / "train").is_dir() else folder
    augmented = ImageFolder(str(source), v2.Compose([*resize, v2.RandomHorizontalFlip(), *last]))
    plain = ImageFolder(str(source), v2.Compose([*resize, *last]))
    n_train, n_val = len(bench.examples.train), len(bench.examples.val)
    ids = np.random.default_rng(0).permutation(len(augmented))[: n_train + n_val].tolist()
    training = DataLoader(Subset(augmented, ids[:n_train]), batch_size=32, shuffle=True, num_workers=2)
    validation = DataLoader(Subset(plain, ids[n_train:]), batch_size=32, num_workers=2)
    began = time.perf_counter()
    for rows in mix.schedules:
        hand = Hand(bench)
        for epochs, lowest in rows:
            for _ in range(epochs):
                hand.freeze_below(lowest, modes=False)
                for pixels, targets in training:
                    hand.step(pixels.to(device), targets.to(device))
                hand.model.eval()
                with torch.no_grad():
                    for pixels, _ in validation:
                        hand.model(pixels.to(device)).argmax(1).cpu()
    return time.perf_counter() - began


# The bound


@dataclass(frozen=True)
class Parts:
    """Measured seconds by image, at one border."""

    below: float
    """Forward of what lies below it, in the engine's chunks."""

    step: float
    """Forward, backward and update of what lies above it."""

    scoring: float
    """Forward of what lies above it, in validation's chunks."""


def measured_parts(bench: Bench) -> list[Parts]:
    """Measure the parts below and above every border on tensors in memory."""
    engine = replace(bench.bench.engine, stores=None)
    return [measured_part(bench, engine, lowest) for lowest in range(len(bench.backbone.groups))]


def measured_part(bench: Bench, engine: Engine, lowest: int) -> Parts:
    """Measure what lies below and above one border."""
    device = bench.bench.device
    ids = np.resize(bench.examples.train, 4 * 32)
    targets = torch.from_numpy(bench.examples.labels[ids]).to(device)
    hand = Hand(bench)
    hand.freeze_below(lowest)
    stage = Stage(engine, hand.model, bench.examples, lowest, view="none", seed=0, erase=0.0, device=device)
    rows = stage.rows(ids, None)
    below = 0.0 if lowest == 0 else _seconds(lambda: stage.rows(ids, None)) / len(ids)
    suffix = stage.forward()

    def train() -> None:
        for start in range(0, len(ids), 32):
            part = slice(start, start + 32)
            loss = F.cross_entropy(suffix(*(one[part].clone() for one in rows)), targets[part])
            hand.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            loss.item()
            hand.optimizer.step()

    step = _seconds(train) / len(ids)
    hand.model.eval()
    scorer = stage.forward()

    def score() -> None:
        with torch.no_grad():
            scorer(*(one.clone() for one in rows)).argmax(1).cpu()

    return Parts(below, step, _seconds(score) / len(ids))


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of doing it once: the median of three after a first time."""
    work()
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def bound(bench: Bench, mix: Mix, parts: list[Parts], *, stored: bool = True) -> float:
    """Add up the parts: what lies below once for each border and view, or each time."""
    n_train, n_val = len(bench.examples.train), len(bench.examples.val)
    seconds = 0.0
    borders: dict[int, int] = {}
    for rows in mix.schedules:
        for epochs, lowest in rows:
            part = parts[lowest]
            seconds += epochs * (n_train * part.step + n_val * part.scoring)
            if stored:
                borders[lowest] = borders.get(lowest, 0) + epochs
            else:
                seconds += epochs * (n_train + n_val) * part.below
    for lowest, epochs in borders.items():
        # Of both mirror images those are needed that some epoch shows.
        shown = 2 * (1 - 0.5**epochs)
        seconds += (n_train * shown + n_val) * parts[lowest].below
    return seconds


def head_epochs(bench: Bench, repeats: int, folder: Path) -> dict[str, Any]:
    """Compare epochs of the head alone: the strong loop against ``fit`` once its store is filled."""
    head = len(bench.backbone.groups) - 1
    ratios = []
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        engine = empty_engine(bench, Path(cache))
        model = bench.bench.build_model(0)
        columns = Columns.of(model, bench.backbone.groups)
        schedule = schedule_of(bench, [(100_000, head)])
        records = fit(model, columns, schedule, Regime(), bench.examples, seed=0, device=bench.bench.device,
                      engine=engine)  # fmt: skip
        for _ in range(3):
            next(records)
        one = Mix("head", ([(1, head)],))
        for _ in range(repeats):
            hand = hand_loop(bench, one)
            began = time.perf_counter()
            for _ in range(20):
                next(records)
            ratios.append(hand / ((time.perf_counter() - began) / 20))
    print(f"an epoch of the head alone: {statistics.median(ratios):.0f}× cheaper than by the strong loop "
          f"({min(ratios):.0f}–{max(ratios):.0f}, n = {repeats})", flush=True)  # fmt: skip
    return {"ratio": statistics.median(ratios), "range": [min(ratios), max(ratios)], "n": repeats}


def enlarged(given: argparse.Namespace, opening: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Compare (a) with (c), decoding included, on images as large as cameras give them."""
    source = given.data / "train" if (given.data / "train").is_dir() else given.data
    found = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    picked = [found[i] for i in np.random.default_rng(0).permutation(len(found))[:200]]
    large = folder / "large"
    side = round((given.enlarge * 1e6 * 4 / 3) ** 0.5), round((given.enlarge * 1e6 * 3 / 4) ** 0.5)
    for turn, path in enumerate(picked):
        place = large / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("RGB").resize(side, Image.Resampling.BICUBIC).save(
                place / f"{turn}.jpg", quality=92
            )
    ratios, seconds = [], {"tutorial": [], "fit": []}
    for repeat in range(given.repeats):
        began = time.perf_counter()
        bench = opened(large, opening, folder / f"cache{repeat}", 160)
        mix = mixes(len(bench.backbone.groups), given.epochs)[2]
        fit_loop(bench, mix, folder)
        ours = time.perf_counter() - began
        theirs = tutorial_loop(bench, mix, large)
        seconds["tutorial"].append(theirs)
        seconds["fit"].append(ours)
        ratios.append(theirs / ours)
    medians = {name: statistics.median(own) for name, own in seconds.items()}
    ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(
        f"200 images of {given.enlarge:g} MP, warmup mix: tutorial {medians['tutorial']:.1f} s, fit with "
        f"decoding {medians['fit']:.1f} s: {ratio:.1f}× ({low:.1f}–{high:.1f}, n = {given.repeats})",
        flush=True,
    )
    return {"ratio": ratio, "range": [low, high], "n": given.repeats, "seconds": medians}


if __name__ == "__main__":
    main()
