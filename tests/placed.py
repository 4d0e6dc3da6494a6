"""An executor with several places, for tests: jobs are played side by side, each on a worker with a name."""

from dataclasses import replace

from autofreeze.executors.protocol import Recorded
from autofreeze.executors.replay import ReplayExecutor

PLACES = ("10.0.0.5 (GPU 0)", "10.0.0.5 (GPU 1)", "10.0.0.6 (GPU 0)")


class PlacedExecutor(ReplayExecutor):
    """Plays curves on as many workers as there are places; a job stays where it began."""

    def __init__(self, player, places=PLACES):
        super().__init__(player, capacity=len(places))
        self._free, self._at = list(places), {}

    def submit(self, job):
        self._at[job.key] = self._free.pop(0)
        super().submit(job)

    def next_event(self):
        event = super().next_event()
        if isinstance(event, Recorded):
            return replace(event, where=self._at[event.job.key])
        self._leave(event.job)
        return event

    def stop(self, job):
        super().stop(job)
        self._leave(job)

    def _leave(self, job):
        if job.key in self._at:
            self._free.append(self._at.pop(job.key))
