"""Event files of TensorBoard: written whole, or an epoch at a time; no file is held open."""

import itertools
import os
import time
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from autofreeze.phrases import printable

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

MARK = "events.out.tfevents."
"""How TensorBoard knows its files: by this in their names."""

OURS = ".autofreeze"

_numbers = itertools.count()


class EventFile:
    """The event file of one run, which is a folder to TensorBoard.

    What an earlier session left of the run is replaced: a run has one file, so that no point is there twice.

    Args:
        folder: The run's own; made when missing.
        events: What it begins with.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, folder: Path, events: Iterable["Event"] = ()) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        folder.mkdir(parents=True, exist_ok=True)
        earlier = [*folder.glob(f"{MARK}*"), *folder.glob(f".*{OURS}")]
        self._path = folder / f"{MARK}{int(time.time()):010d}.{os.getpid()}.{next(_numbers)}{OURS}"
        half = folder / f".{self._path.name.removeprefix(MARK)}"  # no name that TensorBoard looks for
        half.write_bytes(_framed([Event(wall_time=time.time(), file_version="brain.Event:2"), *events]))
        half.replace(self._path)
        for path in earlier:
            path.unlink(missing_ok=True)

    def append(self, *events: "Event") -> None:
        """Write further events, and leave them to the system."""
        with self._path.open("ab") as stream:
            stream.write(_framed(events))


def is_written(folder: Path) -> bool:
    """Whether a run has a file with anything in it."""
    return any(path.stat().st_size for path in folder.glob(f"{MARK}*"))


def _framed(events: Iterable["Event"]) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    stream = BytesIO()
    writer = RecordWriter(stream)
    for event in events:
        writer.write(event.SerializeToString())
    return stream.getvalue()


def event_of(summary: "Summary", *, step: int, at: float) -> "Event":
    """Put a summary at a step.

    Args:
        summary: What is told.
        step: Optimizer steps done.
        at: Seconds since 1970.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(step=step, wall_time=at, summary=summary)


def scalars(values: Mapping[str, float]) -> "Summary":
    """Tell numbers by tag, as single floats, which is what TensorBoard keeps."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(
        value=[Summary.Value(tag=printable(tag), simple_value=value) for tag, value in values.items()]
    )


def text(tag: str, words: str) -> "Summary":
    """Tell a text, which TensorBoard reads as Markdown."""
    from tensorboard.plugins.text.summary_v2 import text_pb

    return text_pb(tag, printable(words))


def hparams(name: str, values: Mapping[str, object], *, at: float) -> "Summary":
    """Tell the settings of a run, for the tab HPARAMS: numbers and truth values as such, all else as text.

    Args:
        name: Of the run.
        values: Name -> value.
        at: Seconds since 1970.
    """
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    given = {
        printable(key): value if isinstance(value, bool | int | float) else printable(str(value))
        for key, value in values.items()
    }
    return hparams_pb(given, trial_id=name, start_time_secs=at)
