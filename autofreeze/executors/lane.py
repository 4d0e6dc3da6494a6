"""A lane: a worker as Ray Tune sees it, a trial that runs job after job until the search is over.

One Tune trial per worker and not per job: Tune keeps a worker for reuse only while another trial waits for
its resources at that very moment, and the next job is known only when the last one has been judged.
"""

import os
import pickle
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune

from autofreeze.cluster.here import Here, Opener
from autofreeze.cluster.packages import differences, versions_here
from autofreeze.errors import AutofreezeError
from autofreeze.executors.depot import Errand, Order
from autofreeze.executors.ledger import Place
from autofreeze.executors.local import LocalExecutor
from autofreeze.executors.protocol import Failed, Finished, Recorded, Waiting
from autofreeze.executors.scratch import clear_abandoned, scratch_folder
from autofreeze.job import Job

BEAT_SECONDS = 1.0
"""A lane reports at the end of the first epoch after so long: short epochs, and short jobs, go several at a
time. What a judge would have ended after the first of them has cost a second at most."""

MEMORY_ERRORS = ("OutOfMemoryError", "MemoryError")
"""Names of errors that say nothing about a job, but about what else needs memory where it ran."""


@dataclass(frozen=True)
class Displaced:
    """A job was broken off for want of memory; it may run elsewhere."""

    job: Job
    error: str


@dataclass(frozen=True)
class Raised:
    """A job met an error that no other job would be spared."""

    job: Job
    error: Exception


Told = Recorded | Finished | Failed | Displaced | Raised


@dataclass(frozen=True)
class Report:
    """What a lane tells after a beat."""

    place: Place
    told: tuple[Told, ...] = ()
    states: dict[str, bytes] = field(default_factory=dict)
    """Key of a job -> its rolling file."""

    too_large: tuple[str, ...] = ()
    """Keys of jobs whose states are larger than may be sent."""

    unfit: str = ""
    """Why the worker cannot open what is searched; empty where it can."""


class Lane(tune.Trainable):
    """Runs the jobs that it is ordered to, and reports at each beat."""

    def setup(self, config: dict[str, Any]) -> None:
        """Note where to fetch orders; what is searched is opened with the first one."""
        self._config = config
        self._executor: LocalExecutor | None = None
        self._stops: tuple[type[Exception], ...] = ()
        self._unfit = ""
        clear_abandoned()
        self._begin()

    def _begin(self) -> None:
        config = self._config
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(config["threads"])
        self._depot = ray.get_actor(config["depot"], namespace=config["namespace"])
        self._lane: str = config["lane"]
        self._in_hand: dict[str, _InHand] = {}
        context = ray.get_runtime_context()
        gpus = context.get_accelerator_ids().get("GPU", [])
        ray.get(self._depot.enter.remote(self._lane, [context.current_actor]))
        self._place: Place = Place(
            ray.util.get_node_ip_address(), context.get_node_id(), os.getpid(), tuple(map(str, gpus))
        )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another lane on the same worker, with what is open still open."""
        self._config = new_config
        self._begin()
        return True

    def step(self) -> dict[str, Any]:
        """Wait for leave to go on, train for a beat, and report."""
        if self._executor is None and not self._unfit:
            return self._result(self._open())
        order: Any = ray.get(self._depot.order.remote(self._lane))
        if not isinstance(order, Order):
            return self._result(Report(self._place, unfit=self._unfit))
        if order.end:
            return {**self._result(Report(self._place)), "done": True}
        self._take(order)
        return self._result(self._beat())

    def _result(self, report: Report) -> dict[str, Any]:
        return {"lane": self._lane, "report": pickle.dumps(report, protocol=pickle.HIGHEST_PROTOCOL)}

    def cleanup(self) -> None:
        """Delete what rolling files are left."""
        for one in self._in_hand.values():
            one.clear()

    # Jobs

    def _take(self, order: Order) -> None:
        executor = self._executor
        assert executor is not None
        for key in order.drop:
            if key in self._in_hand:
                executor.stop(self._in_hand[key].errand.job)
                self._let_go(key)
        for errand in order.begin:
            self._in_hand[errand.job.key] = _InHand.of(errand)
            executor.submit(errand.job)

    def _let_go(self, key: str) -> None:
        self._in_hand.pop(key).clear()

    def _open(self) -> Report:
        """Open what is searched, once for the life of the worker."""
        if what := differences(self._config["versions"], versions_here()):
            self._unfit = f"it has {what}"
            return Report(self._place, unfit=self._unfit)
        # The reference comes in a list, and is fetched here: what it stands for reaches each node once.
        wrapped: Any = ray.get(self._depot.opener.remote())
        try:
            opener: Opener = ray.get(wrapped[0])
            here = Here(self._depot, self._lane, self._config["threads"], self._config["gpus"])
            run = opener(here)
        except AutofreezeError as error:
            self._unfit = " ".join(str(error).split())
            return Report(self._place, unfit=self._unfit)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would come again with the next worker
            self._unfit = f"{type(error).__name__}: {' '.join(str(error).split())[-500:]}"
            return Report(self._place, unfit=self._unfit)
        self._stops = opener.stops
        self._executor = LocalExecutor(
            lambda job: run(job, self._in_hand[job.key].checkpoint), raises=self._stops
        )
        return Report(self._place)

    def _beat(self) -> Report:
        """Run what is in hand until a second has passed or nothing is left."""
        told: list[Told] = []
        states: dict[str, bytes] = {}
        began = time.monotonic()
        while self._in_hand and time.monotonic() - began < BEAT_SECONDS:
            event = self._next()
            told.append(event)
            if isinstance(event, Recorded):
                continue
            key = event.job.key
            one = self._in_hand[key]
            wanted = isinstance(event, Finished) and one.errand.keep
            goes_on = isinstance(event, Displaced) and one.size() <= self._config["state_bytes"]
            if wanted or goes_on:
                states |= one.state()
            self._let_go(key)
        too_large, seconds = [], self._config["state_seconds"]
        for key, one in self._in_hand.items():
            if one.is_due(seconds) and one.size() > self._config["state_bytes"]:
                too_large.append(key)
            elif one.is_due(seconds):
                states |= one.state()
        return Report(self._place, tuple(told), states, tuple(too_large))

    def _next(self) -> Told:
        """Run the oldest job to its next record or its end."""
        job = next(iter(self._in_hand.values())).errand.job
        assert self._executor is not None
        try:
            event = self._executor.next_event()
        except self._stops as error:
            return Raised(job, error)
        assert not isinstance(event, Waiting)
        if isinstance(event, Failed) and event.error.partition(":")[0] in MEMORY_ERRORS:
            _free_memory()
            return Displaced(job, event.error)
        return event


@dataclass
class _InHand:
    """A job in hand, and its rolling file."""

    errand: Errand
    checkpoint: Path
    own: bool
    """Whether the rolling file is the worker's own."""

    sent: float
    """When its state was sent last."""

    @classmethod
    def of(cls, errand: Errand) -> "_InHand":
        own = not errand.checkpoint
        folder = scratch_folder() if own else Path(errand.checkpoint).parent
        checkpoint = folder / "rolling.pt" if own else Path(errand.checkpoint)
        if errand.state is not None:
            checkpoint.write_bytes(errand.state)
        return cls(errand, checkpoint, own, time.monotonic())

    def size(self) -> int:
        return self.checkpoint.stat().st_size if self.checkpoint.exists() else 0

    def is_due(self, seconds: float) -> bool:
        late = time.monotonic() - self.sent >= seconds
        return self.own and late and self.checkpoint.exists()

    def state(self) -> dict[str, bytes]:
        if not (self.own and self.checkpoint.exists()):
            return {}
        self.sent = time.monotonic()
        return {self.errand.job.key: self.checkpoint.read_bytes()}

    def clear(self) -> None:
        if self.own:
            shutil.rmtree(self.checkpoint.parent, ignore_errors=True)


def _free_memory() -> None:
    """Give back what the allocator of a GPU holds for a job that is gone."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
