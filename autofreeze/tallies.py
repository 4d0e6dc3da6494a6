"""What the steps of one epoch add up to: of one run, and of the heads of a sweep."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

Look = Callable[[int, Sequence[float], Sequence[float]], Iterator[str]]
"""(head, losses, norms of the gradient) -> by step, why the head cannot go on; empty where it can."""


@dataclass
class Tally:
    """Sums over the steps of one epoch of a run."""

    norms: NDArray[np.float64]
    """(steps, columns), NaN where frozen."""

    first_step: int
    loss_sum: float = 0.0
    images: int = 0
    start_losses: list[float] = field(default_factory=list)
    """Losses of the first steps of the phase that the epoch begins in; a later phase has its own list."""

    targets: list[Tensor] = field(default_factory=list)
    """Classes of the images, by step; like ``predicted`` left on the device, so that no step waits for it."""

    predicted: list[Tensor] = field(default_factory=list)

    diverged: str = ""
    steps_done: int = field(init=False)

    def __post_init__(self) -> None:
        self.steps_done = self.first_step

    def keep_norms(self, start: int, trains: NDArray[np.bool_], norms: Sequence[Sequence[float]]) -> None:
        """Keep the norms of the steps from ``start`` on; a step whose loss was not finite has none."""
        taken = [own for own in norms if len(own)]
        if taken:
            first = start - self.first_step
            self.norms[first : first + len(taken), trains] = taken

    def add(self, loss: float, targets: Tensor, predicted: Tensor) -> None:
        """Add a step: its loss, and true and predicted classes (n,)."""
        self.loss_sum += loss * len(targets)
        self.images += len(targets)
        self.targets.append(targets)
        self.predicted.append(predicted)

    @property
    def mean_loss(self) -> float:
        """Mean over the images; NaN where the epoch broke off."""
        return self.loss_sum / self.images if self.images and not self.diverged else float("nan")

    @property
    def phase_start_loss(self) -> float:
        """Mean of the phase's first losses; NaN where there are none."""
        return float(np.mean(self.start_losses)) if self.start_losses else float("nan")

    @property
    def top1(self) -> float | None:
        """Share of images that were right; None where the epoch broke off."""
        if not self.images or self.diverged:
            return None
        return int((torch.cat(self.predicted) == torch.cat(self.targets)).sum()) / self.images

    def norms_by(self, summary: Any) -> tuple[float | None, ...]:
        """Summarise the finite norms of each column; None where there are none."""
        finite = np.where(np.isfinite(self.norms), self.norms, np.nan)
        return tuple(
            float(summary(finite[:, column])) if np.isfinite(finite[:, column]).any() else None
            for column in range(finite.shape[1])
        )


@dataclass
class HeadTallies:
    """The steps of one epoch, by head."""

    first: int
    sizes: Ids
    """Images by step."""

    losses: Floats
    """(steps, heads), NaN from the step on at which a head diverged."""

    norms: Floats
    """(steps, heads), NaN where there is none that is finite."""

    hits: Floats
    diverged: list[str]
    """By head, why it cannot go on; empty where it can."""

    ends: list[int]
    """By head, the step after its last one."""

    starts: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """Losses over the first steps of the phase that the epoch begins in, (steps, heads)."""

    @classmethod
    def of_steps(
        cls, first: int, sizes: Ids, losses: Floats, norms: Floats, hits: Floats, look: Look
    ) -> "HeadTallies":
        """Find where heads diverged, or their watches ended them; what a head did after that does not count.

        Args:
            first: The epoch's first step.
            sizes: Images by step.
            losses: (steps, heads).
            norms: 2-norms of the gradient, (steps, heads).
            hits: Images classified rightly, (steps, heads).
            look: Looks at the steps of a head, in order.
        """
        steps, heads = losses.shape
        diverged, ends = [""] * heads, [first + steps] * heads
        losses, norms = losses.copy(), np.where(np.isfinite(norms), norms, np.nan)
        bad = ~np.isfinite(losses) | np.isnan(norms)
        for head in np.flatnonzero(bad.any(axis=0)).tolist():
            step = int(bad[:, head].argmax())
            what = "gradient" if np.isfinite(losses[step, head]) else "loss"
            diverged[head], ends[head] = f"non-finite {what} at step {first + step}", first + step + 1
            losses[step:, head] = norms[step:, head] = np.nan
        for head, own, slopes in zip(range(heads), losses.T.tolist(), norms.T.tolist(), strict=True):
            fine = ends[head] - first - bool(diverged[head])
            for step, reason in enumerate(look(head, own[:fine], slopes[:fine]), start=1):
                if reason:
                    diverged[head], ends[head] = reason, first + step
                    losses[step:, head] = norms[step:, head] = np.nan
                    break
        return cls(first, sizes, losses, norms, hits, diverged, ends)

    def of(self, head: int) -> "HeadTally":
        """Give the steps of one head."""
        broken = bool(self.diverged[head])
        n = int(self.sizes.sum())
        starts = self.starts[:, head]
        starts = starts[np.isfinite(starts)]
        return HeadTally(
            steps_done=self.ends[head],
            mean_loss=float("nan") if broken else float(self.losses[:, head] @ self.sizes) / n,
            top1=None if broken else int(self.hits[:, head].sum()) / n,
            start_loss=float(starts.mean()) if len(starts) else float("nan"),
            first_loss=float(self.losses[0, head]),
            first_norm=None if np.isnan(self.norms[0, head]) else float(self.norms[0, head]),
            norms=self.norms[np.isfinite(self.norms[:, head]), head],
            diverged=self.diverged[head],
        )


@dataclass(frozen=True)
class HeadTally:
    """One epoch of one head; fields as in ``EpochRecord``."""

    steps_done: int
    mean_loss: float
    top1: float | None
    start_loss: float
    first_loss: float
    """Of the epoch's first step; NaN where it was not finite."""

    first_norm: float | None
    """The gradient's 2-norm of that step."""

    norms: Floats
    diverged: str

    def norm_by(self, summary: Any) -> float | None:
        """Summarise the norms of the gradient; None where there are none."""
        return float(summary(self.norms)) if len(self.norms) else None
