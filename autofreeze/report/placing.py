"""Where the jobs of a search ran, in words."""

from autofreeze.bytesize import format_bytes
from autofreeze.phrases import counted, listed
from autofreeze.placing import Placing, Restart

NAMED = 5
"""Restarts that are told one by one, at most."""

LOST = {"worker": "its worker died", "node": "its node was lost", "memory": "it ran out of memory"}


def placing_lines(placing: Placing | None) -> list[str]:
    """Say where jobs ran, what was sent, and which had to be run again; nothing of a single machine."""
    if placing is None:
        return []
    where = listed(f"{counted(jobs, 'job')} on {place}" for place, jobs in sorted(placing.workers.items()))
    gpus = f"{placing.gpus_per_trial:g} GPU, " if placing.gpus_per_trial else ""
    cpus = f"{placing.cpus_per_trial:g} CPU{'' if placing.cpus_per_trial == 1 else 's'}"
    each = f"each with {gpus}{cpus} and {counted(placing.threads, 'thread')}"
    job, state = format_bytes(round(placing.job_bytes)), format_bytes(round(placing.job_state_bytes))
    return [
        f"ran on Ray ({placing.address}): {where or 'no job to its end'}, {each}",
        f"sent to each node once: {format_bytes(placing.node_bytes)} (weights, pixels, features); "
        f"for a job {job}, and states of {state}",
        _states(placing),
        *_restarts(placing.restarts),
    ]


def _states(placing: Placing) -> str:
    if placing.states == "storage":
        return "states of interrupted runs: on a disk that all workers see"
    limit = format_bytes(placing.state_bytes)
    told = f"states of interrupted runs: with the driver, where they are at most {limit}"
    if placing.too_large:
        told += f"; {counted(placing.too_large, 'job')} had larger ones (--storage keeps those too)"
    return told


def _restarts(restarts: tuple[Restart, ...]) -> list[str]:
    if not restarts:
        return []
    told = [
        f"job {one.job} on {one.where} after {counted(one.epoch, 'epoch')}: {LOST[one.cause]}, "
        + (f"it went on after {counted(one.resumed, 'epoch')}" if one.resumed else "it began anew")
        for one in restarts[:NAMED]
    ]
    more = len(restarts) - NAMED
    if more > 0:
        told.append(
            f"and {counted(more, 'other job')} that lost {'its place' if more == 1 else 'their places'}"
        )
    return told
