"""Jobs and their records: what a study hands to an executor, and what comes back."""

import math
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autofreeze.metrics import unpack_classes
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule
from autofreeze.values import Value, digest_of


class Job(Value):
    """One training run: a trial's schedule and regime on one fold with one seed."""

    trial: int = Field(ge=0)
    fold: int = Field(ge=0)
    """Which of the folds that trials are scored on; 0 in a confirmation, whose split is its seed's own."""

    fresh: int | None = Field(default=None, ge=0)
    """Number of the fresh seed that a confirmation runs on; None in the search. Order, head and split all
    follow from ``seed`` then."""

    seed: int
    schedule: Schedule
    regime: Regime

    @property
    def key(self) -> str:
        """Name of the job, unique in a study."""
        return f"{self.trial}.{self.fold}" if self.fresh is None else f"{self.trial}.fresh-{self.fresh}"

    @property
    def settings_digest(self) -> str:
        """Hash of schedule and regime: what is trained, whatever the seed and the images."""
        return settings_digest(self.schedule, self.regime)

    @property
    def recipe_digest(self) -> str:
        """Hash of what is trained, whatever the trial's number: equal ones are one run."""
        schedule = self.schedule.canonical()
        return digest_of([schedule.model_dump(mode="json"), self.regime.model_dump(mode="json"), self.seed])


def settings_digest(schedule: Schedule, regime: Regime) -> str:
    """Hash a schedule and a regime; equal ones are the same training, but for data and seeds."""
    return digest_of([schedule.canonical().model_dump(mode="json"), regime.model_dump(mode="json")])


class EpochRecord(Value):
    """What one epoch of one run gave. Losses in nats, rates and norms by column (None: frozen)."""

    epoch: int = Field(ge=0)
    """From 0. The last epoch may be shorter than the others."""

    epochs_done: float
    """Epochs trained when the record was taken, as a decimal number."""

    step: int
    """Optimizer steps done."""

    train_loss: float
    """Mean over the images of the epoch, augmented, in training mode."""

    train_top1: float | None = None
    """Share of the epoch's images that were classified rightly, augmented, in training mode; None when the
    epoch broke off."""

    phase_start_loss: float
    """Training loss over the first steps of the phase that the epoch begins in: what its own loss is compared
    with. A phase that begins within the epoch starts lower than the epoch's mean, by learning alone."""

    val_loss: float
    """Mean log loss over the validation images, without smoothing or class weights."""

    value: float
    """The study's metric on the validation images as an objective, 0..1; see ``metrics.score``."""

    predicted: str
    """Predicted classes of the validation images, in order, as ``metrics.pack_classes`` writes them."""

    losses: str = ""
    """Log loss of each validation image, as ``metrics.pack_losses`` writes it: at the last epoch of a run
    whose metric is ``log_loss``, else empty."""

    n_val: int
    rates: tuple[float | None, ...]
    """Learning rates of the epoch's last step."""

    grad_norms: tuple[float | None, ...]
    """Median over the epoch's steps of the gradient's 2-norm."""

    grad_norms_max: tuple[float | None, ...]
    work: float
    """Forward-equivalents since the start of the run."""

    seconds: float
    """Seconds of training and validation since the start of the run."""

    epochs_since_unfreeze: float
    """Epochs since the schedule's last thaw; negative before it."""

    diverged: str = ""
    """Why the run cannot go on, such as ``non-finite loss at step 17``; empty when it can."""

    last: bool = False
    """Whether the run ends here."""

    @property
    def is_finite(self) -> bool:
        """Whether the record holds a value that may be compared."""
        return not self.diverged and math.isfinite(self.value) and math.isfinite(self.val_loss)

    @property
    def predicted_classes(self) -> NDArray[np.int64]:
        """Predicted classes of the validation images, (n_val,); none where the run diverged before."""
        return unpack_classes(self.predicted, self.n_val if self.predicted else 0)

    def same_as(self, other: Self) -> bool:
        """Whether both tell the same curve; seconds are left out, since they never repeat. NaN equals NaN."""
        return self.model_dump_json(exclude={"seconds"}) == other.model_dump_json(exclude={"seconds"})
