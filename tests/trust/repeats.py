"""The same command twice: the same study, whatever surrounds it."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trust.check import Check, Effort, Outcome
from trust.commands import SLOWEST, Ended, Place
from trust.numbers import in_process
from trust.studies import curves_in, trials_in

Options = tuple[object, ...]
BASE: Options = (
    "--model", "test_resnet", "--from-scratch", "--image-size", 32, "--groups", "coarse", "--device", "cpu",
    "--preset", "quick",
)  # fmt: skip
LEARNS = ("--threads", 1, "--sampler", "tpe", "--trials", 12, "--epochs", 1)
DOES_NOT = ("--threads", 1, "--sampler", "qmc", "--no-prune", "--trials", 8, "--epochs", 2, "--confirm", 0)
"""What the one tries next follows from the trials that have ended, and may hang on their order."""

STUDIES: tuple[Options, ...] = (
    # More trials than TPE draws at random; pruning, a confirmation and a read of the test split.
    LEARNS,
    ("--threads", 1, "--sampler", "qmc", "--trials", 6, "--epochs", 2, "--folds", 2, "--views", "online"),
    ("--threads", 2, "--sampler", "tpe", "--trials", 6, "--epochs", 2, "--candidates", 3, "--seed", 7),
    ("--threads", 1, "--sampler", "random", "--trials", 6, "--epochs", 2, "--metric", "log_loss",
     "--tune-baselines", "full", "--confirm", 0),
)  # fmt: skip
"""Options of the searches that are repeated."""

CLOCKED = frozenset(
    (
        "seconds", "at", "began", "ended", "lane", "where", "created", "command", "plan", "machine",
        "test_reads", "test_basis",
    )
)  # fmt: skip
"""Fields of a report that hang on a clock or a place, or on how often the test split was read before."""

GIVEN = frozenset(
    (
        "settings.task.data", "settings.task.reuse", "settings.task.cache_folder",
        "evidence.savings.by_stores", "placing",
    )
)  # fmt: skip
"""Fields that tell what a repetition does otherwise: where images lie, what is kept, where it trains."""


@dataclass(frozen=True)
class Surroundings:
    """What is about a command and is no part of it.

    Attributes:
        name: Told where a study differs.
        environment: Variables beside those of the place; an empty one is taken out.
        before: Words before the interpreter.
        options: Of the search, that may change no number.
        folders: Whether the command runs in another folder, on a copy of the images that was written in
            another order.
        cache: Whether the cache is another one, and empty.
    """

    name: str
    environment: tuple[tuple[str, str], ...] = ()
    before: tuple[str, ...] = ()
    options: tuple[object, ...] = ()
    folders: bool = False
    cache: bool = False


def every_surroundings(rng: random.Random) -> tuple[Surroundings, ...]:
    """Give all that is changed, hash seed and zone at random."""
    zone = rng.choice(("Asia/Kathmandu", "Pacific/Apia", "America/St_Johns", "UTC"))
    return (
        Surroundings("another hash seed", (("PYTHONHASHSEED", str(rng.randrange(1, 2**32))),)),
        Surroundings("another locale", (("LC_ALL", "C"), ("LANG", "C"), ("PYTHONUTF8", "0"))),
        Surroundings("another time zone", (("TZ", zone),)),
        Surroundings("one processor in sight", before=("taskset", "-c", str(min(os.sched_getaffinity(0))))),
        Surroundings("OMP_NUM_THREADS unset", (("OMP_NUM_THREADS", ""),)),
        Surroundings("no asserts", (("PYTHONOPTIMIZE", "1"),)),
        Surroundings("another folder, images written in another order", folders=True),
        Surroundings("an empty cache", cache=True),
        Surroundings("nothing kept for other batches", options=("--no-reuse",)),
    )


def chosen(rng: random.Random, *, all_of_them: bool) -> list[Surroundings]:
    """Give what is changed at once: all, or each with even odds and one at least."""
    every = every_surroundings(rng)
    some = [one for one in every if rng.random() < 0.5]
    return list(every) if all_of_them else some or [rng.choice(every)]


class Repeats:
    """Searches at a place, each done once in this process, and then again in one of its own, elsewhere."""

    def __init__(self, effort: Effort) -> None:
        self._folder = effort.folder
        self._rng = effort.rng
        self.place = Place(effort.folder / "here").fill((14, 14, 14))
        self.wrong: list[str] = []
        self._first: dict[Options, Path] = {}

    def first(self, study: Options) -> Path:
        """Give the run folder of a search that nothing was changed about; raises when there is none."""
        if study not in self._first:
            out = self._folder / f"first-{len(self._first)}"
            arguments = self._arguments(study, self.place, self.place.cache, out)
            status, told = in_process(*arguments)
            assert status == 0, f"{arguments}: status {status}: {told[-2000:]}"
            self._first[study] = out
        return self._first[study]

    @staticmethod
    def _arguments(study: Options, place: Place, cache: Path, out: Path) -> tuple[object, ...]:
        return ("search", place.data, *BASE, *study, "--cache", cache, "--out", out)

    def again(self, study: Options, among: Sequence[Surroundings], number: int) -> None:
        """Search again, and compare."""
        first, out = self.first(study), self._folder / f"again-{number}"
        what = f"{' '.join(map(str, study))}, with {', '.join(one.name for one in among)}"
        ended = self._run(study, among, out, number)
        self.wrong += [f"{what}: {one}" for one in ended.complaints()]
        if ended.status == 0:
            self.wrong += [f"{what}: {one}" for one in unlike(first, out, self._folder / "aside")]

    def _run(self, study: Options, among: Sequence[Surroundings], out: Path, number: int) -> Ended:
        place, cache, environment = self.place, self.place.cache, self.place.env()
        if any(one.folders for one in among):
            place = Place(self._folder / f"there-{number}")
            copy_in_another_order(self.place.data, place.data, self._rng)
        if any(one.cache for one in among):
            cache = self._folder / f"cache-{number}"
        for name, value in (pair for one in among for pair in one.environment):
            environment[name] = value
        before = [word for one in among for word in one.before]
        arguments = [
            *self._arguments(study, place, cache, out),
            *(word for one in among for word in one.options),
        ]
        began = time.monotonic()
        done = subprocess.run(
            [*before, sys.executable, "-m", "autofreeze.cli", *map(str, arguments)], cwd=place.root,
            env={name: value for name, value in environment.items() if value},
            capture_output=True, text=True, errors="backslashreplace", check=False, timeout=SLOWEST,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def copy_in_another_order(folder: Path, to: Path, rng: random.Random) -> None:
    """Copy images one by one, shuffled, so that folders may list them otherwise, with new times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rng.shuffle(files)
    for file in files:
        copy = to / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def unlike(one: Path, other: Path, aside: Path) -> list[str]:
    """Say where two studies differ: draws in the journal, records, and the report but for its clocks."""
    found = []
    draws = [
        [(trial.number, trial.state.name, trial.params, trial.values) for trial in trials_in(folder, aside)]
        for folder in (one, other)
    ]
    if draws[0] != draws[1] or not draws[0]:
        found.append(f"other draws: {draws[0]} and {draws[1]}"[:600])
    ours, theirs = curves_in(one), curves_in(other)
    if ours != theirs or not ours:
        keys = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        found.append(f"other records of {', '.join(keys[:5])} ({len(keys)} in all)")
    reports = [json.loads((folder / "report.json").read_text(encoding="utf-8")) for folder in (one, other)]
    apart = list(paths_apart(*reports))
    return [*found, *apart[:5], *([f"and {len(apart) - 5} other fields"] if len(apart) > 5 else [])]


def paths_apart(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """Name the fields in which two reports differ, and their values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other} - CLOCKED):
            path = f"{at}.{name}".lstrip(".")
            if path not in GIVEN:
                yield from paths_apart(one.get(name), other.get(name), path)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (ours, theirs) in enumerate(zip(one, other, strict=True)):
            yield from paths_apart(ours, theirs, f"{at}[{place}]")
    elif one != other:
        yield f"{at}: {str(one)[:80]} and {str(other)[:80]}"


def repeat_in_other_surroundings(effort: Effort) -> Outcome:
    """Repeat each search in turn, the first time with everything changed at once."""
    repeats, rng = Repeats(effort), effort.rng
    for number in range(effort.times):
        repeats.again(STUDIES[number % len(STUDIES)], chosen(rng, all_of_them=number < len(STUDIES)), number)
    note = f"{min(effort.times, len(STUDIES))} different searches"
    return Outcome(tried=effort.times, wrong=repeats.wrong, note=note)


ON_RAY = (
    Surroundings("one trial at a time on Ray", options=("--ray", "--max-concurrent", 1)),
    Surroundings("two trials at a time on Ray", options=("--ray", "--max-concurrent", 2)),
)


def repeat_on_ray(effort: Effort) -> Outcome:
    """Repeat a search that learns from its trials, one at a time; then one that does not, two at a time."""
    repeats = Repeats(effort)
    for number in range(effort.times):
        which = number % 2
        repeats.again((LEARNS, DOES_NOT)[which], [ON_RAY[which]], number)
    return Outcome(tried=effort.times, wrong=repeats.wrong)


CHECKS: tuple[Check, ...] = (
    Check(
        name="repeat-surroundings",
        fault=(
            "the same search with another hash seed, locale, time zone, working folder, order of files, "
            "cache, number of processors"
        ),
        run=repeat_in_other_surroundings, quick=1, long=8,
    ),
    Check(
        name="repeat-ray", fault="a search on Ray, one trial at a time, and without Ray",
        run=repeat_on_ray, quick=1, long=2, ray=True,
    ),
)  # fmt: skip
