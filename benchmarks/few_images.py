"""How deep to train, and at which rates, with 5, 20 and 50 images a class: what docs/suggest.md rests on.

    python benchmarks/few_images.py DATA [--seeds 2] [--sizes 5 20 50] [--sets trashnet6 ...]

DATA holds a folder for each set and weights/mobilenetv2_100.imagenet.fp16.safetensors. Each run draws its
images anew by its seed; one line of JSON each. The test parts are not read. About two hours on two cores.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from autofreeze.binding import Columns
from autofreeze.examples import Examples
from autofreeze.recipes import gradual
from autofreeze.regime import Regime
from autofreeze.task import Task
from autofreeze.training import evaluate, fit
from autofreeze.trial import Workbench

N_VAL, EPOCHS, UNEVEN_EPOCHS = 180, {5: 20, 20: 20, 50: 12}, 8
SETS = {5: ("trashnet6", "hymenoptera2", "cifar10s", "covidxray3"), 50: ("trashnet6", "hymenoptera2")}
SETS[20] = SETS[5]
PROBE = {"head_lr": 3e-3, "unfreeze_depth": 0}
FULL = {"head_lr": 1e-3, "backbone_ratio": 1.0, "rates": "one"}
LOWER = {"head_lr": 3e-3, "backbone_ratio": 0.1, "rates": "one"}
SCHEDULES = {
    "probe": PROBE,
    "half": FULL | {"unfreeze_depth": 0.5},
    "full": FULL,
    "lower": LOWER,
    "lp_ft": LOWER,
}


def main() -> None:
    """Run everything, the seeds one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", default=sorted(EPOCHS))
    parser.add_argument("--sets", nargs="*", default=SETS[5])
    given = parser.parse_args()
    benches = {name: open_set(given.data, name) for name in given.sets}
    for seed in range(given.seeds):
        for size in given.sizes:
            for name in set(given.sets) & set(SETS[size]):
                counts = [size] * len(benches[name].dataset.classes)
                for schedule in SCHEDULES:
                    tell(benches[name], schedule, counts, EPOCHS[size], seed, Regime())
        if "trashnet6" in benches:
            for schedule in ("probe", "full"):
                for weights in ("none", "balanced"):
                    regime = Regime(class_weights=weights)
                    tell(benches["trashnet6"], schedule, [80] * 5 + [8], UNEVEN_EPOCHS, seed, regime)


def open_set(root: Path, name: str) -> Workbench:
    """Open one set at 64 px; one fold, since images are drawn here."""
    weights = str(root / "weights" / "mobilenetv2_100.imagenet.fp16.safetensors")
    return Workbench.open(
        Task(
            data=str(root / name), model="mobilenetv2_100", weights=weights, image_size=64, threads=1, folds=1
        )
    )


def tell(bench: Workbench, name: str, counts: list[int], epochs: int, seed: int, regime: Regime) -> None:
    """Train once, and print the balanced accuracy on images that were not drawn."""
    dataset, rng = bench.dataset, np.random.default_rng([seed, 7])
    train, val = [], []
    for label, count in enumerate(counts):
        pool = np.concatenate([dataset.train, dataset.val])
        ids = rng.permutation(pool[dataset.labels[pool] == label])
        train += [*ids[:count]]
        val += [*ids[count : count + N_VAL // len(counts)]]
    examples = Examples(
        images=bench.store.images,
        labels=dataset.labels,
        n_classes=len(counts),
        train=np.sort(train),
        val=np.sort(val)[:8],  # enough for a record; all of them are looked at once, at the end
        preprocessing=bench.backbone.preprocessing,
    )
    warmup = 0.2 * epochs if name == "lp_ft" else 0.0
    schedule = gradual(bench.backbone.groups.names, epochs, warmup_epochs=warmup, **SCHEDULES[name])
    model = bench.build_model(seed)
    columns = Columns.of(model, bench.backbone.groups)
    for _ in fit(model, columns, schedule, regime, examples, seed=seed, device=bench.device):
        pass
    predicted, _ = evaluate(model, examples, np.sort(val), bench.device)
    value = balanced_accuracy_score(dataset.labels[np.sort(val)], predicted)
    line = {"set": dataset.name, "images": counts, "schedule": name, "class_weights": regime.class_weights}
    print(json.dumps(line | {"seed": seed, "epochs": epochs, "n_val": len(val), "value": round(value, 4)}))


if __name__ == "__main__":
    main()
