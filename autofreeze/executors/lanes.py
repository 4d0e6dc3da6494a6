"""The lanes of a search: a Ray Tune run, in a thread of the driver, whose trials are workers.

Tune places them on the cluster, starts them and notices when they die. What they tell goes into an inbox.
"""

import logging
import os
import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from autofreeze.executors.lane import Lane
from autofreeze.executors.scratch import clear_abandoned, scratch_folder
from autofreeze.quiet import quiet

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # records are ours to keep
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # all workers start at once
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own state is never gone back to
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}


@dataclass(frozen=True)
class Reported:
    """A worker has reported."""

    lane: str
    report: bytes


@dataclass(frozen=True)
class Lost:
    """A worker is gone."""

    lane: str
    error: str


@dataclass(frozen=True)
class Over:
    """There are no workers any more, nor will there be."""

    error: Exception | None


Notice = Reported | Lost | Over


class Lanes:
    """The workers of a search.

    Args:
        config: What each worker is told; see ``lane.Lane``.
        cpus: Of each.
        gpus: Of each, a share or a whole number.
    """

    def __init__(self, config: dict[str, Any], *, cpus: float, gpus: float) -> None:
        self.inbox: queue.SimpleQueue[Notice] = queue.SimpleQueue()
        self.wanted = 0
        """How many workers there should be; those that are missing are asked for."""

        self.closed = False
        self._config, self._resources = config, {"cpu": cpus, "gpu": gpus}
        self._thread = threading.Thread(target=self._run, name="ray-tune", daemon=True)
        _OPEN[id(self)] = self

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune copies and pickles what it is given: in this process a copy is the thing itself."""
        return _find, (id(self),)

    def start(self) -> None:
        """Let Tune run."""
        self._thread.start()

    def close(self, seconds: float = 30.0) -> None:
        """Have all workers stopped, and wait for that."""
        self.closed = True
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        error: Exception | None = None
        folder: Path | None = None
        try:
            clear_abandoned()
            folder = scratch_folder()
            with _settings(), quiet("ray.tune", logging.CRITICAL):
                tune.run(
                    Lane,
                    name="lanes",
                    search_alg=_Asking(self),
                    scheduler=_Relaying(self),
                    stop=_Closing(self),
                    num_samples=-1,
                    resources_per_trial=self._resources,
                    storage_path=str(folder),
                    reuse_actors=True,
                    max_failures=0,
                    raise_on_failed_trial=False,
                    verbose=0,
                    _remote=False,
                )
        except Exception as caught:  # noqa: BLE001 - whatever Tune raises ends the search, in its own thread
            error = caught
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self.inbox.put(Over(error))

    def config_of(self, lane: str) -> dict[str, Any]:
        """Give what one worker is told."""
        return {**self._config, "lane": lane}


_OPEN: WeakValueDictionary[int, Lanes] = WeakValueDictionary()


def _find(number: int) -> Lanes:
    return _OPEN[number]


class _Asking(Searcher):
    """Asks Tune for workers, as many as are wanted."""

    def __init__(self, lanes: Lanes) -> None:
        super().__init__()
        self._lanes = lanes
        self._alive: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        if self._lanes.closed:
            return Searcher.FINISHED
        if len(self._alive) >= self._lanes.wanted:
            return None
        self._alive.add(trial_id)
        return self._lanes.config_of(trial_id)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: ARG002
        self._alive.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a search that goes on starts from its own journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class _Relaying(FIFOScheduler):
    """Hands on what workers report. Who goes on is decided by the study."""

    def __init__(self, lanes: Lanes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._lanes = lanes

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        self._lanes.inbox.put(Reported(trial.trial_id, result["report"]))
        return TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:  # noqa: ARG002
        error = trial.get_error()
        self._lanes.inbox.put(Lost(trial.trial_id, " ".join(str(error).split())[-500:]))


class _Closing(tune.Stopper):
    """Ends the run when the search is over."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._lanes.closed


@contextmanager
def _settings() -> Iterator[None]:
    """Set what Tune reads from the environment."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
