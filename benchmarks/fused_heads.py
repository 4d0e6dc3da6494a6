"""What a head costs in a sweep of many, beside one that is trained alone.

    python benchmarks/fused_heads.py [--models resnet18 ...] [--classes 6 100] [--repeats 7] [--out FILE.json]

Four ways to train the head alone, over the same images in the same order, batch 32, AdamW; epochs of all
alternate in one process: one head by ``fit`` without the engine, whose every step runs the whole model; one
head by ``fit`` on stored features; sweeps of several sizes by ``fit_heads`` on stored features; and one sweep
with the features computed anew for each batch. A head of a sweep costs the sweep's seconds over its heads.
Then as many heads are trained side by side and alone over whole runs, and their curves compared. Weights are
random; images are noise, read again and again so that an epoch has 64 steps.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autofreeze.allocator import keep_freed_memory
from autofreeze.backbone import Backbone, load_backbone
from autofreeze.binding import Columns
from autofreeze.engine import Engine
from autofreeze.examples import Examples
from autofreeze.features import FeatureStores
from autofreeze.fused import fit_heads
from autofreeze.job import EpochRecord, Member
from autofreeze.provenance import machine, versions
from autofreeze.recipes import linear_probe
from autofreeze.regime import Regime
from autofreeze.sweeps import MOST_MEMBERS
from autofreeze.training import fit
from autofreeze.trial import pick_device

MODELS = ("resnet18", "mobilenetv2_100", "vit_tiny_patch16_224", "convnext_atto")
SIZES = (4, 8, MOST_MEMBERS, 32)
N_IMAGES, TIMES, BATCH = 128, 16, 32
LONGEST = 100_000
"""Epochs of a run that is stopped when enough has been measured."""

AGREE_EPOCHS = 12.0


def main() -> None:
    """Measure all models and numbers of classes, print a table, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--classes", nargs="*", type=int, default=(6, 100))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = pick_device(given.device)
    if device.type == "cpu":
        keep_freed_memory()
    if given.threads:
        torch.set_num_threads(given.threads)
    print(
        f"{'':<38} {'one alone, ms a step':>20}   a head of a sweep on stored features, against one alone\n"
        f"{'model':<22} {'width':>6} {'classes':>8} {'whole':>11} {'stored':>8}   "
        + "".join(f"{f'{n} heads':>16}" for n in SIZES)
    )
    rows = []
    for name in given.models:
        backbone = load_backbone(name, from_scratch=True, image_size=given.image_size)
        for classes in given.classes:
            row = measured(backbone, classes, given.image_size, device, given.repeats)
            rows.append(row)
            told = (f"{one['head_ms']:.3f} 1/{one['of_stored']:.1f}" for one in row["sweeps"])
            print(
                f"{name:<22} {row['width']:>6} {classes:>8} {row['whole_ms']:11.2f} "
                f"{row['stored_ms']:8.2f}   " + "".join(f"{cell:>16}" for cell in told),
                flush=True,
            )
            (chosen,) = (one for one in row["sweeps"] if one["heads"] == MOST_MEMBERS)
            print(
                f"{'':<22} one of {MOST_MEMBERS} heads, against one alone by the whole model: "
                f"1/{chosen['of_whole']:,.0f} stored, 1/{row['uncached_of_whole']:.1f} without stores"
            )
            print(f"{'':<22} curves: {agreement_line(row['agreement'])}", flush=True)
    if given.out:
        conditions = {"machine": machine(str(device), torch.get_num_threads()), "versions": versions()}
        given.out.write_text(
            json.dumps({"rows": rows, "repeats": given.repeats, **conditions}, indent=1) + "\n"
        )


def noise(backbone: Backbone, classes: int, image_size: int, *, times: int, val: bool = False) -> Examples:
    """Make images of noise: one half trains, the other validates, where anything does."""
    n = 2 * N_IMAGES
    shape = (n, image_size, image_size, 3)
    return Examples(
        images=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        labels=np.arange(n) % classes,
        n_classes=classes,
        train=np.tile(np.arange(N_IMAGES), times),
        val=np.arange(N_IMAGES, n if val else N_IMAGES + 8),
        preprocessing=backbone.preprocessing,
    )


def heads(backbone: Backbone, n: int, epochs: float) -> tuple[Member, ...]:
    """Give heads whose rates lie in even steps from 3e-4 to 1e-2."""
    rates = np.geomspace(3e-4, 1e-2, n)
    regime = Regime(batch_size=BATCH, views="none")
    return tuple(
        Member(schedule=linear_probe(backbone.groups.names, epochs, head_lr=float(rate)), regime=regime)
        for rate in rates
    )


def measured(
    backbone: Backbone, classes: int, image_size: int, device: torch.device, repeats: int
) -> dict[str, Any]:
    """Measure one model with one number of classes."""
    long = noise(backbone, classes, image_size, times=TIMES)
    short = noise(backbone, classes, image_size, times=1)
    compared = noise(backbone, classes, image_size, times=TIMES, val=True)
    with tempfile.TemporaryDirectory() as folder:
        n = len(compared.images)
        stores = FeatureStores(Path(folder), ids=np.arange(n), n_images=n, device=device)
        stored = Engine(backbone, classes, device, stores, decoded="noise")
        bare = Engine(backbone, classes, device)
        sides = {
            "whole": side(backbone, 1, short, device, None),
            "stored": side(backbone, 1, long, device, stored),
        }
        sides["uncached"] = side(backbone, MOST_MEMBERS, short, device, bare)
        for size in SIZES:
            sides[f"stored {size}"] = side(backbone, size, long, device, stored)
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for run in sides.values():
            run()  # sets everything up
        for repeat in range(repeats):
            for name in sides if repeat % 2 == 0 else reversed(sides):
                taken[name].append(sides[name]())
        agreement = compare(backbone, compared, device, stored)
    ms = {name: statistics.median(seconds) * 1e3 for name, seconds in taken.items()}
    ms_range = {name: [min(seconds) * 1e3, max(seconds) * 1e3] for name, seconds in taken.items()}
    return {
        "model": backbone.name,
        "width": backbone.build(classes, seed=0).num_features,
        "classes": classes,
        "whole_ms": ms["whole"],
        "stored_ms": ms["stored"],
        "uncached_ms": ms["uncached"],
        "uncached_of_whole": ratio(taken["whole"], taken["uncached"]) * MOST_MEMBERS,
        "sweeps": [
            {
                "heads": size,
                "sweep_ms": ms[f"stored {size}"],
                "head_ms": ms[f"stored {size}"] / size,
                "of_stored": ratio(taken["stored"], taken[f"stored {size}"]) * size,
                "of_whole": ratio(taken["whole"], taken[f"stored {size}"]) * size,
            }
            for size in SIZES
        ],
        "ms_range": ms_range,
        "n": repeats,
        "agreement": agreement,
    }


def ratio(alone: list[float], sweep: list[float]) -> float:
    """Give the median of what both took in the same repeat."""
    return statistics.median(one / other for one, other in zip(alone, sweep, strict=True))


def side(
    backbone: Backbone, n: int, examples: Examples, device: torch.device, engine: Engine | None
) -> Callable[[], float]:
    """Give a function that trains one epoch of one head, or of several, and tells the seconds of a step."""
    records = run(backbone, heads(backbone, n, LONGEST), examples, device, engine)
    steps = len(examples.train) // BATCH

    def epoch() -> float:
        began = time.perf_counter()
        next(records)
        return (time.perf_counter() - began) / steps

    return epoch


def run(
    backbone: Backbone,
    members: tuple[Member, ...],
    examples: Examples,
    device: torch.device,
    engine: Engine | None,
) -> Iterator[EpochRecord]:
    """Train one head by ``fit``, several by ``fit_heads``."""
    model = backbone.build(examples.n_classes, seed=0)
    columns = Columns.of(model, backbone.groups)
    if len(members) == 1:
        given = (members[0].schedule, members[0].regime)
        return fit(model, columns, *given, examples, seed=0, device=device, engine=engine)
    return fit_heads(model, columns, members, examples, seed=0, device=device, engine=engine)


def compare(
    backbone: Backbone, examples: Examples, device: torch.device, engine: Engine
) -> dict[str, float | int]:
    """Train heads side by side and alone over whole runs, and tell by how much their curves differ."""
    members = heads(backbone, MOST_MEMBERS, AGREE_EPOCHS)
    together = [record.members for record in run(backbone, members, examples, device, engine)]
    alone = [list(run(backbone, (member,), examples, device, engine)) for member in members]
    pairs = list(chain.from_iterable(zip(now, (curve[epoch] for curve in alone), strict=True)
                                     for epoch, now in enumerate(together)))  # fmt: skip
    ends = list(zip(together[-1], (curve[-1] for curve in alone), strict=True))
    same = [np.mean(one.predicted_classes == other.predicted_classes) for one, other in ends]
    return {
        "heads": len(members),
        "steps": together[-1][0].step,
        "train_loss": max(abs(one.train_loss - other.train_loss) for one, other in pairs),
        "val_loss": max(abs(one.val_loss - other.val_loss) for one, other in pairs),
        "value": max(abs(one.value - other.value) for one, other in pairs),
        "predictions_that_differ": float(1 - np.mean(same)),
    }


def agreement_line(found: dict[str, float | int]) -> str:
    """Say in a line how far curves lie apart."""
    return (
        f"{found['heads']} heads over {found['steps']} steps, side by side and alone, differ by at most "
        f"{found['train_loss']:.1g} nats in training, {found['val_loss']:.1g} in validation; "
        f"{100 * found['predictions_that_differ']:.2f} % of their predictions differ"
    )


if __name__ == "__main__":
    main()
