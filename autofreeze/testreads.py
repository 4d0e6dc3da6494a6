"""Reads of the test split, counted: each one makes the next less honest."""

import json
from datetime import UTC, datetime
from pathlib import Path


def note_read(folder: Path, fingerprint: str, *, by: str, value: float) -> int:
    """Enter a read of a data set's test split beside its fingerprint.

    Args:
        folder: The cache folder.
        fingerprint: Of the data set.
        by: Who read it, such as the path of a schedule.
        value: What came out.

    Returns:
        How many times this test split has been read, this one included.
    """
    file = folder / "test-reads" / f"{fingerprint}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": by, "value": value}
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")
    return len(file.read_bytes().splitlines())  # a line that cannot be read is a read all the same
