"""Optuna's journal, read beside the search that writes it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from autofreeze.errors import RunFolderError


class JournalReader(BaseJournalBackend):
    """The lines of a journal that are whole; it takes no lock, and never writes.

    A torn last line, which a search leaves that is killed or is writing at this moment, is passed over, and
    read when it has become whole.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets = [0]
        """Where each line begins, those that were read and the next one."""

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Give the entries from a number on.

        Raises:
            RunFolderError: The file is not there, or a line that is whole is damaged.
        """
        known = min(log_number_from, len(self._offsets) - 1)
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offsets[known])
                whole, _, _ = stream.read().rpartition(b"\n")
        except OSError as error:
            raise RunFolderError(f"cannot be read: {error.strerror}", where=str(self._path)) from None
        end = self._offsets[known]
        for number, line in enumerate(whole.split(b"\n") if whole else (), start=known):
            end += len(line) + 1
            if number + 1 == len(self._offsets):
                self._offsets.append(end)
            if number >= log_number_from:
                yield self._entry(line, number)

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = json.loads(line)
        except (ValueError, RecursionError):
            raise RunFolderError(
                f"line {number + 1} is damaged; put a copy of the file in its place, or begin anew "
                "with another --out",
                where=str(self._path),
            ) from None
        return entry

    def append_logs(self, logs: list[dict[str, Any]]) -> None:  # noqa: ARG002 - a backend's shape
        """Refuse to write.

        Raises:
            RunFolderError: Always.
        """
        raise RunFolderError("is only looked at here; nothing is written to it", where=str(self._path))
