"""Where the jobs of a session run: in this process, or on the workers of a cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autofreeze.cluster.here import Opener
from autofreeze.confirm import keeps_model
from autofreeze.executors.local import LocalExecutor
from autofreeze.executors.protocol import Executor
from autofreeze.executors.watchdog import Watchdog
from autofreeze.phrases import counted
from autofreeze.placing import Placing
from autofreeze.regime import Regime
from autofreeze.run import RunFolder
from autofreeze.searchoptions import Decided
from autofreeze.subject import Subject

if TYPE_CHECKING:
    from autofreeze.cluster.connection import Cluster
    from autofreeze.cluster.sharing import Placement

OBJECTS_SHARE = 0.6
"""Of the object store of the smallest node, what pixels, weights and features may take together."""


class Workplace:
    """An executor, and what a report says of where it ran jobs."""

    def __init__(
        self,
        executor: Executor,
        placing: Callable[[], Placing | None] = lambda: None,
        use_all: Callable[[], None] = lambda: None,
    ) -> None:
        self.executor = executor
        self.use_all = use_all
        """Have all workers used that there is room for: jobs that nobody learns from may all run at once."""
        self._placing = placing
        self._last: Placing | None = None

    def placing(self) -> Placing | None:
        """Say where jobs ran so far; None in this process."""
        self._last = self._placing() or self._last
        return self._last


@contextmanager
def workplace(
    subject: Subject,
    options: Decided,
    folder: RunFolder,
    *,
    regime: Regime,
    cluster: "Cluster | None" = None,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Workplace]:
    """Open the place where the jobs of a session run.

    Args:
        subject: What is searched.
        options: How; ``cluster`` says how much of a cluster each trial gets.
        folder: The open run folder.
        regime: What trials have in common, such as their batch size.
        cluster: The cluster that is connected; None: this process.
        tell: Shows a line.

    Raises:
        ConfigError: The cluster has not what a trial is to get, or a share of a GPU is too small for a step.
    """
    watchdog = Watchdog(options.stuck_after)
    if cluster is None:
        yield Workplace(
            LocalExecutor(
                lambda job: subject.run(job, folder.checkpoint(job)), watchdog=watchdog, raises=subject.stops
            )
        )
        return
    from autofreeze.cluster.sharing import most_in_hand, refuse_too_little_memory, share_out
    from autofreeze.executors.ray import RayExecutor, object_store_bytes

    asked = options.cluster
    assert asked is not None
    task = subject.settings().get("task", {})
    nodes = cluster.nodes()
    placement = share_out(
        nodes,
        gpus_per_trial=asked.gpus_per_trial,
        cpus_per_trial=asked.cpus_per_trial,
        threads=task.get("threads"),
        most=most_in_hand(options.trials, asked.max_concurrent),
        device=task.get("device", "auto"),
    )
    shared = cluster.is_local or asked.storage is not None
    opener = subject.opener(shared_disk=shared)
    if 0 < placement.gpus < 1 and "task" in subject.settings():  # images: other trainings keep to no cap
        needed = _step_bytes(opener, regime)
        refuse_too_little_memory(needed, placement, nodes, batch_size=regime.batch_size)
    if tell:
        tell(_in_words(placement))
    executor = RayExecutor(
        opener,
        slots=lambda: placement.on(cluster.nodes()).total,
        cpus=placement.cpus,
        gpus=placement.gpus,
        threads=placement.threads,
        states=folder.checkpoint,
        shared=shared,
        keeps=lambda job: job.fresh is not None and keeps_model(job.fresh, options.confirm),
        address=cluster.address,
        most=placement.most,
        room=max(int(OBJECTS_SHARE * object_store_bytes()) - opener.n_bytes, 0),
        watchdog=watchdog,
        tell=tell,
    )

    def use_all() -> None:
        if asked.max_concurrent is None:
            executor.most = None

    with executor:
        yield Workplace(executor, executor.facts, use_all)


def _step_bytes(opener: Opener, regime: Regime) -> int:
    from autofreeze.cluster.footprint import step_bytes
    from autofreeze.cluster.parcel import ImageParcel

    assert isinstance(opener, ImageParcel)
    return step_bytes(opener, regime)


def _in_words(placement: "Placement") -> str:
    """Say how a cluster is shared out."""
    gpus = f"{placement.gpus:g} GPU and " if placement.gpus else ""
    cpus = f"{placement.cpus:g} CPU{'' if placement.cpus == 1 else 's'}"
    each = f"{gpus}{cpus} each, {counted(placement.threads, 'thread')}"
    return f"on Ray: {counted(placement.at_once, 'worker')}, {each}"
