"""Freeze first or not? Eight verdicts: four data sets with two backbones, and what they say together.

    python benchmarks/verdicts.py run DATA OUT [--sets trashnet6 …] [--models mobilenetv2_100 …]
    python benchmarks/verdicts.py table OUT

DATA holds a folder for each set and weights/MODEL.imagenet.fp16.safetensors. Each search is the command
line's own, preset quick (16 trials, six fresh seeds): over one fold where there are 2,000 images, at 64 px
(48 where the images have 32); at 96 px over five folds and 6 epochs where there are 250. One that was stopped
goes on where it was. About two hours on two cores.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from autofreeze.confirmation import Arm
from autofreeze.report.files import read_report
from autofreeze.results import StudyResult
from autofreeze.scale import points
from autofreeze.verdict import verdict_of

SIZES = {
    "trashnet6": ["--image-size", "64"],
    "cifar10s": ["--image-size", "48"],
    "hymenoptera2": ["--image-size", "96", "--epochs", "6", "--folds", "5"],
    "covidxray3": ["--image-size", "96", "--epochs", "6", "--folds", "5"],
}
MODELS = ("mobilenetv2_100", "mobilenetv1_100")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("data", type=Path)
    run.add_argument("out", type=Path)
    run.add_argument("--sets", nargs="*", default=list(SIZES))
    run.add_argument("--models", nargs="*", default=list(MODELS))
    commands.add_parser("table").add_argument("out", type=Path)
    given = parser.parse_args()
    if given.command == "table":
        print(table(given.out))
        return
    for name in given.sets:
        for model in given.models:
            search(given.data, name, model, given.out / f"{name}-{model}")


def search(data: Path, name: str, model: str, out: Path) -> None:
    """Search one data set with one backbone, or go on."""
    weights = data / "weights" / f"{model}.imagenet.fp16.safetensors"
    command = [sys.executable, "-m", "autofreeze.cli", "search", str(data / name), "--model", model]
    command += ["--weights", str(weights), "--preset", "quick", "--threads", "1", "--out", str(out)]
    resume = ["--resume"] if (out / "run.json").exists() else []
    subprocess.run([*command, *SIZES[name], *resume], check=True)


def table(out: Path) -> str:
    """Tabulate what the verdicts in a folder say, as Markdown."""
    lines = [
        "| data set | backbone | winner | metric | confirmed | freeze first, or at once? "
        "| best freezing first | best at once | optimism | test (n) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in SIZES:
        for model in MODELS:
            folder = out / f"{name}-{model}"
            if (folder / "report.json").exists():
                lines.append(row(name, model, read_report(folder)))
    return "\n".join(lines)


def row(name: str, model: str, result: StudyResult) -> str:
    """Give one data set and backbone as a row."""
    found = result.confirmation
    best = result.best
    if found is None or found.winner is None or best is None:
        return f"| {name} | {model} | unconfirmed |" + " |" * 7
    winner = found.winner
    answer = verdict_of(result).freeze_first
    optimism = "" if winner.mean is None or best.value is None else points(best.value - winner.mean)
    test = "" if winner.test_value is None else f"{winner.test_value:.3f} ({found.test_images})"
    cells = [
        name,
        model,
        best.baseline or best.recipe,
        result.metric,
        value_of(winner.mean, winner.standard_error),
        answer.sentence,
        of_arm(result, "freeze_first"),
        of_arm(result, "at_once"),
        optimism,
        test,
    ]
    return "| " + " | ".join(cells) + " |"


def of_arm(result: StudyResult, arm: Arm) -> str:
    """Give the confirmed value of the best of an arm."""
    assert result.confirmation is not None
    of_it = [one for one in result.confirmation.candidates if one.arm == arm and one.mean is not None]
    if not of_it:
        return "–"
    best = max(of_it, key=lambda one: one.mean or 0.0)
    return value_of(best.mean, best.standard_error)


def value_of(mean: float | None, error: float | None) -> str:
    """Write a value and its standard error."""
    return "–" if mean is None or error is None else f"{mean:.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
