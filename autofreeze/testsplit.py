"""Reading the test split at the end of a search: once, when every choice has been made."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, FiniteFloat

from autofreeze.checking import Progress
from autofreeze.confirmation import Confirmation
from autofreeze.display import Display
from autofreeze.documents import write_text
from autofreeze.job import Job
from autofreeze.run import RunFolder
from autofreeze.testreads import note_read
from autofreeze.trial import Workbench, run
from autofreeze.values import Value, digest_of

KEPT = "test.json"
READING = "reading the test split"


class SplitValues(Value):
    """What has been read of a test split, in ``test.json``."""

    key: str
    """Digest of the choice that it belongs to."""

    values: dict[int, FiniteFloat]
    """Trial -> mean of its models."""

    reads: Annotated[int, Field(ge=1)]
    """How many times the split had been read then."""


def read_test_split(
    found: Confirmation,
    jobs: Mapping[int, Sequence[Job]],
    bench: Workbench,
    folder: RunFolder,
    display: Display | None = None,
) -> Confirmation:
    """Score the chosen schedule and the baselines on the test split, and note it as one read.

    The models are those of the confirmation's first runs of the estimate. What is no longer there is trained
    again, to the same bits. What has been read for the same choice before is not read again.

    Args:
        found: A confirmation with a chosen schedule.
        jobs: Trial -> the jobs whose models are scored; see ``Confirming.test_jobs``.
        bench: The opened task; it has a test split.
        folder: The run folder; what is read is kept in it.
        display: Shows how far it is.

    Returns:
        The confirmation with the test values: means over the models of each schedule.
    """
    assert found.chosen is not None
    key = digest_of(
        [found.chosen, {str(number): [job.recipe_digest for job in own] for number, own in jobs.items()}]
    )
    kept = kept_in(folder.path)
    if kept is None or kept.key != key:
        read = _read(jobs, found.chosen, bench, folder, display.preparing if display else None)
        kept = SplitValues.model_validate({"key": key, **read})
        write_text(folder.path / KEPT, kept.model_dump_json(indent=1) + "\n", new_folder=False)
    candidates = tuple(
        one.model_copy(update={"test_value": kept.values.get(one.trial)}) for one in found.candidates
    )
    return found.model_copy(
        update={
            "candidates": candidates,
            "test_images": len(bench.dataset.test),
            "test_seeds": max(len(own) for own in jobs.values()),
            "test_reads": kept.reads,
        }
    )


def kept_in(folder: Path) -> SplitValues | None:
    """Give what was read of a test split before; None where that is not known, or damaged."""
    try:
        return SplitValues.model_validate_json((folder / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a ValidationError is a ValueError
        return None


def _read(
    jobs: Mapping[int, Sequence[Job]],
    chosen: int,
    bench: Workbench,
    folder: RunFolder,
    progress: Progress | None,
) -> dict[str, Any]:
    tell: Callable[[str, int, int], None] = progress or (lambda *_: None)
    pairs = [(number, job) for number, own in jobs.items() for job in own]
    for turn, (_, job) in enumerate(pairs):
        tell("finishing models for the test split", turn, len(pairs))
        for _record in run(job, bench, checkpoint=folder.checkpoint(job)):
            pass
    scores: dict[int, list[float]] = {number: [] for number in jobs}
    for turn, (number, job) in enumerate(pairs):
        tell(READING, turn, len(pairs))
        model = bench.build_model(job.seed)
        for _record in run(job, bench, checkpoint=folder.checkpoint(job), model=model):
            pass
        scores[number].append(bench.score_on_test(model))
    tell(READING, len(pairs), len(pairs))
    values = {number: float(np.mean(own)) for number, own in scores.items()}
    by = f"confirmation in {folder.path}"
    reads = note_read(bench.cache_folder, bench.dataset.fingerprint, by=by, value=values[chosen])
    return {"values": values, "reads": reads}
