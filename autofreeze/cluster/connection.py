"""A Ray cluster, reached, looked at, and left as it was found."""

import os
import re
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from autofreeze.cluster.answer import explain, why_no_answer
from autofreeze.cluster.asked import AUTO, ClusterOptions, split_address
from autofreeze.cluster.inspection import Seen, inspect, look_here, marked, wrong_with
from autofreeze.cluster.lookout import answering
from autofreeze.cluster.packages import versions_here
from autofreeze.cluster.sharing import NodeResources
from autofreeze.errors import ClusterError, ConfigError
from autofreeze.phrases import listed
from autofreeze.quiet import quiet

LOCAL = "local"
LOCALHOST = "127.0.0.1"

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0"}
"""What Ray reads from the environment of whoever connects."""

ATTEMPTS = 3
SERVER_DIED = re.compile("Starting Ray client server failed|Proxy failed to Connect to backend")
"""What a head says whose server for a client has died while it started."""

SILENT: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


@dataclass
class Cluster:
    """A cluster that this process is connected to."""

    address: str
    """``local`` for one that was started here, or where it was reached."""

    is_client: bool
    """Whether the driver stays outside, and speaks to it by way of the Ray client."""

    _seen: dict[str, Seen] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether it is this machine alone, and was started here."""
        return self.address == LOCAL

    def nodes(self) -> list[NodeResources]:
        """Give the nodes that are alive now: the driver's first, others as they joined."""
        return [
            NodeResources(
                name=name,
                cpus=float(node["Resources"].get("CPU", 0.0)),
                gpus=float(node["Resources"].get("GPU", 0.0)),
                gpu_memory=self._seen[node["NodeID"]].gpu_memory if node["NodeID"] in self._seen else None,
                memory=int(node["Resources"].get("memory", 0)) or None,
            )
            for name, node in _named(alive_nodes()).items()
        ]

    @property
    def node_of_driver(self) -> str:
        """Name of the node that the driver runs on, or through which a client speaks."""
        import ray

        own = ray.get_runtime_context().get_node_id()
        return next((name for name, node in _named(alive_nodes()).items() if node["NodeID"] == own), "")

    def check(self, storage: Path | None = None) -> None:
        """Look at all nodes that have not been looked at.

        Args:
            storage: A folder that all of them should see under this path.

        Raises:
            ConfigError: A node has not the packages that the driver has, does not see the storage, or says
                nothing. All that is wrong is told.
        """
        named = {name: node["NodeID"] for name, node in _named(alive_nodes()).items()}
        new = {name: one for name, one in named.items() if one not in self._seen}
        with marked(storage) as mark:
            # A Ray of one's own is this machine and this Python: no process need be started to be asked.
            ask = inspect if not self.is_local else lambda ids, mark: dict.fromkeys(ids, look_here(mark))
            answers = ask(list(new.values()), mark)
        self._seen |= {one: seen for one, seen in answers.items() if isinstance(seen, Seen)}
        here, alive = versions_here(), {node["NodeID"] for node in alive_nodes()}
        wrong: dict[str, list[str]] = {}
        for name, one in new.items():
            seen = answers[one]
            what = wrong_with(seen, here, storage) if isinstance(seen, Seen) else seen
            if what and one in alive:
                wrong.setdefault(what, []).append(name)
        if wrong:
            raise ConfigError([f"ray: {listed(names)}: {what}" for what, names in wrong.items()])


@contextmanager
def connect(asked: ClusterOptions) -> Iterator[Cluster]:
    """Connect to a cluster, or start one on this machine; check its nodes; leave it, or end it, at the end.

    Where this process is connected already, as in a notebook, that cluster is taken, and the connection
    stays.

    Usage statistics are off, and Ray's dashboard, where it is installed, is seen from this machine alone. A
    Ray that is started here is given a token of its own, so that nobody else on the network can have it run
    code.

    Args:
        asked: Where the cluster is.

    Raises:
        ConfigError: The address does not answer within 20 s, or not as a cluster of the same Ray and
            Python; a node has other packages, or does not see the storage.
    """
    import ray

    if ray.is_initialized():
        with _checked(_connected_to(asked), asked.storage) as cluster:
            yield cluster
        return
    if not asked.is_local:
        problem = why_no_answer(asked.address)
        if problem:
            raise ConfigError(f"ray: {problem}")
    with _environment({**SETTINGS, **(_token() if asked.is_local else {})}):
        try:
            with _signals_kept(), quiet("ray"):
                _start() if asked.is_local else _join(asked.address)
            with _checked(LOCAL if asked.is_local else _address(asked), asked.storage) as cluster:
                yield cluster
        finally:
            with _signals_kept():
                ray.shutdown()


@contextmanager
def _checked(address: str, storage: Path | None) -> Iterator[Cluster]:
    """Give the cluster that this process is connected to, when nothing is wrong with its nodes."""
    cluster = Cluster(address, is_client=_is_client())
    with answering(), _folder_of_client() if cluster.is_client else nullcontext():
        cluster.check(storage)
        yield cluster


def _start() -> None:
    """Start a Ray on this machine.

    Raises:
        ClusterError: Ray does not start.
    """
    import ray

    try:
        ray.init("local", num_cpus=_own_cpus(), dashboard_host=LOCALHOST, **SILENT)
    except Exception as error:
        raise ClusterError(
            f"no Ray could be started on this machine: {' '.join(str(error).split())}"
        ) from error


def _join(address: str) -> None:
    """Connect to a cluster that is known to answer.

    A head starts a server of its own for each client, and gRPC can crash in that process between fork and
    exec (seen in 1 of 24 starts on a busy machine, grpcio 1.85): it is asked for another one then.

    Raises:
        ConfigError: It refuses.
    """
    import ray

    for left in reversed(range(ATTEMPTS)):
        try:
            ray.init(address, **SILENT)
            return
        except Exception as error:
            if left and SERVER_DIED.search(str(error)):
                continue
            raise ConfigError(f"ray: {explain(type(error).__name__, str(error), address)}") from error


def _address(asked: ClusterOptions) -> str:
    """Give the address of the cluster that this process is connected to; of a client, that of its server."""
    import ray

    if asked.is_client:
        return asked.address
    return str(ray.get_runtime_context().gcs_address)


def _is_client() -> bool:
    """Whether this process speaks to its cluster by way of the Ray client."""
    import ray

    return bool(ray.util.client.ray.is_connected())  # type: ignore[no-untyped-call]


def _own_cpus() -> int | None:
    """CPUs that this process may use, where the system says that these are fewer than there are."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return allowed if allowed is not None and allowed < (os.cpu_count() or 1) else None


def _connected_to(asked: ClusterOptions) -> str:
    """Give the address of the cluster that this process is connected to.

    Raises:
        ConfigError: Another one was asked for by its address.
    """
    own = _address(asked)
    if not asked.is_local and not asked.is_client and asked.address != AUTO and asked.address != own:
        host, port = split_address(asked.address)
        if port != split_address(own)[1] or host not in ("localhost", LOCALHOST, "::1"):
            raise ConfigError(
                f"ray: got {asked.address!r}, and this process is connected to {own} already; take auto, "
                "or call ray.shutdown() first"
            )
    return own


# What is changed for the time of a connection


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables that nobody else has set, and leave all of Ray's as they were found."""
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    os.environ.update({name: value for name, value in settings.items() if name not in before})
    _read_again()
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_") and name not in before]:
            del os.environ[name]
        os.environ.update(before)
        _read_again()


def _read_again() -> None:
    """Have Ray read its settings, and its token, from the environment as it is now."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _token() -> dict[str, str]:
    """Give settings by which nobody without a token gets into a Ray that is started here.

    Ray would write the token to a file in the user's home, and by that change what ``ray start`` does later.
    """
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    if "RAY_AUTH_MODE" in os.environ or AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _folder_of_client() -> Iterator[None]:
    """Have a folder for Ray Tune, which asks the node that it is on for one: a client is on none."""
    import ray

    worker: Any = ray._private.worker
    with tempfile.TemporaryDirectory(prefix="autofreeze-ray-") as folder:
        before = worker._global_node
        worker._global_node = SimpleNamespace(get_session_dir_path=lambda: folder)
        try:
            yield
        finally:
            worker._global_node = before


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep the handlers of this process: Ray sets one for SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Nodes


def alive_nodes() -> list[dict[str, Any]]:
    """Give what Ray says of the nodes that are alive."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def _named(nodes: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Name nodes by their addresses, and by their ports too where several are on one machine."""
    addresses = [node["NodeManagerAddress"] for node in nodes]
    return {
        address if addresses.count(address) == 1 else f"{address}:{node['NodeManagerPort']}": node
        for address, node in zip(addresses, nodes, strict=True)
    }
