"""One optimizer step: forward, loss, backward, the norms of the gradients, the update."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autofreeze.binding import BoundSchedule, has_statistics
from autofreeze.errors import ConfigError

Forward = Callable[..., Tensor]
"""(*inputs) -> logits (n, classes)."""


ONE_IMAGE = (
    "a batch has one image, and BatchNorm that follows its batches takes two at least; with batch_size: 3 or"
    " more none is that small, and norm: eval keeps BatchNorm's statistics"
)


class Step(NamedTuple):
    """What a step gave. The update was made unless there is a problem."""

    loss: float
    """Mean over the batch, in nats; smoothed and weighted as the regime says."""

    norms: Sequence[float]
    """2-norm of the gradient, of the columns that train, stem first."""

    predicted: Tensor
    """Classes (n,), on the device."""

    problem: str = ""
    """``non-finite loss`` or ``non-finite gradient``."""


class Stepper:
    """Takes the optimizer steps of a run.

    A batch that does not fit the device's memory is cut into halves, and their gradients are added up; so is
    every batch after it. Where BatchNorm trains, its statistics are then those of smaller batches.

    Args:
        bound: The schedule tied to the model.
        device: Where the model is.
        weights: Of the classes in the loss, (classes,); None for all alike.
        label_smoothing: Share of the target that is spread over all classes.
        micro_batch: Images at a time; None: the whole batch.
    """

    def __init__(
        self,
        bound: BoundSchedule,
        device: torch.device,
        *,
        weights: Tensor | None,
        label_smoothing: float,
        micro_batch: int | None = None,
    ) -> None:
        self.micro_batch = micro_batch
        self._bound = bound
        self._device = device
        self._weights = weights
        self._smoothing = label_smoothing
        self._active: list[nn.Parameter] = []
        self._columns = torch.zeros(0, dtype=torch.int64)
        self._n_columns = 0
        self._wide = wide(device)

    def enter_phase(self) -> None:
        """Take note of which columns train now."""
        trains = [column for column, on in enumerate(self._bound.trainable) if on]
        owned = [(turn, p) for turn, column in enumerate(trains) for p in self._bound.parameters[column]]
        self._active = [parameter for _, parameter in owned]
        self._columns = torch.tensor([turn for turn, _ in owned], device=self._device)
        self._n_columns = len(trains)

    @property
    def splits_statistics(self) -> bool:
        """Whether BatchNorm follows parts of batches instead of whole ones."""
        return self.micro_batch is not None and self._follows_batches()

    def _follows_batches(self) -> bool:
        return any(module.training and has_statistics(module) for module in self._bound.model.modules())

    def take(
        self,
        forward: Forward,
        inputs: tuple[Tensor, ...],
        targets: Tensor,
        again: Callable[[], tuple[Tensor, ...]],
    ) -> Step:
        """Take one step.

        Args:
            forward: The trainable part of the model.
            inputs: What it takes, each with n rows; may be written to.
            targets: Classes (n,), int64, on the device.
            again: Gives the inputs once more, after a first try that ran out of memory.

        Raises:
            torch.OutOfMemoryError: Not even one image fits.
            ConfigError: There is one image, and BatchNorm has one value of it to follow.
        """
        loss, predicted = self._gradients(forward, inputs, targets, again)
        # One copy from the device for everything that has to be looked at.
        value, *norms = torch.cat([loss.to(self._wide).reshape(1), self._norms()]).tolist()
        if not _is_finite(value):
            return Step(value, (), predicted, "non-finite loss")
        if not all(map(_is_finite, norms)):
            return Step(value, norms, predicted, "non-finite gradient")
        self._bound.step()
        return Step(value, norms, predicted)

    def _gradients(
        self,
        forward: Forward,
        inputs: tuple[Tensor, ...],
        targets: Tensor,
        again: Callable[[], tuple[Tensor, ...]],
    ) -> tuple[Tensor, Tensor]:
        while True:
            try:
                return self._accumulate(forward, inputs, targets)
            except torch.OutOfMemoryError:
                size = min(self.micro_batch or len(targets), len(targets))
                if size == 1:
                    raise
                self.micro_batch = (size + 1) // 2
            # Outside of the handler: the error holds the frames, and they the activations.
            self._clear()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            inputs = again()

    def _accumulate(
        self, forward: Forward, inputs: tuple[Tensor, ...], targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        self._clear()
        if self.micro_batch is None or self.micro_batch >= len(targets):
            return self._backward(forward, inputs, targets, None)
        total = len(targets) if self._weights is None else self._weights[targets].sum()
        parts = zip(*(torch.split(one, self.micro_batch) for one in (*inputs, targets)), strict=True)
        done = [self._backward(forward, part[:-1], part[-1], total) for part in parts]
        return torch.stack([loss for loss, _ in done]).sum(), torch.cat([classes for _, classes in done])

    def _backward(
        self, forward: Forward, inputs: tuple[Tensor, ...], targets: Tensor, total: Tensor | int | None
    ) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch, or of a part of one whose weights sum up to ``total``."""
        try:
            with autocast(self._device):
                logits = forward(*inputs)
        except ValueError as error:
            if len(targets) > 1 or not self._follows_batches():
                raise
            raise ConfigError(ONE_IMAGE) from error
        loss = F.cross_entropy(
            logits.float(),
            targets,
            weight=self._weights,
            label_smoothing=self._smoothing,
            reduction="mean" if total is None else "sum",
        )
        if total is not None:
            loss = loss / total
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), logits.detach().argmax(1)

    def _clear(self) -> None:
        for parameter in self._active:
            parameter.grad = None

    def _norms(self) -> Tensor:
        """2-norm of the gradient by column that trains; a parameter without a gradient counts 0."""
        there = [turn for turn, parameter in enumerate(self._active) if parameter.grad is not None]
        gradients: list[Tensor] = [self._active[turn].grad for turn in there]  # type: ignore[misc]
        columns = self._columns if len(there) == len(self._active) else self._columns[there]
        return column_norms(gradients, columns, self._n_columns, self._wide)


def wide(device: torch.device) -> torch.dtype:
    """Type for adding up norms: squares of large ones leave float32; Apple's GPUs have nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64


def column_norms(tensors: Sequence[Tensor], columns: Tensor, n_columns: int, dtype: torch.dtype) -> Tensor:
    """2-norm of tensors by column, (n_columns,); 0 where a column has none.

    Args:
        tensors: Of any shapes.
        columns: The column of each, (tensors,), on their device.
        n_columns: How many columns there are.
        dtype: In which squares are added up.
    """
    sums = torch.zeros(n_columns, dtype=dtype, device=columns.device)
    if tensors:
        squares = torch.stack(torch._foreach_norm(list(tensors))).to(dtype).square_()
        sums.index_add_(0, columns, squares)
    return sums.sqrt_()


def _is_finite(value: float) -> bool:
    return value - value == 0.0


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Bfloat16 on CUDA GPUs that have it; float32 elsewhere."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
