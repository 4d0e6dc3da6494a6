"""Recorded jobs played again, without training."""

from collections.abc import Mapping, Sequence

from autofreeze.executors.protocol import Event, Failed, Finished, Recorded
from autofreeze.job import EpochRecord, Job


class ReplayExecutor:
    """Plays recorded curves, the jobs in hand taking turns an epoch at a time.

    Args:
        curves: ``Job.recipe_digest`` and fold -> the records of that run.
        capacity: How many jobs it is said to run at a time.
    """

    def __init__(self, curves: Mapping[tuple[str, int], Sequence[EpochRecord]], *, capacity: int = 1) -> None:
        self._curves = curves
        self._turns: list[tuple[Job, list[EpochRecord]]] = []
        self.capacity = capacity

    def submit(self, job: Job) -> None:
        """Take a job in hand; one that was never recorded fails at its first event."""
        if any(other.key == job.key for other, _ in self._turns):
            raise ValueError(f"job {job.key} is in hand already")
        self._turns.append((job, list(self._curves.get((job.recipe_digest, job.fold), ()))))

    def next_event(self) -> Event:
        """Give the next record of the job whose turn it is."""
        if not self._turns:
            raise LookupError("no job is in hand")
        job, left = self._turns.pop(0)
        if (job.recipe_digest, job.fold) not in self._curves:
            return Failed(job, "this run was never recorded")
        if not left:
            return Finished(job)
        record = left.pop(0)
        self._turns.append((job, left))
        return Recorded(job, record)

    def stop(self, job: Job) -> None:
        """Drop a job."""
        self._turns = [(other, left) for other, left in self._turns if other.key != job.key]
