"""``status.json`` in a run folder: how the search goes, for whoever looks from outside."""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from autofreeze.documents import write_text
from autofreeze.errors import RunFolderError
from autofreeze.status import Status

STATUS = "status.json"

PAUSE = 1.0
"""Seconds between two writes, at least."""


class StatusFile:
    """Keeps the file true while a block lasts: whole, at most once a second, and only when something changed.

    A thread of its own writes, so that no search waits for the disk, and what happened just after a write is
    told a second later. What cannot be written is not told: the search goes on.

    Args:
        folder: The run folder; whoever enters holds its lock.
        current: Gives what is to be told; called from the thread and, at the end, from whoever leaves.
        pause: Seconds between two writes, at least.
    """

    def __init__(self, folder: Path, current: Callable[[], Status], *, pause: float = PAUSE) -> None:
        self._path, self._current, self._pause = folder / STATUS, current, pause
        self._changed, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_true, name="status", daemon=True)

    def changed(self) -> None:
        """Take note that there is something new to tell."""
        self._changed.set()

    def __enter__(self) -> Self:
        self.changed()
        with suppress(RuntimeError):  # no further thread can be had: told at the end alone
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._changed.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._write()

    def _keep_true(self) -> None:
        while self._changed.wait() and not self._over.is_set():
            self._changed.clear()
            self._write()
            if self._over.wait(self._pause):  # the change that goes with it may have been cleared above
                return

    def _write(self) -> None:
        with suppress(OSError, ValueError):  # no room, no folder any more; or something that no file can hold
            write_text(self._path, self._current().model_dump_json(indent=1) + "\n", new_folder=False)


def read_status(folder: str | Path) -> Status | None:
    """Read what a search tells of itself; None where it tells nothing.

    Raises:
        RunFolderError: The folder or the file cannot be read.
    """
    try:
        text = (Path(folder) / STATUS).read_text(encoding="utf-8")
        return Status.model_validate_json(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"{STATUS} cannot be read: {error.strerror}", where=str(folder)) from None
    except (ValueError, ValidationError):
        raise RunFolderError(f"{STATUS} is damaged or from another version", where=str(folder)) from None
