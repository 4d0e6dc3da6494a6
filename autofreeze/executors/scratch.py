"""Folders for what a process needs while it lives; those of processes that were killed are cleared later."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "autofreeze-"


def scratch_folder() -> Path:
    """Make a folder that nobody misses once this process is gone."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def clear_abandoned() -> None:
    """Delete the scratch folders of processes that are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    with suppress(PermissionError, OverflowError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True  # what belongs to somebody else is theirs to clear
