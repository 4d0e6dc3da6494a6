"""Recorded tables: runs of many schedules on one data set and backbone, kept to be played again.

A *breadth* table holds many schedules with the seed and the folds of a search; a *depth* table a few
schedules with many fresh seeds, each of which decides order, head and split. A file is xz-compressed JSON
lines: what was recorded (``CellFacts``), then a line for each run.
"""

import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from autofreeze.errors import ConfigError
from autofreeze.job import EpochRecord, Job
from autofreeze.metrics import MetricName
from autofreeze.values import Value, explain

MAX_BYTES = 100_000_000
"""Unpacked: the largest that is shipped holds 1.5 MB, and half a megabyte can be packed from gigabytes."""


class CellFacts(Value):
    """What a table was recorded on."""

    kind: Literal["breadth", "depth"]
    data: str
    """Name of the data set."""

    fingerprint: str
    model: str
    weights: str
    """Digest of the pretrained tensors."""

    source: str
    """Where they came from, in words."""

    image_size: int
    epochs: float
    metric: MetricName
    seed: int
    """The study's seed, from which those of the runs derive."""

    groups: tuple[str, ...]
    work_shares: tuple[float, ...]
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    """True class of every image of the data set."""

    train: tuple[int, ...]
    """Image ids of the training part."""

    command: str
    versions: dict[str, str]
    machine: dict[str, Any]


class StepCurve(Value):
    """What each step of a run gave, to four digits."""

    losses: tuple[float, ...] = ()
    """In nats, before the update."""

    grad_norms: tuple[tuple[float | None, ...], ...] = ()
    """2-norm of the gradient by column, a row for each step; None: frozen."""


class RecordedRun(Value):
    """One run, whole."""

    origin: str
    """Where the schedule came from: ``baseline full``, ``sobol 17``, ``meant to diverge``."""

    job: Job
    n_train: int
    val: tuple[int, ...]
    """Image ids that it was scored on, ascending."""

    records: tuple[EpochRecord, ...]
    steps: StepCurve = StepCurve()
    """Empty where steps were not recorded. A step whose loss or gradient was not finite is none of them."""

    @property
    def end(self) -> EpochRecord:
        """The last record."""
        return self.records[-1]


@dataclass(frozen=True)
class RecordedTable:
    """A table as read."""

    facts: CellFacts
    runs: tuple[RecordedRun, ...]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """True class by image id."""
        return np.asarray(self.facts.labels, dtype=np.int64)

    @cached_property
    def by_key(self) -> dict[tuple[str, int, int | None], RecordedRun]:
        """(digest of schedule and regime, fold, number of the fresh seed) -> run."""
        return {(run.job.settings_digest, run.job.fold, run.job.fresh): run for run in self.runs}


def line_of_run(run: RecordedRun) -> str:
    """Write a run as one line."""
    return run.model_dump_json() + "\n"


def write_table(path: Path, facts: CellFacts, runs: Iterable[RecordedRun]) -> None:
    """Write a table, compressed."""
    with lzma.open(path, "wt", encoding="utf-8", preset=9) as stream:
        stream.write(facts.model_dump_json() + "\n")
        stream.writelines(line_of_run(run) for run in runs)


def read_table(path: str | Path) -> RecordedTable:
    """Read a table; one without compression, as it is recorded, will do too.

    A torn last line, which a recording leaves that was killed, is passed over.

    Raises:
        ConfigError: The file cannot be read, or is no table.
    """
    path = Path(path)
    try:
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"holds over {MAX_BYTES:,} bytes; this is no recorded table", where=str(path))
        text = data.decode("utf-8")
        first, *lines = text.rpartition("\n")[0].splitlines()
        facts = CellFacts.model_validate_json(first)
        return RecordedTable(facts, tuple(RecordedRun.model_validate_json(line) for line in lines))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except ValidationError as error:
        raise ConfigError(explain(error), where=str(path)) from None
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise ConfigError(f"is no recorded table: {error}", where=str(path)) from None
