"""Features of a frozen prefix, between workers that share no disk: one computes them, all read them."""

import time

import ray

from autofreeze.cluster.here import Here
from autofreeze.features import SharedRows
from autofreeze.shelf import NoRoomError

PAUSE_SECONDS = 0.2
"""Between two looks at whether another worker has come to the end of computing."""


class RowExchange:
    """What workers hand to each other through the object store (``features.Exchange``).

    The rows lie on the driver's node, and a copy on each node that has asked for them: all workers there map
    the same memory. They outlive the worker that computed them.

    Args:
        here: The worker.
    """

    def __init__(self, here: Here) -> None:
        self._here = here

    def fetch(self, key: str, n_bytes: int) -> SharedRows | None:
        """Give the rows of some features; waits while another worker is computing them.

        Returns:
            None where this worker is to compute them, and then to :meth:`keep` them or to :meth:`give_up`.

        Raises:
            NoRoomError: They may not lie in the object store.
        """
        while True:
            answer, reference = ray.get(self._here.depot.claim.remote(key, n_bytes, self._here.lane))
            match answer:
                case "held":
                    rows: SharedRows = ray.get(reference[0])
                    return rows
                case "yours":
                    return None
                case "full":
                    raise NoRoomError(n_bytes, 0, of="budget")
            time.sleep(PAUSE_SECONDS)

    def keep(self, key: str, rows: SharedRows) -> SharedRows:
        """Hand rows over; gives them back as all others see them."""
        reference = ray.get(self._here.depot.keep.remote(key, rows))
        shared: SharedRows = ray.get(reference[0])
        return shared

    def give_up(self, key: str) -> None:
        """Let another worker compute rows."""
        ray.get(self._here.depot.give_up.remote(key))
