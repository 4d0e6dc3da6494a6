"""A sweep: many heads trained over the same features in the same order, each as ``fit`` would train it."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from autofreeze import cost, metrics, views
from autofreeze.binding import Columns
from autofreeze.checkpoints import read_state, restoring, write_state
from autofreeze.engine import Engine, Stage
from autofreeze.errors import ConfigError
from autofreeze.examples import Examples
from autofreeze.heads import HeadStack
from autofreeze.job import EpochRecord, Member, Thaw
from autofreeze.scoring import joined, leading_now, of_head
from autofreeze.seeds import derive
from autofreeze.stability import Watch, why_unstable
from autofreeze.steps import Forward, autocast
from autofreeze.tallies import HeadTallies, HeadTally
from autofreeze.training import EVAL_CHUNK, START_STEPS, loss_weights
from autofreeze.values import digest_of

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


def refusal(model: nn.Module, columns: Columns, image_size: int) -> str:
    """Say why a model's heads cannot be trained side by side; empty when they can.

    The head must be one linear layer whose output is the model's, on features that no randomness enters when
    the head alone trains. Tried out on two random images; the random state is left as it was.

    Args:
        model: As trials train it. Left in evaluation mode.
        columns: Its layer groups.
        image_size: Side of its images in pixels.
    """
    linear = _linear_head(model, columns)
    if linear is None:
        return "its head is more than one linear layer"
    device = linear.weight.device
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, image_size, image_size, generator=generator).to(device)
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model.eval()
        features, logits = _seen_by(linear, model, (pixels,))
        for name, module in model.named_modules():
            module.training = columns.of_module[name] == len(columns.groups) - 1
        again, _ = _seen_by(linear, model, (pixels,))
        model.eval()
        if features is None or again is None or features.ndim != 2:
            return "its head is not applied once to the features of an image"
        if not torch.equal(logits, F.linear(features, linear.weight, linear.bias)):
            return "its logits are not what its linear layer gives"
        if not torch.equal(features, again):
            return "its head sees other features in training, such as those of a dropout"
    return ""


def fit_heads(
    model: nn.Module,
    columns: Columns,
    members: Sequence[Member],
    examples: Examples,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    metric: metrics.MetricName = "top1",
    checkpoint: Path | None = None,
    engine: Engine | None = None,
) -> Iterator[EpochRecord]:
    """Train many heads of one model side by side: all begin with its head, and see the same batches.

    Each follows the curve that :func:`autofreeze.training.fit` would give it, up to rounding: the features
    are the same to the bit, the products of all heads are one product. A head that is unstable ends alone.

    Args:
        model: A timm model with a fresh head that :func:`refusal` does not refuse. It ends with the head that
            led at last.
        columns: Its layer groups.
        members: The heads, whose schedules train nothing else; see ``Job.members``.
        examples: Images, labels and which of them train and validate.
        seed: Of this run; see ``fit``.
        device: Where to train.
        metric: What ``EpochRecord.value`` holds.
        checkpoint: Rolling file; see ``fit``.
        engine: Computes the features once for all runs that share it; None computes them in every step.

    Yields:
        A record after each epoch: of the head that leads, with those of all heads in ``members``. It is the
        last one where the schedules end, or where no head is stable.

    Raises:
        ConfigError: There is no validation image, by which heads are compared; the metric needs two classes,
            and the validation part has one; or the checkpoint was written by another run.
    """
    if not len(examples.val):
        raise ConfigError("there is no validation image, and so none of several heads can lead")
    metrics.check_metric(metric, [examples.labels[examples.val]])
    run = _Sweep(model, columns, members, examples, seed, torch.device(device), metric, engine)
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


@dataclass
class _Progress:
    """What a sweep has done so far: what a checkpoint must keep besides the heads."""

    records: list[EpochRecord] = field(default_factory=list)
    going: list[int] = field(default_factory=list)
    """Places of the heads that are still trained, in the order in which the stack has them."""

    phase: int = -1
    starts: list[list[float]] = field(default_factory=list)
    """Losses of the first steps of the phase by head, at most START_STEPS; NaN where one has ended."""

    work: float = 0.0
    work_alone: float = 0.0
    """What one head would have cost by itself."""

    seconds: float = 0.0


class _Sweep:
    """One run of :func:`fit_heads`, an epoch at a time."""

    def __init__(
        self,
        model: nn.Module,
        columns: Columns,
        members: Sequence[Member],
        examples: Examples,
        seed: int,
        device: torch.device,
        metric: metrics.MetricName,
        engine: Engine | None,
    ) -> None:
        linear = _linear_head(model, columns)
        if linear is None:
            raise ConfigError("the model's head is more than one linear layer: its heads are trained alone")
        self.model = model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.linear = linear
        self.columns, self.members, self.examples = columns, tuple(members), examples
        self.seed, self.device, self.metric = seed, device, metric
        self.regime = members[0].regime
        self.steps_per_epoch = len(views.batches(examples.train, self.regime.batch_size))
        self.timetable = members[0].schedule.timetable(self.steps_per_epoch)
        self.head = len(columns.groups) - 1
        by_head = [[phase.lrs[self.head] for phase in member.schedule.phases] for member in members]
        self.cells: Floats = np.array(by_head, dtype=np.float64).T  # (phases, heads)
        regimes = [member.regime for member in members]
        weights = [loss_weights(examples, regime, device) for regime in regimes]
        self.stack = HeadStack(linear, regimes, weights, device)
        self.inputs = _Inputs(self, engine)
        self.progress = _Progress(going=list(range(len(members))))
        self.watches = [Watch() for _ in members]
        self._labels = torch.tensor(examples.labels, device=device)

    @cached_property
    def _digest(self) -> str:
        """What makes the run what it is, apart from the pixels and the pretrained tensors."""
        examples = self.examples
        return digest_of(
            [
                [member.settings_digest for member in self.members],
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
        """Train and validate one epoch; heads that have become unstable are left out from now on."""
        began = time.perf_counter()
        progress, epoch = self.progress, len(self.progress.records)
        at_first = self._weigh() if not epoch else []
        trained = self._train(epoch)
        predicted, losses = self._validate()
        weights = self._weigh()
        progress.seconds += time.perf_counter() - began
        newest = dict(enumerate(progress.records[-1].members)) if progress.records else {}
        for turn, place in enumerate(progress.going):
            record = self._record(epoch, trained.of(turn), place, predicted[:, turn], losses[:, turn])
            newest[place] = record.model_copy(update=self._signals(trained.of(turn), turn, at_first, weights))
        members = [newest[place] for place in range(len(self.members))]
        before = progress.records
        record = joined(members, progress.going, work=progress.work, seconds=progress.seconds, before=before)
        if record.last:
            leader = leading_now(members, progress.going, before)
            self.stack.put(progress.going.index(leader), self.linear)
        stable = [
            turn
            for turn, place in enumerate(progress.going)
            if not why_unstable(members[place], of_head(before, place))
        ]
        progress.records.append(record)
        if stable and len(stable) < len(progress.going):
            self.stack.select(stable)
        progress.going = [progress.going[turn] for turn in stable]
        return record

    def _train(self, epoch: int) -> HeadTallies:
        first = epoch * self.steps_per_epoch
        end = self.timetable.epoch_ends[epoch]
        order = self.examples.train[views.order(derive(self.seed, "order"), epoch, len(self.examples.train))]
        batches = views.batches(order, self.regime.batch_size)[: end - first]
        ids, sizes = np.concatenate(batches), [len(batch) for batch in batches]
        targets = self._labels[torch.from_numpy(ids).to(self.device)]
        rates = torch.tensor(self._rates(first, end), dtype=torch.float32, device=self.device)
        taken = [
            self.stack.step(features, own, rate)
            for features, own, rate in zip(
                self.inputs.batches(ids, epoch, sizes), torch.split(targets, sizes), rates, strict=True
            )
        ]
        self._count(len(ids), trained=True)
        loss, norm, hits = (
            torch.stack([getattr(one, name) for one in taken]).double().cpu().numpy()
            for name in ("loss", "norm", "hits")
        )
        phases = [self.timetable.phase_at(step) for step in range(first, end)]

        def look(turn: int, losses: Sequence[float], norms: Sequence[float]) -> Iterator[str]:
            watch = self.watches[self.progress.going[turn]]
            for step, phase, one, norm in zip(itertools.count(first), phases, losses, norms, strict=False):
                yield watch.look(step, phase, one, self._by_column(norm))

        trained = HeadTallies.of_steps(first, np.array(sizes), loss, norm, hits, look)
        trained.starts = self._note_starts(first, end, trained.losses)
        return trained

    def _by_column(self, value: float | None) -> tuple[float | None, ...]:
        """Give a figure of the head its place."""
        return (*(None,) * self.head, value)

    def _weigh(self) -> list[float]:
        """Norms of the heads that are trained, told to their watches."""
        norms: list[float] = self.stack.norms().tolist()
        for place, norm in zip(self.progress.going, norms, strict=True):
            self.watches[place].weigh(self._by_column(norm))
        return norms

    def _signals(
        self, trained: HeadTally, turn: int, before: Sequence[float], weights: Sequence[float]
    ) -> dict[str, Any]:
        """Signals of one head in an epoch, as fields of ``EpochRecord``.

        A head that has diverged is moved on until the epoch's end: what it weighs then is not its own.

        Args:
            trained: Its steps.
            turn: Its place among those that are trained.
            before: Norms before the run's first step, in its first epoch; else none.
            weights: Norms at the epoch's end.
        """
        thaws = [
            Thaw(
                step=0,
                columns=(self.head,),
                loss=trained.first_loss,
                grad_norms=self._by_column(trained.first_norm),
                weight_norms=self._by_column(weight),
            )
            for weight in before[turn : turn + 1]
        ]
        weighed = () if trained.diverged else self._by_column(weights[turn])
        return {"thaws": tuple(thaws), "weight_norms": weighed, "drift": 0.0}

    def _rates(self, first: int, end: int) -> Floats:
        """Learning rates of the heads that are trained, (steps, heads)."""
        steps = range(first, end)
        factors = np.array([self.timetable.factor(step) for step in steps])
        phases = [self.timetable.phase_at(step) for step in steps]
        rates: Floats = self.cells[phases][:, self.progress.going] * factors[:, np.newaxis]
        return rates

    def _note_starts(self, first: int, end: int, losses: Floats) -> Floats:
        """Keep the first losses of each phase; gives those of the phase that the epoch begins in, by head."""
        progress, step, begun = self.progress, first, None
        while step < end:
            phase = self.timetable.phase_at(step)
            stop = min(self.timetable.ends[phase], end)
            if phase != progress.phase:
                progress.phase, progress.starts = phase, []
            fresh = losses[step - first : stop - first][: max(START_STEPS - len(progress.starts), 0)]
            whole = np.full((len(fresh), len(self.members)), np.nan)
            whole[:, progress.going] = fresh
            progress.starts += whole.tolist()
            begun = progress.starts if begun is None else begun
            step = stop
        return np.array(begun, dtype=np.float64)[:, progress.going]

    def _validate(self) -> tuple[NDArray[np.int64], Floats]:
        """Predicted classes and log losses of the validation images, (n_val, heads) each."""
        ids = self.examples.val
        sizes = [min(EVAL_CHUNK, len(ids) - start) for start in range(0, len(ids), EVAL_CHUNK)]
        targets = torch.split(self._labels[torch.from_numpy(ids).to(self.device)], sizes)
        found = [
            self.stack.predict(features, own)
            for features, own in zip(self.inputs.batches(ids, None, sizes), targets, strict=True)
        ]
        self._count(len(ids), trained=False)
        predicted, losses = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
        return predicted, losses

    def _count(self, n_images: int, *, trained: bool) -> None:
        shares, heads = self.columns.groups.work_shares, len(self.progress.going)
        self.progress.work += cost.heads_work(shares, n_images, heads, trained=trained)
        self.progress.work_alone += cost.heads_work(shares, n_images, 1, trained=trained)

    def _record(
        self, epoch: int, trained: HeadTally, place: int, predicted: NDArray[np.int64], losses: Floats
    ) -> EpochRecord:
        steps = trained.steps_done
        last = bool(trained.diverged) or steps == self.timetable.total_steps
        if trained.diverged:
            predicted, losses = predicted[:0], losses[:0]
        scored = len(predicted) > 0
        val_loss = float(losses.mean()) if scored else float("nan")
        labels = self.examples.labels[self.examples.val]
        rate = self.cells[self.timetable.phase_at(steps - 1), place] * self.timetable.factor(steps - 1)
        return EpochRecord(
            epoch=epoch,
            epochs_done=steps / self.steps_per_epoch,
            step=steps,
            train_loss=trained.mean_loss,
            train_top1=trained.top1,
            phase_start_loss=trained.start_loss,
            val_loss=val_loss,
            value=metrics.score(self.metric, labels, predicted, val_loss) if scored else float("nan"),
            predicted=metrics.pack_classes(predicted),
            losses=metrics.pack_losses(losses) if last and self.metric == "log_loss" else "",
            n_val=len(labels),
            rates=self._by_column(float(rate)),
            grad_norms=self._by_column(trained.norm_by(np.median)),
            grad_norms_max=self._by_column(trained.norm_by(np.max)),
            work=self.progress.work_alone,
            seconds=self.progress.seconds,
            epochs_since_unfreeze=(steps - self.timetable.last_unfreeze) / self.steps_per_epoch,
            diverged=trained.diverged,
            last=last,
        )

    def save(self, path: Path) -> None:
        """Write the rolling checkpoint."""
        progress = self.progress
        write_state(
            path,
            {
                "run": self._digest,
                "heads": self.stack.state(),
                "records": [record.model_dump_json() for record in progress.records],
                "going": progress.going,
                "phase": progress.phase,
                "starts": progress.starts,
                "work": progress.work,
                "work_alone": progress.work_alone,
                "seconds": progress.seconds,
                "watches": [watch.state() for watch in self.watches],
            },
        )

    def restore(self, path: Path) -> None:
        """Go back to where a checkpoint was written.

        Raises:
            ConfigError: It is of another run, or damaged; some of it may have been taken over.
        """
        state = read_state(path, self.device, run=self._digest)
        with restoring(path):
            heads = state.pop("heads")
            for watch, seen in zip(self.watches, state.pop("watches"), strict=True):
                watch.restore(seen)
            records = [EpochRecord.model_validate_json(text) for text in state.pop("records")]
            self.progress = _Progress(records=records, **state)
            if self.progress.going and len(self.progress.going) < len(self.members):
                self.stack.select(self.progress.going)
            if self.progress.going:
                self.stack.restore(heads)


class _Inputs:
    """Hands out what the heads see: the input of the model's linear layer."""

    def __init__(self, sweep: _Sweep, engine: Engine | None) -> None:
        regime = sweep.regime
        self._sweep = sweep
        self._view = regime.views
        self._seed = derive(sweep.seed, "views")
        self._stage = Stage(
            engine,
            sweep.model,
            sweep.examples,
            sweep.head,
            view=regime.views,
            seed=self._seed,
            erase=regime.erase,
            device=sweep.device,
        )
        self._forward: Forward = self._stage.forward()
        self._direct = False

    def batches(self, ids: Ids, epoch: int | None, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Give the features of one batch after the other, (size, F) each.

        Args:
            ids: Image ids of all batches, in order.
            epoch: Decides the views; None: not augmented.
            sizes: Of the batches.
        """
        numbers = None if epoch is None else views.numbers(self._view, self._seed, ids, epoch)
        for rows in self._stage.batches(ids, numbers, sizes):
            yield rows[0] if self._direct else self._features(rows)

    def _features(self, rows: tuple[Tensor, ...]) -> Tensor:
        """Find out what the linear layer sees; where it sees what was handed out, nothing is run any more."""
        with torch.no_grad(), autocast(self._sweep.device):
            features, _ = _seen_by(self._sweep.linear, self._forward, rows)
        assert features is not None
        self._direct = len(rows) == 1 and features.shape == rows[0].shape and torch.equal(features, rows[0])
        return features


def _linear_head(model: nn.Module, columns: Columns) -> nn.Linear | None:
    """Give the layer that all parameters of the head belong to, where it is one linear layer."""
    owners = {name.rpartition(".")[0] for name in columns.groups.groups[-1].parameters}
    if len(owners) != 1:
        return None
    module = model.get_submodule(owners.pop())
    return module if isinstance(module, nn.Linear) else None


def _seen_by(linear: nn.Linear, forward: Forward, inputs: tuple[Tensor, ...]) -> tuple[Tensor | None, Tensor]:
    """Run a model, and give what its linear layer took, None where it did not run once, and the logits."""
    seen: list[Tensor] = []
    with linear.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        logits = forward(*inputs)
    return (seen[0] if len(seen) == 1 else None), logits
