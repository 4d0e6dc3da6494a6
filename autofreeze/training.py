"""Training by a schedule: ``fit`` yields a record for each epoch and knows no search library."""

import time
from collections.abc import Iterator, Sequence
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
from autofreeze.checkpoints import load_checkpoint, restoring, save_checkpoint
from autofreeze.engine import Engine, Stage
from autofreeze.examples import Examples
from autofreeze.job import EpochRecord
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule
from autofreeze.seeds import derive
from autofreeze.signals import DRIFT_IMAGES, Signals
from autofreeze.stability import Watch, Watcher
from autofreeze.steps import Forward, Stepper, autocast
from autofreeze.tallies import Tally
from autofreeze.values import digest_of

EVAL_CHUNK = 256
"""Images in one forward pass of validation."""

START_STEPS = 5
"""Steps over which the loss at a phase's start is taken."""


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
    micro_batch: int | None = None
    """Images that a step takes at a time, where a whole batch did not fit the memory."""

    comparable: bool = True
    """Whether BatchNorm has always followed whole batches."""


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
    engine: Engine | None = None,
    watch: Watcher | None = None,
    inputs: str = "",
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
        checkpoint: Rolling file, in a folder that is made where only it is missing: written after each epoch,
            continued from when it is there. Its records are yielded again first. Deleting it is the caller's
            part.
        engine: Computes what is frozen once for all runs that share it; the model's frozen columns are as its
            backbone gave them. None runs the whole model in every step: the same, up to rounding.
        watch: Looks at every step and may end the run; a new ``stability.Watch`` when left out.
        inputs: Hash of the pixels and the pretrained tensors, where nobody else sees to it that a checkpoint
            is continued with the same ones.

    Yields:
        A record after each epoch; the last one has ``last`` set. A run that meets a non-finite loss or
        gradient, or that the watch ends, ends with a record that says so in ``diverged``.

    Raises:
        ConfigError: The metric needs two classes, and the validation part has one; or the checkpoint was
            written by another run.
    """
    metrics.check_metric(metric, [examples.labels[examples.val]])
    watch = Watch() if watch is None else watch
    device = torch.device(device)
    run = _Run(model, columns, schedule, regime, examples, seed, device, metric, engine, watch, inputs)
    if checkpoint is not None:
        checkpoint.parent.mkdir(exist_ok=True)
        if checkpoint.exists():
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
        engine: Engine | None,
        watch: Watcher,
        inputs: str,
    ) -> None:
        self.model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.columns = columns
        self.regime = regime
        self.examples = examples
        self.seed = seed
        self.device = device
        self.metric = metric
        self.engine = engine
        self.inputs = inputs
        self.steps_per_epoch = len(views.batches(examples.train, regime.batch_size))
        self.bound = BoundSchedule(schedule, model, columns, regime, self.steps_per_epoch, guarded=False)
        self.timetable = self.bound.timetable
        self.signals = Signals(self.bound, columns, watch)
        self.stepper = Stepper(
            self.bound,
            device,
            weights=loss_weights(examples, regime, device),
            label_smoothing=regime.label_smoothing,
        )
        self.progress = _Progress(ever_trained=[False] * len(columns.groups))
        self._labels = torch.tensor(examples.labels, device=device)
        self._stages: dict[tuple[int, tuple[bool, ...]], Stage] = {}
        self._forwards: dict[tuple[Stage, bool], Forward] = {}

    @cached_property
    def _digest(self) -> str:
        """What makes the run what it is; pixels and pretrained tensors as far as ``inputs`` tells them."""
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
                *([self.inputs] if self.inputs else []),
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
        signals = self.signals.end_epoch(self.progress.ever_trained, validated=len(predicted) > 0)
        self.progress.seconds += time.perf_counter() - began
        record = self._record(epoch, trained, predicted, losses, signals)
        self.progress.records.append(record)
        return record

    def _train(self, epoch: int) -> Tally:
        """Train one epoch, a phase after the other."""
        first = epoch * self.steps_per_epoch
        end = self.timetable.epoch_ends[epoch]
        order = self.examples.train[views.order(derive(self.seed, "order"), epoch, len(self.examples.train))]
        batches = views.batches(order, self.regime.batch_size)
        trained = Tally(np.full((end - first, len(self.columns.groups)), np.nan), first)
        while not trained.diverged and trained.steps_done < end:
            start = trained.steps_done
            phase = self.timetable.phase_at(start)
            stop = min(self.timetable.ends[phase], end)
            self._enter_phase(phase, start)
            if start == first:
                trained.start_losses = self.progress.start_losses
            self._train_span(start, batches[start - first : stop - first], epoch, trained)
        return trained

    def _train_span(
        self, start: int, batches: Sequence[NDArray[np.int64]], epoch: int, trained: Tally
    ) -> None:
        """Train on batches of one phase; ends early where the run diverges, or its watch says so."""
        stage = self._stage()
        forward = self._forward(stage, training=True)
        ids = np.concatenate(batches)
        numbers = views.numbers(self.regime.views, self._view_seed, ids, epoch)
        targets = self._labels[torch.from_numpy(ids).to(self.device)]
        sizes = [len(batch) for batch in batches]
        work = cost.step_work(self.columns.groups.work_shares, self.bound.trainable, 1)
        norms: list[Sequence[float]] = []
        low = 0
        step = start
        for size, inputs in zip(sizes, stage.batches(ids, numbers, sizes), strict=True):
            self.bound.move_on(step)
            part = slice(low, low + size)
            own = targets[part]
            taken = self.stepper.take(
                forward,
                inputs,
                own,
                lambda part=part: stage.rows(ids[part], numbers[part]),  # type: ignore[misc]
            )
            step, low = step + 1, low + size
            norms.append(taken.norms)
            if self.stepper.micro_batch is not None:
                self._note_parts()
            trained.diverged = self.signals.look(step - 1, self.progress.phase, taken)
            if not taken.problem:
                trained.add(taken.loss, own, taken.predicted)
                self.progress.work += work * size
                if len(self.progress.start_losses) < START_STEPS:
                    self.progress.start_losses.append(taken.loss)
            if trained.diverged:
                break
        trained.steps_done = step
        trained.keep_norms(start, np.array(self.bound.trainable), norms)

    def _note_parts(self) -> None:
        """Note that batches are taken in parts, and whether BatchNorm follows them."""
        self.progress.micro_batch = self.stepper.micro_batch
        self.progress.comparable &= not self.stepper.splits_statistics

    def _enter_phase(self, phase: int, step: int) -> None:
        """Freeze and thaw for a phase; what has been noted of it stays when it is entered again."""
        self.bound.start_step(step)
        self.stepper.enter_phase()
        if phase == self.progress.phase:
            return
        self.progress.phase = phase
        self.progress.start_losses = []
        before, trains = self.progress.ever_trained, self.bound.trainable
        self.progress.ever_trained = [ever or now for ever, now in zip(before, trains, strict=True)]
        if fresh := [column for column, ever in enumerate(before) if trains[column] and not ever]:
            self._thaw(fresh)

    def _thaw(self, fresh: Sequence[int]) -> None:
        """See features as pretrained before the backbone's first step; this is measured, and no work."""
        if fresh[0] < len(self.columns.groups) - 1 and self.signals.needs_reference:
            self._predict_validation(DRIFT_IMAGES)
            self.signals.keep_reference()
        self.signals.thaw(fresh)

    @cached_property
    def _view_seed(self) -> int:
        return derive(self.seed, "views")

    def _stage(self) -> Stage:
        """Give the images' way to what trains: the columns below have never trained."""
        key = (self.progress.ever_trained.index(True), self.bound.trainable)
        if key not in self._stages:
            self._stages[key] = Stage(
                self.engine,
                self.model,
                self.examples,
                key[0],
                view=self.regime.views,
                seed=self._view_seed,
                erase=self.regime.erase,
                device=self.device,
            )
        return self._stages[key]

    def _forward(self, stage: Stage, *, training: bool) -> Forward:
        """Give the part of the model above the border, for the modes that its modules are in."""
        key = (stage, training)
        if key not in self._forwards:
            self._forwards[key] = stage.forward()
        return self._forwards[key]

    def _validate(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Predicted class and log loss of each validation image, (n_val,) each."""
        self.progress.work += len(self.examples.val)
        return self._predict_validation(len(self.examples.val))

    def _predict_validation(self, most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Predict the first validation images, and see their features."""
        ids = self.examples.val[:most]
        if not len(ids):
            return np.zeros(0, np.int64), np.zeros(0)
        stage = self._stage()
        self.bound.evaluate()
        forward = self._forward(stage, training=False)
        with self.signals.validating():
            predicted, losses = _predict(stage, forward, self.examples.labels, ids, self.device)
        self.bound.set_modes()
        return predicted, losses

    def _record(
        self,
        epoch: int,
        trained: Tally,
        predicted: NDArray[np.int64],
        losses: NDArray[np.float64],
        signals: dict[str, Any],
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
            **signals,
            work=self.progress.work,
            seconds=self.progress.seconds,
            epochs_since_unfreeze=(steps - self.timetable.last_unfreeze) / self.steps_per_epoch,
            comparable=self.progress.comparable,
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
                "micro_batch": progress.micro_batch,
                "comparable": progress.comparable,
                "signals": self.signals.state(),
            },
        )

    def restore(self, path: Path) -> None:
        """Go back to where a checkpoint was written.

        Raises:
            ConfigError: It is of another run, or damaged; some of it may have been taken over.
        """
        state = load_checkpoint(path, self.model, self.device, run=self._digest)
        with restoring(path):
            records = [EpochRecord.model_validate_json(text) for text in state.pop("records")]
            optimizer = state.pop("optimizer")
            self.signals.restore(state.pop("signals"))
            self.progress = _Progress(records=records, **state)
            self.stepper.micro_batch = self.progress.micro_batch
            if records:
                self.bound.start_step(records[-1].step - 1)
            self.bound.optimizer.load_state_dict(optimizer)


def evaluate(
    model: nn.Module, examples: Examples, ids: NDArray[np.int64], device: torch.device
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Predict images without augmentation, by the whole model. Leaves it in eval mode.

    Args:
        model: The model, on ``device``.
        examples: Where the images lie.
        ids: Image ids, (n,).
        device: Where to compute.

    Returns:
        Predicted classes (n,), and the log loss of each image in nats (n,).
    """
    model.eval()
    stage = Stage(None, model, examples, 0, view="none", seed=0, erase=0.0, device=device)
    return _predict(stage, model, examples.labels, ids, device)


@torch.no_grad()
def _predict(
    stage: Stage, forward: Forward, labels: NDArray[np.int64], ids: NDArray[np.int64], device: torch.device
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Predicted classes and log losses of images that are not augmented, (n,) each."""
    sizes = [min(EVAL_CHUNK, len(ids) - start) for start in range(0, len(ids), EVAL_CHUNK)]
    targets = torch.from_numpy(labels[ids]).to(device)
    predicted, losses = [], []
    batches = stage.batches(ids, None, sizes)
    for inputs, own in zip(batches, torch.split(targets, EVAL_CHUNK), strict=True):
        with autocast(device):
            logits = forward(*inputs).float()
        predicted.append(logits.argmax(dim=1).cpu().numpy())
        losses.append(F.cross_entropy(logits, own, reduction="none").double().cpu().numpy())
    return np.concatenate(predicted), np.concatenate(losses)


def loss_weights(examples: Examples, regime: Regime, device: torch.device) -> torch.Tensor | None:
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
