"""Running jobs: the workbench of a worker, and one job on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autofreeze.allocator import keep_freed_memory
from autofreeze.backbone import Backbone, load_backbone
from autofreeze.binding import Columns
from autofreeze.checking import Progress, check, named
from autofreeze.data import Dataset
from autofreeze.engine import Engine
from autofreeze.errors import ConfigError
from autofreeze.examples import Examples
from autofreeze.features import FeatureStores
from autofreeze.findings import Finding
from autofreeze.fused import fit_heads, refusal
from autofreeze.job import EpochRecord, Job
from autofreeze.layers import module_groups, spared_by_timm, timm_layers
from autofreeze.metrics import MetricName, check_metric, resolve_metric, score
from autofreeze.modes import brief
from autofreeze.seeds import derive
from autofreeze.shelf import default_cache_folder
from autofreeze.splits import Split, scoring_splits
from autofreeze.stability import Watcher
from autofreeze.stores import DecodedStore, HeldImages, open_decoded_store
from autofreeze.task import Task
from autofreeze.training import evaluate, fit

FETCHING = "fetching weights from the hub"


@dataclass(frozen=True)
class Workbench:
    """A task opened: images decoded, weights read, layer groups measured."""

    task: Task
    dataset: Dataset
    """Images that cannot be read are in no part of it."""

    store: DecodedStore | HeldImages
    backbone: Backbone
    splits: tuple[Split, ...]
    """The folds that a trial is scored on, in order."""

    device: torch.device
    engine: Engine
    """Computes what is frozen once, for all runs."""

    findings: tuple[Finding, ...] = ()
    """What the images say about what a search on them can be worth, by severity."""

    @classmethod
    def open(cls, task: Task, *, progress: Progress | None = None) -> "Workbench":
        """Open a task. Images are looked at and decoded once, and that is kept for every later search.

        Images that cannot be read are left out, up to the share that the task allows.

        Args:
            task: What to open.
            progress: Told how far hashing, looking and decoding have come.

        Raises:
            DataError: The images cannot be used as they are, such as too many that cannot be read.
            BackboneError: The model or its weights cannot be used.
            ConfigError: The device, the cache or the metric cannot be used.
        """
        device = pick_device(task.device)
        if device.type == "cpu":
            keep_freed_memory()
        if task.threads:
            torch.set_num_threads(task.threads)
        fetches = task.weights is None and not task.from_scratch
        if progress and fetches:
            progress(FETCHING, 0, 1)
        backbone = load_backbone(task.model, **task.backbone_options())
        if progress and fetches:
            progress(FETCHING, 1, 1)
        checked = check(
            task.data,
            seed=task.split_seed,
            test_share=task.test_share,
            resplit=task.resplit,
            max_bad_images=task.max_bad_images,
            image_size=backbone.preprocessing.image_size,
            cache_folder=task.cache_folder,
            progress=progress,
        )
        dataset = checked.usable()
        splits = scoring_splits(
            dataset.labels,
            dataset.train,
            dataset.val,
            seed=task.split_seed,
            folds=task.folds,
            subjects=dataset.subjects,
        )
        metric = resolve_metric(task.metric, dataset.labels[dataset.train])
        check_metric(metric, [dataset.labels[split.val] for split in splits])
        store = open_decoded_store(
            dataset,
            backbone.preprocessing,
            cache_folder=task.cache_folder,
            budget_bytes=task.cache_bytes,
            progress=named(progress, "decoding images"),
        )
        classes = len(dataset.classes)
        stores = FeatureStores(
            Path(task.cache_folder or default_cache_folder()),
            ids=np.union1d(dataset.train, dataset.val),
            n_images=len(dataset),
            device=device,
            budget_bytes=task.cache_bytes,
            progress=named(progress, "computing frozen features"),
            data=dataset.name,
        )
        engine = Engine(backbone, classes, device, stores if task.reuse else None, decoded=store.key)
        return cls(task, dataset, store, backbone, splits, device, engine, checked.findings)

    @property
    def metric(self) -> MetricName:
        """What trials are judged by: the task's metric, ``auto`` decided by the training part."""
        return resolve_metric(self.task.metric, self.dataset.labels[self.dataset.train])

    def split_of(self, job: Job) -> Split:
        """Which images a job trains on and is scored on.

        A confirmation on a fresh seed cuts the training part anew by that seed. A user's own validation part
        is taken as it is there too.
        """
        if job.fresh is None:
            return self.splits[job.fold]
        dataset = self.dataset
        return scoring_splits(
            dataset.labels, dataset.train, dataset.val, seed=job.seed, folds=1, subjects=dataset.subjects
        )[0]

    def examples(self, split: Split) -> Examples:
        """Images and labels of one fold."""
        return Examples(
            images=self.store.images,
            labels=self.dataset.labels,
            n_classes=len(self.dataset.classes),
            train=split.train,
            val=split.val,
            preprocessing=self.backbone.preprocessing,
        )

    def score_on_test(self, model: torch.nn.Module) -> float:
        """Score a model on the test split; whoever does it notes the read (``testreads.note_read``).

        Returns:
            The metric as an objective, the more the better.
        """
        ids = self.dataset.test
        predicted, losses = evaluate(model, self.examples(self.splits[0]), ids, self.device)
        return score(self.metric, self.dataset.labels[ids], predicted, float(losses.mean()))

    @property
    def cache_folder(self) -> Path:
        """Where decoded images, and notes beside a data set's fingerprint, are kept."""
        return Path(self.task.cache_folder or default_cache_folder())

    @cached_property
    def sweep_refusal(self) -> str:
        """Why the model's heads cannot be trained side by side; empty when they can."""
        model = self.build_model(0)
        return refusal(model, Columns.of(model, self.backbone.groups), self.backbone.preprocessing.image_size)

    @cached_property
    def layer_facts(self) -> dict[str, Any]:
        """What only a model itself says of its layer groups, as plain data; one is built for it, once."""
        model, groups = self.build_model(0), self.backbone.groups
        return {
            "modes": brief(module_groups(model, groups), groups.names),
            "timm_layers": {group: list(numbers) for group, numbers in timm_layers(model, groups).items()},
            "spared_by_timm": list(spared_by_timm(model)),
        }

    def build_model(self, seed: int) -> torch.nn.Module:
        """Build the pretrained model with a head that the seed decides."""
        return self.backbone.build(len(self.dataset.classes), seed=derive(seed, "head"))


def run(
    job: Job,
    bench: Workbench,
    *,
    checkpoint: Path | None = None,
    model: torch.nn.Module | None = None,
    watch: Watcher | None = None,
) -> Iterator[EpochRecord]:
    """Run one job: build the model, and train it by the job's schedule, or its head by all of a sweep's.

    Args:
        job: What to train.
        bench: The opened task.
        checkpoint: Rolling file; see ``training.fit``. One that is damaged, or of another run, is deleted,
            and the run begins anew: it comes to the same records.
        model: What ``bench.build_model(job.seed)`` gave, for those who want to keep it; trained in place.
        watch: Looks at every step of an ordinary job; see ``training.fit``.

    Yields:
        A record after each epoch.
    """
    model = bench.build_model(job.seed) if model is None else model
    columns, examples = Columns.of(model, bench.backbone.groups), bench.examples(bench.split_of(job))
    settings: dict[str, Any] = {
        "seed": job.seed,
        "device": bench.device,
        "metric": bench.metric,
        "checkpoint": checkpoint,
        "engine": bench.engine,
    }

    def trained() -> Iterator[EpochRecord]:
        if job.members:
            return fit_heads(model, columns, job.members, examples, **settings)
        return fit(model, columns, job.schedule, job.regime, examples, watch=watch, **settings)

    before = watch.state() if watch is not None else None
    try:
        yield from trained()
    except ConfigError as error:
        if checkpoint is None or error.where != str(checkpoint):
            raise
        checkpoint.unlink(missing_ok=True)
        model.load_state_dict(bench.build_model(job.seed).state_dict())
        if watch is not None and before is not None:
            watch.restore(before)
        yield from trained()


def pick_device(name: str) -> torch.device:
    """Choose where to train: CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: The device that was asked for is not here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise ConfigError(f"device: got {name}; this machine has {there}")
    return torch.device(name)
