"""Training by a file: as its trial was trained, or longer, on all images, with another backbone."""

import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from autofreeze import views
from autofreeze.binding import Columns
from autofreeze.errors import AutofreezeError, ConfigError, TrainingError
from autofreeze.export.native import NativeFile
from autofreeze.job import EpochRecord
from autofreeze.mapping import map_groups as mapped
from autofreeze.mapping import mapping_words
from autofreeze.modelfile import NAME, save_model
from autofreeze.pulse import LOCK
from autofreeze.regime import Regime
from autofreeze.results import TrainResult, curve_of, follows
from autofreeze.schedule import Schedule
from autofreeze.splits import Split
from autofreeze.stability import Watch
from autofreeze.task import Task
from autofreeze.testreads import note_read
from autofreeze.training import fit
from autofreeze.trial import Workbench
from autofreeze.values import digest_of

CHECKPOINT = "training.pt"
"""What a training that has not ended leaves in its folder."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)

OF_THE_WEIGHTS = ("weights", "from_scratch", "mean", "std", "interpolation", "crop_pct")
"""Fields of a task that belong to its weights, and say nothing about those of another backbone."""


def train(
    file: str | Path,
    data: str | Path,
    *,
    out: str | Path,
    epochs: float | None = None,
    full_data: bool = False,
    map_groups: bool = False,
    test: bool = False,
    force: bool = False,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    preparing: Callable[[str, int, int], None] | None = None,
    tell: Callable[[str], None] | None = None,
    **task: Any,
) -> TrainResult:
    """Train by an exported file: the same split, seed and curve as the first fold of its trial.

    A training that was broken off is continued by the same call, from its last epoch, to the same bits.

    Args:
        file: What ``autofreeze export`` wrote.
        data: Folder of images, or what else a search takes.
        out: Folder for ``model.safetensors`` and ``model.json``.
        epochs: Stretch or shrink the whole schedule to this length, > 0.
        full_data: Train on the validation images too; none is left to validate on. The test split stays out.
        map_groups: Carry the schedule over to the layer groups of another backbone (``model=…``) by their
            share of the work.
        test: Read the test split once at the end, and note the read beside the data's fingerprint.
        force: Overwrite a model that is there, and pass over what another training has left.
        on_epoch: Told of each epoch; of those before a break, again.
        on_step: Told how many steps of the run are done, and of how many.
        preparing: Told how far hashing and decoding have come.
        tell: Told in sentences what a person should know before the first epoch.
        task: Fields of :class:`autofreeze.task.Task` that replace those of the file, such as ``weights`` and
            ``model``.

    Raises:
        InputError: Something given is wrong; nothing has been overwritten.
        TrainingError: The loss or a gradient was not finite; there is no model.
    """
    native = NativeFile.load(file)
    folder = Path(out).expanduser()
    settings = _settings(native, data, task)
    problems = [
        *_length_problems(epochs),
        *_backbone_problems(native, settings, map_groups),
        *_folder_problems(folder, force),
    ]
    if problems:
        raise ConfigError(problems)
    _make(folder)
    with _alone(folder, force):
        bench = Workbench.open(settings, progress=preparing)
        if test and not len(bench.dataset.test):
            raise ConfigError(f"{data} has no test split to read; leave out --test")
        schedule, lines = _schedule(native, bench, epochs, map_groups)
        run = _Run(bench, schedule, native.regime.for_training, _split(bench, full_data), native.seed)
        say = tell or _silent
        for line in lines:
            say(line)
        if full_data:
            say(f"training on all {len(run.split.train):,} images that are not of the test split")
        checkpoint = folder / CHECKPOINT
        with _writing(folder):
            records, model = _train(run, checkpoint, force, on_epoch, on_step, say)
            if records[-1].diverged:
                checkpoint.unlink(missing_ok=True)
                raise TrainingError(f"the training broke off: {records[-1].diverged}; no model was saved")
            save_model(
                model,
                folder / NAME,
                architecture=_architecture(settings.model),
                classes=bench.dataset.classes,
                preprocessing=bench.backbone.preprocessing,
                options=bench.backbone.options,
            )
            checkpoint.unlink(missing_ok=True)
        value, reads = _read_test(bench, model, str(file)) if test else (None, 0)
        return _result(run, native, records, folder / NAME, full_data, value, reads)


# What was given


def _settings(native: NativeFile, data: str | Path, given: dict[str, Any]) -> Task:
    """Put what was given in the place of what the file says; weights go with their backbone."""
    given = {name: value for name, value in given.items() if value is not None}
    found = native.image_task.model_dump()
    drop: tuple[str, ...] = ()
    if _architecture(given.get("model", found["model"])) != _architecture(found["model"]):
        drop = OF_THE_WEIGHTS
    elif given.get("weights") or given.get("from_scratch"):
        drop = ("weights", "from_scratch")
    found = {name: value for name, value in found.items() if name not in drop}
    # One fold is trained, and the first is the same whatever their number.
    return Task.parse({**found, "folds": 1, **given, "data": str(data)})


def _length_problems(epochs: float | None) -> list[str]:
    if epochs is None or 0 < epochs <= 100_000:
        return []
    return [f"epochs: got {epochs:g}; must be more than 0, and at most 100,000"]


def _backbone_problems(native: NativeFile, settings: Task, map_groups: bool) -> list[str]:
    found = native.image_task.model
    if map_groups or _architecture(settings.model) == _architecture(found):
        return []
    return [
        f"the schedule was found for {found}, and its rates for the layer groups there; --map-groups carries "
        f"it over to {settings.model} by their share of the work"
    ]


def _folder_problems(folder: Path, force: bool) -> list[str]:
    """Say why the folder cannot take the model."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        return [f"{there} is a file; choose another --out"]
    model = folder / NAME
    beside = model.with_suffix(".json")
    taken = [model] if model.exists() else []
    if beside.exists() and not (taken or (folder / CHECKPOINT).exists()):
        taken = [beside]
    if taken and not force:
        return [f"{taken[0]} exists already; --force overwrites it, or choose another --out"]
    return []


def _make(folder: Path) -> None:
    """Make the folder now: what nobody can write to is told before anything is trained.

    Raises:
        ConfigError: It cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"cannot be written to ({error.strerror or error}); choose another --out", where=str(folder)
        ) from None


@contextmanager
def _alone(folder: Path, force: bool) -> Iterator[None]:
    """Keep other trainings out of the folder; what one has left since it was looked at counts.

    Raises:
        ConfigError: Another training is using it, or has ended in it meanwhile.
    """
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(
            "another training is using this folder; wait for it, or choose another --out", where=str(folder)
        ) from None
    try:
        if problems := _folder_problems(folder, force):
            raise ConfigError(problems)
        yield
    finally:
        lock.release()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say in plain words that the disk takes no more.

    Raises:
        AutofreezeError: What is left goes on with the same command.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch.save tells that its file has another length than it thought, and the reason is behind it.
        cause = error if isinstance(error, OSError) else error.__context__
        if not (isinstance(cause, OSError) and cause.errno in DISK_ERRORS):
            raise
        raise AutofreezeError(
            f"cannot be written to ({cause.strerror}); make room: the same command goes on from the last "
            "whole epoch",
            where=str(folder),
        ) from error


def _architecture(model: str) -> str:
    """Give timm's name without the tag of its weights."""
    return model.partition(".")[0]


def _silent(line: str) -> None:
    """Tell nothing."""


# What is trained


def _schedule(
    native: NativeFile, bench: Workbench, epochs: float | None, map_groups: bool
) -> tuple[Schedule, list[str]]:
    """Give the schedule for this backbone and length, and say what was carried over.

    Raises:
        ConfigError: The backbone has other layer groups, and nobody asked to map them.
    """
    schedule, groups = native.schedule, bench.backbone.groups
    lines = []
    same = _architecture(bench.task.model) == _architecture(native.image_task.model)
    if groups.names != schedule.groups or not same:
        if not map_groups:
            raise ConfigError(
                f"the schedule's groups are {', '.join(schedule.groups)}; {bench.task.model} has "
                f"{', '.join(groups.names)}; --map-groups carries it over by their share of the work"
            )
        sides = (schedule, native.backbone.work_shares, groups.names, groups.work_shares)
        lines = [
            f"the schedule is carried over from {native.image_task.model} to {bench.task.model}:",
            *(f"  {line}" for line in mapping_words(*sides)),
        ]
        if not same:
            size = bench.backbone.preprocessing.image_size
            lines.append(f"{bench.task.model}: {bench.backbone.source}, images of {size} px")
        schedule = mapped(*sides)
    return schedule if epochs is None else schedule.scaled(epochs), lines


def _split(bench: Workbench, full_data: bool) -> Split:
    """Which images are trained on and validated with."""
    if not full_data:
        return bench.splits[0]
    return Split(np.union1d(bench.dataset.train, bench.dataset.val), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class _Run:
    """One training."""

    bench: Workbench
    schedule: Schedule
    regime: Regime
    split: Split
    seed: int

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        batches = views.batches(self.split.train, self.regime.batch_size)
        return self.schedule.timetable(len(batches)).total_steps

    @property
    def inputs(self) -> str:
        """Hash of the pixels and the pretrained tensors."""
        backbone = self.bench.backbone
        return digest_of(
            [backbone.digest, self.bench.store.key, backbone.preprocessing.mean, backbone.preprocessing.std]
        )

    def records(
        self, model: torch.nn.Module, checkpoint: Path, on_step: Callable[[int, int], None] | None
    ) -> Iterator[EpochRecord]:
        """Train, an epoch at a time."""
        bench = self.bench
        yield from fit(
            model,
            Columns.of(model, bench.backbone.groups),
            self.schedule,
            self.regime,
            bench.examples(self.split),
            seed=self.seed,
            device=bench.device,
            metric=bench.metric,
            checkpoint=checkpoint,
            engine=bench.engine,
            watch=Watch() if on_step is None else _Telling(self.steps, on_step),
            inputs=self.inputs,
        )


class _Telling(Watch):
    """Watches a run as usual, and tells of each step."""

    def __init__(self, steps: int, on_step: Callable[[int, int], None]) -> None:
        super().__init__()
        self._steps, self._on_step = steps, on_step

    def look(self, step: int, phase: int, loss: float, grad_norms: Sequence[float | None]) -> str:
        """Look at a step."""
        reason = super().look(step, phase, loss, grad_norms)
        self._on_step(step + 1, self._steps)
        return reason


def _train(
    run: _Run,
    checkpoint: Path,
    force: bool,
    on_epoch: Callable[[EpochRecord], None] | None,
    on_step: Callable[[int, int], None] | None,
    say: Callable[[str], None],
) -> tuple[list[EpochRecord], torch.nn.Module]:
    """Train a new model, from where a checkpoint of the same run was written.

    Raises:
        ConfigError: The checkpoint is of another run or damaged, and may not be passed over.
    """
    goes_on = checkpoint.exists()
    model = run.bench.build_model(run.seed)
    records: list[EpochRecord] = []
    try:
        for record in run.records(model, checkpoint, on_step):
            if goes_on and not records:
                say(f"going on from {checkpoint}, where this training was broken off")
            records.append(record)
            if on_epoch:
                on_epoch(record)
    except ConfigError as error:
        if error.where != str(checkpoint):
            raise
        if not force:
            raise ConfigError(
                f"{error.problems[0]} (--force does), or choose another --out", where=error.where
            ) from None
        checkpoint.unlink()
        return _train(run, checkpoint, force, on_epoch, on_step, say)
    return records, model


# What came of it


def _result(
    run: _Run,
    native: NativeFile,
    records: Sequence[EpochRecord],
    model_path: Path,
    full_data: bool,
    test_value: float | None,
    test_reads: int,
) -> TrainResult:
    """Compare the curve with the trial's, as far as both are of the same training."""
    bench = run.bench
    changes = _changes(run, native, full_data)
    expected_views = native.curve_views or native.regime.views
    curve = curve_of(records)
    # A trial that was pruned has the first epochs alone; one that was never trained has none.
    told = curve[: len(native.curve)]
    comparable = bool(native.curve) and not changes
    same = comparable and (follows(told, native.curve) if native.curve_fused else told == native.curve)
    return TrainResult(
        model_path=model_path,
        metric=bench.metric,
        curve=curve,
        expected=native.curve,
        same_curve=same if comparable else None,
        up_to_rounding=native.curve_fused,
        changes=changes,
        expected_views="" if expected_views == run.regime.views else expected_views,
        n_train=len(run.split.train),
        n_val=len(run.split.val),
        found=native.standing if native.result else "",
        test_value=test_value,
        test_reads=test_reads,
    )


def _changes(run: _Run, native: NativeFile, full_data: bool) -> tuple[str, ...]:
    """Say what the training does otherwise than the run whose curve the file holds."""
    bench = run.bench
    expected_views = native.curve_views or native.regime.views
    length, was = run.schedule.epochs, native.schedule.epochs
    found = {
        "follows a schedule or regime that was edited": native.edited,
        "trains another backbone": _architecture(bench.task.model) != _architecture(native.image_task.model),
        "has other layer groups": run.schedule.groups != native.schedule.groups,
        f"takes {length:g} epochs instead of {was:g}": length != was,
        "trains on the validation images too": full_data,
        "has other images": bench.dataset.fingerprint != native.data.fingerprint,
        "has other weights": bench.backbone.digest != native.backbone.weights_digest,
        "prepares images in another way": bench.backbone.preprocessing != native.backbone.preprocessing,
        f"sees new views each epoch, where the search saw {expected_views} views": (
            expected_views != run.regime.views
        ),
    }
    changed = [words for words, holds in found.items() if holds]
    if "trains another backbone" in changed:
        implied = ("has other layer groups", "has other weights", "prepares images in another way")
        changed = [words for words in changed if words not in implied]
    return tuple(changed)


def _read_test(bench: Workbench, model: torch.nn.Module, by: str) -> tuple[float, int]:
    """Score a model on the test split, and note the read."""
    value = bench.score_on_test(model)
    return value, note_read(bench.cache_folder, bench.dataset.fingerprint, by=by, value=value)
