"""What a user asks of a cluster: where it is, and how much of it each trial gets. Checked at once."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from autofreeze.errors import ConfigError

LOCAL = ""
"""The address of a Ray of one's own, started on this machine for the search alone."""

AUTO = "auto"
"""The address of a cluster that this machine belongs to."""

LAST_PORT = 65_535

FINEST = 0.0001
"""Ray counts resources in steps of this size."""

_ADDRESS = re.compile(
    r"(?:ray://)?(?P<host>\[[0-9a-f:.%]+\]|[a-z0-9._-]+):(?P<port>[0-9]{1,5})", re.IGNORECASE
)
_LIKE_AN_ADDRESS = re.compile(r"auto|local|[a-z]+://.*|[^/\\]*:[^/\\]*|[0-9]+(?:\.[0-9]+)+", re.IGNORECASE)


@dataclass(frozen=True)
class ClusterOptions:
    """How to search on a cluster. What is None follows from the cluster and the plan (``sharing.py``).

    None of it is part of a study: the same study goes on with others, or on one machine without a cluster.
    """

    address: str
    """``""`` (a local Ray), ``auto``, ``host:port`` or ``ray://host:port``."""

    gpus_per_trial: float | None = None
    """0 (CPUs alone), a share of a GPU below 1, or a whole number."""

    cpus_per_trial: float | None = None
    """Above zero."""

    max_concurrent: int | None = None
    """Trials at once at most, >= 1."""

    storage: Path | None = None
    """Folder that every node sees under this path; absolute."""

    @property
    def is_local(self) -> bool:
        """Whether a Ray of one's own is started on this machine."""
        return self.address == LOCAL

    @property
    def is_client(self) -> bool:
        """Whether the driver stays outside the cluster, and speaks to it by way of the Ray client."""
        return is_client(self.address)


def read_options(
    ray: object,
    *,
    gpus_per_trial: object = None,
    cpus_per_trial: object = None,
    max_concurrent: object = None,
    storage: object = None,
) -> ClusterOptions | None:
    """Check what was given, and make a value of it; None without a cluster.

    Args:
        ray: None (no cluster), ``""`` or ``local`` (a local Ray), ``auto``, ``host:port`` or
            ``ray://host:port``.
        gpus_per_trial: GPUs of each trial: 0, a share below 1, or a whole number.
        cpus_per_trial: CPUs of each trial, above zero.
        max_concurrent: Trials at once at most, >= 1.
        storage: Folder that every node sees under the same path.

    Raises:
        ConfigError: Something is wrong; all of it is told.
    """
    given = {
        "gpus-per-trial": gpus_per_trial,
        "cpus-per-trial": cpus_per_trial,
        "max-concurrent": max_concurrent,
        "storage": storage,
    }
    if ray is None:
        idle = [name for name, value in given.items() if value is not None]
        if idle:
            raise ConfigError(
                [
                    f"{name}: only on Ray; add ray (--ray for one on this machine), or leave it out"
                    for name in idle
                ]
            )
        return None
    problems = [
        *_problems_of_address(ray),
        *_problems_of_gpus(gpus_per_trial),
        *_problems_of_cpus(cpus_per_trial),
        *_problems_of_concurrency(max_concurrent),
        *_problems_of_storage(storage),
    ]
    if problems:
        raise ConfigError(problems)
    address = str(ray).strip()
    return ClusterOptions(
        address=LOCAL if address == "local" else address,
        gpus_per_trial=_number(gpus_per_trial),
        cpus_per_trial=_number(cpus_per_trial),
        max_concurrent=max_concurrent if isinstance(max_concurrent, int) else None,
        storage=Path(str(storage)).expanduser().absolute() if storage is not None else None,
    )


def is_address(text: str) -> bool:
    """Whether a text is ``host:port`` or ``ray://host:port``."""
    found = _ADDRESS.fullmatch(text)
    return found is not None and 1 <= int(found["port"]) <= LAST_PORT


def is_client(address: str) -> bool:
    """Whether an address is that of a Ray client server."""
    return address.startswith("ray://")


def split_address(address: str) -> tuple[str, int]:
    """Give host and port of ``host:port`` or ``ray://host:port``."""
    found = _ADDRESS.fullmatch(address)
    assert found is not None
    return found["host"].strip("[]"), int(found["port"])


def looks_like_address(word: str) -> bool:
    """Whether a word behind ``--ray`` is meant as its address, right or wrong, and not as data."""
    return _LIKE_AN_ADDRESS.fullmatch(word) is not None


def _problems_of_address(ray: object) -> list[str]:
    allowed = "auto, HOST:PORT, ray://HOST:PORT, or nothing for a Ray on this machine"
    if not isinstance(ray, str):
        return [f"ray: got {ray!r}; must be text: {allowed.replace('nothing', 'local')}"]
    address = ray.strip()
    if address in (LOCAL, "local", AUTO):
        return []
    if _ADDRESS.fullmatch(address) is None:
        return [f"ray: got {ray!r}; must be {allowed}, such as 10.0.0.5:6379"]
    if not is_address(address):
        return [f"ray: got {ray!r}; the port must be in 1..65535; ray start takes 6379"]
    return []


def _problems_of_gpus(given: object) -> list[str]:
    if given is None:
        return []
    number = _number(given)
    if number is None or number < 0 or 0 < number < FINEST:
        return [
            f"gpus-per-trial: got {given}; must be a share of a GPU such as 0.25, a whole number, or "
            "0 for CPUs alone"
        ]
    if number > 1 and number != round(number):
        whole = math.floor(number)
        return [
            f"gpus-per-trial: got {number:g}; above 1 it must be a whole number, since Ray shares out parts "
            f"of one GPU alone: {whole} or {whole + 1}"
        ]
    return []


def _problems_of_cpus(given: object) -> list[str]:
    number = _number(given)
    if given is None or (number is not None and number >= FINEST):
        return []
    return [f"cpus-per-trial: got {given}; must be a number above zero, such as 2"]


def _problems_of_concurrency(given: object) -> list[str]:
    if given is None or (type(given) is int and given >= 1):
        return []
    return [f"max-concurrent: got {given}; must be a whole number, at least 1"]


def _problems_of_storage(given: object) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, str | Path) or not str(given).strip():
        return [f"storage: got {given!r}; must be a folder that every node sees under the same path"]
    if "://" in str(given):
        return [
            f"storage: got {str(given)!r}; must be a folder that every node sees under the same path, such "
            "as one on NFS; without it nothing is needed but the cluster itself"
        ]
    path = Path(given).expanduser()
    if path.exists() and not path.is_dir():
        return [f"storage: {path} is a file; must be a folder that every node sees under the same path"]
    return []


def _number(given: object) -> float | None:
    """Give a finite number as such; None for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        return None
    return float(given)
