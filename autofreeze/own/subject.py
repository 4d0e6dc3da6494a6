"""A training of one's own, as a search session sees it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autofreeze.cluster.here import Opener
from autofreeze.confirmation import Confirmation
from autofreeze.cost import run_work
from autofreeze.display import Display
from autofreeze.errors import ConfigError, InputError
from autofreeze.job import EpochRecord, Job
from autofreeze.mistakes import Mistakes
from autofreeze.own.groups import OwnGroups
from autofreeze.own.parcel import OwnParcel
from autofreeze.own.run import FINE, Fit, OwnRunner
from autofreeze.own.scoring import OwnFreshScoring, OwnScoring
from autofreeze.plan import Plan
from autofreeze.provenance import machine
from autofreeze.records import read_fresh_records, read_records
from autofreeze.regime import Regime
from autofreeze.report.words import conditions
from autofreeze.results import StudyResult
from autofreeze.run import RunFolder
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule
from autofreeze.subject import Remaining


@dataclass(frozen=True)
class Asked:
    """What a search of a training of one's own was given, checked."""

    fit: Fit
    name: str
    groups: OwnGroups
    scale: Scale
    n_folds: int
    held_out: float
    """Share of the examples that each fold, and each fresh seed, holds out anew; 0 where all are scored on
    the same ones."""

    held_out_given: bool
    """Whether the user said so."""

    left_out: tuple[str, ...] = ()
    """Axes of a shipped space that the training does not read."""

    @property
    def overlap(self) -> float:
        """Examples held out by those trained on."""
        return self.held_out / (1 - self.held_out)


class OwnSubject:
    """A training of one's own.

    Args:
        asked: What was given.
    """

    given = ""
    stops: tuple[type[Exception], ...] = (InputError,)

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.runner = OwnRunner(asked.fit, asked.groups, asked.scale, asked.n_folds)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the layer groups, stem first, head last."""
        return self.asked.groups.names

    @property
    def scale(self) -> Scale:
        """Of the value that is yielded."""
        return self.asked.scale

    @cached_property
    def scoring(self) -> OwnScoring:
        """By example where scores are told, else by fold."""
        return OwnScoring(self.asked.scale, self.asked.n_folds, self.asked.overlap)

    @cached_property
    def fresh_scoring(self) -> OwnFreshScoring:
        """By example where scores are told, else by seed."""
        return OwnFreshScoring(self.asked.overlap)

    def default_epochs(self, batch_size: int, steps: int) -> float:  # noqa: ARG002 - the shape of a subject
        """Refuse: nobody but the user knows."""
        raise ConfigError("epochs: missing; say how many epochs each run has, such as epochs=5")

    def begin(self, folder: RunFolder) -> None:
        """Take note of the runs that a folder holds."""
        self.runner.recall(read_records(folder.path), read_fresh_records(folder.path))

    def run(self, job: Job, checkpoint: Path) -> Iterator[EpochRecord]:
        """Train by a job."""
        return self.runner.run(job, checkpoint)

    def opener(self, *, shared_disk: bool) -> Opener:  # noqa: ARG002 - the shape of a subject
        """Pack the training for workers, with what its function refers to."""
        return OwnParcel(self.runner, self.stops)

    def run_work(self, schedule: Schedule, regime: Regime) -> float:  # noqa: ARG002 - the shape of a subject
        """Forward passes over the training data; those of validation are the same for all, and left out."""
        return run_work(schedule.timetable(FINE), self.asked.groups.work_shares, n_train=1, n_val=0)

    def can_sweep(self) -> bool:
        """No: heads side by side need to be known from inside."""
        return False

    def identity(self) -> dict[str, Any]:
        """Give what was asked for. The training's own code cannot be compared."""
        asked = self.asked
        return {
            "training": asked.name,
            "groups": asked.groups.plain(),
            "metric": asked.scale.metric,
            "direction": asked.scale.direction,
            "folds": asked.n_folds,
            "held_out": asked.held_out,
        }

    def facts(self) -> dict[str, Any]:
        """Give what a report says of it."""
        asked = self.asked
        return {
            "kind": "own",
            "direction": asked.scale.direction,
            "data": {
                "name": asked.name,
                "n_folds": asked.n_folds,
                "held_out": asked.held_out,
                "held_out_given": asked.held_out_given,
                "left_out": list(asked.left_out),
            },
            "backbone": {
                "groups": {name: list(group.prefixes) for name, group in asked.groups.groups.items()},
                "work_shares": list(asked.groups.work_shares),
                "work_measured": asked.groups.measured,
            },
            "metric": asked.scale.metric,
            "machine": {**machine("", os.cpu_count() or 1), "device": None, "threads": None},
        }

    def settings(self) -> dict[str, Any]:
        """Nothing beyond the facts."""
        return {}

    def mistakes(self, result: StudyResult, folder: Path) -> Mistakes | None:
        """Nothing: nobody knows the examples of a training of one's own."""
        del result, folder
        return None

    def introduction(self) -> list[str]:
        """Say what is trained, and what it is judged by."""
        facts = self.facts()
        return conditions(facts["data"], facts["backbone"])

    def foresee(self, remaining: Remaining, display: Display | None) -> Plan | None:  # noqa: ARG002
        """Nothing: what a run takes is seen by the first."""
        return None

    def plan_lines(self, plan: Plan, out: Path, seconds: float | None) -> list[str]:  # noqa: ARG002
        """Nothing."""
        return []

    def read_test(
        self,
        found: Confirmation,
        jobs: Mapping[int, Sequence[Job]],  # noqa: ARG002
        folder: RunFolder,  # noqa: ARG002
        display: Display | None,  # noqa: ARG002
    ) -> Confirmation:
        """Leave it: a test split is the user's own business."""
        return found
