"""What is in a run folder, as plain values, and what may not be in it."""

import html.parser
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from jsonschema import Draft202012Validator
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from autofreeze.records import RECORDS, entries

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text(encoding="utf-8"))
CLOCKED = ("seconds", "at", "test_reads", "created", "command", "plan")
"""Fields that hang on a clock, or count what was done twice because of a kill."""


def without_clock(data: Any) -> Any:
    """Leave out what hangs on a clock."""
    if isinstance(data, dict):
        return {name: without_clock(value) for name, value in data.items() if name not in CLOCKED}
    if isinstance(data, list):
        return [without_clock(value) for value in data]
    return data


def curves_in(folder: Path) -> dict[str, Any]:
    """Give every record but its clocks, by (trial, fold or fresh seed, epoch)."""
    return {
        str((one.trial, one.fold, one.fresh, one.epoch)): without_clock(json.loads(one.line)["record"])
        for one in entries(folder)
    }


def trials_in(folder: Path, aside: Path) -> list[optuna.trial.FrozenTrial]:
    """Read the trials from the whole lines of the journal; the folder is left as it is."""
    journal = folder / "study.journal"
    if not journal.exists():
        return []
    data = journal.read_bytes()
    aside.write_bytes(data[: data.rfind(b"\n") + 1])
    try:
        study = optuna.load_study(
            study_name="autofreeze", storage=JournalStorage(JournalFileBackend(str(aside)))
        )
    except KeyError:  # not begun
        return []
    return study.get_trials(deepcopy=False)


def completed_in(folder: Path, aside: Path) -> dict[int, float | None]:
    """Give the values of complete trials by their numbers."""
    return {one.number: one.value for one in trials_in(folder, aside) if one.state == TrialState.COMPLETE}


class _Page(html.parser.HTMLParser):
    """Notes which tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: Counter[str] = Counter()

    def handle_endtag(self, tag: str) -> None:
        self.closed[tag] += 1


def torn_in(folder: Path) -> list[str]:
    """Name the files that are not whole, of those that are written whole."""
    torn = []
    for file in folder.glob("*.json"):
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            torn.append(f"{file.name} is torn: {error}")
    page = folder / "report.html"
    if page.exists():
        told = page.read_text(encoding="utf-8").rstrip()
        if not told.endswith("</html>"):
            torn.append(f"report.html ends with {told[-60:]!r}")
    text = folder / "report.md"
    if text.exists() and not text.read_text(encoding="utf-8").endswith("\n"):
        torn.append("report.md has no last line")
    return torn


def remains_in(folder: Path) -> list[str]:
    """Name what a search that has ended may not leave."""
    hidden = {path.name for path in folder.glob(".*")} - {".lock"}
    locks = {path.name for path in folder.glob("*.journal.lock*")}
    states = {path.name for path in (folder / "checkpoints").glob("*")}
    return [f"left behind: {name}" for name in sorted(hidden | locks | states)]


def faults_of(folder: Path, aside: Path) -> list[str]:
    """Say what is wrong with a study that has ended."""
    found = [*torn_in(folder), *remains_in(folder)]
    trials = trials_in(folder, aside)
    numbers = [one.number for one in trials]
    if numbers != list(range(len(numbers))):
        found.append(f"trials are numbered {numbers}")
    found += [
        f"trial {one.number} has ended {one.state.name}"
        for one in trials
        if one.state in (TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL)
    ]
    lines = Counter((one.trial, one.fold, one.fresh, one.epoch) for one in entries(folder))
    found += [f"{key} is in {RECORDS} {count} times" for key, count in lines.items() if count > 1]
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    found += [
        f"report.json, {error.json_path}: {error.message[:200]}"
        for error in Draft202012Validator(SCHEMA).iter_errors(report)
    ]
    return found


def differences(folder: Path, other: Path) -> list[str]:
    """Say where two studies differ: curves, trials, confirmation; clocks do not count."""
    found = []
    ours, theirs = curves_in(folder), curves_in(other)
    if ours != theirs:
        unlike = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        found.append(f"other records of {', '.join(unlike[:5])} ({len(unlike)} in all)")
    mine, its = (
        without_clock(json.loads((one / "report.json").read_text(encoding="utf-8")))
        for one in (folder, other)
    )
    for name in ("trials", "confirmation", "settings", "data", "backbone", "cut_short"):
        if mine.get(name) != its.get(name):
            found.append(
                f"{name} of report.json: {json.dumps(mine.get(name))[:300]}, "
                f"and undisturbed {json.dumps(its.get(name))[:300]}"
            )
    return found


def copied(folder: Path, to: Path) -> Path:
    """Copy a folder."""
    return Path(shutil.copytree(folder, to))


def model_in(folder: Path) -> dict[str, object]:
    """Give what is in every file; the metadata of safetensors lie in any order, so their header is read."""
    found: dict[str, object] = {}
    for path in folder.iterdir() if folder.exists() else ():
        data = path.read_bytes()
        found[path.name] = data
        if path.name == "model.safetensors":
            end = 8 + int.from_bytes(data[:8], "little")
            found[path.name] = (json.loads(data[8:end]), data[end:])
    return found
