"""Commands to which something happens at an instant: a clock's, or that of a certain change to a file.

They are forked from a server that has loaded torch (``multiprocessing``'s fork server), so that instants fall
into a command's work, and not into the two seconds before it.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

from trust.commands import Ended, Place
from trust.guard import CHANGES, writes

TESTS = str(Path(__file__).parents[1])
PATIENCE = 240.0
"""Seconds within which a command must have ended on a busy machine."""

Act = Callable[[int], None]
"""Happens to a command at an instant; gets the number of its process, and can be pickled."""

Fault = Callable[[], AbstractContextManager[None]]
"""What a command is born with; entered in its own process, and can be pickled."""


def kill(process: int) -> None:
    """End a process that has no say in it."""
    os.kill(process, signal.SIGKILL)


@dataclass(frozen=True)
class Instant:
    """When something happens: after so many seconds, or before the command's n-th change to a file."""

    seconds: float | None = None
    change: int | None = None

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"after {self.seconds:.3f} s"
        return f"before change {self.change} to a file"


def _run(
    arguments: Sequence[str],
    environment: dict[str, str],
    streams: tuple[Connection, Connection],
    due: int | None,
    act: Act,
    fault: Fault,
    log: str,
) -> None:
    """Be a command, in a process of its own."""
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    # The server's own would take these for what its own are.
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    os.environ.update(environment)
    os.environ.pop("AUTOFREEZE_TEST_DATA", None)
    tempfile.tempdir = None  # the server's
    import torch

    torch.set_num_threads(1)
    from autofreeze.cli import main

    with fault():
        if due is not None or log:
            _watch(due, act, log)
        status = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _watch(due: int | None, act: Act, log: str) -> None:
    """Count what changes files, write it down, and act before a certain one."""
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
        if next(count) == due:
            act(os.getpid())

    sys.addaudithook(see)


class Victims:
    """Starts commands at a place, and does to them what is asked for.

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
        act: Act = kill,
        fault: Fault = nullcontext,
        log: Path | None = None,
        goes_on: Callable[[], bool] | None = None,
        cache: Path | None = None,
    ) -> tuple[Ended, float | None]:
        """Run a command to its end.

        Args:
            arguments: Of ``autofreeze``.
            at: When something happens to it.
            act: What happens then.
            fault: What it is born with.
            log: Where its changes to files are written down.
            goes_on: Asked all the time whether the work goes on.
            cache: The cache folder; the place's own when left out.

        Returns:
            How it ended, and after how many seconds ``goes_on`` was true first, or it ended; None where it
            was killed before.
        """
        environment = {**self.place.env(), "AUTOFREEZE_CACHE": str(cache or self.place.cache)}
        readers = [_Reader() for _ in range(2)]
        process = self._server.Process(
            target=_run,
            args=(
                list(map(str, arguments)), environment, tuple(one.written for one in readers),
                at.change if at else None, act, fault, str(log or ""),
            ),
        )  # fmt: skip
        began = time.monotonic()
        process.start()
        for reader in readers:
            reader.start()
        due = at.seconds if at else None
        went_on = None
        while (passed := time.monotonic() - began) < PATIENCE and process.is_alive():
            process.join(0.01 if due is None else min(0.01, max(due - passed, 0)))
            if due is not None and time.monotonic() - began >= due:
                due = None
                if process.is_alive():
                    assert process.pid is not None
                    act(process.pid)
            if went_on is None and goes_on is not None and goes_on():
                went_on = time.monotonic() - began
        if process.is_alive():
            process.kill()
        process.join()
        seconds = time.monotonic() - began
        status = process.exitcode
        assert status is not None
        process.close()
        ended = Ended(status, *(one.text() for one in readers), seconds)
        return ended, (went_on or seconds) if not ended.killed else went_on


class _Reader:
    """Reads what a command says; through a pipe, which no limit of files and disks reaches."""

    def __init__(self) -> None:
        self._read, self.written = multiprocessing.Pipe(duplex=False)
        self._said = bytearray()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Read from now on; the command has its own end by now."""
        self.written.close()
        self._thread.start()

    def _follow(self) -> None:
        while piece := os.read(self._read.fileno(), 1 << 16):
            self._said += piece
        self._read.close()

    def text(self) -> str:
        """Give all that was said, once the command has ended."""
        self._thread.join(10)  # what it has started may still hold the other end
        return self._said.decode("utf-8", errors="backslashreplace")
