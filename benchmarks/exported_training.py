"""A schedule that a search found, trained by the trainers that it is exported to, the curves beside ours.

    python benchmarks/exported_training.py RUN DATA WEIGHTS OUT [--trial N] [--threads 1]

RUN is the run folder of a search on DATA with WEIGHTS. The schedule is exported to PyTorch, Lightning and
finetuning-scheduler into OUT, and trained by each on the first fold of its trial. The PyTorch file is run by
its command. Lightning and finetuning-scheduler run in a module as a user would write it, with the
exported callbacks and optimizer; their loader hands out the batches that autofreeze trains on, in the same
order and from the same head, so that curves differ by rounding alone where a trainer does the same. Ours is
trained three times: as searches do it, frozen layers computed once; whole in every step; and so with an
AdamW that is not fused, as that of the exports for Lightning, which rounds otherwise. It takes the extra
`conformance`.
"""

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.nn import functional as F

from autofreeze import metrics, views
from autofreeze.binding import Columns
from autofreeze.engine import Stage
from autofreeze.examples import Examples
from autofreeze.export.exporting import export_to, write_files
from autofreeze.export.native import NativeFile
from autofreeze.export.run import open_source
from autofreeze.seeds import derive
from autofreeze.task import Task
from autofreeze.training import evaluate, fit, loss_weights
from autofreeze.trial import Workbench


@dataclass(frozen=True)
class Point:
    """An epoch."""

    train_loss: float
    val_loss: float
    value: float


@dataclass
class Fold:
    """What every trainer is given: the model, and the batches of each epoch."""

    file: NativeFile
    bench: Workbench

    @property
    def examples(self) -> Examples:
        """The first fold."""
        return self.bench.examples(self.bench.splits[0])

    def model(self) -> torch.nn.Module:
        """Build a new model with the head that the seed decides."""
        return self.bench.build_model(self.file.seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pixels and classes of an epoch, as ``fit`` takes them."""
        examples, regime, seed = self.examples, self.file.regime, self.file.seed
        order = examples.train[views.order(derive(seed, "order"), epoch, len(examples.train))]
        batches = views.batches(order, regime.batch_size)
        ids, view_seed = np.concatenate(batches), derive(seed, "views")
        stage = Stage(
            None, torch.nn.Identity(), examples, 0, view=regime.views, seed=view_seed, erase=regime.erase,
            device=torch.device("cpu"),
        )  # fmt: skip
        numbers = views.numbers(regime.views, view_seed, ids, epoch)
        for own, (pixels,) in zip(
            batches, stage.batches(ids, numbers, [len(one) for one in batches]), strict=True
        ):
            yield pixels, torch.from_numpy(examples.labels[own])

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return math.ceil(len(self.examples.train) / self.file.regime.batch_size)

    def loss(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """As the regime says."""
        weights = loss_weights(self.examples, self.file.regime, torch.device("cpu"))
        return F.cross_entropy(
            logits, classes, weight=weights, label_smoothing=self.file.regime.label_smoothing
        )

    def point(self, model: torch.nn.Module, train_loss: float) -> Point:
        """Score a model; every module is left in the mode that it was in."""
        modes = {name: module.training for name, module in model.named_modules()}
        examples = self.examples
        predicted, losses = evaluate(model, examples, examples.val, torch.device("cpu"))
        for name, module in model.named_modules():
            module.training = modes[name]
        loss = float(losses.mean())
        value = metrics.score(self.bench.metric, examples.labels[examples.val], predicted, loss)
        return Point(train_loss, loss, value)


class Batches(torch.utils.data.IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """The batches of one epoch after the other."""

    def __init__(self, fold: Fold) -> None:
        self.fold, self.epoch = fold, -1

    def __len__(self) -> int:
        return self.fold.steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.epoch += 1
        return self.fold.batches(self.epoch)


def ours(fold: Fold, *, engine: bool) -> list[Point]:
    """Train by ``fit``."""
    model, file = fold.model(), fold.file
    columns = Columns.of(model, fold.bench.backbone.groups)
    records = fit(
        model, columns, file.schedule, file.regime, fold.examples, seed=file.seed, metric=fold.bench.metric,
        engine=fold.bench.engine if engine else None,
    )  # fmt: skip
    return [Point(one.train_loss, one.val_loss, one.value) for one in records]


class NotFused(torch.optim.AdamW):
    """torch's AdamW, operation by operation."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **{**options, "fused": False})


def not_fused(fold: Fold) -> list[Point]:
    """Train by ``fit`` with an AdamW that is not fused."""
    with mock.patch("torch.optim.AdamW", NotFused):
        return ours(fold, engine=False)


def lightning(fold: Fold, out: Path) -> list[Point]:
    """Train by the callbacks for Lightning."""
    [path] = write_files(out / "lightning_schedule.py", export_to("lightning", fold.file)[0], force=True)
    exported = _imported(path)
    callbacks = [exported.FreezingSchedule("model"), exported.KeepFrozenStill("model")]
    return _by_lightning(fold, exported.configure_optimizers, callbacks, out)


def finetuning_scheduler(fold: Fold, out: Path) -> list[Point]:
    """Train by the schedule and the callback for finetuning-scheduler."""
    from finetuning_scheduler import FinetuningScheduler, FTSCheckpoint

    files, _ = export_to("finetuning-scheduler", fold.file)
    schedule, beside = write_files(out / "fts.yaml", files, force=True)
    exported = _imported(beside)
    callbacks = [
        FinetuningScheduler(str(schedule), epoch_transitions_only=True, restore_best=False),
        FTSCheckpoint(dirpath=out / "fts", monitor=None, save_top_k=0),
        exported.ScheduledRates(),
        exported.KeepFrozenStill("model"),
    ]
    return _by_lightning(fold, exported.ByLayer, callbacks, out)


def _by_lightning(fold: Fold, optimizers: Callable[..., Any], callbacks: list[Any], out: Path) -> list[Point]:
    from lightning.pytorch import LightningModule, Trainer

    points: list[Point] = []

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = fold.model()
            self.losses: list[float] = []

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            loss = fold.loss(self.model(batch[0]), batch[1])
            self.losses += [float(loss.detach())] * len(batch[1])
            return loss

        def on_train_epoch_end(self) -> None:
            points.append(fold.point(self.model, float(np.mean(self.losses))))
            self.losses = []

        def configure_optimizers(self) -> Any:
            return optimizers(self.model)

    trainer = Trainer(
        accelerator="cpu", max_epochs=math.ceil(fold.file.schedule.epochs), callbacks=callbacks, logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=out,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loaders
        trainer.fit(Classifier(), torch.utils.data.DataLoader(Batches(fold), batch_size=None))
    return points


def pytorch(fold: Fold, out: Path, data: str, weights: str, threads: int) -> list[Point]:
    """Run the exported script by its own command."""
    [path] = write_files(out / "train.py", export_to("pytorch", fold.file)[0], force=True)
    trained = out / "pytorch"
    (trained / "model.safetensors").unlink(missing_ok=True)
    given = ["--weights", weights, "--out", str(trained), "--threads", str(threads)]
    subprocess.run([sys.executable, str(path), data, *given], check=True, stdout=subprocess.DEVNULL)
    curve = json.loads((trained / "curve.json").read_text())
    return [Point(one["train_loss"], one["val_loss"], one[fold.bench.metric]) for one in curve]


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Train by each, and print the curves as a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("run", "data", "weights", "out"):
        parser.add_argument(name)
    parser.add_argument("--trial", type=int)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    file = open_source(asked.run, trial=asked.trial).native
    given = {"data": asked.data, "weights": asked.weights, "threads": asked.threads}
    bench = Workbench.open(Task.parse({**file.image_task.model_dump(), **given}))
    fold, out = Fold(file, bench), Path(asked.out)
    trainers: dict[str, Callable[[], list[Point]]] = {
        "autofreeze": lambda: ours(fold, engine=True),
        "autofreeze, whole in every step": lambda: ours(fold, engine=False),
        "autofreeze, and AdamW not fused": lambda: not_fused(fold),
        "PyTorch": lambda: pytorch(fold, out, asked.data, asked.weights, asked.threads),
        "Lightning": lambda: lightning(fold, out),
        "finetuning-scheduler": lambda: finetuning_scheduler(fold, out),
    }
    print(f"{file.schedule}\n")
    curves = {}
    for name, train in trainers.items():
        began = time.perf_counter()
        curves[name] = train()
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    epochs = [f"epoch {number + 1}" for number in range(len(curves["autofreeze"]))]
    print(f"| trainer | {' | '.join(epochs)} |")
    print("|---" * (len(epochs) + 1) + "|")
    for name, curve in curves.items():
        cells = [f"{one.train_loss:.4f} / {one.val_loss:.4f} / {one.value:.4f}" for one in curve]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\ntrain loss / validation loss / validation {bench.metric}")


if __name__ == "__main__":
    main()
