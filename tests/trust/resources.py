"""What a command needs and does not get: room, handles, memory, folders, a terminal, a true clock."""

import functools
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autofreeze.records import read_records
from autofreeze.report.files import read_report
from trust.check import Check, Effort, Outcome
from trust.commands import Ended, Place, instants

SEARCH = (
    "search", "data", "--model", "test_resnet", "--out", "run", "--trials", "4", "--epochs", "2",
    "--confirm", "0", "--from-scratch", "--image-size", "32", "--sampler", "qmc", "--threads", "1",
)  # fmt: skip
LIMITED = (
    "import resource, sys; kind, most = sys.argv[1:3]; kind = getattr(resource, kind);"
    "resource.setrlimit(kind, (int(most), resource.getrlimit(kind)[1]));"
    "from autofreeze.cli import main; sys.exit(main(sys.argv[3:]))"
)


def _study(folder: Path) -> dict[str, Any]:
    """Give what a search came to, but for its times."""
    trials = [
        (one.number, one.ending.value, one.value, sorted(one.params.items()), one.reason)
        for one in read_report(folder).trials
    ]
    curves = {
        key: [(one.epoch, one.value, one.train_loss) for one in curve]
        for key, curve in sorted(read_records(folder).items())
    }
    return {"trials": trials, "curves": curves}


@functools.cache
def _undisturbed() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder)).fill()
        ended = place.run(*SEARCH)
        assert ended.status == 0, ended.err
        return _study(place.root / "run")


class _Tries:
    """What came of searches under a fault, each resumed without it and compared with an undisturbed one."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._lost: list[str] = []
        self.wrong: list[str] = []
        self._recovery: list[float] = []
        self._stopped = 0

    def judge(self, ended: Ended, fault: str, *allowed: int, says: tuple[str, ...] = ()) -> None:
        """Look at how the search ended under the fault."""
        self.wrong += [f"{fault}: {one}" for one in ended.complaints(*allowed)]
        told = (ended.out + ended.err).lower()
        if ended.status and says and not any(one in told for one in says):
            self.wrong.append(f"{fault}: the message does not say what is wrong: {ended.err[-800:]}")
        self._stopped += ended.status != 0

    def resume(self, place: Place, fault: str) -> None:
        """Go on without the fault; then the place is no longer needed."""
        begun = (place.root / "run" / "run.json").exists()
        ended = place.run(*SEARCH, *(["--resume"] if begun else []))
        self.wrong += [f"{fault}, then resumed: {one}" for one in ended.complaints()]
        if ended.status == 0 and _study(place.root / "run") != _undisturbed():
            self._lost.append(f"{fault}: the study is another one than the undisturbed")
        self._recovery.append(ended.seconds)
        shutil.rmtree(place.root)

    def outcome(self) -> Outcome:
        """Give all of it."""
        times = self._effort.times
        note = f"{self._stopped} of {times} ended by it"
        return Outcome(tried=times, lost=self._lost, wrong=self.wrong, recovery=self._recovery, note=note)


def _under_way(place: Place, after: float) -> "subprocess.Popen[str]":
    """Start a search, and wait some seconds from when it tells how it goes."""
    process = place.start(*SEARCH)
    while not (place.root / "run" / "status.json").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(after)
    return process


def _end_of(process: "subprocess.Popen[str]") -> Ended:
    began = time.monotonic()
    out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out, err, time.monotonic() - began)


def _with_limit(place: Place, kind: str, most: int, *arguments: str) -> Ended:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, kind, str(most), *arguments], cwd=place.root, env=place.env(),
        capture_output=True, text=True, errors="backslashreplace", check=False, timeout=300,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def _limits(kind: str, low: int, high: int, says: tuple[str, ...]) -> Callable[[Effort], Outcome]:
    def run(effort: Effort) -> Outcome:
        tries = _Tries(effort)
        for turn in range(effort.times):
            share = (turn + effort.rng.random()) / effort.times
            most = int(low * (high / low) ** share)
            place = Place(effort.folder / f"{turn}").fill()
            ended = _with_limit(place, kind, most, *SEARCH)
            fault = f"{kind} of {most:,}"
            tries.judge(ended, fault, 0, 1, 2, says=says)
            if "repair" in ended.err or "left out" in ended.err:
                tries.wrong.append(f"{fault}: images are blamed: {ended.err[:800]}")
            tries.resume(place, fault)
        return tries.outcome()

    return run


def _small_disk(effort: Effort) -> Outcome:
    """Runs with the run folder, the cache or the temporary folder on a file system with little room."""
    tries = _Tries(effort)
    for turn in range(effort.times):
        what = ("run", "cache", "tmp")[turn % 3]
        room = int(4096 * 256 ** effort.rng.random()) // 4096 * 4096
        place = Place(effort.folder / f"{turn}", {"TMPDIR": str(effort.folder / f"{turn}" / "tmp")}).fill()
        for name in ("run", "cache", "tmp"):
            (place.root / name).mkdir()
        kept = effort.folder / "kept"
        kept.mkdir()
        script = (
            f'mount -t tmpfs -o size={room} tmpfs {what} && "$0" -m autofreeze.cli "$@"; status=$?; '
            f"cp -a {what}/. {kept}/; exit $status"
        )
        began = time.monotonic()
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, sys.executable, *SEARCH], cwd=place.root, env=place.env(),
            capture_output=True, text=True, errors="backslashreplace", check=False, timeout=300,
        )  # fmt: skip
        ended = Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
        shutil.rmtree(place.root / what)
        kept.rename(place.root / what)
        fault = f"{room:,} bytes of room for {what}"
        tries.judge(ended, fault, 0, 1, 2, says=("no space", "room", "full", "free"))
        tries.resume(place, fault)
    return tries.outcome()


def _signals(effort: Effort) -> Outcome:
    """Sends one signal at a random instant."""
    tries = _Tries(effort)
    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for turn, after in enumerate(instants(effort.rng, effort.times, 1.5)):
        number = names[turn % 3]
        place = Place(effort.folder / f"{turn}").fill()
        process = _under_way(place, after)
        process.send_signal(number)
        ended = _end_of(process)
        fault = f"{number.name} after {after:.2f} s"
        tries.judge(ended, fault, 0, 130, -number)
        tries.resume(place, fault)
    return tries.outcome()


def _gone(effort: Effort) -> Outcome:
    """Renames a folder while the search runs, and puts it back before it is resumed."""
    tries = _Tries(effort)
    for turn, after in enumerate(instants(effort.rng, effort.times, 1.5)):
        what = ("run", "cache", "data")[turn % 3]
        place = Place(effort.folder / f"{turn}").fill()
        process = _under_way(place, after)
        (place.root / what).rename(place.root / "away")
        ended = _end_of(process)
        fault = f"{what} renamed after {after:.2f} s"
        says = ("removed or renamed", "no such file", "removed")
        tries.judge(ended, fault, 0, 1, 2, says=says)
        if (place.root / what).exists():
            if what == "run":
                there = sorted(one.name for one in (place.root / what).rglob("*"))
                tries.wrong.append(f"{fault}: made anew with {there}")
            shutil.rmtree(place.root / what)
        (place.root / "away").rename(place.root / what)
        tries.resume(place, fault)
    return tries.outcome()


DISK = ("file too large", "too large", "ulimit -f")
CHECKS: tuple[Check, ...] = (
    Check(
        name="resource-file-size",
        fault="a search whose files may have few bytes (`RLIMIT_FSIZE`), `--resume`",
        run=_limits("RLIMIT_FSIZE", 500, 400_000, DISK), quick=1, long=14,
    ),
    Check(
        name="resource-disk", fault="run, cache or temporary folder on a nearly full disk, then `--resume`",
        run=_small_disk, quick=1, long=12,
    ),
    Check(
        name="resource-handles", fault="a search with few file handles (`RLIMIT_NOFILE`), then `--resume`",
        run=_limits("RLIMIT_NOFILE", 4, 14, ("too many open files",)), quick=1, long=10,
    ),
    Check(
        name="resource-signals", fault="SIGTERM, SIGINT or SIGHUP to a search, then `--resume`",
        run=_signals, quick=1, long=9,
    ),
    Check(
        name="resource-gone", fault="run, cache or data folder renamed in mid-run, put back, then `--resume`",
        run=_gone, quick=1, long=9,
    ),
)  # fmt: skip
