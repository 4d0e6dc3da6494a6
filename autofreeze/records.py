"""The append-only file of every epoch of every run."""

import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autofreeze.errors import RunFolderError
from autofreeze.job import EpochRecord, Job
from autofreeze.values import Value

RECORDS = "records.jsonl"

Kind = Literal["fold", "fresh"]
"""Of runs: by what their numbers count."""

Curves = dict[tuple[int, int], list[EpochRecord]]
"""(trial, number of the fold or of the fresh seed) -> the records of the run."""


def line_of(job: Job, record: EpochRecord, at: float, where: str = "") -> str:
    """Write a record as one line: whose it is, when and where it was trained, then the record.

    Args:
        job: Whose it is.
        record: What its newest epoch gave.
        at: When that epoch ended, in seconds since 1970.
        where: Name of the place; left out when empty.
    """
    fresh = {} if job.fresh is None else {"fresh": job.fresh}
    place = {"where": where} if where else {}
    plain = record.model_dump(mode="json", exclude=None if record.members else {"members"})
    entry = {"trial": job.trial, "fold": job.fold, **fresh, "at": round(at, 3), **place, "record": plain}
    return json.dumps(entry, separators=(",", ":")) + "\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the records, of which only the beginning has been read."""

    trial: int
    fold: int
    fresh: int | None
    at: float | None
    """When the epoch ended, in seconds since 1970; None in a file of an earlier version."""

    where: str
    epoch: int
    line: str

    number: int
    """Of the line, counted from 1."""

    file: Path

    @property
    def seconds(self) -> float:
        """As in the record."""
        # What stands before it is numbers and packed text; the heads of a sweep come after it.
        found = _SECONDS.search(self.line)
        return float(found[1]) if found else self.record().seconds

    @property
    def may_be_last(self) -> bool:
        """Whether the run may have ended with it: False is certain."""
        return _LAST in self.line

    def record(self) -> EpochRecord:
        """Read the rest.

        Raises:
            RunFolderError: The line is damaged.
        """
        try:
            return EpochRecord.model_validate(json.loads(self.line)["record"])
        except (ValueError, KeyError, TypeError, RecursionError):  # a ValidationError is a ValueError
            raise damaged(self.file, self.number) from None


def damaged(file: Path, line: int) -> RunFolderError:
    """Say that a line of the records cannot be read."""
    return RunFolderError(
        f"line {line} is damaged; put a copy of the file in its place, or begin anew with another --out",
        where=str(file),
    )


_BEGINNING = re.compile(
    r'\{"trial":(\d+),"fold":(\d+)(?:,"fresh":(\d+))?(?:,"at":([-+.e\d]+))?'
    r'(?:,"where":("(?:[^"\\]|\\.)*"))?,"record":\{"epoch":(\d+),'
)
_SECONDS = re.compile(r'"seconds":([-+.e\d]+)')
_LAST = '"last":true'


def entries(path: Path) -> Iterator[Entry]:
    """Go through the records in a run folder, in the order in which they came; none where there is no file.

    Lines are read no further than needed. A torn last line, which a search leaves that is killed or is
    writing at this moment, is passed over.

    Raises:
        RunFolderError: A whole line is damaged.
    """
    file = path / RECORDS
    if not file.exists():
        return
    # What is no UTF-8 becomes what no line of ours holds: the line is told, not the byte.
    with file.open(encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if line.endswith("\n"):
                try:
                    entry = _entry(line, number, file)
                except (ValueError, KeyError, TypeError, RecursionError):
                    raise damaged(file, number) from None
                yield entry


class _Whole(Value):
    """A line as any program may write it."""

    trial: int
    fold: int
    fresh: int | None = None
    at: float | None = None
    where: str = ""
    epoch: int


def _entry(line: str, number: int, file: Path) -> Entry:
    if not line.isascii():
        line.encode()  # a ValueError where it is no UTF-8
    found = _BEGINNING.match(line)
    if found is None:  # written by somebody else
        whole = json.loads(line)
        given = {name: whole[name] for name in ("trial", "fold", "fresh", "at", "where") if name in whole}
        read = _Whole(**given, epoch=whole["record"]["epoch"])
        return Entry(**dict(read), line=line, number=number, file=file)
    trial, fold, fresh, at, where, epoch = found.groups()
    return Entry(
        int(trial),
        int(fold),
        None if fresh is None else int(fresh),
        None if at is None else float(at),
        "" if where is None else json.loads(where),
        int(epoch),
        line,
        number,
        file,
    )


Ends = dict[tuple[int, int], EpochRecord]
"""The same of last records alone."""


def read_records(path: Path, trials: Collection[int] | None = None) -> Curves:
    """Read the records of the search in a run folder: (trial, fold) -> its epochs in order.

    Args:
        path: The run folder.
        trials: Numbers of those that are read; all when left out.
    """
    return _read(path, "fold", trials)


def read_fresh_records(path: Path) -> Curves:
    """Read every record of the confirmation: (trial, number of the fresh seed) -> its epochs in order."""
    return _read(path, "fresh")


def _read(path: Path, kind: Kind, trials: Collection[int] | None = None) -> Curves:
    """Read the records of the search, which have no fresh seed, or those of the confirmation."""
    curves: Curves = {}
    for entry in entries(path):
        number = _number(entry, kind)
        if number is None or (trials is not None and entry.trial not in trials):
            continue
        run = (entry.trial, number)
        if entry.epoch == len(curves.get(run, ())):
            curves.setdefault(run, []).append(entry.record())
    return curves


def _number(entry: Entry, kind: Kind) -> int | None:
    """Give the number of a run's fold or fresh seed; None where it is of the other kind."""
    if kind == "fresh":
        return entry.fresh
    return entry.fold if entry.fresh is None else None


def read_ends(path: Path, trials: Collection[int], kind: Kind) -> Ends:
    """Read the last record of every run of some trials that came to its end, and parse no other line.

    Args:
        path: The run folder.
        trials: Their numbers.
        kind: Whether runs of the search (``fold``) or of the confirmation (``fresh``) are meant.
    """
    ends: Ends = {}
    for entry in entries(path):
        number = _number(entry, kind)
        if number is None or entry.trial not in trials or not entry.may_be_last:
            continue
        record = entry.record()
        if record.last:
            ends.setdefault((entry.trial, number), record)
    return ends


def repair(file: Path) -> None:
    """Cut off a torn last line, which a killed writer leaves, and keep it aside, behind earlier ones.

    A line torn in an Optuna journal would make the study unreadable after the next append.
    """
    if not file.exists():
        return
    data = file.read_bytes()
    end = data.rfind(b"\n") + 1
    if end == len(data):
        return
    with file.with_name(f"{file.name}.torn").open("ab") as aside:
        aside.write(data[end:] + b"\n")
    with file.open("r+b") as stream:
        stream.truncate(end)
        os.fsync(stream.fileno())
