"""What a search found: trials, how they ended, and the best of them."""

import math
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from autofreeze.confirmation import Confirmation
from autofreeze.job import EpochRecord, Thaw, settings_digest, sweep_digest
from autofreeze.placing import Placing
from autofreeze.plan import Plan
from autofreeze.regime import Regime
from autofreeze.scale import Direction, Scale
from autofreeze.schedule import Schedule
from autofreeze.values import Value

UNDER_WAY = "under way"
"""``cut_short`` of a report that was written while the search ran: a killed one leaves it."""


ROUNDING = 1e-3
"""Nats, or the same share of the loss, by which rounding parts the curves of a head trained beside others and
alone, at most (``benchmarks/fused_heads.py``)."""


SPLIT_BATCHES = (
    "a batch did not fit the memory; in parts, BatchNorm follows other statistics than in other trials"
)
"""Why a run is not compared with others."""


class Ending(StrEnum):
    """How a trial ended. A failure is never a score."""

    COMPLETE = "complete"
    UNPROMISING = "pruned (unpromising)"
    UNSTABLE = "pruned (unstable)"
    TOO_DEAR = "not run (too dear)"
    NOT_COMPARABLE = "not comparable"
    FAILED = "failed"
    UNFINISHED = "unfinished"


class MemberResult(Value):
    """One head of a sweep; what it was trained by is the trial's but for ``params``."""

    params: dict[str, Any]
    """Its values of the axes that were swept."""

    settings: str
    """Hash of its schedule and regime; see ``Job.settings_digest``."""

    value: float | None = None
    """As in ``TrialResult``; only when the trial is complete and the head stayed stable."""

    val_loss: float | None = None
    fold_values: tuple[float, ...] = ()
    reason: str = ""
    """Why it broke off."""


class TrialResult(Value):
    """One trial and how it ended."""

    number: int
    baseline: str | None = None
    """Name of the baseline that the trial is, if it is one."""

    tuned: bool = False
    """Whether it is one of the rates by which that baseline was tuned, not the baseline as usually run."""

    recipe: str
    """The recipe that the schedule is a point of."""

    schedule: Schedule
    regime: Regime
    params: dict[str, Any] = Field(default_factory=dict)
    """The point of the search space; empty for a baseline that lies outside it."""

    ending: Ending
    reason: str = ""
    """Why it was pruned or failed."""

    value: float | None = None
    """The metric over the validation images of all folds at the last epoch; only when complete."""

    val_loss: float | None = None
    """Mean log loss over the same images, in nats."""

    fold_values: tuple[float, ...] = ()
    """The metric by fold: at the last epoch; of a pruned trial as far as it came."""

    n_val: int = 0
    """Validation images that the value rests on."""

    affordable: bool = True
    """Whether one run keeps to the cost that was allowed. A baseline that does not is run to compare with,
    and cannot win."""

    work: float = 0.0
    """Forward-equivalents spent on it."""

    seconds: float = 0.0
    warm_start: str | None = None
    """Where it comes from, ``RUN#trial``, if it began where an earlier search ended."""

    same_as: int | None = None
    """An earlier trial with the same schedule and regime, whose result this one took over."""

    member: int | None = None
    """Of a sweep: the head that schedule, regime, point and values are those of, the best one; None until one
    has a record, and where the trial is no sweep."""

    thaw: Thaw | None = None
    """Of the first fold, the first thaw with a backbone column: the size of the first gradient into the
    backbone. None where there was none, or it is not known."""

    drift: float | None = None
    """Of the first fold, how far the backbone had moved at the last record; see ``EpochRecord.drift``."""

    members: tuple[MemberResult, ...] = ()
    """Of a sweep: its heads, the drawn one first; empty where the trial is no sweep. Work and seconds are
    those of all heads."""

    @property
    def origin(self) -> int:
        """The trial that was run for it: itself, or the equal one whose result it took over."""
        return self.number if self.same_as is None else self.same_as

    @property
    def settings_digest(self) -> str:
        """Hash of what was trained, as ``Job.settings_digest`` gives it."""
        if self.members:
            return sweep_digest(member.settings for member in self.members)
        return settings_digest(self.schedule, self.regime)


class StudyResult(Value):
    """A search and what it found; ``confirmation`` is what fresh seeds made of it."""

    schema_version: int = 1
    data: dict[str, Any]
    """Name, fingerprint, classes and image counts of the data set, and what was found in its images."""

    backbone: dict[str, Any]
    """Model, source and digest of the weights, preprocessing and layer groups."""

    settings: dict[str, Any]
    """Everything that the search was asked for."""

    trials: tuple[TrialResult, ...]
    confirmation: Confirmation | None = None
    """None: nothing in the result has been confirmed."""

    engine: tuple[str, ...] = ()
    """What could not be computed once for all trials, and why, in sentences."""

    metric: str
    kind: Literal["images", "own"] = "images"
    """Whether images were classified, or a training of the user's own was searched."""

    direction: Direction = "maximize"
    """Of the metric as people read it; ``minimize`` only in a search of the user's own training."""

    seconds: float
    cut_short: str = ""
    """What ended the search before its time, such as ``interrupted``; ``under way`` while it runs; empty when
    nothing did."""

    plan: Plan | None = None
    """What the search was expected to cost when it began; that of the latest session that planned."""

    placing: Placing | None = None
    """Where the jobs of the latest session ran; None on one machine without a cluster."""

    command: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)

    @field_validator("plan", mode="before")
    @classmethod
    def _plan_with_ranges(cls, plan: Any) -> Any:
        """Pass over the plan of an earlier version: it held one figure where there are ranges now."""
        return None if isinstance(plan, dict) and "stored" not in plan else plan

    @property
    def scale(self) -> Scale:
        """How values of the metric are kept and read."""
        if self.kind == "own":
            return Scale(metric=self.metric, unit="plain", direction=self.direction)
        return Scale.of(self.metric)

    @property
    def best(self) -> TrialResult | None:
        """The schedule that a confirmation chose; without one the complete trial with the highest value.

        Among equals the lower log loss comes first. What may not be afforded cannot win.
        """
        if self.confirmation is not None and self.confirmation.chosen is not None:
            return next(one for one in self.trials if one.number == self.confirmation.chosen)
        complete = [one for one in self.trials if one.ending is Ending.COMPLETE and one.affordable]
        return max(complete, key=rank, default=None)

    @property
    def baselines(self) -> tuple[TrialResult, ...]:
        """The baselines as usually run, in the order in which they ran."""
        return tuple(trial for trial in self.trials if trial.baseline and not trial.tuned)

    @property
    def searched(self) -> tuple[TrialResult, ...]:
        """The trials that count as trials of the search: run, and not by tuning a baseline."""
        uncounted = (Ending.TOO_DEAR, Ending.UNFINISHED)
        return tuple(one for one in self.trials if not one.tuned and one.ending not in uncounted)

    @property
    def finalists_possible(self) -> bool:
        """Whether there is anything to confirm: a complete trial that may be afforded."""
        return any(one.ending is Ending.COMPLETE and one.affordable for one in self.trials)

    @property
    def work(self) -> float:
        """Forward-equivalents spent on all trials."""
        return sum(trial.work for trial in self.trials)


class DatasetOutcome(Value):
    """What the search on one of several data sets found. Every figure is taken from the set's own report."""

    name: str
    """Of the run folder inside the whole one: one plain name, which leads nowhere else."""

    data: str
    """The data set as it was given."""

    problem: str = ""
    """Why the search on it broke off; empty when it did not."""

    details: str = ""
    """The traceback of an error that nobody expected."""

    images: int | None = None
    classes: int | None = None
    metric: str = ""
    best_trial: int | None = None
    sentence: str = ""
    """The best schedule in words."""

    value: float | None = None
    """As people read it: the log loss itself where that is the metric. On fresh seeds where there are any."""

    standard_error: float | None = None
    lead_over: dict[str, float] = Field(default_factory=dict)
    """Baseline -> by how much the best schedule is better, in the metric's unit."""

    decision_over: dict[str, str] = Field(default_factory=dict)
    """Baseline -> what that lead means, where it was confirmed: ``better``, ``no difference``."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name in ("", ".", "..") or re.search(r"[/\\\0]", name):
            raise ValueError("must be the name of a folder, not a path")
        return name

    confirmed: bool = False
    freeze_first: str = ""
    """The answer to that question, and how sure it is: ``at once (confirmed)``."""

    trials: int = 0
    endings: str = ""
    work: float = 0.0
    seconds: float = 0.0
    cut_short: str = ""


class SummaryResult(Value):
    """A search on several data sets with one model: the best schedule of each."""

    kind: Literal["summary"] = "summary"
    schema_version: int = 1
    model: str
    datasets: tuple[DatasetOutcome, ...]
    seconds: float
    """Of all sessions together, opening the data included."""

    cut_short: str = ""
    command: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)


class CurvePoint(Value):
    """One epoch of the trial's first fold, to compare a new training with."""

    epochs_done: float
    train_loss: float | None = None
    """None where a training of the user's own did not tell it."""

    val_loss: float | None = None
    value: float


class TrainResult(Value):
    """A model trained by a file."""

    model_path: Path
    metric: str
    """What ``value`` in the curves and ``test_value`` hold."""

    curve: tuple[CurvePoint, ...]
    expected: tuple[CurvePoint, ...]
    """The trial's own curve, from the file."""

    up_to_rounding: bool = False
    """Whether the trial's head was trained beside others: both curves agree up to rounding at best."""

    same_curve: bool | None
    """Whether both curves are equal, as far as the trial's own goes: to the bit, or ``up_to_rounding``; None
    when there are ``changes``, or the file holds no curve."""

    changes: tuple[str, ...] = ()
    """What this training does otherwise than the trial, as verbs with what belongs to them."""

    expected_views: str = ""
    """Views that the trial's own curve saw, where this training saw others."""

    n_train: int = 0
    """Images trained on."""

    n_val: int = 0
    """Images validated with; none where all were trained on."""

    found: str = ""
    """What the search found for the schedule, in words; empty where it was not searched."""

    test_value: float | None = None
    """Metric on the test split, when it was read."""

    test_reads: int = 0
    """How often the test split of these data has been read on this machine."""


def curve_of(records: Sequence[EpochRecord]) -> tuple[CurvePoint, ...]:
    """Shorten records to what an exported file keeps."""
    names = tuple(CurvePoint.model_fields)
    return tuple(CurvePoint(**{name: getattr(record, name) for name in names}) for record in records)


def follows(curve: Sequence[CurvePoint], expected: Sequence[CurvePoint]) -> bool:
    """Say whether two curves of one head agree up to rounding: in their losses, at each epoch of both."""
    pairs = [
        (ours, theirs)
        for one, other in zip(curve, expected, strict=True)
        for ours, theirs in ((one.train_loss, other.train_loss), (one.val_loss, other.val_loss))
        if ours is not None and theirs is not None
    ]
    return all(math.isclose(*pair, rel_tol=ROUNDING, abs_tol=ROUNDING) for pair in pairs)


def rank(trial: TrialResult) -> tuple[float, float, int]:
    """Key by which complete trials are ordered: metric, then log loss, then the earlier one."""
    loss = trial.val_loss if trial.val_loss is not None else float("inf")
    return (trial.value if trial.value is not None else float("-inf"), -loss, -trial.number)


def ended_trials(results: Sequence[TrialResult]) -> int:
    """Count the trials of the search that were run, neither those of a tuning nor those under way."""
    return sum(
        trial.ending not in (Ending.TOO_DEAR, Ending.UNFINISHED) and not trial.tuned for trial in results
    )
