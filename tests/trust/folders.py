"""Folders and files that cannot be written, that go away, and that change."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trust import studies
from trust.check import Check, Effort, Outcome
from trust.commands import Ended
from trust.faults import homeless, read_only, read_only_but
from trust.ground import Spot, Tries
from trust.moments import moments
from trust.victims import Fault, Instant

READ_ONLY = ("read-only", "may not be written")

GONE = ("removed or renamed", "removed", "no such file", "no such folder")

BEFORE_DECODED = 15
"""Changes to files until the images are decoded."""

# Folders that cannot be written


def _refused(tries: Tries, ended: Ended, fault: str) -> None:
    """Expect that a command says what it may not write, and how to get on."""
    tries.judge(ended, fault, 2, says=READ_ONLY)
    if "--out" not in ended.err and "--cache" not in ended.err and "writable" not in ended.err:
        tries.wrong.append(f"{fault}: no way out is told: {ended.err[-800:]}")


def _search(what: str) -> Callable[[Tries, Spot, str], None]:
    def act(tries: Tries, spot: Spot, fault: str) -> None:
        _refused(tries, spot.search(fault=partial(read_only, spot.root / what)), fault)
        tries.resume(spot, fault)

    return act


def _folder_above(tries: Tries, spot: Spot, fault: str) -> None:
    spot.run.rmdir()
    _refused(tries, spot.search(fault=partial(read_only, spot.root)), fault)
    tries.resume(spot, fault)


def _begun(tries: Tries, spot: Spot, fault: str) -> None:
    spot.search(at=Instant(change=spot.ground.changes // 2))
    before = {one: one.read_bytes() for one in spot.run.rglob("*") if one.is_file()}
    _refused(tries, spot.search(fault=partial(read_only, spot.run)), fault)
    if before != {one: one.read_bytes() for one in spot.run.rglob("*") if one.is_file()}:
        tries.lost.append(f"{fault}: the run folder has changed")
    tries.resume(spot, fault)


def _searches_all_the_same(fault_at: Callable[[Spot], Fault], *, filled: bool = False) -> Callable[..., None]:
    def act(tries: Tries, spot: Spot, fault: str) -> None:
        if filled:
            shutil.copytree(spot.ground.cache, spot.cache, dirs_exist_ok=True)
        tries.judge(spot.search(fault=fault_at(spot)), fault)
        tries.resume(spot, fault)

    return act


def _looks(tries: Tries, spot: Spot, fault: str) -> None:
    """Everything that only reads a run folder works where it can only be read."""
    run = spot.root / "run"
    shutil.copytree(spot.ground.run, run, dirs_exist_ok=True)
    file = spot.root / "best.yaml"
    for told in (
        ("report", run), ("report", run, "--json"), ("report", run, "--open"), ("status", run),
        ("compare", run, spot.ground.run), ("export", run, "-o", file),
    ):  # fmt: skip
        tries.judge(spot.command(*told, fault=partial(read_only, run)), f"{fault}: {told[0]} {told[2:]}")
    if not file.exists() or file.read_bytes() != spot.ground.schedule.read_bytes():
        tries.wrong.append(f"{fault}: another schedule is exported")


def _page(tries: Tries, spot: Spot, fault: str) -> None:
    shutil.copytree(spot.ground.run, spot.run, dirs_exist_ok=True)
    (spot.run / "report.html").unlink()
    ended = spot.command("report", spot.run, "--open", fault=partial(read_only, spot.run))
    tries.judge(ended, fault, 2, says=READ_ONLY)


def _export(tries: Tries, spot: Spot, fault: str) -> None:
    out = spot.root / "out"
    out.mkdir()
    told = ("export", spot.ground.run, "-o", out / "best.yaml")
    tries.judge(spot.command(*told, fault=partial(read_only, out)), fault, 2, says=READ_ONLY)
    tries.judge(spot.command(*told), f"{fault}, then again")


def _export_over(tries: Tries, spot: Spot, fault: str) -> None:
    file = spot.root / "best.yaml"
    file.write_text("mine\n", encoding="utf-8")
    told = ("export", spot.ground.run, "-o", file, "--force")
    tries.judge(spot.command(*told, fault=partial(read_only, file)), fault, 2, says=(*READ_ONLY, "busy"))
    if file.read_text(encoding="utf-8") != "mine\n":
        tries.lost.append(f"{fault}: it was overwritten")
    tries.judge(spot.command(*told), f"{fault}, then again")


def _train(tries: Tries, spot: Spot, fault: str) -> None:
    out = spot.root / "model"
    out.mkdir()
    told = ("train", spot.ground.schedule, spot.ground.data, "--threads", 1, "--out", out)
    _refused(tries, spot.command(*told, fault=partial(read_only, out)), fault)
    tries.train(spot, fault)


@dataclass(frozen=True)
class Case:
    """Something that cannot be written.

    Attributes:
        name: Told where it goes wrong.
        act: Tries it.
    """

    name: str
    act: Callable[[Tries, Spot, str], None]


CASES = (
    Case("a read-only run folder", _search("run")),
    Case("a read-only folder of a trained model", _train),
    Case("a read-only folder for an export", _export),
    Case("a run folder that has become read-only", _begun),
    Case("a look at a read-only run folder", _looks),
    Case("a read-only cache", _search("cache")),
    Case("a page in a read-only run folder", _page),
    Case("a read-only file to be overwritten", _export_over),
    Case("a read-only folder above", _folder_above),
    Case(
        "a read-only cache that holds all that is needed",
        _searches_all_the_same(lambda spot: partial(read_only, spot.cache), filled=True),
    ),
    Case("read-only images", _searches_all_the_same(lambda spot: partial(read_only, spot.ground.data))),
    Case("a read-only temporary folder", _searches_all_the_same(lambda spot: partial(read_only, spot.tmp))),
    Case(
        "a machine that is read-only but for run and cache folder",
        _searches_all_the_same(lambda spot: partial(read_only_but, spot.run, spot.cache)),
    ),
    Case("nobody's home", _searches_all_the_same(lambda spot: partial(homeless, spot.cache))),
)


def _read_only(effort: Effort) -> Outcome:
    tries = Tries(effort)
    for turn in range(effort.times):
        case = CASES[turn % len(CASES)]
        case.act(tries, tries.spot(), case.name)
    return tries.outcome(effort.times, f"{min(effort.times, len(CASES))} cases")


# Folders that go


def move(_: int, *, folder: Path, to: Path) -> None:
    """Rename a folder, where it is there."""
    if folder.exists():
        folder.rename(to)


def _gone(effort: Effort) -> Outcome:
    """Renames a folder while the search runs, and puts it back before it is resumed."""
    tries = Tries(effort)
    for turn, at in enumerate(moments(effort)):
        what = ("run", "cache", "data")[turn % 3]
        spot, fault = tries.spot(), f"{what} renamed {at}"
        folder, away = spot.ground.data if what == "data" else spot.root / what, spot.root / "away"
        ended = spot.search(at=at, act=partial(move, folder=folder, to=away))
        tries.judge(ended, fault, 0, 1, 2, says=GONE[: 1 if what == "run" else None])
        if away.exists():
            if folder.exists():
                if what == "run":
                    there = sorted(one.name for one in folder.rglob("*"))
                    tries.wrong.append(f"{fault}: made anew with {there}")
                shutil.rmtree(folder)
            away.rename(folder)
        tries.resume(spot, fault)
    return tries.outcome(effort.times)


# Files that change


def replace(_: int, *, file: Path, by: bytes | None) -> None:
    """Write other bytes in a file's place, or remove it."""
    file.unlink()
    if by is not None:
        file.write_bytes(by)


def _changed(effort: Effort) -> Outcome:
    """Replaces or removes an image while the search runs, and puts it back before it is resumed.

    Every second time that falls between hashing and decoding. What was searched must be either the study of
    the images as they were, or refused as another one.
    """
    tries, rng, others = Tries(effort), effort.rng, 0
    for turn, late in enumerate(moments(effort)):
        spot, at = tries.spot(), late if turn % 2 else Instant(change=rng.randint(1, BEFORE_DECODED))
        files = sorted(one for one in spot.ground.data.rglob("*") if one.is_file())
        file, other = rng.sample(files, 2)
        before = file.read_bytes()
        by = (other.read_bytes(), None, b"no image")[turn % 3]
        fault = f"{file.name} of {file.parent.name} {'removed' if by is None else 'replaced'} {at}"
        try:
            ended = spot.search(at=at, act=partial(replace, file=file, by=by))
        finally:
            file.write_bytes(before)
        tries.judge(ended, fault, 0, 1, 2, says=(*GONE, "cannot be read", "other contents"))
        again = spot.search()
        if again.status == 2 and "another study" in again.err:
            others += 1  # it began with the other images
            continue
        tries.judge(again, f"{fault}, then resumed")
        tries.lost += [f"{fault}: {one}" for one in studies.differences(spot.run, spot.ground.run)]
        shutil.rmtree(spot.root)
    return tries.outcome(effort.times, f"{others} of {effort.times} were another study from the beginning")


CHECKS: tuple[Check, ...] = (
    Check(
        name="resource-read-only",
        fault="read-only folders for run, cache, images, model, export and temporary files, no home",
        run=_read_only, quick=2, long=14,
    ),
    Check(
        name="resource-gone", fault="run, cache or data folder renamed in mid-run, put back, then `--resume`",
        run=_gone, quick=1, long=15,
    ),
    Check(
        name="resource-data", fault="an image replaced or removed in mid-run, put back, then `--resume`",
        run=_changed, quick=1, long=16,
    ),
)  # fmt: skip
