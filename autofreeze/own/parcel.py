"""A training of one's own, as it is sent to workers of a cluster."""

import sys
from dataclasses import dataclass

from autofreeze.cluster.here import Here, Runner
from autofreeze.own.run import OwnRunner


@dataclass(frozen=True)
class OwnParcel:
    """Opens a training of one's own on a worker (``cluster.here.Opener``).

    Its function travels by value where it was defined in a script or a notebook. One that was imported is
    imported there too.
    """

    runner: OwnRunner
    stops: tuple[type[Exception], ...]
    n_bytes: int = 0

    def __call__(self, here: Here) -> Runner:
        """Open it."""
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(here.threads)  # what is imported later takes them from the environment
        return self.runner.run
