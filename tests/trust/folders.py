"""Folders and files that cannot be written, that go away, and that change."""

import shutil
from functools import partial
from pathlib import Path

from trust.check import Check, Effort, Outcome
from trust.ground import Tries
from trust.moments import moments


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
        tries.judge(ended, fault, 0, 1, 2, says=("removed or renamed", "no such file", "removed"))
        if away.exists():
            if folder.exists():
                if what == "run":
                    there = sorted(one.name for one in folder.rglob("*"))
                    tries.wrong.append(f"{fault}: made anew with {there}")
                shutil.rmtree(folder)
            away.rename(folder)
        tries.resume(spot, fault)
    return tries.outcome(effort.times)


CHECKS: tuple[Check, ...] = (
    Check(
        name="resource-gone", fault="run, cache or data folder renamed in mid-run, put back, then `--resume`",
        run=_gone, quick=1, long=15,
    ),
)  # fmt: skip
