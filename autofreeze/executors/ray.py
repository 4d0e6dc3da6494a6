"""Jobs on a Ray cluster: workers that Ray Tune places, and jobs that are handed from one to the next."""

import math
import pickle
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autofreeze.cluster.connection import alive_nodes
from autofreeze.cluster.here import Opener
from autofreeze.cluster.lookout import WAY_OUT, Lookout
from autofreeze.cluster.packages import versions_here
from autofreeze.documents import write_bytes
from autofreeze.errors import ClusterError
from autofreeze.executors.depot import Depot, Errand
from autofreeze.executors.hands import InHand, Worker
from autofreeze.executors.lane import Displaced, Raised, Report
from autofreeze.executors.lanes import Lanes, Lost, Notice, Over, Reported
from autofreeze.executors.ledger import Ledger, Place
from autofreeze.executors.paces import MOST_AT_A_TIME, SHORT_SECONDS, Paces
from autofreeze.executors.protocol import Event, Failed, Finished, Recorded, Waiting
from autofreeze.executors.watchdog import Watchdog, stuck_for
from autofreeze.job import Job
from autofreeze.phrases import counted
from autofreeze.placing import Cause, Placing

STATE_BYTES = 64_000_000
"""States of interrupted runs that are larger are not sent to the driver."""

STATE_SECONDS = 5.0
"""Seconds of training after which the state of a run is sent again, with few workers."""

FEW_WORKERS = 5
"""More of them send states more rarely: a state of 40 MB keeps the driver busy for a fifth of a second."""

MAX_STRIKES = 3
"""A job that has lost so many workers is failed; workers that went down with their nodes do not count."""

NODE_NOTICE_SECONDS = 30.0
"""So long a dead node may take to be noticed as one: until then it looks as if its workers had died."""

LOOK_SECONDS = 2.0
"""How often the nodes are looked at."""

WAITING_SECONDS = 5.0
"""A wait that is longer is broken by ``Waiting``."""


_Item = tuple[str, Recorded | Finished | Failed | Raised | None]
"""A lane, and what it has told; None: all that it told has been given, and it may go on."""


class RayExecutor:
    """Runs jobs on the workers of a cluster.

    Ray Tune places the workers (``lanes.py``); each runs job after job. Between two reports a worker waits
    until what it told has been judged, so that nothing is trained that the study has ended.

    A job whose worker is gone goes on elsewhere, from the newest state that was kept: on storage that all
    nodes see, else with the driver as far as states are small enough.

    Args:
        opener: Opens on a worker what is searched.
        address: Of the cluster, for the report.
        slots: Says how many workers the cluster has room for now; asked every few seconds.
        cpus: Of each worker.
        gpus: Of each worker.
        threads: Of each run on a CPU.
        states: Where the rolling file of a job lies.
        shared: Whether the workers see these files too.
        keeps: Whether the state at a job's end is wanted as well.
        most: Workers at most, and jobs in hand, since what is in hand teaches the next ones nothing; None: as
            many as keep all that there is room for busy.
        room: Bytes that rows shared by all workers may take.
        watchdog: Says how long a record may take.
        tell: Shows a line to whoever watches.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        slots: Callable[[], int],
        cpus: float,
        gpus: float,
        threads: int,
        states: Callable[[Job], Path],
        shared: bool = False,
        keeps: Callable[[Job], bool] | None = None,
        address: str = "local",
        most: int | None = None,
        room: int = 0,
        watchdog: Watchdog | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._states, self._shared, self._keeps = states, shared, keeps
        self.most = most
        """Workers and jobs in hand at most; None: no limit but the room."""

        self._find_slots, self._watchdog, self._tell = slots, watchdog, tell
        self._ledger = Ledger(
            address=address,
            cpus_per_trial=cpus,
            gpus_per_trial=gpus,
            threads=threads,
            states="storage" if shared else "driver",
            state_bytes=STATE_BYTES,
        )
        self._node_bytes = opener.n_bytes
        self._opener = ray.put(opener)
        name = f"autofreeze-depot-{uuid.uuid4().hex}"
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        depot: Any = ray.remote(Depot)
        self._depot = depot.options(
            name=name, num_cpus=0, max_concurrency=10_000, scheduling_strategy=here
        ).remote([self._opener], room)
        ray.get(self._depot.opener.remote())
        self._shared_bytes = 0
        self._lookout = Lookout(self._ask, seconds=LOOK_SECONDS)
        self._seen: tuple[int, frozenset[str]] | None = None
        config = {
            "depot": name,
            "namespace": ray.get_runtime_context().namespace,
            "threads": threads,
            "gpus": gpus,
            "versions": versions_here(),
            "state_bytes": STATE_BYTES,
            "state_seconds": state_seconds(slots() if most is None else min(slots(), most)),
        }
        self._lanes = Lanes(config, cpus=cpus, gpus=gpus)
        self._jobs: dict[str, InHand] = {}
        self._queue: deque[str] = deque()
        self._events: deque[_Item] = deque()
        self._running: dict[str, Worker] = {}
        self._slots = 0
        self._nodes: frozenset[str] = frozenset()
        self._paces = Paces()
        self._unfit: dict[str, str] = {}
        self._stillborn = 0
        self._complaints: set[str] = set()
        self._look()
        self._lanes.start()

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let all workers go."""
        self._lookout.close()
        self._lanes.closed = True
        with suppress(ClusterError), self._lookout.answering():
            for lane in self._running if not self._lookout.gone else ():
                self._depot.close.remote(lane)
        if self._lookout.gone:
            return  # Tune waits for what nobody answers
        self._lanes.close()
        with suppress(ClusterError), self._lookout.answering():
            ray.kill(self._depot)

    # The protocol

    @property
    def capacity(self) -> int:
        """How many jobs keep all workers busy: several for each where jobs are short, ``most`` in all."""
        self._look()
        slots = self._workers_wanted() - sum(lane.unfit for lane in self._running.values())
        busy = max(slots, 1) * self._paces.at_a_time()
        return busy if self.most is None else min(busy, self.most)

    def submit(self, job: Job) -> None:
        """Queue a job behind those in hand; it goes on from its rolling file where there is one."""
        if job.key in self._jobs:
            raise ValueError(f"job {job.key} is in hand already")
        self._jobs[job.key] = InHand(job)
        self._queue.append(job.key)

    def next_event(self) -> Event:
        """Wait for what any worker tells.

        Raises:
            LookupError: No job is in hand.
            ClusterError: No worker can run anything, or Ray is gone.
        """
        if not self._jobs:
            raise LookupError("no job is in hand")
        until = time.monotonic() + WAITING_SECONDS
        while True:
            while self._events:
                event = self._given(*self._events.popleft())
                if event is not None:
                    return event
            self._look()
            self._hand_out()
            with suppress(queue.Empty):
                self._receive(self._lanes.inbox.get(timeout=1.0))
            if not self._events and time.monotonic() >= until:
                return Waiting()

    def stop(self, job: Job) -> None:
        """Let a job go; a worker that has it in hand drops it before it goes on."""
        held = self._jobs.pop(job.key, None)
        if held is None:
            return
        if held.lane in self._running:
            lane = self._running[held.lane]
            if job.key in lane.keys:  # else it has come to its end there, untold so far
                lane.keys.remove(job.key)
                lane.drop.append(job.key)
        elif job.key in self._queue:
            self._queue.remove(job.key)

    # Giving

    def _given(self, lane: str, item: Recorded | Finished | Failed | Raised | None) -> Event | None:
        """Give an event, if anybody still wants it; after the last one of a report its lane is released."""
        if item is None:
            self._release(lane)
            return None
        held = self._jobs.get(item.job.key)
        if held is None or held.lane != lane:
            return None
        if isinstance(item, Recorded):
            if item.record.epoch < held.told:
                return None  # told again by a run that went on from an older state
            held.told = item.record.epoch + 1
            return item
        del self._jobs[item.job.key]
        if item.job.key in self._queue:
            self._queue.remove(item.job.key)
        if isinstance(item, Raised) and not self._ledger.ended:
            raise item.error
        if isinstance(item, Raised):
            return Failed(item.job, " ".join(str(item.error).split())[:300])
        return item

    # Handing out

    def _release(self, name: str) -> None:
        """Let a worker go on with what it has; one that has nothing takes new jobs, or waits for some."""
        lane = self._running.get(name)
        if lane is None:
            return
        if lane.keys:
            self._post(name, lane, ())
        else:
            lane.idle = not lane.unfit
            self._hand_out(name)

    def _hand_out(self, first: str = "") -> None:
        """Give waiting jobs to idle workers."""
        idle = [name for name, lane in self._running.items() if lane.idle]
        idle.sort(key=lambda name: name != first)
        for place, name in enumerate(idle):
            keys = self._take_from_queue(name, leave=len(idle) - place - 1)
            if not keys and not self._running[name].drop:
                continue
            for key in keys:
                self._jobs[key].lane = name
            lane = self._running[name]
            lane.keys += keys
            self._post(name, lane, [self._errand(self._jobs[key]) for key in keys])

    def _take_from_queue(self, lane: str, *, leave: int) -> list[str]:
        """Take jobs for a worker: one, or as many short ones as there are to spare."""
        now, seconds = time.monotonic(), 0.0
        taken: list[str] = []
        fit = sum(not one.unfit for one in self._running.values())
        share = len(self._queue) // max(fit, 1)  # the last jobs go to all workers, not to the first that asks
        for key in list(self._queue):
            held = self._jobs[key]
            if held.waits_until > now or (held.avoid == lane and fit > 1) or (held.suspect and taken):
                continue
            expected = math.inf if held.suspect else self._paces.expected(held.job)
            too_long = len(taken) >= share or seconds + expected > SHORT_SECONDS
            if taken and (too_long or len(self._queue) - len(taken) <= leave):
                break
            taken.append(key)
            seconds += expected
            if len(taken) == MOST_AT_A_TIME:
                break
        for key in taken:
            self._queue.remove(key)
        return taken

    def _errand(self, held: InHand) -> Errand:
        path = self._states(held.job)
        if self._shared:
            return Errand(held.job, checkpoint=str(path.absolute()))
        state = path.read_bytes() if path.exists() else None
        errand = Errand(held.job, state=state, keep=self._keeps is not None and self._keeps(held.job))
        self._ledger.note_sent(job=len(pickle.dumps(held.job)), state=len(state or b""))
        return errand

    def _post(self, name: str, lane: Worker, begin: Iterable[Errand]) -> None:
        lane.idle, lane.since = False, time.monotonic()
        with self._lookout.answering():
            self._depot.post.remote(name, tuple(begin), tuple(lane.drop))
        lane.drop.clear()

    # Receiving

    def _receive(self, notice: Notice) -> None:
        match notice:
            case Reported(lane, report):
                self._ledger.note_sent(job=len(report))
                self._take_report(lane, pickle.loads(report))
            case Lost(lane, error):
                self._take_back(lane, error)
            case Over(error):
                raise ClusterError(f"Ray Tune has ended: {' '.join(str(error).split())[:500]}; {WAY_OUT}")

    def _take_report(self, name: str, report: Report) -> None:
        if name not in self._running:
            self._running[name], self._stillborn = Worker(report.place), 0
        lane = self._running[name]
        lane.since = time.monotonic()
        if report.unfit:
            self._note_unfit(lane, report.unfit)
            return
        self._keep_states(report)
        where = self._ledger.name(report.place)
        for told in report.told:
            match told:
                case Recorded():
                    self._events.append((name, replace(told, where=where)))
                case Displaced(job, error):
                    self._displace(name, job, error)
                case _:
                    self._note_end(lane, told)
                    self._events.append((name, told))
        self._events.append((name, None))

    def _note_end(self, lane: Worker, told: Finished | Failed | Raised) -> None:
        if told.job.key in lane.keys:
            lane.keys.remove(told.job.key)
            if isinstance(told, Finished):
                self._ledger.note_end(lane.place)

    def _keep_states(self, report: Report) -> None:
        """Keep what interrupted runs go on from, before anybody hears of the records that led there."""
        epochs = {told.job.key: told.record.epoch + 1 for told in report.told if isinstance(told, Recorded)}
        for key, state in report.states.items():
            held = self._jobs.get(key)
            self._ledger.note_sent(job=-len(state), state=len(state))
            if held is not None:
                try:
                    write_bytes(self._states(held.job), state)
                except OSError as error:
                    self._complain("states of runs cannot be kept", error.strerror or str(error))
                else:
                    held.kept = epochs.get(key, held.told)
        self._ledger.note_too_large(report.too_large)
        for told in report.told:
            if isinstance(told, Recorded) and told.record.last:
                self._paces.note(told.job, told.record.seconds)
                if self._watchdog:
                    self._watchdog.note(told.job, told.record.seconds / (told.record.epoch + 1))

    def _note_unfit(self, lane: Worker, reason: str) -> None:
        """Leave a worker alone that cannot open what is searched; its slot stays taken."""
        lane.unfit = True
        where = self._ledger.name(lane.place)
        self._unfit[where] = reason
        self._complain(f"{where} is left alone", reason)
        fit = [one for one in self._running.values() if not one.unfit]
        if not fit and len(self._running) >= self._workers_wanted():
            raise ClusterError(
                [f"{place}: {why}" for place, why in self._unfit.items()],
                where="no worker can run anything",
            )

    def _complain(self, what: str, why: str) -> None:
        if what not in self._complaints and self._tell:
            self._tell(f"{what}: {why}")
        self._complaints.add(what)

    # Losing workers

    def _take_back(self, name: str, error: str) -> None:
        """Queue the jobs of a worker that is gone; the one that ran may have been the reason."""
        with self._lookout.answering():
            self._depot.close.remote(name)
        lane = self._running.pop(name, None)
        if lane is None:
            self._stillborn += 1
            if self._stillborn > MAX_STRIKES * max(self._workers_wanted(), 1):
                raise ClusterError(f"workers die before they say anything, the last one of: {error}")
            return
        for key in reversed(lane.keys):
            self._queue.appendleft(key)
            self._jobs[key].lane, self._jobs[key].suspect = "", True
        if len(lane.keys) > 1:  # any of them may have been the reason
            self._note_restart(self._jobs[lane.keys[0]], lane.place, "worker")
        elif lane.keys:
            self._strike(self._jobs[lane.keys[0]], lane.place, "worker", error)

    def _displace(self, name: str, job: Job, error: str) -> None:
        """Let a job that found too little memory run elsewhere."""
        lane, held = self._running[name], self._jobs.get(job.key)
        if held is None or held.lane != name:
            return
        lane.keys.remove(job.key)
        held.lane, held.avoid = "", name
        self._queue.append(job.key)
        self._strike(held, lane.place, "memory", error)

    def _strike(self, held: InHand, place: Place, cause: Cause, error: str) -> None:
        held.strikes.append((place.node, cause))
        held.error = error
        self._note_restart(held, place, cause)
        if len(held.strikes) >= MAX_STRIKES:
            held.waits_until = time.monotonic() + (NODE_NOTICE_SECONDS if cause == "worker" else 0.0)
        self._judge_strikes()

    def _note_restart(self, held: InHand, place: Place, cause: Cause) -> None:
        resumed = held.told if self._shared else held.kept
        self._ledger.note_restart(held.job.key, cause, place, epoch=held.told, resumed=resumed)

    def _judge_strikes(self) -> None:
        """Fail jobs that have lost too many workers, those that went down with their nodes left out."""
        now = time.monotonic()
        for held in [one for one in self._jobs.values() if len(one.strikes) >= MAX_STRIKES]:
            if held.waits_until > now or held.lane:
                continue
            own = [cause for node, cause in held.strikes if cause == "memory" or node in self._nodes]
            if len(own) >= MAX_STRIKES:
                times = counted(len(own), "time")
                what = "ran out of memory" if own[-1] == "memory" else "its worker died"
                self._events.append(("", Failed(held.job, f"{what} {times}: {held.error}"[:400])))
                held.waits_until = math.inf

    def _break_off_stuck(self) -> None:
        """End workers whose run hangs."""
        if self._watchdog is None:
            return
        for name, lane in list(self._running.items()):
            held = self._jobs.get(lane.keys[0]) if lane.keys else None
            if held is None:
                continue
            limit = self._watchdog.limit_of(held.job)
            if time.monotonic() - lane.since >= limit:
                self._events.append(("", Failed(held.job, stuck_for(limit))))
                lane.keys.remove(held.job.key)
                held.lane = ""
                with self._lookout.answering():
                    (worker,) = ray.get(self._depot.worker.remote(name))
                    ray.kill(worker)

    # Nodes

    def _ask(self) -> tuple[int, frozenset[str]]:
        return self._find_slots(), frozenset(node["NodeID"] for node in alive_nodes())

    def _look(self) -> None:
        """See what nodes there are, and which runs hang, as often as the cluster is asked."""
        seen = self._lookout.look()
        if seen is not self._seen:
            self._seen = seen
            self._slots, self._nodes = seen
            self._lanes.wanted = self._workers_wanted()
            self._break_off_stuck()
        self._judge_strikes()

    def _workers_wanted(self) -> int:
        return self._slots if self.most is None else min(self._slots, self.most)

    def facts(self) -> Placing:
        """Say where jobs ran, what was sent, and what had to be run again."""
        if not (self._lanes.closed or self._lookout.gone):
            with suppress(ClusterError), self._lookout.answering():
                self._shared_bytes = ray.get(self._depot.shared_bytes.remote())
        return self._ledger.placing(nodes=self._nodes, node_bytes=self._node_bytes + self._shared_bytes)


def state_seconds(workers: int) -> float:
    """Seconds between two states of a run: so many that states of all take a fifth of the driver's time."""
    return STATE_SECONDS * max(1.0, workers / FEW_WORKERS)


def object_store_bytes() -> int:
    """Bytes of the smallest object store of the nodes that are alive."""
    return int(min(node["Resources"].get("object_store_memory", 0) for node in alive_nodes()))
