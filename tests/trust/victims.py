"""Commands that are killed at an instant: a clock's, or that of a certain change to a file.

They are forked from a server that has loaded torch (``multiprocessing``'s fork server), so that instants fall
into a command's work, and not into the two seconds before it.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

from trust.commands import Ended, Place
from trust.guard import CHANGES, writes

TESTS = str(Path(__file__).parents[1])
PATIENCE = 240.0
"""Seconds within which a command must have ended on a busy machine."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Instant:
    """When a command is killed: after so many seconds, or before its n-th change to a file."""

    seconds: float | None = None
    change: int | None = None

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"after {self.seconds:.3f} s"
        return f"before change {self.change} to a file"


def _run(
    arguments: Sequence[str], environment: dict[str, str], out: str, err: str, dies_at: int | None, log: str
) -> None:
    """Be a command, in a process of its own."""
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.environ.update(environment)
    os.environ.pop("AUTOFREEZE_TEST_DATA", None)
    import torch

    torch.set_num_threads(1)
    from autofreeze.cli import main

    if dies_at is not None or log:
        _watch(dies_at, log)
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _watch(dies_at: int | None, log: str) -> None:
    """Count what changes files, write it down, and die at a certain one."""
    count = itertools.count(1)
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else None

    def see(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            assert isinstance(flags, int)
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                return  # it has no name
            if (
                not writes(mode, flags)
                or not isinstance(path, (str, bytes))
                or os.fsdecode(path).startswith("/dev/")
            ):
                return
            words = ("append" if flags & os.O_APPEND else "write", os.fsdecode(path), "")
        elif event in CHANGES:
            paths = [os.fsdecode(one) for one in arguments[:2] if isinstance(one, (str, bytes, os.PathLike))]
            words = (event, *[*paths, ""][:2])
        else:
            return
        if told is not None:
            os.write(told, ("\t".join(words) + "\n").encode())
        if next(count) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(see)


class Victims:
    """Starts commands at a place, and kills them.

    Args:
        place: Where they run.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._server = multiprocessing.get_context("forkserver")
        self._server.set_forkserver_preload(["trust.loaded"])
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (TESTS, before)))  # the server's own sys.path
        try:
            forkserver.ensure_running()
        finally:
            del os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before

    def run(
        self,
        *arguments: object,
        at: Instant | None = None,
        log: Path | None = None,
        goes_on: Callable[[], bool] | None = None,
        cache: Path | None = None,
    ) -> tuple[Ended, float | None]:
        """Run a command to its end, or until it is killed.

        Args:
            arguments: Of ``autofreeze``.
            at: When to kill it.
            log: Where its changes to files are written down.
            goes_on: Asked all the time whether the work goes on.
            cache: The cache folder; the place's own when left out.

        Returns:
            How it ended, and after how many seconds ``goes_on`` was true first, or it ended; None where it
            was killed before.
        """
        number = next(_numbers)
        out, err = (self.place.root / f".{name}-{os.getpid()}-{number}" for name in ("out", "err"))
        environment = {**self.place.env(), "AUTOFREEZE_CACHE": str(cache or self.place.cache)}
        dies_at = at.change if at else None
        process = self._server.Process(
            target=_run,
            args=(list(map(str, arguments)), environment, str(out), str(err), dies_at, str(log or "")),
        )
        began = time.monotonic()
        process.start()
        limit = at.seconds if at and at.seconds is not None else PATIENCE
        went_on = None
        while time.monotonic() - began < limit and process.is_alive():
            process.join(min(0.01, max(limit - (time.monotonic() - began), 0)))
            if went_on is None and goes_on is not None and goes_on():
                went_on = time.monotonic() - began
        if process.is_alive():
            process.kill()
        process.join()
        seconds = time.monotonic() - began
        status = process.exitcode
        assert status is not None
        process.close()
        texts = [
            file.read_text(encoding="utf-8", errors="backslashreplace") if file.exists() else ""
            for file in (out, err)
        ]
        for file in (out, err):
            file.unlink(missing_ok=True)
        ended = Ended(status, texts[0], texts[1], seconds)
        return ended, (went_on or seconds) if not ended.killed else went_on
