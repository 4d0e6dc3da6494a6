"""Images and a backbone, as a search session sees them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autofreeze.budget import default_epochs
from autofreeze.cluster.here import Opener
from autofreeze.confirmation import Confirmation
from autofreeze.cost import run_work
from autofreeze.display import Display
from autofreeze.forecast import forecast
from autofreeze.imagemistakes import ImageMistakes
from autofreeze.imagescoring import FreshImageScoring, ImageScoring
from autofreeze.job import EpochRecord, Job
from autofreeze.metrics import effective_images
from autofreeze.mistakes import Mistakes
from autofreeze.plan import Plan
from autofreeze.provenance import machine
from autofreeze.regime import Regime
from autofreeze.report.plan import plan_lines
from autofreeze.report.words import conditions, found
from autofreeze.results import StudyResult, ended_trials
from autofreeze.run import RunFolder
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule
from autofreeze.subject import Remaining
from autofreeze.testsplit import read_test_split
from autofreeze.trial import Workbench, run


class ImageSubject:
    """An opened task.

    Args:
        bench: The task.
    """

    stops: tuple[type[Exception], ...] = ()

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    @property
    def given(self) -> str:
        """The data as they were given."""
        return self.bench.task.data

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the layer groups, stem first, head last."""
        return self.bench.backbone.groups.names

    @property
    def scale(self) -> Scale:
        """Of the metric."""
        return Scale.of(self.bench.metric)

    @cached_property
    def scoring(self) -> ImageScoring:
        """The metric over the validation images of the folds."""
        return ImageScoring.of(self.bench.metric, self.bench.dataset.labels, self.bench.splits)

    @cached_property
    def fresh_scoring(self) -> FreshImageScoring:
        """The metric on the split of a fresh seed, or on the user's own validation part."""
        dataset = self.bench.dataset
        return FreshImageScoring(
            self.bench.metric,
            dataset.labels,
            self.bench.split_of,
            n_classes=len(dataset.classes),
            own_split=bool(len(dataset.val)),
        )

    def default_epochs(self, batch_size: int, steps: int) -> float:
        """Give the length of a run by the number of training images."""
        return default_epochs(len(self.bench.splits[0].train), batch_size, steps)

    def begin(self, folder: RunFolder) -> None:
        """Nothing: runs do not hang on each other."""

    def run(self, job: Job, checkpoint: Path) -> Iterator[EpochRecord]:
        """Train by a job."""
        return run(job, self.bench, checkpoint=checkpoint)

    def opener(self, *, shared_disk: bool) -> Opener:
        """Pack the task for workers; Ray is running."""
        from autofreeze.cluster.parcel import ImageParcel  # Ray loads only for those who use it

        return ImageParcel.of(self.bench, shared_disk=shared_disk)

    def run_work(self, schedule: Schedule, regime: Regime) -> float:
        """Forward-equivalents of one run on the first fold."""
        split = self.bench.splits[0]
        timetable = schedule.timetable(math.ceil(len(split.train) / regime.batch_size))
        shares = self.bench.backbone.groups.work_shares
        return run_work(timetable, shares, n_train=len(split.train), n_val=len(split.val))

    def can_sweep(self) -> bool:
        """Whether the model's heads can be trained side by side."""
        return not self.bench.sweep_refusal

    def identity(self) -> dict[str, Any]:
        """Give the contents of images and weights, the folds, and what the images are judged by."""
        task, backbone = self.bench.task, self.bench.backbone
        return {
            "data": self.bench.dataset.fingerprint,
            "model": backbone.name,
            "weights": backbone.digest,
            "preprocessing": backbone.preprocessing.model_dump(mode="json"),
            "groups": list(backbone.groups.names),
            "folds": [[len(split.train), len(split.val)] for split in self.bench.splits],
            "split_seed": task.split_seed,
            "metric": self.bench.metric,
        }

    def facts(self) -> dict[str, Any]:
        """Give what a report says of images, backbone and machine."""
        return {
            "data": data_facts(self.bench),
            "backbone": backbone_facts(self.bench),
            "engine": self.bench.engine.notes,
            "metric": self.bench.metric,
            "machine": machine(str(self.bench.device), torch.get_num_threads()),
        }

    def settings(self) -> dict[str, Any]:
        """Give the task."""
        return {"task": self.bench.task.model_dump(mode="json")}

    def mistakes(self, result: StudyResult, folder: Path) -> Mistakes | None:
        """Say what the best schedule gets wrong in validation, beside the best baseline."""
        return self._mistakes.read(result, folder)

    @cached_property
    def _mistakes(self) -> ImageMistakes:
        return ImageMistakes(self.bench.dataset, self.bench.splits, self.fresh_scoring)

    def introduction(self) -> list[str]:
        """Say which images, from which weights, and what was found in the images."""
        data = data_facts(self.bench)
        return [*conditions(data, backbone_facts(self.bench)), *found(data)]

    def foresee(self, remaining: Remaining, display: Display | None) -> Plan:
        """Measure a few steps, and plan the trials that are left."""
        options, results = remaining.options, remaining.results
        return forecast(
            self.bench,
            remaining.space,
            sampler=options.sampler,
            seed=options.seed,
            trials=options.trials,
            ended=ended_trials(results),
            known=frozenset(trial.baseline for trial in results if trial.baseline and not trial.tuned),
            tuned=options.tuned,
            fresh_seeds=options.confirm,
            prune=options.prune,
            affordable=remaining.affordable,
            progress=display.preparing if display else None,
        )

    def plan_lines(self, plan: Plan, out: Path, seconds: float | None) -> list[str]:
        """Tell a plan."""
        return plan_lines(plan, device=str(self.bench.device), out=out, seconds=seconds)

    def read_test(
        self,
        found: Confirmation,
        jobs: Mapping[int, Sequence[Job]],
        folder: RunFolder,
        display: Display | None,
    ) -> Confirmation:
        """Read the test split, where there is one; see ``testsplit.read_test_split``."""
        if not len(self.bench.dataset.test):
            return found
        return read_test_split(found, jobs, self.bench, folder, display)


def data_facts(bench: Workbench) -> dict[str, Any]:
    """Collect what a report and an exported file say of the data."""
    dataset = bench.dataset
    scored = np.concatenate([dataset.labels[split.val] for split in bench.splits])
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "layout": dataset.layout,
        "classes": list(dataset.classes),
        "class_images": np.bincount(dataset.labels[dataset.train], minlength=len(dataset.classes)).tolist(),
        "images": {"train": len(dataset.train), "val": len(dataset.val), "test": len(dataset.test)},
        "folds": [{"train": len(split.train), "val": len(split.val)} for split in bench.splits],
        "findings": [finding.brief() for finding in bench.findings],
        "effective_images": effective_images(bench.metric, scored),
    }


def backbone_facts(bench: Workbench) -> dict[str, Any]:
    """Collect what a report and an exported file say of the backbone."""
    backbone = bench.backbone
    return {
        "model": backbone.name,
        "source": backbone.source,
        "digest": backbone.digest,
        "coverage": backbone.coverage,
        "preprocessing": backbone.preprocessing.model_dump(mode="json"),
        "preprocessing_from": dict(backbone.preprocessing_from),
        "groups": {group.name: list(group.parameters) for group in backbone.groups.groups},
        "n_parameters": {group.name: group.n_parameters for group in backbone.groups.groups},
        **bench.layer_facts,
        "work_shares": list(backbone.groups.work_shares),
    }
