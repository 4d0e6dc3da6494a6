"""``kill -9`` of commands at random instants, by the clock and between two changes to files."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from trust import studies
from trust.check import Check, Effort, Outcome
from trust.commands import Ended, Place
from trust.victims import Instant, Victims

SEARCH = (
    "--model", "test_resnet", "--from-scratch", "--image-size", 32, "--device", "cpu", "--threads", 1,
    "--epochs", 2, "--space", "quick", "--folds", 2,
)  # fmt: skip
MODEL = "model.safetensors"
APPENDED = ("study.journal", "records.jsonl", "study.journal.torn", "records.jsonl.torn")


FEW = 5
"""Kills up to which a check takes a smaller task."""


def _instants(rng: random.Random, seconds: float, changes: int) -> Iterator[Instant]:
    """Give instants without end: by the clock and by changes to files in turn."""
    while True:
        yield Instant(seconds=rng.uniform(0.0, seconds))
        yield Instant(change=rng.randint(1, max(changes, 1)))


def _log_of(root: Path) -> list[list[str]]:
    return [line.split("\t") for line in (root / "changes.log").read_text(encoding="utf-8").splitlines()]


# Searches


def kill_searches(effort: Effort, *, sampler: str, confirm: int, trials: int) -> Outcome:
    """Kill a search again and again until it ends; then begin another one.

    Between two kills the journal may lose a random part of its last line, and the records get a line that is
    cut anywhere, as a kill within a write leaves them. Recovery: seconds from the restart, torch loaded, to
    the first new record, or to the end.
    """
    rng = effort.rng
    victims = Victims(Place(effort.folder).fill((14, 14, 14)))
    given = ("--sampler", sampler, "--confirm", confirm, "--trials", trials)
    # In longer runs more kills come between two epochs of one.
    epochs = 2 if effort.times <= FEW else 6
    told = ("search", victims.place.data, *SEARCH, "--epochs", epochs, *given)
    whole = effort.folder / "whole"
    log = effort.folder / "changes.log"
    first, _ = victims.run(*told, "--out", whole, log=log)
    wrong = [*first.complaints(), *studies.faults_of(whole, effort.folder / "aside")]
    instants = _instants(rng, 0.5 * first.seconds, len(_log_of(effort.folder)) // 2)
    chain = _Chain(effort, victims, told, whole, rng)
    number = 0
    while chain.kills < effort.times:
        chain.begin(effort.folder / f"run-{number}")
        number += 1
        while not chain.ended:
            chain.run(next(instants) if chain.kills < effort.times else None)
    note = f"{number} searches, {chain.cuts} last lines torn; until then {chain.lines} records"
    return Outcome(
        tried=chain.kills, lost=chain.lost, wrong=[*wrong, *chain.wrong], recovery=chain.recovery, note=note
    )


class _Chain:
    """A search that is killed, resumed, killed again."""

    def __init__(
        self, effort: Effort, victims: Victims, told: tuple[object, ...], whole: Path, rng: random.Random
    ) -> None:
        self._victims, self._told, self._whole, self._rng = victims, told, whole, rng
        self._aside = effort.folder / "aside"
        self.kills = self.cuts = self.lines = 0
        self.lost: list[str] = []
        self.wrong: list[str] = []
        self.recovery: list[float] = []
        self.ended = True

    def begin(self, folder: Path) -> None:
        """Take another folder, and a cache of its own in half of the cases."""
        self._folder, self._history = folder, list[str]()
        self._cache = folder.with_name(f"{folder.name}-cache") if self._rng.random() < 0.5 else None
        self._torn: dict[str, list[bytes]] = {}
        self._complete: dict[int, float | None] = {}
        self.ended = False

    def run(self, at: Instant | None) -> None:
        """Begin or go on, until the instant or the end."""
        resume = (self._folder / "run.json").exists()
        before = self._size()
        ended, went_on = self._victims.run(
            *self._told, "--out", self._folder, *(["--resume"] if resume else []),
            at=at, cache=self._cache, goes_on=lambda: self._size() > before,
        )  # fmt: skip
        if resume and went_on is not None:
            self.recovery.append(went_on)
        if ended.killed:
            self.kills += 1
            self._history.append(f"killed {at}")
        self._look()
        if not ended.killed:
            self.ended = True
            self._tell(self.wrong, ended.complaints())
            self._tell(self.lost, list(self._thrown_away()))
            if not ended.complaints():
                self._compare()
        elif self._rng.random() < 0.5:
            self._tear()

    def _compare(self) -> None:
        """Compare a search that has ended with the undisturbed one."""
        try:
            self._tell(self.wrong, studies.faults_of(self._folder, self._aside))
            self._tell(self.wrong, studies.differences(self._folder, self._whole))
            self.lines += len(studies.curves_in(self._folder))
        except (ValueError, KeyError) as error:
            self._tell(self.wrong, [f"what it left cannot be read: {error!r}"])

    def _size(self) -> int:
        file = self._folder / "records.jsonl"
        return file.stat().st_size if file.exists() else 0

    def _look(self) -> None:
        """Look at the folder as it lies there at this very moment."""
        self._tell(self.wrong, studies.torn_in(self._folder))
        try:
            now = studies.completed_in(self._folder, self._aside)
        except ValueError as error:
            self._tell(self.wrong, [f"the journal cannot be read: {error!r}"])
            return
        gone = {number: value for number, value in self._complete.items() if now.get(number, ...) != value}
        self._tell(self.lost, [f"trial {number} was complete with {value}" for number, value in gone.items()])
        self._complete = now

    def _thrown_away(self) -> Iterator[str]:
        """Name torn lines that were not kept aside."""
        for name, pieces in self._torn.items():
            file = self._folder / f"{name}.torn"
            kept = file.read_bytes() if file.exists() else b""
            yield from (f"{name}: torn off and not kept: {one!r}" for one in pieces if one not in kept)

    def _tear(self) -> None:
        """Leave what a kill within a write would have left."""
        journal, records = self._folder / "study.journal", self._folder / "records.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
        if len(lines) > 1 and self._rng.random() < 0.5:
            piece = lines[-1][: self._rng.randrange(1, len(lines[-1]))]
            journal.write_bytes(b"".join(lines[:-1]) + piece)
            self._complete = studies.completed_in(self._folder, self._aside)
            self._torn.setdefault("study.journal", []).append(piece)
            self._history.append(f"{len(piece)} bytes left of the journal's last line")
            self.cuts += 1
        lines = records.read_bytes().splitlines(keepends=True) if records.exists() else []
        if lines:
            piece = lines[-1][: self._rng.randrange(1, len(lines[-1]))]
            with records.open("ab") as stream:
                stream.write(piece)
            self._torn.setdefault("records.jsonl", []).append(piece)
            self._history.append(f"{len(piece)} bytes of a record written")
            self.cuts += 1

    def _tell(self, where: list[str], what: list[str]) -> None:
        where += [f"{self._folder.name} ({', '.join(self._history)}): {one}" for one in what]


# Stores


def kill_filling(effort: Effort) -> Outcome:
    """Kill a search while it surveys, decodes and computes features; each entry with a note must be whole."""
    rng = effort.rng
    counts = (20, 20, 20) if effort.times <= FEW else (60, 60, 60)
    victims = Victims(Place(effort.folder).fill(counts))
    told = ("search", victims.place.data, *SEARCH, "--trials", 1, "--confirm", 0)
    whole, log = effort.folder / "whole", effort.folder / "changes.log"
    first, _ = victims.run(*told, "--out", whole, log=log)
    wrong = first.complaints()
    filled = _files_in(victims.place.cache)
    instants = _instants(rng, 0.7 * first.seconds, len(_log_of(effort.folder)))
    kills, recovery, round_ = 0, list[float](), 0
    while kills < effort.times:
        cache, history = effort.folder / f"cache-{round_}", list[str]()
        for _ in range(min(3, effort.times)):
            at = next(instants)
            out = effort.folder / f"run-{round_}-{len(history)}"
            ended, _ = victims.run(*told, "--out", out, at=at, cache=cache)
            kills += ended.killed
            history.append(f"killed {at}" if ended.killed else "ended")
            if not ended.killed:
                wrong += ended.complaints()
            wrong += [f"{history}: {one}" for one in _untrue_entries(cache, filled)]
        out = effort.folder / f"run-{round_}-end"
        ended, seconds = victims.run(*told, "--out", out, cache=cache)
        recovery.append(seconds or ended.seconds)
        wrong += ended.complaints()
        if not ended.complaints():
            wrong += [f"{history}: {one}" for one in studies.differences(out, whole)]
        wrong += [f"{history}: {one}" for one in _untrue_entries(cache, filled)]
        wrong += [
            f"{history}: left behind: {path.name}"
            for path in cache.rglob("*")
            if path.suffix in (".part", ".new")
        ]
        round_ += 1
    return Outcome(
        tried=kills, wrong=wrong, recovery=recovery, note=f"{round_} caches, each filled to its end"
    )


def _files_in(cache: Path) -> dict[str, str]:
    """Give the hash of every data file by its path in the cache."""
    return {
        str(path.relative_to(cache)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in cache.rglob("*")
        if path.suffix in (".npy", ".bin")
    }


def _untrue_entries(cache: Path, filled: dict[str, str]) -> list[str]:
    """Name entries that have a note and are not what they should be."""
    there = _files_in(cache) if cache.exists() else {}
    noted = [name for name in there if (cache / name).with_suffix(".json").exists()]
    return [f"{name} has a note and other bytes" for name in noted if there[name] != filled.get(name)]


# What is made of a study


def _searched(effort: Effort, victims: Victims, run: Path) -> Ended:
    """Make a study to begin with."""
    trials = 1 if effort.times <= FEW else 4
    data = victims.place.data
    ended, _ = victims.run("search", data, *SEARCH, "--trials", trials, "--confirm", 0, "--out", run)
    return ended


def kill_report(effort: Effort) -> Outcome:
    """Kill ``report --open`` while it writes the page; the page is whole or missing, and then the same."""
    place = Place(effort.folder, {"BROWSER": "true"}).fill((14, 14, 14))
    victims, run = Victims(place), effort.folder / "run"
    search = _searched(effort, victims, run)
    told, page = ("report", run, "--open"), run / "report.html"
    return _kill_writing(effort, victims, told, (page,), search.complaints(), clean=())


def kill_export(effort: Effort) -> Outcome:
    """Kill ``export`` to YAML and to Python; its file is whole or missing, and then the same."""
    place = Place(effort.folder).fill((14, 14, 14))
    victims, run, out = Victims(place), effort.folder / "run", effort.folder / "out"
    search = _searched(effort, victims, run)
    file = out / "best.yaml"
    told = ("export", run, "-o", file, "--force")
    return _kill_writing(effort, victims, told, (file,), search.complaints(), clean=(out,))


def _kill_writing(
    effort: Effort,
    victims: Victims,
    told: tuple[object, ...],
    files: tuple[Path, ...],
    wrong: list[str],
    *,
    clean: tuple[Path, ...],
) -> Outcome:
    """Kill a command that writes files; they are whole at each moment, and the same in the end."""
    for file in files:
        file.unlink(missing_ok=True)
    first, _ = victims.run(*told, log=effort.folder / "changes.log")
    wrong = [*wrong, *first.complaints()]
    expected = {file: file.read_bytes() for file in files}
    changes = len(_log_of(effort.folder))
    kills, recovery = 0, list[float]()
    instants = _instants(effort.rng, first.seconds, changes)
    while kills < effort.times:
        at = next(instants)
        for file in files:
            file.unlink(missing_ok=True)
        ended, _ = victims.run(*told, at=at)
        kills += ended.killed
        wrong += [
            f"killed {at}: {file.name} is torn"
            for file in files
            if file.exists() and file.read_bytes() != expected[file]
        ]
        again, seconds = victims.run(*told)
        recovery.append(seconds or again.seconds)
        wrong += [f"killed {at}, then {one}" for one in again.complaints()]
        wrong += [
            f"killed {at}: {file.name} is another one afterwards"
            for file in files
            if not file.exists() or file.read_bytes() != expected[file]
        ]
        folders = {file.parent for file in files}
        left = [path.name for folder in folders for path in folder.glob(".*") if path.name != ".lock"]
        wrong += [f"killed {at}: left behind: {name}" for name in left]
    return Outcome(tried=kills, wrong=wrong, recovery=recovery, note=f"{changes} changes to files each time")


# Training


def kill_train(effort: Effort) -> Outcome:
    """Kill ``train`` again and again until it ends; the model must be the undisturbed one to the bit."""
    place = Place(effort.folder).fill((14, 14, 14))
    victims, run, file = Victims(place), effort.folder / "run", effort.folder / "best.yaml"
    search = _searched(effort, victims, run)
    export, _ = victims.run("export", run, "-o", file)
    told = ("train", file, place.data, "--threads", 1, "--epochs", 12)
    whole, log = effort.folder / "whole", effort.folder / "changes.log"
    first, _ = victims.run(*told, "--out", whole, log=log)
    wrong = [*search.complaints(), *export.complaints(), *first.complaints()]
    expected = studies.model_in(whole)
    instants = _instants(effort.rng, 0.5 * first.seconds, len(_log_of(effort.folder)) // 2)
    kills, recovery, number = 0, list[float](), 0
    while kills < effort.times:
        out, history, ended = effort.folder / f"model-{number}", list[str](), None
        number += 1
        while ended is None or ended.killed:
            at = next(instants) if kills < effort.times else None
            force = ["--force"] if (out / MODEL).exists() else []
            ended, seconds = victims.run(*told, "--out", out, *force, at=at)
            if ended.killed:
                kills += 1
                history.append(f"killed {at}")
            elif history:
                recovery.append(seconds or ended.seconds)
            there = studies.model_in(out)
            if MODEL in there and there != {**there, **expected}:
                wrong.append(f"{history}: the model is torn, another one, or without its JSON")
        wrong += [f"{history}: {one}" for one in ended.complaints()]
        found = studies.model_in(out)
        wrong += [
            f"{history}: {name} is missing, another one, or left behind"
            for name in sorted({*found, *expected})
            if found.get(name) != expected.get(name)
        ]
    return Outcome(tried=kills, wrong=wrong, recovery=recovery, note=f"{number} trainings of 12 epochs")


# Ways of writing


def watch_writes(effort: Effort) -> Outcome:
    """Watch every change to a file: what is not appended to is written beside its place and renamed."""
    place = Place(effort.folder, {"BROWSER": "true"}).fill((14, 14, 14))
    victims, run, file = Victims(place), effort.folder / "run", effort.folder / "best.yaml"
    log = effort.folder / "changes.log"
    confirm = 0 if effort.times <= 100 else 6
    commands: tuple[tuple[object, ...], ...] = (
        ("search", place.data, *SEARCH, "--trials", 2, "--confirm", confirm, "--out", run),
        ("search", place.data, *SEARCH, "--trials", 3, "--confirm", confirm, "--out", run, "--resume"),
        ("report", run, "--open"),
        ("export", run, "-o", file),
        ("train", file, place.data, "--out", effort.folder / "model"),
    )
    wrong = []
    for command in commands:
        if command[0] == "report":
            (run / "report.html").unlink()
        ended, _ = victims.run(*command, log=log)
        wrong += ended.complaints()
    changes = _log_of(effort.folder)
    renamed = {change[1] for change in changes if change[0] == "os.rename"}
    removed = {change[1] for change in changes if change[0] == "os.remove"}
    for kind, path, _ in changes:  # a folder is opened for a file without a name
        name = Path(path).name
        half = path in renamed or path in removed or name.startswith("tmp")
        lock = name.endswith(".lock")
        if kind == "write" and not (half or lock or Path(path).is_dir()):
            wrong.append(f"{path} is written in its place")
        if kind == "append" and name not in APPENDED and Path(path).parent.name != "test-reads":
            wrong.append(f"{path} is appended to")
        if kind == "os.truncate":
            wrong.append(f"{path} is cut")
    opened = sum(kind == "write" for kind, *_ in changes)
    return Outcome(
        tried=len(changes),
        wrong=sorted(set(wrong)),
        note=f"{opened:,} files written",
    )


def _confirmed(effort: Effort) -> Outcome:
    return kill_searches(effort, sampler="qmc", confirm=6, trials=3 if effort.times <= FEW else 8)


def _by_tpe(effort: Effort) -> Outcome:
    return kill_searches(effort, sampler="tpe", confirm=0, trials=3 if effort.times <= FEW else 12)


CHECKS: tuple[Check, ...] = (
    Check(
        name="kill-search",
        fault="`kill -9` of a search with confirmation and test split, last lines torn, then `--resume`",
        run=_confirmed, quick=1, long=36,
    ),
    Check(
        name="kill-search-tpe",
        fault="`kill -9` of a search by TPE, last lines torn, then `--resume`",
        run=_by_tpe, quick=1, long=24,
    ),
    Check(
        name="kill-filling",
        fault="`kill -9` while images are decoded and features computed, then the same search",
        run=kill_filling, quick=1, long=30,
    ),
    Check(
        name="kill-report", fault="`kill -9` of `report --open`, then again", run=kill_report,
        quick=1, long=20,
    ),
    Check(name="kill-export", fault="`kill -9` of `export`, then again", run=kill_export, quick=1, long=20),
    Check(
        name="kill-train", fault="`kill -9` of `train`, then the same command", run=kill_train,
        quick=1, long=20,
    ),
    Check(
        name="kill-writes", fault="every change to a file by search, report, export and train",
        run=watch_writes, quick=100, long=500,
    ),
)  # fmt: skip
