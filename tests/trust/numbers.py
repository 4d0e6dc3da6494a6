"""Numbers at the edge: images that say nothing, classes of too few, rates without measure.

Each case is a whole command, run in this process. It must end with a report in which every trial's value is a
number, or with a message and the status that goes with it.
"""

import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trust.check import Check, Effort, Outcome

Draw = Callable[[int, np.random.Generator], "NDArray[Any]"]
"""Class and generator -> an image."""

SIDE = 32
MODEL = ("--model", "test_resnet", "--from-scratch", "--image-size", str(SIDE), "--groups", "coarse")
SHORT = ("--preset", "quick", "--trials", "2", "--epochs", "1", "--confirm", "0", "--folds", "1")


def noise(_: int, rng: np.random.Generator) -> "NDArray[Any]":
    """Draw what no class can be told from."""
    return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def black(_: int, __: np.random.Generator) -> "NDArray[Any]":
    """Draw nothing."""
    return np.zeros((SIDE, SIDE, 3), np.uint8)


def one_colour(label: int, _: np.random.Generator) -> "NDArray[Any]":
    """Draw the same image for all of a class."""
    return np.full((SIDE, SIDE, 3), 200 * (label % 2), np.uint8)


def write_classes(folder: Path, counts: Sequence[int], draw: Draw = noise) -> None:
    """Write a folder for each class."""
    rng = np.random.default_rng(0)
    for label, count in enumerate(counts):
        own = folder / f"class{label:04}"
        own.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw(label, rng)).save(own / f"{number:03}.png")


def write_split(folder: Path, **counts: Sequence[int]) -> None:
    """Write ``train/ val/ test/``, with so many images of each class; none makes no folder of the class."""
    rng = np.random.default_rng(0)
    for part, of_classes in counts.items():
        for label, count in enumerate(of_classes):
            for number in range(count):
                own = folder / part / f"class{label}"
                own.mkdir(parents=True, exist_ok=True)
                Image.fromarray(noise(label, rng)).save(own / f"{number:03}.png")


def write_nan_pixel(folder: Path) -> None:
    """Write two classes, and one image of floats of which one is no number."""
    write_classes(folder, (12, 12))
    pixels = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
    pixels[3, 4] = np.nan
    Image.fromarray(pixels).save(folder / "class0000" / "nan.tiff")


@dataclass(frozen=True)
class Case:
    """A command at the edge.

    Attributes:
        name: Told where it goes wrong.
        write: Writes its images.
        options: Of ``autofreeze search``, beside the usual ones.
        space: A space file's text, where one is needed.
    """

    name: str
    write: Callable[[Path], None]
    options: tuple[str, ...] = ()
    space: str = ""


def with_head_rate(rate: float) -> str:
    """Give a space of one head rate, and little else."""
    return f"head_lr: {rate!r}\n"


def with_batches(size: int) -> str:
    """Give a space of whole fine-tuning, BatchNorm following its batches, in batches of one size."""
    return f"unfreeze_depth: all\nhead_lr: 0.001\nnorm: follow\nbatch_size: {size}\n"


PLAIN = partial(write_classes, counts=(12, 12))
DATA: tuple[Case, ...] = (
    Case("one pixel that is no number", write_nan_pixel, ("--max-bad-images", "0.1")),
    Case("black images", partial(write_classes, counts=(12, 12), draw=black)),
    Case("all images of a class equal", partial(write_classes, counts=(12, 12), draw=one_colour)),
    Case("three images of three classes", partial(write_classes, counts=(1, 1, 1))),
    Case("three images of two classes", partial(write_classes, counts=(2, 1))),
    Case("one class", partial(write_classes, counts=(24,))),
    Case("one image in a class", partial(write_classes, counts=(20, 1))),
    Case("no class in val/", partial(write_split, train=(8, 8), val=(8, 0), test=(4, 4))),
    Case("no class in test/", partial(write_split, train=(8, 8), val=(4, 4), test=(8, 0))),
    Case("no class in train/", partial(write_split, train=(8, 0), val=(4, 4), test=(4, 4))),
    Case("batches of one image", PLAIN, (), with_batches(1)),
    Case("thirteen images in batches of two", partial(write_classes, counts=(8, 8)), (), with_batches(2)),
    Case("a batch larger than all images", PLAIN, (), with_batches(65_536)),
    Case("1,000 classes", partial(write_classes, counts=(3,) * 1000)),
)
OPTIONS: tuple[Case, ...] = (
    Case("a hundredth of an epoch", PLAIN, ("--epochs", "0.01")),
    Case("a million epochs, five seconds", PLAIN, ("--epochs", "1e6", "--time", "5s")),
    Case("no epochs", PLAIN, ("--epochs", "0")),
    Case("epochs that are no number", PLAIN, ("--epochs", "nan")),
    Case("epochs without end", PLAIN, ("--epochs", "inf")),
    Case("no trials", PLAIN, ("--trials", "0")),
    Case("a crop that is no number", PLAIN, ("--crop-pct", "nan")),
    Case("a mean that is no number", PLAIN, ("--mean", "nan,0,0")),
    Case("a deviation of zero", PLAIN, ("--std", "0,0,0")),
    Case("a deviation near zero", PLAIN, ("--std", "1e-30,1e-30,1e-30")),
    Case("a delta that is no number", PLAIN, ("--delta", "nan")),
    Case("a delta without end", PLAIN, ("--delta", "inf")),
    Case("a most work that is no number", PLAIN, ("--max-cost", "nan")),
    Case("all images held out", PLAIN, ("--test-share", "1")),
    Case("a share that is no number", PLAIN, ("--test-share", "nan")),
    Case("a share of bad images that is no number", PLAIN, ("--max-bad-images", "nan")),
    Case("a huge seed", PLAIN, ("--seed", str(2**70))),
    Case("a seed below zero", PLAIN, ("--seed", "-1")),
    Case("images of one pixel", PLAIN, ("--image-size", "1")),
    Case("images of no pixel", PLAIN, ("--image-size", "0")),
    Case("no time", PLAIN, ("--time", "0s")),
    Case("a time that is no number", PLAIN, ("--time", "nan")),
    Case("a share of erased crops that is no number", PLAIN, ("--views", "online", "--erase", "nan")),
    Case("log loss on noise", PLAIN, ("--metric", "log_loss")),
    Case("a huge rate", PLAIN, (), with_head_rate(1e30)),
    Case("a tiny rate", PLAIN, (), with_head_rate(1e-30)),
    Case("a rate of zero", PLAIN, (), with_head_rate(0.0)),
)


def in_process(*arguments: object) -> tuple[int, str]:
    """Run ``autofreeze ARGUMENTS`` in this process; its status, and all that it said."""
    from autofreeze.cli import main

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            status = main([str(one) for one in arguments])
        except SystemExit as left:
            status = int(left.code or 0)
        except Exception as error:  # noqa: BLE001 - whatever comes through is the find
            return -1, f"{told.getvalue()}\n{type(error).__name__}: {error}"
    return int(status or 0), told.getvalue()


def wrong_values(report: Path) -> Iterator[str]:
    """Name what in a report is no number where one must be, or is text that no strict reader reads."""
    text = report.read_text(encoding="utf-8")

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no JSON")

    try:
        told = json.loads(text, parse_constant=refuse)
    except ValueError as error:
        yield f"report.json: {error}"
        return
    for trial in told["trials"]:
        if trial["ending"] == "complete" and not math.isfinite(trial["value"]):
            yield f"trial {trial['number']} is complete with the value {trial['value']}"


def complaints(status: int, told: str, out: Path) -> list[str]:
    """Say what a command did that none may."""
    last = told.strip()[-600:]
    if "Traceback (most recent call last)" in told or status not in (0, 1, 2):
        return [f"status {status}: {last}"]
    if status == 0:
        report = out / "report.json"
        return list(wrong_values(report)) if report.exists() else [f"status 0 without a report: {last}"]
    return (
        [] if "autofreeze: " in told or "no trial" in told else [f"status {status} without a reason: {last}"]
    )


def try_searches(cases: Sequence[Case], effort: Effort) -> Outcome:
    """Search each case."""
    wrong, ends = [], {0: 0, 1: 0, 2: 0}
    rng = effort.rng
    chosen = rng.sample(cases, effort.times) if effort.times < len(cases) else list(cases)
    for number, case in enumerate(chosen):
        data, out = effort.folder / f"data{number}", effort.folder / f"run{number}"
        case.write(data)
        options = list(case.options)
        if case.space:
            space = effort.folder / f"space{number}.yaml"
            space.write_text(case.space, encoding="utf-8")
            options += ["--space", str(space)]
        arguments = ("search", data, *MODEL, *SHORT, "--cache", effort.folder / "cache", "--out", out)
        status, told = in_process(*arguments, *options)
        ends[status] = ends.get(status, 0) + 1
        wrong += [f"{case.name} ({' '.join(case.options)}): {one}" for one in complaints(status, told, out)]
    note = f"{ends[0]} came to a report, {ends[1] + ends[2]} to a message"
    return Outcome(tried=len(chosen), wrong=wrong, note=note)


EXTREMES = (
    math.inf, -math.inf, math.nan, -0.0, 0.0, 1e308, -1e308, 5e-324, 1e-30, 1e30, 1.0, -1.0,
    float(np.finfo(np.float32).max), 2.0**53 + 1,
)  # fmt: skip
"""What a training of one's own may yield for a value or a loss."""


def try_values(effort: Effort) -> Outcome:
    """Search with trainings that yield extreme values, each another mixture, in either direction."""
    import autofreeze
    from autofreeze.errors import AutofreezeError

    wrong, rng = [], effort.rng
    for number in range(effort.times):
        few = rng.sample(EXTREMES, 3)
        direction, fields = rng.choice(("maximize", "minimize")), rng.choice(("bare", "losses", "scores"))

        def fit(job: Any, few: Sequence[float] = few, fields: str = fields) -> Iterator[Any]:
            for epoch in range(job.epochs):
                value = few[(epoch + job.seed + job.schedule.unfreeze_depth) % 3]
                if fields == "scores":
                    yield autofreeze.Epoch(scores=[value, few[epoch % 3], 1.0])
                elif fields == "losses":
                    yield autofreeze.Epoch(value=value, train_loss=few[0], val_loss=few[1])
                else:
                    yield value

        out = effort.folder / f"run{number}"
        what = f"{fields} of {few}, {direction}"
        try:
            autofreeze.search(
                fit=fit, groups=("stem", "body", "head"), epochs=2, space="quick", trials=4, confirm=6,
                direction=direction, out=out,
            )  # fmt: skip
            wrong += [f"{what}: {one}" for one in wrong_values(out / "report.json")]
            status, told = in_process("report", out)
            if status:
                wrong.append(f"{what}: report ends with {status}: {told[-400:]}")
        except AutofreezeError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever else comes is the find
            wrong.append(f"{what}: {type(error).__name__}: {error}")
    return Outcome(tried=effort.times, wrong=wrong)


CHECKS: tuple[Check, ...] = (
    Check(
        name="number-data", fault="images that say nothing, classes of too few or 1,000, batches of one",
        run=partial(try_searches, DATA), quick=2, long=len(DATA),
    ),
    Check(
        name="number-options", fault="options of zero, no number, without end; rates of 1e30, 1e-30 and 0",
        run=partial(try_searches, OPTIONS), quick=6, long=len(OPTIONS),
    ),
    Check(
        name="number-values", fault="a training of one's own yields inf, NaN, −0, 1e308, denormals",
        run=try_values, quick=4, long=40,
    ),
)  # fmt: skip
