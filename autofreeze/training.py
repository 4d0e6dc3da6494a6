"""Training by a schedule: ``fit`` yields a record for each epoch and knows no search library."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from autofreeze import cost, metrics, views
from autofreeze.binding import BoundSchedule, Columns
from autofreeze.checkpoints import load_checkpoint, save_checkpoint
from autofreeze.errors import ConfigError
from autofreeze.job import EpochRecord
from autofreeze.preprocessing import Preprocessing
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule
from autofreeze.seeds import derive
from autofreeze.values import digest_of

EVAL_CHUNK = 256
"""Images in one forward pass of validation."""

START_STEPS = 5
"""Steps over which the loss at a phase's start is taken."""


@dataclass(frozen=True)
class Examples:
    """Images and labels of one run, as positions in one store."""

    images: NDArray[np.uint8]
    """(n, size, size, 3), any array that can be indexed: a memory map as a rule."""

    labels: NDArray[np.int64]
    """(n,), 0..n_classes-1."""

    n_classes: int
    train: NDArray[np.int64]
    """Image ids of the training part, sorted."""

    val: NDArray[np.int64]
    """Image ids of the validation part, sorted; may be empty."""

    preprocessing: Preprocessing


@dataclass
class _Progress:
    """What a run has done so far: what a checkpoint must keep besides the model and the optimizer."""

    records: list[EpochRecord] = field(default_factory=list)
    ever_trained: list[bool] = field(default_factory=list)
    phase: int = -1
    start_losses: list[float] = field(default_factory=list)
    """Losses of the first steps of the phase, at most START_STEPS."""

    work: float = 0.0
    seconds: float = 0.0


def fit(
    model: nn.Module,
    columns: Columns,
    schedule: Schedule,
    regime: Regime,
    examples: Examples,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    metric: metrics.MetricName = "top1",
    checkpoint: Path | None = None,
) -> Iterator[EpochRecord]:
    """Train a model by a schedule, in place.

    Randomness comes from ``seed`` alone: the order of images, their views, and dropout. The global random
    state is left as it was. So on one machine, with the same number of threads, the same arguments give the
    same records to the bit.

    Args:
        model: A timm model with a fresh head, parameters in float32.
        columns: Its layer groups.
        schedule: What trains when, and how fast.
        regime: Optimizer, batch, loss, views, normalisation.
        examples: Images, labels and which of them train and validate.
        seed: Of this run.
        device: Where to train. CUDA computes in bfloat16 where the GPU knows it.
        metric: What ``EpochRecord.value`` holds.
        checkpoint: Rolling file: written after each epoch, continued from when it is there. Its records
            are yielded again first. Deleting it is the caller's part.

    Yields:
        A record after each epoch; the last one has ``last`` set. A run that meets a non-finite loss or
        gradient ends with a record that says so in ``diverged``.

    Raises:
        ConfigError: The metric needs two classes, and the validation part has one; or the checkpoint was
            written by another run.
    """
    metrics.check_metric(metric, [examples.labels[examples.val]])
    run = _Run(model, columns, schedule, regime, examples, seed, torch.device(device), metric)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
        yield from run.progress.records
    while not run.is_over:
        record = run.epoch()
        if checkpoint is not None:
            run.save(checkpoint)
        yield record


class _Run:
    """One run of :func:`fit`, an epoch at a time."""

    def __init__(
        self,
        model: nn.Module,
        columns: Columns,
        schedule: Schedule,
        regime: Regime,
        examples: Examples,
        seed: int,
        device: torch.device,
        metric: metrics.MetricName,
    ) -> None:
        self.model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.columns = columns
        self.regime = regime
        self.examples = examples
        self.seed = seed
        self.device = device
        self.metric = metric
        self.steps_per_epoch = len(views.batches(examples.train, regime.batch_size))
        self.bound = BoundSchedule(schedule, model, columns, regime, self.steps_per_epoch)
        self.timetable = self.bound.timetable
        self.loss_weights = _loss_weights(examples, regime, device)
        self.progress = _Progress(ever_trained=[False] * len(columns.groups))

    @cached_property
    def _digest(self) -> str:
        """What makes the run what it is, apart from the pixels and the pretrained tensors."""
        examples, schedule = self.examples, self.timetable.schedule
        return digest_of(
            [
                schedule.model_dump(mode="json"),
                self.regime.model_dump(mode="json"),
                self.seed,
                self.metric,
                examples.labels.tolist(),
                examples.train.tolist(),
                examples.val.tolist(),
            ]
        )

    @property
    def is_over(self) -> bool:
        """Whether the last record ended the run."""
        return bool(self.progress.records) and self.progress.records[-1].last

    def epoch(self) -> EpochRecord:
        """Train and validate one epoch."""
        began = time.perf_counter()
        epoch = len(self.progress.records)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive(self.seed, "dropout", epoch))
            trained = self._train(epoch)
        predicted, losses = np.zeros(0, np.int64), np.zeros(0)
        if not trained.diverged:
            predicted, losses = self._validate()
        self.progress.seconds += time.perf_counter() - began
        record = self._record(epoch, trained, predicted, losses)
        self.progress.records.append(record)
        return record

    def _train(self, epoch: int) -> "_Trained":
        first = epoch * self.steps_per_epoch
        end = self.timetable.epoch_ends[epoch]
        order = self.examples.train[views.order(derive(self.seed, "order"), epoch, len(self.examples.train))]
        batches = views.batches(order, self.regime.batch_size)
        trained = _Trained(np.full((end - first, len(self.columns.groups)), np.nan))
        for step in range(first, end):
            batch = batches[step - first]
            loss = self._step(step, epoch, batch, trained)
            if step == first:
                trained.start_losses = self.progress.start_losses
            if trained.diverged:
                break
            trained.add(loss, len(batch))
        trained.steps_done = step + 1
        return trained

    def _step(self, step: int, epoch: int, batch: NDArray[np.int64], trained: "_Trained") -> float:
        """Take one optimizer step; returns the mean loss of the batch."""
        self._enter_phase(self.timetable.phase_at(step))
        self.bound.start_step(step)
        pixels = self._pixels(batch, flipped=self._flips(batch, epoch))
        targets = torch.from_numpy(self.examples.labels[batch]).to(self.device)
        with _autocast(self.device):
            logits = self.model(pixels)
        trained.hits.append((logits.detach().argmax(1) == targets).sum())
        loss = F.cross_entropy(
            logits.float(), targets, weight=self.loss_weights, label_smoothing=self.regime.label_smoothing
        )
        value = loss.item()
        self.bound.optimizer.zero_grad(set_to_none=True)
        if not np.isfinite(value):
            trained.diverged = f"non-finite loss at step {step}"
            return value
        loss.backward()  # type: ignore[no-untyped-call]
        norms = self._gradient_norms()
        trained.norms[step - step // self.steps_per_epoch * self.steps_per_epoch] = norms
        if not np.isfinite(norms[list(self.bound.trainable)]).all():
            trained.diverged = f"non-finite gradient at step {step}"
            return value
        self.bound.optimizer.step()
        self.progress.work += cost.step_work(
            self.columns.groups.work_shares, self.bound.trainable, len(batch)
        )
        if len(self.progress.start_losses) < START_STEPS:
            self.progress.start_losses.append(value)
        return value

    def _enter_phase(self, phase: int) -> None:
        if phase == self.progress.phase:
            return
        self.progress.phase = phase
        self.progress.start_losses = []
        cells = self.timetable.schedule.phases[phase].lrs
        self.progress.ever_trained = [
            ever or cell is not None for ever, cell in zip(self.progress.ever_trained, cells, strict=True)
        ]

    def _flips(self, batch: NDArray[np.int64], epoch: int) -> NDArray[np.bool_] | None:
        return views.flips(derive(self.seed, "views"), batch, epoch) if self.regime.views == "flip" else None

    def _pixels(self, ids: NDArray[np.int64], flipped: NDArray[np.bool_] | None) -> torch.Tensor:
        images = torch.from_numpy(self.examples.images[ids]).to(self.device)
        mask = None if flipped is None else torch.from_numpy(flipped).to(self.device)
        preprocessing = self.examples.preprocessing
        return views.to_pixels(images, mask, preprocessing.mean, preprocessing.std)

    def _gradient_norms(self) -> NDArray[np.float64]:
        """2-norm of the gradient by column; NaN where frozen."""
        norms = np.full(len(self.columns.groups), np.nan)
        columns = [column for column, trains in enumerate(self.bound.trainable) if trains]
        totals = [
            torch.nn.utils.get_total_norm(
                [parameter.grad for parameter in self.bound.parameters[column] if parameter.grad is not None]
            )
            for column in columns
        ]
        norms[columns] = torch.stack(totals).double().cpu().numpy()
        return norms

    def _validate(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Predicted class and log loss of each validation image, (n_val,) each."""
        if not len(self.examples.val):
            return np.zeros(0, np.int64), np.zeros(0)
        predicted, losses = evaluate(self.model, self.examples, self.examples.val, self.device)
        self.progress.work += len(self.examples.val)
        self.bound.set_modes()
        return predicted, losses

    def _record(
        self, epoch: int, trained: "_Trained", predicted: NDArray[np.int64], losses: NDArray[np.float64]
    ) -> EpochRecord:
        steps = trained.steps_done
        last = bool(trained.diverged) or steps == self.timetable.total_steps
        labels = self.examples.labels[self.examples.val]
        scored = len(predicted) > 0
        val_loss = float(losses.mean()) if scored else float("nan")
        return EpochRecord(
            epoch=epoch,
            epochs_done=steps / self.steps_per_epoch,
            step=steps,
            train_loss=trained.mean_loss,
            train_top1=trained.top1,
            phase_start_loss=trained.phase_start_loss,
            val_loss=val_loss,
            value=metrics.score(self.metric, labels, predicted, val_loss) if scored else float("nan"),
            predicted=metrics.pack_classes(predicted),
            losses=metrics.pack_losses(losses) if last and self.metric == "log_loss" else "",
            n_val=len(self.examples.val),
            rates=self.timetable.rates(steps - 1),
            grad_norms=trained.norms_by(np.nanmedian),
            grad_norms_max=trained.norms_by(np.nanmax),
            work=self.progress.work,
            seconds=self.progress.seconds,
            epochs_since_unfreeze=(steps - self.timetable.last_unfreeze) / self.steps_per_epoch,
            diverged=trained.diverged,
            last=last,
        )

    def save(self, path: Path) -> None:
        """Write the rolling checkpoint: only what has ever trained, since the rest can be rebuilt."""
        progress = self.progress
        save_checkpoint(
            path,
            self.model,
            self.columns,
            progress.ever_trained,
            self.bound.optimizer,
            {
                "run": self._digest,
                "records": [record.model_dump_json() for record in progress.records],
                "ever_trained": progress.ever_trained,
                "phase": progress.phase,
                "start_losses": progress.start_losses,
                "work": progress.work,
                "seconds": progress.seconds,
            },
        )

    def restore(self, path: Path) -> None:
        """Go back to where a checkpoint was written."""
        state = load_checkpoint(path, self.model, self.device)
        if state.pop("run", None) != self._digest:
            raise ConfigError("is the checkpoint of another run; delete it to start anew", where=str(path))
        records = [EpochRecord.model_validate_json(text) for text in state.pop("records")]
        optimizer = state.pop("optimizer")
        self.progress = _Progress(records=records, **state)
        if records:
            self.bound.start_step(records[-1].step - 1)
        self.bound.optimizer.load_state_dict(optimizer)


@dataclass
class _Trained:
    """Sums over the steps of one epoch."""

    norms: NDArray[np.float64]
    """(steps, columns), NaN where frozen."""

    loss_sum: float = 0.0
    images: int = 0
    start_losses: list[float] = field(default_factory=list)
    """Losses of the first steps of the phase that the epoch begins in; a later phase has its own list."""

    hits: list[torch.Tensor] = field(default_factory=list)
    """Images classified rightly, by step; left on the device, so that no step waits for it."""

    steps_done: int = 0
    diverged: str = ""

    def add(self, loss: float, n_images: int) -> None:
        self.loss_sum += loss * n_images
        self.images += n_images

    @property
    def mean_loss(self) -> float:
        return self.loss_sum / self.images if self.images and not self.diverged else float("nan")

    @property
    def phase_start_loss(self) -> float:
        return float(np.mean(self.start_losses)) if self.start_losses else float("nan")

    @property
    def top1(self) -> float | None:
        if not self.images or self.diverged:
            return None
        return int(torch.stack(self.hits).sum()) / self.images

    def norms_by(self, summary: Any) -> tuple[float | None, ...]:
        """Summarise the finite norms of each column; None where there are none."""
        finite = np.where(np.isfinite(self.norms), self.norms, np.nan)
        return tuple(
            float(summary(finite[:, column])) if np.isfinite(finite[:, column]).any() else None
            for column in range(finite.shape[1])
        )


@torch.no_grad()
def evaluate(
    model: nn.Module, examples: Examples, ids: NDArray[np.int64], device: torch.device
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Predict images without augmentation. Leaves the model in eval mode.

    Args:
        model: The model, on ``device``.
        examples: Where the images lie.
        ids: Image ids, (n,).
        device: Where to compute.

    Returns:
        Predicted classes (n,), and the log loss of each image in nats (n,).
    """
    model.eval()
    predicted, losses = [], []
    for start in range(0, len(ids), EVAL_CHUNK):
        chunk = ids[start : start + EVAL_CHUNK]
        images = torch.from_numpy(examples.images[chunk]).to(device)
        pixels = views.to_pixels(images, None, examples.preprocessing.mean, examples.preprocessing.std)
        with _autocast(device):
            logits = model(pixels).float()
        targets = torch.from_numpy(examples.labels[chunk]).to(device)
        predicted.append(logits.argmax(dim=1).cpu().numpy())
        losses.append(F.cross_entropy(logits, targets, reduction="none").double().cpu().numpy())
    return np.concatenate(predicted), np.concatenate(losses)


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Bfloat16 on CUDA GPUs that have it; float32 elsewhere."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def _loss_weights(examples: Examples, regime: Regime, device: torch.device) -> torch.Tensor | None:
    """Weight of each class: n / (classes · count), as scikit-learn's ``balanced``; None for all alike.

    Images weigh 1 on the mean. A fold's training part may lack a class: it is not counted, and weighs 1 where
    label smoothing spreads some of the target over it. As a class of one image it would outweigh all others.
    """
    if regime.class_weights == "none":
        return None
    counts = np.bincount(examples.labels[examples.train], minlength=examples.n_classes)
    weights = len(examples.train) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    weights[counts == 0] = 1.0
    return torch.tensor(weights, dtype=torch.float32, device=device)
