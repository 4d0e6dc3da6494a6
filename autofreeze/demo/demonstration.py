"""The demonstration: a search on real handwriting without a network, and an honest look at what it gains."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autofreeze import api
from autofreeze.demo.contender import Contender
from autofreeze.demo.digits import write_digits
from autofreeze.demo.pretrain import MODEL, WEIGHTS
from autofreeze.display import Display
from autofreeze.documents import write_text
from autofreeze.errors import AutofreezeError, RunFolderError
from autofreeze.export.native import NativeFile
from autofreeze.export.run import export_run
from autofreeze.job import Job
from autofreeze.recipes import full, linear_probe
from autofreeze.results import StudyResult
from autofreeze.schedule import Schedule, format_rate
from autofreeze.seeds import derive
from autofreeze.shelf import default_cache_folder
from autofreeze.space import shipped_spaces
from autofreeze.task import Task
from autofreeze.testreads import note_read
from autofreeze.training import evaluate
from autofreeze.trial import Workbench, run

PER_CLASS = 10
"""Training images of each digit; a trial trains on four fifths of them."""

EPOCHS = 20.0
FOLDS = 3
TRIALS = 12
SEEDS = 3

PROBE_RATES = (3e-3, 1e-2, 3e-2)
"""Rates of the head among which the linear probe has its choice."""

SCRATCH_RATES = (1e-3, 3e-3, 1e-2)
"""Rates among which training from scratch has its choice."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Demonstration:
    """What was shown."""

    search: StudyResult
    contenders: tuple[Contender, ...]
    """The best schedule first."""


def demonstrate(
    out: Path,
    *,
    trials: int = TRIALS,
    seed: int = 0,
    epochs: float = EPOCHS,
    folds: int = FOLDS,
    seeds: int = SEEDS,
    display: Display | None = None,
    command: str = "",
) -> Demonstration:
    """Search on the digits, and compare the best schedule on test images that the search never saw.

    Everything lies in ``out`` afterwards: ``digits/``, ``glyphs.safetensors``, ``space.yaml``, the run folder
    ``search/``, ``best.yaml``, ``linear_probe.yaml``, ``from_scratch.yaml``, and ``demo.json``: the figures.

    Args:
        out: Folder for everything; must not exist, or be empty.
        trials: Of the search, baselines included.
        seed: Decides which digits train, and the search.
        epochs: Of every run.
        folds: That trials, and the rates of the comparison, are scored on.
        seeds: Fresh seeds on which each schedule of the comparison trains.
        display: Shows progress.
        command: For the report.

    Raises:
        RunFolderError: ``out`` holds something; nothing has been overwritten.
        AutofreezeError: No trial was completed.
        KeyboardInterrupt: The search was interrupted.
    """
    if (out.is_dir() and any(out.iterdir())) or out.is_file():
        raise RunFolderError("is there already and not empty; choose another --out", where=str(out))
    tell: Tell = display.tell if display else _silent
    data = out / "digits"
    write_digits(data, per_class=PER_CLASS, seed=seed)
    result = api.search(
        str(data),
        MODEL,
        out=out / "search",
        weights=shutil.copy(WEIGHTS, out),
        space=str(_space(out / "space.yaml")),
        trials=trials,
        epochs=epochs,
        folds=folds,
        seed=seed,
        confirm=0,  # the test images are many here, and are looked at by what follows
        display=display,
        command=command,
    )
    if result.cut_short:
        raise KeyboardInterrupt
    if result.best is None:
        raise AutofreezeError(
            "no trial was completed; autofreeze report tells why", where=str(out / "search")
        )
    best = export_run(out / "search")
    fold_seeds: Sequence[int] = result.settings["fold_seeds"]
    probe, scratch = _linear_probe(best, fold_seeds, tell), _from_scratch(best, fold_seeds, tell)
    files = {"best": best, "linear_probe": probe, "from_scratch": scratch}
    words = {
        "best": f"trial {result.best.number} of the search ({result.best.baseline or result.best.recipe})",
        "linear_probe": f"glyph weights, the head alone, {_rate(probe)}",
        "from_scratch": f"random weights, everything trains, {_rate(scratch)}",
    }
    fresh = [derive(seed, "demo", turn) for turn in range(seeds)]
    contenders = []
    for name, file in files.items():
        write_text(out / f"{name}.yaml", file.to_text())
        tell(f"{name}: training on {seeds} fresh seeds, each model tested once")
        contenders.append(Contender(name, words[name], tested(file, fresh, by=str(out / f"{name}.yaml"))))
    write_text(out / "demo.json", json.dumps([one.to_plain() for one in contenders], indent=1) + "\n")
    return Demonstration(result, tuple(contenders))


def _silent(line: str) -> None:
    """Tell nothing."""


def _space(path: Path) -> Path:
    """Write the quick space without its mirror images: a mirrored digit is another sign."""
    text = shipped_spaces()["quick"].read_text(encoding="utf-8")
    write_text(path, f"{text}views: none  # a mirrored digit is another sign\n")
    return path


def _linear_probe(best: NativeFile, seeds: Sequence[int], tell: Tell) -> NativeFile:
    """Give the linear probe at the best of three rates."""
    groups, epochs = best.schedule.groups, best.schedule.epochs
    schedules = [linear_probe(groups, epochs, head_lr=rate) for rate in PROBE_RATES]
    return _tuned(best, schedules, seeds, "linear probe", tell)


def _from_scratch(best: NativeFile, seeds: Sequence[int], tell: Tell) -> NativeFile:
    """Give training from random weights at the best of three rates, on equal terms otherwise."""
    groups, epochs = best.schedule.groups, best.schedule.epochs
    random = {"weights": None, "from_scratch": True, **best.preprocessing.model_dump()}
    task = Task.parse({**best.image_task.model_dump(), **random})
    schedules = [full(groups, epochs, head_lr=rate, backbone_ratio=1.0) for rate in SCRATCH_RATES]
    return _tuned(best.model_copy(update={"task": task}), schedules, seeds, "from scratch", tell)


def _tuned(
    file: NativeFile, schedules: Sequence[Schedule], seeds: Sequence[int], name: str, tell: Tell
) -> NativeFile:
    """Choose a schedule as the search does: on the validation images of its folds, with its seeds."""
    bench = Workbench.open(file.image_task)
    scores = []
    for schedule in schedules:
        values, losses = [], []
        for fold, split in enumerate(bench.splits):
            job = Job(trial=0, fold=fold, seed=seeds[fold], schedule=schedule, regime=file.regime)
            *_, last = run(job, bench)
            values.append(last.value * len(split.val))
            losses.append(last.log_loss * len(split.val))
        n_val = sum(len(split.val) for split in bench.splits)
        scores.append((sum(values) / n_val, -sum(losses) / n_val))
        tell(f"{name} at {format_rate(schedule.phases[0].lrs[-1] or 0)}: {scores[-1][0]:.3f} in validation")
    chosen = schedules[max(range(len(scores)), key=scores.__getitem__)]
    weights = {"weights_digest": bench.backbone.digest, "source": bench.backbone.source}
    backbone = file.backbone.model_copy(update=weights)
    update = {"schedule": chosen, "backbone": backbone, "result": None, "curve": ()}
    return file.model_copy(update=update)


def tested(file: NativeFile, seeds: Sequence[int], *, by: str) -> NDArray[np.bool_]:
    """Train by a file on several seeds, and read the test part once with each model; the reads are noted.

    Args:
        file: What to train by.
        seeds: Of the runs, instead of the file's own.
        by: Who reads, for the note.

    Returns:
        Which test images were classified rightly, (seeds, test images).
    """
    bench = Workbench.open(file.image_task)
    ids = bench.dataset.test
    correct = np.zeros((len(seeds), len(ids)), np.bool_)
    for turn, seed in enumerate(seeds):
        model = bench.build_model(seed)
        job = Job(trial=0, fold=0, seed=seed, schedule=file.schedule, regime=file.regime)
        for _ in run(job, bench, model=model):
            pass
        predicted, _ = evaluate(model, bench.examples(bench.splits[0]), ids, bench.device)
        correct[turn] = predicted == bench.dataset.labels[ids]
        folder = Path(file.image_task.cache_folder or default_cache_folder())
        note_read(folder, bench.dataset.fingerprint, by=by, value=float(correct[turn].mean()))
    return correct


def _rate(file: NativeFile) -> str:
    return f"rate {format_rate(file.schedule.phases[0].lrs[-1] or 0)}"
