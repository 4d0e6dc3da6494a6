"""Trials under way, and who is told of them."""

from dataclasses import dataclass, field
from typing import Protocol

import optuna

from autofreeze.job import EpochRecord, Job, Member, settings_digest, sweep_digest
from autofreeze.proposals import Proposal
from autofreeze.regime import Regime
from autofreeze.results import TrialResult
from autofreeze.schedule import Schedule


@dataclass
class LiveTrial:
    """A trial under way."""

    optuna_trial: optuna.Trial
    schedule: Schedule
    regime: Regime
    baseline: str | None
    n_folds: int
    tuned: bool = False
    """Whether it is one of the rates by which a baseline is tuned."""

    members: tuple[Member, ...] = ()
    """The heads of a sweep, the drawn one first; empty where it is no sweep."""

    job: Job | None = None
    waits: bool = False
    """Whether an equal trial is under way, whose outcome it waits for."""

    where: str = ""
    """Where its last record came from; empty where there is but one place."""

    curves: dict[int, list[EpochRecord]] = field(default_factory=dict)
    """Fold -> its records so far."""

    @classmethod
    def of(cls, proposal: Proposal, n_folds: int) -> "LiveTrial":
        """Begin what was proposed."""
        return cls(
            proposal.trial,
            proposal.schedule,
            proposal.regime,
            proposal.baseline,
            n_folds,
            tuned=proposal.tuned,
            members=proposal.members,
        )

    @property
    def number(self) -> int:
        """The trial's number in the study."""
        return self.optuna_trial.number

    @property
    def spared(self) -> bool:
        """Whether it is trained to its end however it fares, as baselines as usually run are."""
        return bool(self.baseline) and not self.tuned

    @property
    def settings_digest(self) -> str:
        """Hash of what is trained, as ``Job.settings_digest`` gives it."""
        if self.members:
            return sweep_digest(member.settings_digest for member in self.members)
        return settings_digest(self.schedule, self.regime)

    def done_folds(self) -> int:
        """How many folds have been trained to their end."""
        return sum(bool(curve) and curve[-1].last for curve in self.curves.values())


class Observer(Protocol):
    """Who is told what happens: a live display."""

    def trial_started(self, trial: LiveTrial) -> None:
        """Take note that a trial has begun, or has been taken up again."""
        ...

    def epoch_done(self, trial: LiveTrial, record: EpochRecord) -> None:
        """Take note that a run has finished an epoch."""
        ...

    def trial_ended(self, result: TrialResult) -> None:
        """Take note that a trial has ended, for good."""
        ...
