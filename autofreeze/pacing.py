"""How fast a model is here: a few steps measured on the real images and device, before a search.

Models that are built for it are thrown away, and the global random state is left as it was, so that no
number of the search depends on whether it was measured. What is cut here need not be cut again.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autofreeze.binding import Columns
from autofreeze.engine import Engine
from autofreeze.errors import BackboneError
from autofreeze.examples import Examples
from autofreeze.features import FeatureStores
from autofreeze.groups import LayerGroup
from autofreeze.plan import Border, Memory, Pace
from autofreeze.rates import memory_rate
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.training import EVAL_CHUNK, evaluate, fit
from autofreeze.trial import Workbench

SECONDS = 3.0
"""About what the measured steps may take, on a model whose steps are fast."""

PROBE = 8
"""Images of the first, rough look at how fast the model is."""

MANY = 2048
"""Images of an epoch in which the head alone is measured, at most."""

MOST = 8
"""How many times a depth is measured, at most."""

LATER = 0.85
"""Seconds of cutting at a border over those of the first one, which also sets up the tracing."""

HEADS = 2.0
"""Steps of one head that a step of a sweep takes, at most."""

Progress = Callable[[str, int, int], None]
DOING = "measuring a few steps"
PARTS = 5
"""What measuring is told in."""


@dataclass(frozen=True)
class Measured:
    """What was found out before a search."""

    pace: Pace
    memory: Memory


def measure(bench: Workbench, regime: Regime, *, progress: Progress | None = None) -> Measured:
    """Measure training steps at three borders, the forward pass by column, and what lies between steps.

    The head alone is measured with its features stored, everything, and a border half way up, with the whole
    model; other borders lie between them by the seconds that the columns' forward passes take. On a model so
    slow that whole batches would take too long, smaller ones are measured; they are a little slower by image.

    Args:
        bench: The opened task. Its cutter keeps what it has traced; nothing else in it is changed.
        regime: Batch size, optimizer and views of the steps.
        progress: Told how far it is.
    """
    return _Measuring(bench, regime, progress).measured()


@dataclass(frozen=True)
class _Timed:
    """Seconds of a training."""

    image: float
    """Of its steps, by image."""

    beside: float
    """Of an epoch beside them: the checkpoint."""

    first: float
    """Of what the first epoch takes more than the others."""


class _Measuring:
    """Measures in processor seconds where one thread does all the work, and tells the load beside.

    A machine that others use gives a process now more, now less; over all that is measured it shows how much.
    """

    def __init__(self, bench: Workbench, regime: Regime, progress: Progress | None) -> None:
        self.bench, self.regime = bench, regime
        alone = bench.device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = time.process_time if alone else time.perf_counter
        self._began = time.perf_counter(), self._clock()
        self.groups = bench.backbone.groups
        self.head = len(self.groups) - 1
        self._progress = progress
        self._told = 0

    def measured(self) -> Measured:
        self._tell()
        examples = self.bench.examples(self.bench.splits[0])
        began = self._clock()
        model = self.bench.build_model(0)
        Columns.of(model, self.groups)
        built = self._clock() - began
        model = model.to(self.bench.device)
        val, shares = self._forward(model, examples)
        few = self._few(examples, val)
        activations = self._activations(model)
        del model
        self._tell()
        cutting = self._cutting()
        shapes = [self._shapes(column) for column in range(self.head + 1)]
        self._tell()
        prefix = [0.0, *(val * share for share in np.cumsum(shares)[:-1])]
        timed: dict[int, _Timed] = {self.head: self._train(self.head, self._many(few, examples))}
        self._tell()
        timed[0] = self._train(0, few)
        self._tell()
        middle = int(np.argmin(np.abs(np.array(prefix[1 : self.head]) - val / 2))) + 1 if self.head > 2 else 0
        if middle:
            timed[middle] = self._train(middle, few)
        self._tell()
        steps = {
            column: max(one.image - (prefix[column] if column < self.head or cutting is None else 0.0), 0.0)
            for column, one in timed.items()
        }
        borders = [
            Border(
                name=self.groups.names[column],
                prefix=prefix[column],
                step=_between(prefix, steps, column),
                val=max(val - prefix[column], val / 1000),
                epoch=_between(prefix, {known: one.beside for known, one in timed.items()}, column),
                row_bytes=4 * sum(int(np.prod(shape)) for shape in shapes[column]),
                refusal=self._refusal(column, shapes[column]),
                measured=column in timed,
            )
            for column in range(self.head + 1)
        ]
        pace = Pace(
            borders=tuple(map(self._worth_storing, borders)),
            run=built + float(np.median([one.first for one in timed.values()])),
            setup=LATER * (cutting or 0.0),
            heads=HEADS,
            load=self._load(),
        )
        return Measured(pace, self._memory(activations))

    def _load(self) -> float:
        """How much longer everything took than the processor worked on it."""
        wall, own = time.perf_counter() - self._began[0], self._clock() - self._began[1]
        return max(wall / own, 1.0) if own > 0 else 1.0

    def _tell(self) -> None:
        if self._progress:
            self._progress(DOING, self._told, PARTS)
        self._told += 1

    # Forward

    def _forward(self, model: nn.Module, examples: Examples) -> tuple[float, list[float]]:
        """Seconds of a forward pass by image, and the share of it that each column takes.

        What lies in no column, such as making the pixels, is counted to the first one.
        """
        val = examples.val if len(examples.val) else examples.train
        self._evaluation(model, examples, val[:PROBE])
        rough = self._evaluation(model, examples, val[:PROBE])
        n = int(np.clip(0.1 * SECONDS / rough, PROBE, EVAL_CHUNK))
        seconds = float(np.median([self._evaluation(model, examples, val[:n]) for _ in range(3)]))
        if self.bench.device.type != "cpu":
            return seconds, list(self.groups.work_shares)
        with _clocked(model, self.groups.groups, self._clock) as spent:
            whole = self._evaluation(model, examples, val[:n]) * len(val[:n])
        spent[0] += max(whole - sum(spent), 0.0)
        return seconds, [one / sum(spent) for one in spent]

    def _evaluation(self, model: nn.Module, examples: Examples, ids: NDArray[np.int64]) -> float:
        """Seconds of validation by image."""
        began = self._clock()
        evaluate(model, examples, ids, self.bench.device)
        return (self._clock() - began) / len(ids)

    def _few(self, examples: Examples, val: float) -> Examples:
        """Take some images: a step of everything is about three forward passes; each depth is done twice."""
        affordable = max(int(SECONDS / (2 * (3 + 2 + 1) * val)), 2)
        batch = min(self.regime.batch_size, affordable, len(examples.train))
        steps = int(np.clip(0.05 / (val * batch), 1, len(examples.train) // batch))
        self.regime = self.regime.model_copy(update={"batch_size": batch})
        return replace(examples, train=examples.train[: steps * batch], val=examples.val[:0])

    def _many(self, few: Examples, examples: Examples) -> Examples:
        """Take them again and again, as many as an epoch has: steps of the head alone are fast."""
        return replace(few, train=np.resize(few.train, min(len(examples.train), MANY)))

    # Cutting

    def _cutting(self) -> float | None:
        """Seconds of cutting at the head, where every search cuts; None where the model cannot be cut."""
        began = self._clock()
        refused = self.bench.engine.cutter.refusal(self.head)
        return None if refused else self._clock() - began

    def _shapes(self, column: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of what flows over a border for one image; none where the model cannot be cut there."""
        try:
            return self.bench.engine.cutter.shapes(column) if column else ()
        except BackboneError:
            return ()

    def _refusal(self, column: int, shapes: tuple[tuple[int, ...], ...]) -> str:
        return self.bench.engine.cutter.refusal(column) if column and not shapes else ""

    def _worth_storing(self, border: Border) -> Border:
        """Note where reading takes longer than computing: nothing is stored there."""
        if not border.row_bytes:
            return border
        reading = border.row_bytes / memory_rate(border.row_bytes)
        if reading > border.prefix:
            words = f"reading takes {1000 * reading:.3g} ms an image, computing {1000 * border.prefix:.3g} ms"
            return border.model_copy(update={"unstored": words})
        at_head = border.name == self.groups.names[-1]
        return border if at_head else border.model_copy(update={"step": border.step + reading})

    # Training

    def _train(self, lowest: int, few: Examples) -> _Timed:
        """Train on a few images again and again, for a third of the seconds that there are."""
        names = self.groups.names
        lrs = tuple(None if column < lowest else 1e-4 for column in range(self.head + 1))
        schedule = Schedule(groups=names, phases=(Phase(epochs=MOST, lrs=lrs),))
        engine = self._engine(few) if lowest == self.head else None
        model = self.bench.build_model(0)
        columns = Columns.of(model, self.groups)
        marks = [(self._clock(), time.perf_counter(), 0.0)]
        with tempfile.TemporaryDirectory(prefix="autofreeze-") as folder:
            for record in fit(
                model, columns, schedule, self.regime, few, seed=0, device=self.bench.device,
                metric=self.bench.metric, checkpoint=Path(folder) / "plan.pt", engine=engine,
            ):  # fmt: skip
                marks.append((self._clock(), time.perf_counter(), record.seconds))
                if len(marks) > 2 and marks[-1][0] - marks[0][0] > SECONDS / 4:
                    break
        own, walls, steps = np.diff(np.array(marks), axis=0).T
        share = np.clip(steps / walls, 0.0, 1.0)
        later = slice(min(1, len(own) - 1), None)  # a run that breaks down at once has its first epoch alone
        epoch, beside = np.median((own * share)[later]), np.median((own * (1 - share))[later])
        return _Timed(float(epoch) / len(few.train), float(beside), max(float(own[0] - epoch - beside), 0.0))

    def _engine(self, few: Examples) -> Engine:
        """Give an engine with stores of its own, in memory, and the cutter of the task."""
        stores = FeatureStores(
            None, ids=np.unique(few.train), n_images=len(self.bench.dataset), device=self.bench.device
        )
        return self.bench.engine.beside(stores)

    # Memory

    def _activations(self, model: nn.Module) -> int:
        """Count the bytes that a step keeps for its backward pass, by image."""
        kept: list[Tensor] = []  # held, so that no memory is used twice
        size = self.bench.backbone.preprocessing.image_size
        images = torch.zeros(PROBE, 3, size, size, device=self.bench.device)
        model.train()
        devices = [self.bench.device] if self.bench.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices=devices),
            torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one),  # type: ignore[func-returns-value]
        ):
            model(images.contiguous(memory_format=torch.channels_last))
        sizes = {
            one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
            for one in kept
            if not isinstance(one, nn.Parameter)
        }
        return sum(sizes.values()) // PROBE

    def _memory(self, activations: int) -> Memory:
        parameters = 4 * sum(group.n_parameters for group in self.groups.groups)
        moments = 2 if self.regime.optimizer == "adamw" else 1
        measured = self.bench.device.type == "cuda"
        peak = (2 + moments) * parameters + activations * self.regime.batch_size
        if measured:
            peak = torch.cuda.max_memory_allocated(self.bench.device)
        return Memory(step_bytes=peak, measured=measured, process_bytes=_most_memory())


def _between(places: list[float], known: dict[int, float], column: int) -> float:
    """Interpolate between columns that were measured, by where they lie."""
    columns = sorted(known)
    return float(np.interp(places[column], [places[one] for one in columns], [known[one] for one in columns]))


@contextmanager
def _clocked(
    model: nn.Module, groups: tuple[LayerGroup, ...], clock: Callable[[], float]
) -> Iterator[list[float]]:
    """Take the time that the outermost modules of each column spend, in seconds."""
    spent = [0.0] * len(groups)
    began: dict[nn.Module, float] = {}
    handles = []

    def before(module: nn.Module, _args: object) -> None:
        began[module] = clock()

    for column, group in enumerate(groups):

        def after(module: nn.Module, _args: object, _out: object, column: int = column) -> None:
            spent[column] += clock() - began[module]

        for name in group.modules:
            module = model.get_submodule(name)
            handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def _most_memory() -> int | None:
    """Most bytes that the process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
