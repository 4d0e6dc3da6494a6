"""Jobs and their records: what a study hands to an executor, and what comes back."""

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from autofreeze.metrics import unpack_classes
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule
from autofreeze.values import Value, digest_of

MEMBER_FIELDS = frozenset({"weight_decay", "label_smoothing", "class_weights"})
"""What the regimes of a sweep's heads may differ in: nothing that changes a batch or its features."""


class Member(Value):
    """One head of a sweep."""

    schedule: Schedule
    regime: Regime
    params: dict[str, Any] = Field(default_factory=dict)
    """Its values of the axes that are swept."""

    @property
    def settings_digest(self) -> str:
        """Hash of schedule and regime: that of the job that would train it alone."""
        return settings_digest(self.schedule, self.regime)


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
    members: tuple[Member, ...] = ()
    """Heads that are trained side by side over the same features in the same order, the first one with the
    job's own schedule and regime; empty: an ordinary job."""

    @model_validator(mode="after")
    def _members_fit(self) -> Self:
        if self.members and (self.members[0].schedule, self.members[0].regime) != (
            self.schedule,
            self.regime,
        ):
            raise ValueError("members: the first must have the job's own schedule and regime")
        shared = {_shared_by_heads(member) for member in self.members}
        if len(shared) > 1:
            raise ValueError(
                f"members: may differ in the head's rate and in {', '.join(sorted(MEMBER_FIELDS))}"
            )
        if any(member.schedule.unfreeze_depth for member in self.members):
            raise ValueError("members: only the head may train")
        return self

    @property
    def key(self) -> str:
        """Name of the job, unique in a study."""
        return f"{self.trial}.{self.fold}" if self.fresh is None else f"{self.trial}.fresh-{self.fresh}"

    @property
    def settings_digest(self) -> str:
        """Hash of schedule and regime: what is trained, whatever the seed and the images."""
        if self.members:
            return sweep_digest(member.settings_digest for member in self.members)
        return settings_digest(self.schedule, self.regime)

    @property
    def recipe_digest(self) -> str:
        """Hash of what is trained, whatever the trial's number: equal ones are one run."""
        schedule = self.schedule.canonical()
        trained = [schedule.model_dump(mode="json"), self.regime.model_dump(mode="json"), self.seed]
        return digest_of([*trained, *(member.settings_digest for member in self.members)])


def settings_digest(schedule: Schedule, regime: Regime) -> str:
    """Hash a schedule and a regime; equal ones are the same training, but for data and seeds."""
    return digest_of([schedule.canonical().model_dump(mode="json"), regime.model_dump(mode="json")])


def sweep_digest(settings: Iterable[str]) -> str:
    """Hash what a sweep trains, whatever the order of its heads.

    Args:
        settings: ``settings_digest`` of each head.
    """
    return digest_of(["sweep", *sorted(settings)])


def _shared_by_heads(member: Member) -> str:
    """Hash what the heads of one sweep must have in common: all but the head's cells and its own settings."""
    schedule = member.schedule.model_dump(mode="json")
    for phase in schedule["phases"]:
        phase["lrs"] = [lr is not None for lr in phase["lrs"]]
    return digest_of([schedule, member.regime.model_dump(mode="json", exclude=set(MEMBER_FIELDS))])


class Thaw(Value):
    """The first step at which columns train that never trained in the run before."""

    step: int = Field(ge=0)
    """From 0, over the whole run."""

    columns: tuple[int, ...]
    """Those that come in, stem first."""

    loss: float
    """Of the step, before its update, in nats."""

    grad_norms: tuple[float | None, ...]
    """2-norm of the step's gradient, of all columns that train; None: frozen, or the loss was not finite."""

    weight_norms: tuple[float | None, ...]
    """2-norm of the parameters before the update, of the same columns; None: frozen."""

    @property
    def of_backbone(self) -> bool:
        """Whether more than the head comes in."""
        return any(column < len(self.grad_norms) - 1 for column in self.columns)


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

    val_loss: float | None
    """Mean log loss over the validation images, without smoothing or class weights. None in a training of the
    user's own that does not tell it."""

    value: float
    """The study's metric on the validation images as an objective, 0..1; see ``metrics.score``. In a training
    of the user's own any number, the more the better; see ``scale.Scale``."""

    predicted: str
    """Predicted classes of the validation images, in order, as ``metrics.pack_classes`` writes them."""

    losses: str = ""
    """Log loss of each validation image, as ``metrics.pack_losses`` writes it: at the last epoch of a run
    whose metric is ``log_loss``, else empty."""

    scores: str = ""
    """Objective of each example, as ``own.epoch.pack`` writes them: at the last epoch of a training of the
    user's own that tells them, else empty."""

    ids: str = ""
    """Hashes of the names of these examples, where they have any."""

    n_val: int
    """Validation images; of a training of the user's own the examples that it tells scores of."""

    rates: tuple[float | None, ...]
    """Learning rates of the epoch's last step."""

    grad_norms: tuple[float | None, ...]
    """Median over the epoch's steps of the gradient's 2-norm."""

    grad_norms_max: tuple[float | None, ...]
    weight_norms: tuple[float | None, ...] = ()
    """2-norm of the parameters at the epoch's end, of columns that have trained; None: never trained; empty:
    unknown."""

    drift: float | None = None
    """How far the backbone has moved: 1 − the mean cosine between the features that enter the classifier now
    and as pretrained, of the first 256 validation images at most, 0..2. 0.0 while the backbone has not
    trained; None where it is unknown."""

    thaws: tuple[Thaw, ...] = ()
    """The thaws of this epoch, that of the run's first step among them."""

    work: float
    """Forward-equivalents since the start of the run."""

    seconds: float
    """Seconds of training and validation since the start of the run."""

    epochs_since_unfreeze: float
    """Epochs since the schedule's last thaw; negative before it."""

    comparable: bool = True
    """Whether BatchNorm has followed whole batches. Not where a batch was cut to fit the memory."""

    diverged: str = ""
    """Why the run cannot go on, such as ``non-finite loss at step 17`` or ``loss spike at step 17: …``; empty
    when it can."""

    last: bool = False
    """Whether the run ends here."""

    members: tuple["EpochRecord", ...] = ()
    """Of a sweep: a record for each head, by its place; the other fields are those of the head that leads. A
    head that has broken off keeps its last record. Predicted classes are kept at the last epoch alone."""

    @property
    def is_finite(self) -> bool:
        """Whether the record holds a value that may be compared."""
        known = self.val_loss is None or math.isfinite(self.val_loss)
        return not self.diverged and math.isfinite(self.value) and known

    @property
    def log_loss(self) -> float:
        """The mean log loss of validation; NaN where it is not known."""
        return math.nan if self.val_loss is None else self.val_loss

    @property
    def predicted_classes(self) -> NDArray[np.int64]:
        """Predicted classes of the validation images, (n_val,); none where the run diverged before."""
        return unpack_classes(self.predicted, self.n_val if self.predicted else 0)

    def same_as(self, other: Self) -> bool:
        """Whether both tell the same curve; seconds are left out, since they never repeat. NaN equals NaN."""
        timed: dict[str, Any] = {"seconds": True, "members": {"__all__": {"seconds"}}}
        return self.model_dump_json(exclude=timed) == other.model_dump_json(exclude=timed)
