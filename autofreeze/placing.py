"""Where the jobs of a search ran, what was sent there, and what had to be run again."""

from typing import Literal

from pydantic import Field

from autofreeze.values import Value

Cause = Literal["worker", "node", "memory"]


class Restart(Value):
    """A job that was taken up again after it had lost its worker."""

    job: str
    """Its key."""

    cause: Cause
    """What was lost: its worker, its worker's node, or the memory that it needed."""

    where: str
    """Where it ran."""

    node: str = ""
    """Ray's id of the node."""

    epoch: int = Field(ge=0)
    """Epochs it had told of."""

    resumed: int = Field(ge=0)
    """Epochs of which the state was kept, and that it did not have to train again."""


class Placing(Value):
    """What a report says of a search on a cluster."""

    address: str
    """Of the cluster; ``local`` for one that was started for the search."""

    workers: dict[str, int]
    """Place -> jobs that came to their end there."""

    cpus_per_trial: float
    gpus_per_trial: float
    threads: int
    states: Literal["storage", "driver"]
    """Where the states of interrupted runs lie: on storage that all nodes see, or with the driver."""

    state_bytes: int
    """The largest state that is sent to the driver."""

    too_large: int = Field(ge=0)
    """Jobs that had a state larger than that."""

    node_bytes: int
    """What is sent to each node, once."""

    job_bytes: float
    """What is sent for a job and comes back from it, in the mean, states aside."""

    job_state_bytes: float
    """States of a job, in the mean."""

    restarts: tuple[Restart, ...] = ()
