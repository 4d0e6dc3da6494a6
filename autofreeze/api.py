"""What ``import autofreeze`` offers beside the values: searching, exporting, training by a file."""

import shlex
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autofreeze.budget import default_epochs
from autofreeze.display import Display
from autofreeze.errors import ConfigError
from autofreeze.executors.local import LocalExecutor
from autofreeze.export.native import NativeFile
from autofreeze.interruption import watch_for_interruption
from autofreeze.job import EpochRecord, Job
from autofreeze.metrics import score
from autofreeze.modelfile import save_model
from autofreeze.provenance import machine, versions
from autofreeze.report.files import read_report, write_report
from autofreeze.report.words import conditions
from autofreeze.results import StudyResult, TrainResult, TrialResult, curve_of
from autofreeze.run import RunFolder, check_usable
from autofreeze.samplers import SAMPLERS, SamplerName
from autofreeze.seeds import derive
from autofreeze.space import Space, SpaceSpec
from autofreeze.stores import default_cache_folder
from autofreeze.study import Limits, Study
from autofreeze.task import Task
from autofreeze.testreads import note_read
from autofreeze.training import evaluate
from autofreeze.trial import Workbench, run
from autofreeze.values import did_you_mean


@dataclass(frozen=True)
class SearchOptions:
    """How to search, apart from the task."""

    trials: int = 50
    seconds: float | None = None
    epochs: float | None = None
    space: str = "default"
    seed: int = 0
    sampler: SamplerName = "tpe"
    prune: bool = True
    resume: bool = False

    def check(self) -> None:
        """Refuse what cannot be searched.

        Raises:
            ConfigError: Some option is out of range; all are told.
        """
        problems = []
        if self.trials < 1:
            problems.append(f"trials: got {self.trials}; must be at least 1")
        if self.seconds is not None and not self.seconds > 0:
            problems.append(f"time: got {self.seconds:g} s; must be above zero")
        if self.epochs is not None and not 0 < self.epochs <= 100_000:
            problems.append(f"epochs: got {self.epochs:g}; must be above zero")
        if self.sampler not in SAMPLERS:
            problems.append(
                f"sampler: {self.sampler!r} is unknown{did_you_mean(self.sampler, list(SAMPLERS))}"
            )
        if problems:
            raise ConfigError(problems)


def search(
    data: str | Path,
    model: str,
    *,
    out: str | Path,
    trials: int = 50,
    time_limit: float | None = None,
    epochs: float | None = None,
    space: str = "default",
    seed: int = 0,
    sampler: SamplerName = "tpe",
    prune: bool = True,
    resume: bool = False,
    display: Display | None = None,
    command: str = "",
    **task: Any,
) -> StudyResult:
    """Search the best freezing schedule for a data set and a pretrained model.

    Args:
        data: Folder of images: ``train/ val/ test/`` or one folder per class.
        model: timm name of the backbone.
        out: Run folder; everything that is found is kept there as it is found.
        trials: Trials in all, baselines included, >= 1.
        time_limit: Seconds after which no more is trained.
        epochs: Length of each run; by the size of the data when left out (``budget.default_epochs``).
        space: Name of a shipped search space, or a YAML file.
        seed: Decides splits' folds, heads, orders, views and the sampler's draws.
        sampler: ``tpe``, ``random``, ``qmc`` or ``gp``.
        prune: End unpromising trials early; unstable ones are ended always.
        resume: Go on with the study in ``out``.
        display: Shows progress; nothing is shown when left out.
        command: Told in the report.
        task: Fields of :class:`autofreeze.task.Task`, such as ``weights`` or ``image_size``.

    Returns:
        What was found; also in ``out/report.json``.

    Raises:
        InputError: Something given is wrong; nothing has been overwritten.
        TrainingError: The first trials all failed.
    """
    options = SearchOptions(trials, time_limit, epochs, space, seed, sampler, prune, resume)
    options.check()
    spec = SpaceSpec.load(space)
    settings = Task.parse({"split_seed": seed, **task, "data": str(data), "model": model})
    check_usable(Path(out), resume=resume)
    bench = Workbench.open(settings, progress=display.preparing if display else None)
    return _Search(bench, options, spec, Path(out), display, command).result()


class _Search:
    """One session of a search on an opened task."""

    def __init__(
        self,
        bench: Workbench,
        options: SearchOptions,
        spec: SpaceSpec,
        out: Path,
        display: Display | None,
        command: str,
    ) -> None:
        self.bench, self.options, self.out = bench, options, out
        self.display, self.command = display, command
        self.space = self._resolve(spec)
        self.began = time.monotonic()

    def _resolve(self, spec: SpaceSpec) -> Space:
        groups = self.bench.backbone.groups.names
        batch_size = spec.resolve(groups, self.options.epochs or 10).fixed_regime.batch_size
        epochs = self.options.epochs or default_epochs(len(self.bench.splits[0].train), batch_size)
        return spec.resolve(groups, epochs)

    def result(self) -> StudyResult:
        with RunFolder(
            self.out, self._identity(), resume=self.options.resume, command=self.command
        ) as folder:
            study = self._study(folder)
            earlier = read_report(self.out).seconds if (self.out / "report.json").exists() else 0.0
            shown = self.display.shown() if self.display else nullcontext()
            tell = self.display.tell if self.display else None
            if self.display:
                for line in conditions(data_facts(self.bench), backbone_facts(self.bench)):
                    self.display.tell(line)
                self.display.continued(study.results)
            with shown, watch_for_interruption(tell) as interruption:
                cut_short = study.search(Limits(self.options.trials, self.options.seconds), interruption)
            result = self._collect(study.results, cut_short, earlier)
            write_report(result, self.out)
        return result

    def _study(self, folder: RunFolder) -> Study:
        def runner(job: Job) -> Any:
            return run(job, self.bench, checkpoint=folder.checkpoint(job))

        return Study(
            folder,
            self.space,
            LocalExecutor(runner),
            labels=self.bench.dataset.labels,
            splits=self.bench.splits,
            seed=self.options.seed,
            sampler=self.options.sampler,
            metric=self.bench.task.metric,
            prune=self.options.prune,
            observer=self.display,
        )

    def _identity(self) -> dict[str, Any]:
        """Give what makes the study what it is; where things lie and how fast they run does not."""
        task, backbone = self.bench.task, self.bench.backbone
        return {
            "data": self.bench.dataset.fingerprint,
            "model": backbone.name,
            "weights": backbone.digest,
            "preprocessing": backbone.preprocessing.model_dump(mode="json"),
            "groups": list(backbone.groups.names),
            "folds": [[len(split.train), len(split.val)] for split in self.bench.splits],
            "split_seed": task.split_seed,
            "metric": task.metric,
            "space": self.space.spec.model_dump(mode="json"),
            "epochs": self.space.epochs,
            "seed": self.options.seed,
            "sampler": self.options.sampler,
            "prune": self.options.prune,
        }

    def _collect(self, trials: tuple[TrialResult, ...], cut_short: str, earlier: float) -> StudyResult:
        folds = range(len(self.bench.splits))
        return StudyResult(
            data=data_facts(self.bench),
            backbone=backbone_facts(self.bench),
            settings={
                "task": self.bench.task.model_dump(mode="json"),
                "epochs": self.space.epochs,
                "space": self.space.spec.model_dump(mode="json"),
                "trials": self.options.trials,
                "seed": self.options.seed,
                "fold_seeds": [derive(self.options.seed, "fold", fold) for fold in folds],
                "sampler": self.options.sampler,
            },
            trials=trials,
            metric=self.bench.task.metric,
            seconds=earlier + time.monotonic() - self.began,
            cut_short=cut_short,
            command=self.command,
            versions=versions(),
            machine=machine(str(self.bench.device), torch.get_num_threads()),
        )


def data_facts(bench: Workbench) -> dict[str, Any]:
    """Collect what a report and an exported file say of the data."""
    dataset = bench.dataset
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "layout": dataset.layout,
        "classes": list(dataset.classes),
        "images": {"train": len(dataset.train), "val": len(dataset.val), "test": len(dataset.test)},
        "folds": [{"train": len(split.train), "val": len(split.val)} for split in bench.splits],
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
        "work_shares": list(backbone.groups.work_shares),
    }


def train(
    file: str | Path,
    data: str | Path,
    *,
    out: str | Path,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    preparing: Callable[[str, int, int], None] | None = None,
    test: bool = False,
    **task: Any,
) -> TrainResult:
    """Train by an exported file: the same split, seed and curve as the first fold of its trial.

    Args:
        file: What ``autofreeze export`` wrote.
        data: Folder of images.
        out: Folder for ``model.safetensors`` and ``model.json``.
        on_epoch: Told of each epoch.
        preparing: Told how far hashing and decoding have come.
        test: Read the test split once at the end, and note the read beside the data's fingerprint.
        task: Fields of :class:`autofreeze.task.Task` that replace those of the file, such as ``weights``.

    Raises:
        InputError: Something given is wrong; nothing has been overwritten.
    """
    native = NativeFile.load(file)
    out = Path(out)
    model_path = out / "model.safetensors"
    if model_path.exists():
        raise ConfigError(f"{model_path} exists already; choose another --out")
    given = {name: value for name, value in task.items() if value is not None}
    settings = Task.parse({**native.task.model_dump(), **given, "data": str(data)})
    bench = Workbench.open(settings, progress=preparing)
    if bench.backbone.groups.names != native.schedule.groups:
        raise ConfigError(
            f"the schedule's groups are {', '.join(native.schedule.groups)}; {settings.model} has "
            f"{', '.join(bench.backbone.groups.names)}"
        )
    if test and not len(bench.dataset.test):
        raise ConfigError(f"{data} has no test split to read; leave out --test")
    job = Job(trial=0, fold=0, seed=native.seed, schedule=native.schedule, regime=native.regime)
    model = bench.build_model(job.seed)
    checkpoint = out / "training.pt"
    records = []
    for record in run(job, bench, checkpoint=checkpoint, model=model):
        records.append(record)
        if on_epoch:
            on_epoch(record)
    save_model(
        model,
        model_path,
        architecture=settings.model.partition(".")[0],
        classes=bench.dataset.classes,
        preprocessing=bench.backbone.preprocessing,
    )
    checkpoint.unlink(missing_ok=True)
    same_inputs = (
        bench.backbone.digest == native.backbone["digest"]
        and bench.dataset.fingerprint == native.data["fingerprint"]
    )
    curve = curve_of(records)
    same = curve == native.curve if same_inputs else None
    value, reads = _read_test(bench, model, str(file)) if test else (None, 0)
    return TrainResult(
        model_path=model_path,
        curve=curve,
        expected=native.curve,
        same_curve=same,
        test_value=value,
        test_reads=reads,
    )


def _read_test(bench: Workbench, model: torch.nn.Module, by: str) -> tuple[float, int]:
    """Score a model on the test split, and note the read."""
    ids = bench.dataset.test
    predicted, _ = evaluate(model, bench.examples(bench.splits[0]), ids, bench.device)
    labels = bench.dataset.labels[ids]
    value = score(bench.task.metric, labels, predicted == labels)
    folder = Path(bench.task.cache_folder or default_cache_folder())
    return value, note_read(folder, bench.dataset.fingerprint, by=by, value=value)


def command_line() -> str:
    """Give the command as it was typed, for the report."""
    return shlex.join(["autofreeze", *sys.argv[1:]])
