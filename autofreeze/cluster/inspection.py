"""What the nodes of a cluster say of themselves: packages, GPU memory, and whether they see the storage."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autofreeze.cluster.packages import MISSING, differences
from autofreeze.errors import ConfigError

SECONDS = 90.0
"""So long a node may take to say what it has: it starts a process for it."""


@dataclass(frozen=True)
class Seen:
    """What a node says of itself."""

    versions: Mapping[str, str]
    """As ``packages.versions_here``; less where autofreeze is missing or another one."""

    gpu_memory: int | None
    """Bytes of its smallest GPU; None where it has none, or nobody knows."""

    storage: bool
    """Whether it sees what the driver has written to the storage."""


def inspect(ids: Sequence[str], mark: str = "") -> dict[str, Seen | str]:
    """Ask nodes what they have; gives what is wrong with those that do not say it.

    Args:
        ids: Of the nodes, as Ray has them.
        mark: A file in the storage.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task: Any = ray.remote(_looking())
    asked: dict[Any, str] = {}
    for one in ids:
        there = NodeAffinitySchedulingStrategy(one, soft=False)
        asked[task.options(num_cpus=0, max_retries=1, scheduling_strategy=there).remote(mark)] = one
    late = f"does not say what it has within {SECONDS:g} s; is it overloaded? See ray status"
    found: dict[str, Seen | str] = dict.fromkeys(ids, late)
    done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=SECONDS) if asked else ([], [])
    for reference in done:
        try:
            found[asked[reference]] = Seen(*ray.get(reference))
        except RayError as error:
            told = str(error).strip().splitlines() or [""]
            found[asked[reference]] = f"no process could be run there ({told[-1][:200]})"
    return found


def look_here(mark: str = "") -> Seen:
    """Look at this machine, as its only node.

    Args:
        mark: A file in the storage.
    """
    return Seen(*_looking()(mark))


def wrong_with(seen: Seen, here: Mapping[str, str], storage: Path | None) -> str:
    """Say what is wrong with a node, and the way out; empty where nothing is.

    Args:
        seen: What it says.
        here: ``packages.versions_here()`` of the driver.
        storage: A folder that it should see.
    """
    problems = []
    if seen.versions.get("autofreeze") == MISSING != here["autofreeze"]:
        problems.append(
            "autofreeze is not installed there; install what is installed here, in the same versions"
        )
    elif other := differences(here, seen.versions):
        problems.append(f"{other}; install what is installed here")
    if storage is not None and not seen.storage:
        problems.append(
            f"what is written to {storage} here is not seen there; mount it under the same path, or leave "
            "--storage out"
        )
    return "; ".join(problems)


@contextmanager
def marked(storage: Path | None) -> Iterator[str]:
    """Keep an empty file in the storage for the time of the block; gives its path, empty without storage.

    Raises:
        ConfigError: Nothing can be written there.
    """
    if storage is None:
        yield ""
        return
    mark = storage / f".autofreeze-{secrets.token_hex(8)}"
    try:
        storage.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise ConfigError(f"storage: nothing can be written to {storage} ({error.strerror})") from None
    try:
        yield str(mark)
    finally:
        with suppress(OSError):
            mark.unlink()


def _looking() -> Any:
    """Give a function that looks at the machine it runs on.

    It is sent as it stands: a machine without autofreeze, or with another one, could not load it.
    """

    def look(mark: str) -> tuple[dict[str, str], int | None, bool]:
        import importlib.metadata
        import pathlib
        import subprocess

        try:
            from autofreeze.cluster.packages import versions_here

            versions = versions_here()
        except ImportError:
            try:
                versions = {"autofreeze": importlib.metadata.version("autofreeze")}
            except importlib.metadata.PackageNotFoundError:
                versions = {"autofreeze": "not installed"}
        memory = None
        try:
            query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
            told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
            memory = min(int(line) for line in told.split()) * 2**20
        except (OSError, subprocess.SubprocessError, ValueError):
            pass  # no GPU of this kind, or nobody knows
        return versions, memory, bool(mark) and pathlib.Path(mark).is_file()

    return look
