"""The command line as a victim: a small task, and the command started, killed, and run to its end."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from conftest import write_class_folders

SLOWEST = 300.0
"""Seconds within which a command must have ended on a busy machine."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Attributes:
        status: Of its end; negative for a signal.
        out: Standard output.
        err: Standard error.
        seconds: From its start to its end.
    """

    status: int
    out: str
    err: str
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether it was killed before its end."""
        return self.status == -signal.SIGKILL

    def complaints(self, *allowed: int) -> list[str]:
        """Give what no command may do: show a traceback, or end with a status that is not allowed.

        Args:
            allowed: Exit statuses; 0 when left out.
        """
        found = []
        told = self.out + self.err
        if "Traceback (most recent call last)" in told:
            found.append(f"a traceback: {told[-1500:]}")
        if self.status not in (allowed or (0,)):
            found.append(f"ended with status {self.status}: {told[-1500:]}")
        return found


@dataclass(frozen=True)
class Place:
    """Where commands run: a folder with images, a cache and whatever they write.

    Args:
        root: The folder.
        environment: Of the commands, beside this process's own.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Three classes of images, one folder per class."""
        return self.root / "data"

    @property
    def cache(self) -> Path:
        """The cache folder of all commands."""
        return self.root / "cache"

    def fill(self, counts: tuple[int, int, int] = (20, 20, 20), *, size: int = 32) -> "Place":
        """Write the images."""
        write_class_folders(self.data, counts, size=size)
        return self

    def env(self) -> dict[str, str]:
        """Give the environment of the commands."""
        return {
            **os.environ,
            "AUTOFREEZE_CACHE": str(self.cache),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        """Start ``autofreeze ARGUMENTS`` in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "autofreeze.cli", *map(str, arguments)], cwd=self.root, env=self.env(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="backslashreplace", start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: object) -> Ended:
        """Run ``autofreeze ARGUMENTS`` to its end."""
        return self._end(self.start(*arguments), time.monotonic(), SLOWEST)

    def run_and_kill(self, after: float, *arguments: object) -> Ended:
        """Run ``autofreeze ARGUMENTS``, and kill it and all that it has started after so many seconds."""
        return self._end(self.start(*arguments), time.monotonic(), after)

    @staticmethod
    def _end(process: "subprocess.Popen[str]", began: float, limit: float) -> Ended:
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        return Ended(process.returncode, out, err, time.monotonic() - began)


def instants(rng: random.Random, times: int, seconds: float) -> list[float]:
    """Give random instants within the seconds that a command takes: one in each equal part, in any order.

    Parts make sure that beginning, middle and end are all met with few instants as well.
    """
    found = [seconds * (part + rng.random()) / times for part in range(times)]
    rng.shuffle(found)
    return found
