"""How much of a step the engine itself takes: ``fit()`` against a bare loop over tensors in memory.

    python benchmarks/engine_efficiency.py [--models resnet18 …] [--image-size 128] [--repeats 5] [--out JSON]

At each depth both train the same columns on the same features, already computed, batch 32, AdamW. The bare
loop holds the features in memory, indexes them, runs forward, loss and backward, computes the norm of the
gradient of each column as ``fit`` does, and steps; it keeps no records, no rates, no modes. Epochs of both
alternate in one process. The efficiency is the bare loop's seconds over fit's: 1 means that the engine costs
nothing. Weights are random; images are noise, read again and again so that an epoch has 4 to 64 steps, the
fewer the longer they are.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autofreeze.allocator import keep_freed_memory
from autofreeze.backbone import Backbone, load_backbone
from autofreeze.binding import Columns, make_optimizer
from autofreeze.engine import Engine, Stage
from autofreeze.examples import Examples
from autofreeze.features import FeatureStores
from autofreeze.provenance import machine, versions
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.training import fit
from autofreeze.trial import pick_device

MODELS = ("resnet18", "mobilenetv2_100", "vit_tiny_patch16_224", "convnext_atto")
N_IMAGES, TIMES, BATCH, CLASSES = 128, 16, 32, 10
LONGEST = 100_000
"""Epochs of a run that is stopped when enough has been measured."""


def main() -> None:
    """Measure all models, print a table, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each repeat of each side, at least")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = pick_device(given.device)
    if device.type == "cpu":
        keep_freed_memory()
    if given.threads:
        torch.set_num_threads(given.threads)
    rows = []
    print(f"{'model':<22} {'trains':<18} {'bare ms':>8} {'fit ms':>8} {'efficiency':>10}  range")
    for name in given.models:
        for row in depths(name, given.image_size, device, given.repeats, given.seconds):
            rows.append(row)
            print(
                f"{name:<22} {row['lowest']:<18} {row['bare_ms']:8.2f} {row['fit_ms']:8.2f} "
                f"{row['efficiency']:10.3f}  {row['least']:.3f}–{row['most']:.3f}",
                flush=True,
            )
    slow = [row["efficiency"] for row in rows if row["bare_ms"] >= 2 and row["lowest"] != "head"]
    heads = [row["efficiency"] for row in rows if row["lowest"] == "head"]
    least = min(slow, default=float("nan"))
    print(f"least where a step takes 2 ms or more: {least:.3f} (n = {len(slow)} depths)")
    print(f"least of the head alone: {min(heads, default=float('nan')):.3f} (n = {len(heads)} models)")
    if given.out:
        conditions = {"machine": machine(str(device), torch.get_num_threads()), "versions": versions()}
        given.out.write_text(
            json.dumps({"rows": rows, "repeats": given.repeats, **conditions}, indent=1) + "\n"
        )


def depths(
    name: str, image_size: int, device: torch.device, repeats: int, seconds: float
) -> Iterator[dict[str, Any]]:
    """Measure one model at every depth, the head alone first."""
    backbone = load_backbone(name, from_scratch=True, image_size=image_size)
    noise = np.random.default_rng(0).integers(0, 256, (N_IMAGES, image_size, image_size, 3), dtype=np.uint8)
    examples = Examples(
        images=noise,
        labels=np.arange(N_IMAGES) % CLASSES,
        n_classes=CLASSES,
        train=np.arange(N_IMAGES),
        val=np.arange(0),
        preprocessing=backbone.preprocessing,
    )
    with tempfile.TemporaryDirectory() as folder:
        ids = np.arange(N_IMAGES)
        stores = FeatureStores(Path(folder), ids=ids, n_images=N_IMAGES, device=device)
        engine = Engine(backbone, CLASSES, device, stores, decoded="noise")
        for lowest in reversed(range(len(backbone.groups))):
            yield measured(backbone, engine, examples, lowest, device, repeats, seconds)


def measured(
    backbone: Backbone,
    engine: Engine,
    examples: Examples,
    lowest: int,
    device: torch.device,
    repeats: int,
    seconds: float,
) -> dict[str, Any]:
    """Measure one depth: epochs of both sides in turn."""
    steps = len(examples.train) // BATCH
    tried = bare_side(backbone, engine, examples, lowest, device)
    tried()
    times = int(np.clip(seconds / tried(), 1, TIMES))
    examples, steps = replace(examples, train=np.tile(examples.train, times)), times * steps
    ours, bare = (side(backbone, engine, examples, lowest, device) for side in (fit_side, bare_side))
    ours()
    once = bare()
    epochs = max(round(seconds / once), 1)
    pairs = []
    for repeat in range(repeats):
        sides = (bare, ours) if repeat % 2 == 0 else (ours, bare)
        taken = {side: sum(side() for _ in range(epochs)) / epochs / steps * 1e3 for side in sides}
        pairs.append((taken[bare], taken[ours]))
    ratios = [one / other for one, other in pairs]
    return {
        "model": backbone.name,
        "lowest": backbone.groups.names[lowest],
        "boundary": lowest,
        "bare_ms": statistics.median(one for one, _ in pairs),
        "fit_ms": statistics.median(other for _, other in pairs),
        "efficiency": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "n": repeats,
        "steps": epochs * steps,
        "steps_per_epoch": steps,
    }


def fit_side(
    backbone: Backbone, engine: Engine, examples: Examples, lowest: int, device: torch.device
) -> Callable[[], float]:
    """Give a function that trains one epoch by ``fit`` and tells its seconds."""
    model = backbone.build(CLASSES, seed=0)
    names = backbone.groups.names
    lrs = tuple(1e-5 if column >= lowest else None for column in range(len(names)))
    schedule = Schedule(groups=names, phases=(Phase(epochs=LONGEST, lrs=lrs),))
    regime = Regime(batch_size=BATCH, views="none")
    columns = Columns.of(model, backbone.groups)
    records = fit(model, columns, schedule, regime, examples, seed=0, device=device, engine=engine)

    def epoch() -> float:
        began = time.perf_counter()
        next(records)
        return time.perf_counter() - began

    return epoch


def bare_side(
    backbone: Backbone, engine: Engine, examples: Examples, lowest: int, device: torch.device
) -> Callable[[], float]:
    """Give a function that trains one epoch by a bare loop and tells its seconds."""
    model = backbone.build(CLASSES, seed=0).to(device=device, memory_format=torch.channels_last)
    columns = Columns.of(model, backbone.groups)
    for module_name, module in model.named_modules():
        module.training = columns.of_module[module_name] >= lowest
    named = dict(model.named_parameters())
    for column, group in enumerate(backbone.groups.groups):
        for parameter in group.parameters:
            named[parameter].requires_grad_(column >= lowest)
    stage = Stage(engine, model, examples, lowest, view="none", seed=0, erase=0.0, device=device)
    features = stage.rows(np.arange(N_IMAGES), None)
    suffix: nn.Module = stage.forward()
    owned = [[named[name] for name in group.parameters] for group in backbone.groups.groups[lowest:]]
    optimizer = make_optimizer(tuple(map(tuple, owned)), Regime(batch_size=BATCH))
    for entry in optimizer.param_groups:
        entry["lr"] = 1e-5
    labels = torch.from_numpy(examples.labels).to(device)
    rng = np.random.default_rng(0)

    def epoch() -> float:
        began = time.perf_counter()
        order = torch.from_numpy(rng.permutation(examples.train)).to(device)
        for batch in order.split(BATCH):
            step(suffix, optimizer, owned, tuple(one[batch] for one in features), labels[batch])
        return time.perf_counter() - began

    return epoch


def step(
    suffix: nn.Module,
    optimizer: torch.optim.Optimizer,
    owned: list[list[nn.Parameter]],
    inputs: tuple[Tensor, ...],
    targets: Tensor,
) -> None:
    """Take one step as one writes it by hand."""
    loss = F.cross_entropy(suffix(*inputs), targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norms = [
        nn.utils.get_total_norm([one.grad for one in column if one.grad is not None]) for column in owned
    ]
    loss.item()
    torch.stack(norms).tolist()
    optimizer.step()


if __name__ == "__main__":
    main()
