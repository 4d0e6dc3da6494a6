"""timm's ``train.py``: its options as YAML for ``-c``, and a script that runs it once for each phase.

``train.py`` cannot freeze for a time: phases are runs that hand their weights on. It lies in timm's
repository, not in its package; names and meaning of the options are those of release 1.0.31.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from autofreeze import views
from autofreeze.export.code import render
from autofreeze.export.exporter import ExportedFile
from autofreeze.export.fidelity import Assessment
from autofreeze.export.heading import heading
from autofreeze.export.layerdecay import Cells, LayerDecay, deviations, nearest, why_not
from autofreeze.export.native import NativeFile
from autofreeze.phrases import counted, listed
from autofreeze.schedule import Schedule

Options = dict[str, object]
"""Name of an option, as in YAML -> its value."""


class TimmExporter:
    """Exact where everything trains from the start and rates go by timm's layers; else phase by phase."""

    name = "timm"
    title = "timm 1.0 train.py: options, and a script of the runs"
    endings = (".yaml", ".sh")
    takes_own = False

    def assess(self, file: NativeFile, /) -> Assessment:
        """Compare with what timm's options make of each parameter, to the six digits of a table's rates."""
        if reasons := _refusals(file):
            return Assessment.refused(*reasons)
        return Assessment.of(_differences(file, runs_of(file)))

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the options that all runs share, and the script."""
        runs = runs_of(file)
        differences = tuple(_differences(file, runs))
        single = len(runs) == 1
        options = common(file) | (runs[0].options(file) if single else {})
        if single and not file.image_task.from_scratch:
            options["pretrained"] = True
        about = [*heading(file, differences), "", *_remarks(file, single=single)]
        lines = [f"# {line}".rstrip() for line in about]
        lines += ["", *(f"{name}: {scalar(value)}" for name, value in options.items())]
        script = render(
            "timm.sh.j2",
            file,
            single=single,
            runs=[(run, [] if single else arguments(run.options(file))) for run in runs],
            pretrained=not single and not file.image_task.from_scratch,
        )
        return ExportedFile(".yaml", "\n".join(lines) + "\n"), ExportedFile(".sh", script)


@dataclass(frozen=True)
class Run:
    """One call of ``train.py``: a phase, or what whole epochs leave of it."""

    phase: int
    """Row of the table."""

    start: int
    """Epochs before it."""

    epochs: int
    cells: Cells
    decay: LayerDecay
    first: float
    """Value of the rate curve at its first step."""

    last: float
    """Value of the rate curve that it falls to."""

    ramp: int = 0
    """Epochs over which its rates climb."""

    def options(self, file: NativeFile) -> Options:
        """Give what differs from run to run."""
        decay = self.decay
        options: Options = {"epochs": self.epochs, "lr": decay.lr * self.first, "warmup_epochs": self.ramp}
        if file.schedule.curve == "cosine":
            options["min_lr"] = decay.lr * self.last
        if decay.decay is not None:
            options["layer_decay"] = decay.decay
        if decay.min_scale:
            options["layer_decay_min_scale"] = decay.min_scale
        if decay.no_opt_scale is not None:
            options["layer_decay_no_opt_scale"] = decay.no_opt_scale
        return options


def runs_of(file: NativeFile) -> list[Run]:
    """Give the runs, in order; phases that come to no whole epoch are left out."""
    schedule = file.schedule.canonical()
    layers = file.backbone.timm_layers
    ends = whole_ends(schedule)
    by_phase = schedule.curve_over == "phase"
    runs: list[Run] = []
    start = 0
    for phase, (end, row) in enumerate(zip(ends, schedule.phases, strict=True)):
        if end == start:
            continue
        cells = dict(zip(schedule.groups, row.lrs, strict=True))
        decay = nearest(cells, layers) if layers else LayerDecay(row.lrs[-1] or 0.0)
        span = (start, end) if by_phase else (0, ends[-1])
        ramps = bool(schedule.lr_ramp_epochs) and (by_phase or not runs)
        runs.append(
            Run(
                phase,
                start,
                end - start,
                cells,
                decay,
                _curve(schedule, start, span),
                _curve(schedule, end, span),
                min(max(_rounded(schedule.lr_ramp_epochs), 1), end - start) if ramps else 0,
            )
        )
        start = end
    return runs


def whole_ends(schedule: Schedule) -> list[int]:
    """Give the whole epoch at which each phase ends; the run has one at least."""
    ends = [_rounded(end) for end in schedule.phase_ends]
    ends[-1] = max(ends[-1], 1)
    return ends


def common(file: NativeFile) -> Options:
    """Give the options that all runs share."""
    task, regime, pixels = file.image_task, file.regime, file.preprocessing
    cosine = file.schedule.curve == "cosine"
    return {
        "model": task.model,
        "num_classes": len(file.data.classes),
        "input_size": [3, pixels.image_size, pixels.image_size],
        "mean": list(pixels.mean),
        "std": list(pixels.std),
        "interpolation": pixels.interpolation,
        "crop_pct": pixels.crop_pct,
        **_views(file),
        "batch_size": regime.batch_size,
        "smoothing": regime.label_smoothing,
        "opt": "adamw" if regime.optimizer == "adamw" else "sgd" if regime.momentum else "momentum",
        **({"momentum": regime.momentum} if regime.optimizer == "sgd" else {}),
        "weight_decay": regime.weight_decay,
        "sched": "cosine" if cosine else "step",
        **({} if cosine else {"decay_rate": 1.0}),
        "sched_on_updates": True,
        "warmup_lr": 0.0,
        "cooldown_epochs": 0,
    }


def scalar(value: object) -> str:
    """Write a value as YAML that readers of YAML 1.1 take for what it is: ``1.0e-05``, never ``1e-05``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value)


def arguments(options: Mapping[str, object]) -> list[str]:
    """Write numbers as arguments of a command line."""
    return [f"--{name.replace('_', '-')} {scalar(value)}" for name, value in options.items()]


def _number(value: float) -> str:
    text = repr(float(f"{value:.12g}"))
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _views(file: NativeFile) -> Options:
    """Give augmentation as near as timm has it: no colour jitter, crops of the same areas and shapes."""
    view, interpolation = file.regime.views, file.preprocessing.interpolation
    if view == "none":
        return {"no_aug": True}
    if not views.crops(view):
        crop: Options = {"train_crop_mode": "rkrc", "scale": [1.0, 1.0], "ratio": [1.0, 1.0]}
    else:
        ratio = [1 / views.CROP_RATIO, views.CROP_RATIO]
        crop = {"train_crop_mode": "rrc", "scale": list(views.CROP_AREA), "ratio": ratio}
    erase: Options = {"reprob": file.regime.erase, "remode": "const"} if file.regime.erase else {}
    return crop | {"hflip": 0.5, "color_jitter": 0.0, "train_interpolation": interpolation} | erase


def _refusals(file: NativeFile) -> list[str]:
    schedule = file.schedule.canonical()
    rows = [dict(zip(schedule.groups, phase.lrs, strict=True)) for phase in schedule.phases]
    reasons = why_not(rows)
    if not file.backbone.timm_layers and any(len(set(row.values())) > 1 for row in rows):
        reasons.append(
            "the file does not say by which layers timm scales rates, as older ones do not; "
            "take another target, or export a new search"
        )
    return reasons


def _differences(file: NativeFile, runs: list[Run]) -> list[str]:
    return [
        *_of_runs(file, runs),
        *_of_rates(file, runs),
        *_of_freezing(file, runs),
        *_of_regime(file, runs),
    ]


def _of_runs(file: NativeFile, runs: list[Run]) -> list[str]:
    """Say what becomes of the phases."""
    schedule = file.schedule.canonical()
    said = []
    if len(runs) > 1:
        said.append(
            f"the {len(runs)} phases are runs of their own, which hand on weights alone: groups that go on "
            "lose their optimizer state at each"
        )
    ends = list(schedule.phase_ends)
    if ends != (whole := whole_ends(schedule)):
        marks = listed(f"{end:g}" for end in ends)
        said.append(
            f"timm trains whole epochs: phases end after {listed(map(str, whole))} of them instead of {marks}"
        )
    return said


def _of_rates(file: NativeFile, runs: list[Run]) -> list[str]:
    """Say what becomes of the curve, of the ramp and of the rates of groups."""
    schedule, layers = file.schedule, file.backbone.timm_layers
    said = []
    if schedule.curve == "cosine" and schedule.curve_over == "run" and len(runs) > 1:
        said.append(
            "the cosine over the whole run becomes one for each phase, between the schedule's rates at its "
            f"ends; inside rates differ by up to {_largest_gap(runs):.1%} of a phase's first"
        )
    if any(run.ramp for run in runs):
        epochs = listed(dict.fromkeys(counted(run.ramp, "epoch") for run in runs if run.ramp))
        said.append(
            f"the ramp of {counted(f'{schedule.lr_ramp_epochs:g}', 'epoch')} takes {epochs}, begins with a "
            "step at rate 0, and rises in a straight line where the schedule's also follows the curve"
        )
    if layers:
        for run in runs:
            if wrong := deviations(run.cells, layers, run.decay):
                where = f"in phase {run.phase}, " if len(runs) > 1 else ""
                said.append(f"{where}timm scales rates by layers, not by groups: {listed(wrong)}")
    return said


def _of_freezing(file: NativeFile, runs: list[Run]) -> list[str]:
    """Say what moves in frozen layers, and in BatchNorm that should not."""
    said = []
    if any(cell is None for run in runs for cell in run.cells.values()):
        said.append(
            "frozen layers stay in training mode: any BatchNorm statistics there follow every batch, dropout "
            "and stochastic depth stay on"
        )
    if file.regime.norm == "eval":
        said.append("statistics of BatchNorm follow the batches where the schedule keeps the pretrained ones")
    return said


def _of_regime(file: NativeFile, runs: list[Run]) -> list[str]:
    """Say what train.py has no option for."""
    said = []
    if file.regime.class_weights != "none":
        said.append("classes weigh alike in the loss: timm weighs them in losses of other kinds only")
    trained = {group for run in runs for group, cell in run.cells.items() if cell is not None}
    names = {name for group in trained for name in file.backbone.groups[group]}
    spared = [name for name in file.backbone.spared_by_timm if name in names]
    if spared and file.regime.weight_decay:
        said.append(f"weight decay spares {listed(spared)}, as timm has it for this model")
    return said


def _remarks(file: NativeFile, *, single: bool) -> list[str]:
    """Say how to run it, and what is left to ``train.py``."""
    run = (
        "python train.py -c THIS_FILE --data-dir DATA [--pretrained-path WEIGHTS]"
        if single
        else "bash SCRIPT_BESIDE_THIS_FILE TRAIN_PY DATA OUTPUT"
    )
    lines = [
        f"Run it with train.py of timm's repository:  {run}",
        "DATA holds the folders train and validation. train.py leaves out an epoch's last, incomplete batch;",
        "dropout before the head is its option drop, 0 unless you set it.",
    ]
    if not views.crops(file.regime.views) and file.preprocessing.crop_pct < 1:
        lines.append(
            "In training train.py shows the centre along the whole shorter side, whatever crop_pct says."
        )
    if file.image_task.image_size is not None:
        lines.append(
            f"A model of fixed size needs --model-kwargs img_size={file.preprocessing.image_size} beside."
        )
    return lines


def _curve(schedule: Schedule, epoch: int, span: tuple[int, int]) -> float:
    if schedule.curve == "constant":
        return 1.0
    start, end = span
    return 0.5 * (1 + math.cos(math.pi * (epoch - start) / (end - start)))


def _largest_gap(runs: list[Run]) -> float:
    """Give how far curves inside phases are from the run's, at most, as a share of a phase's first rate."""
    total = runs[-1].start + runs[-1].epochs
    gaps = []
    for run in runs:
        for part in (number / 64 for number in range(65)):
            whole = 0.5 * (1 + math.cos(math.pi * (run.start + part * run.epochs) / total))
            own = run.last + 0.5 * (run.first - run.last) * (1 + math.cos(math.pi * part))
            gaps.append(abs(whole - own) / run.first)
    return max(gaps)


def _rounded(epochs: float) -> int:
    """Round to the nearest whole number, a half up."""
    return math.floor(round(epochs, 9) + 0.5)
