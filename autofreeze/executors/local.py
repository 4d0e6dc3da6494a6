"""Jobs in this process, one after the other."""

import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from autofreeze.errors import AutofreezeError
from autofreeze.executors.protocol import Event, Failed, Finished, Recorded
from autofreeze.executors.watchdog import Stuck, Watchdog
from autofreeze.faults import fault_in, told
from autofreeze.job import EpochRecord, Job

Runner = Callable[[Job], Iterator[EpochRecord]]


@dataclass
class _Running:
    job: Job
    records: Iterator[EpochRecord] | None = None


class LocalExecutor:
    """Runs the job that was submitted first, an epoch at each :meth:`next_event`.

    A fault of the machine, such as a full disk, is no outcome of a job either, and goes through as well.

    Args:
        runner: Runs a job, such as ``trial.run`` on a workbench.
        watchdog: Breaks off runs that hang; nobody does where it is left out.
        raises: Errors that are not the job's own, and go through to whoever asked for the next event.
    """

    capacity = 1

    def __init__(
        self,
        runner: Runner,
        *,
        watchdog: Watchdog | None = None,
        raises: tuple[type[Exception], ...] = (),
    ) -> None:
        self._runner = runner
        self._watchdog = watchdog
        self._raises = raises
        self._running: dict[str, _Running] = {}

    def submit(self, job: Job) -> None:
        """Queue a job behind those in hand."""
        if job.key in self._running:
            raise ValueError(f"job {job.key} is in hand already")
        self._running[job.key] = _Running(job)

    def next_event(self) -> Event:
        """Run the oldest job to its next record or its end."""
        if not self._running:
            raise LookupError("no job is in hand")
        running = next(iter(self._running.values()))
        job = running.job
        try:
            with self._watchdog.watching(job) if self._watchdog else nullcontext():
                if running.records is None:
                    running.records = iter(self._runner(job))
                record = next(running.records, None)
        except Stuck as error:
            self.stop(job)
            return Failed(job, str(error), traceback.format_exc())
        except Exception as error:
            fault = fault_in(error)  # before the run lets go of what it has
            self.stop(job)
            if isinstance(error, self._raises):
                raise
            if fault is not None:
                raise told(fault, after="then go on with --resume") from error
            return Failed(job, _in_one_line(error), traceback.format_exc())
        if record is None:
            self.stop(job)
            return Finished(job)
        return Recorded(job, record)

    def stop(self, job: Job) -> None:
        """Drop a job, and the model that it holds."""
        running = self._running.pop(job.key, None)
        if running is not None and isinstance(running.records, Generator):
            running.records.close()


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, AutofreezeError) else f"{type(error).__name__}: {text}"
