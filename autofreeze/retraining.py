"""Training by an exported file: the same split, seed and curve as the first fold of its trial."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from autofreeze.errors import ConfigError, TrainingError
from autofreeze.export.native import NativeFile
from autofreeze.job import EpochRecord, Job
from autofreeze.modelfile import save_model
from autofreeze.results import TrainResult, curve_of, follows
from autofreeze.task import Task
from autofreeze.testreads import note_read
from autofreeze.trial import Workbench, run


def train(
    file: str | Path,
    data: str | Path,
    *,
    out: str | Path,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    preparing: Callable[[str, int, int], None] | None = None,
    test: bool = False,
    **task: Any,
) -> TrainResult:
    """Train by an exported file: the same split, seed and curve as the first fold of its trial.

    Args:
        file: What ``autofreeze export`` wrote.
        data: Folder of images.
        out: Folder for ``model.safetensors`` and ``model.json``.
        on_epoch: Told of each epoch.
        preparing: Told how far hashing and decoding have come.
        test: Read the test split once at the end, and note the read beside the data's fingerprint.
        task: Fields of :class:`autofreeze.task.Task` that replace those of the file, such as ``weights``.

    Raises:
        InputError: Something given is wrong; nothing has been overwritten.
        TrainingError: The loss or a gradient was not finite; there is no model.
    """
    native = NativeFile.load(file)
    out = Path(out)
    model_path = out / "model.safetensors"
    if model_path.exists():
        raise ConfigError(f"{model_path} exists already; choose another --out")
    given = {name: value for name, value in task.items() if value is not None}
    settings = Task.parse({**native.image_task.model_dump(), **given, "data": str(data)})
    bench = Workbench.open(settings, progress=preparing)
    if bench.backbone.groups.names != native.schedule.groups:
        raise ConfigError(
            f"the schedule's groups are {', '.join(native.schedule.groups)}; {settings.model} has "
            f"{', '.join(bench.backbone.groups.names)}"
        )
    if test and not len(bench.dataset.test):
        raise ConfigError(f"{data} has no test split to read; leave out --test")
    regime = native.regime.for_training
    job = Job(trial=0, fold=0, seed=native.seed, schedule=native.schedule, regime=regime)
    model = bench.build_model(job.seed)
    checkpoint = out / "training.pt"
    records = []
    for record in run(job, bench, checkpoint=checkpoint, model=model):
        records.append(record)
        if on_epoch:
            on_epoch(record)
    if records[-1].diverged:
        checkpoint.unlink(missing_ok=True)
        raise TrainingError(f"the training broke off: {records[-1].diverged}; no model was saved")
    save_model(
        model,
        model_path,
        architecture=settings.model.partition(".")[0],
        classes=bench.dataset.classes,
        preprocessing=bench.backbone.preprocessing,
    )
    checkpoint.unlink(missing_ok=True)
    same_inputs = (
        bench.backbone.digest == native.backbone.weights_digest
        and bench.dataset.fingerprint == native.data.fingerprint
    )
    expected_views = native.curve_views or native.regime.views
    same_views = expected_views == regime.views
    curve = curve_of(records)
    # A trial that was pruned has the first epochs alone; one that was never trained has none.
    told = curve[: len(native.curve)]
    same = follows(told, native.curve) if native.curve_fused else told == native.curve
    value, reads = _read_test(bench, model, str(file)) if test else (None, 0)
    return TrainResult(
        model_path=model_path,
        metric=bench.metric,
        curve=curve,
        expected=native.curve,
        same_curve=same if same_inputs and same_views and native.curve else None,
        up_to_rounding=native.curve_fused,
        expected_views="" if same_views else expected_views,
        test_value=value,
        test_reads=reads,
    )


def _read_test(bench: Workbench, model: torch.nn.Module, by: str) -> tuple[float, int]:
    """Score a model on the test split, and note the read."""
    value = bench.score_on_test(model)
    return value, note_read(bench.cache_folder, bench.dataset.fingerprint, by=by, value=value)
