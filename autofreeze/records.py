"""The append-only file of every epoch of every run."""

import json
import os
from pathlib import Path
from typing import Literal

from autofreeze.job import EpochRecord, Job

RECORDS = "records.jsonl"


def line_of(job: Job, record: EpochRecord) -> str:
    """Write a record as one line."""
    fresh = {} if job.fresh is None else {"fresh": job.fresh}
    plain = record.model_dump(mode="json", exclude=None if record.members else {"members"})
    entry = {"trial": job.trial, "fold": job.fold, **fresh, "record": plain}
    return json.dumps(entry, separators=(",", ":")) + "\n"


Curves = dict[tuple[int, int], list[EpochRecord]]


def read_records(path: Path) -> Curves:
    """Read every record of the search in a run folder: (trial, fold) -> its epochs in order.

    A torn last line, which a search leaves that is killed or is writing at this moment, is passed over.
    """
    return _read(path, "fold")


def read_fresh_records(path: Path) -> Curves:
    """Read every record of the confirmation: (trial, number of the fresh seed) -> its epochs in order."""
    return _read(path, "fresh")


def _read(path: Path, kind: Literal["fold", "fresh"]) -> Curves:
    """Read the records of the search, which have no fresh seed, or those of the confirmation."""
    curves: Curves = {}
    file = path / RECORDS
    if not file.exists():
        return curves
    whole, _, _ = file.read_text(encoding="utf-8").rpartition("\n")
    for line in whole.splitlines():
        entry = json.loads(line)
        if ("fresh" in entry) != (kind == "fresh"):
            continue
        curve = curves.setdefault((entry["trial"], entry[kind]), [])
        record = EpochRecord.model_validate(entry["record"])
        if record.epoch == len(curve):
            curve.append(record)
    return curves


def repair(file: Path) -> None:
    """Cut off a torn last line, which a killed writer leaves, and keep it aside.

    A line torn in an Optuna journal would make the study unreadable after the next append.
    """
    if not file.exists():
        return
    data = file.read_bytes()
    end = data.rfind(b"\n") + 1
    if end == len(data):
        return
    file.with_name(f"{file.name}.torn").write_bytes(data[end:])
    with file.open("r+b") as stream:
        stream.truncate(end)
        os.fsync(stream.fileno())
