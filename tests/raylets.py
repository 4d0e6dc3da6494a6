"""A Ray cluster of several nodes on one machine: they see no disk of each other, join and die.

Each node is a ``ray start`` with an IP address of its own, 127.0.0.11 and on. All but the head live in a
mount namespace in which the folders to hide, Ray's own folder and ``/dev/shm`` are empty and the node's
alone: what a run there leans on has come over the network. A node dies as a machine does, with all its
processes and without a word. None outlives the process that started it, whatever becomes of that.
"""

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

STORE_BYTES = 120 * 2**20
"""Object store of a node."""

NO_WORK = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Titles of the processes of Ray in which no task or actor runs."""

READY = b"Ray runtime started"
SLOWEST_START = 60.0
"""Seconds that a node may take to join on a busy machine."""

SYSTEM = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    "health_check_timeout_ms": 20_000,  # a node on a busy machine is slow, not dead
    "enable_worker_prestart": False,
    "prestart_worker_first_driver": False,
}
"""A node is noticed to be gone two seconds after its death; no worker starts before it is needed."""

ENTER = """
while [ "$1" != -- ]; do mount -t tmpfs none "$1" || exit 1; shift; done; shift
mkdir -p "$HOME"; exec "$@"
"""
"""Gives a node its view of the disk, and starts it."""


@dataclass(frozen=True)
class Raylet:
    """A node."""

    ip: str
    process: "subprocess.Popen[bytes]"
    """Leads the session that all processes of the node are in, and kills them when its standard input ends
    with the process that holds the other end."""

    log: Path

    @property
    def pids(self) -> list[int]:
        """All processes of the node, those that have ended but for their last word left out."""
        return sorted(_session(self.process.pid))

    @property
    def workers(self) -> list[int]:
        """Those in which tasks or actors run, the oldest first; idle ones left out."""
        titles = {pid: title(pid) for pid in self.pids}
        return [
            pid
            for pid, title in titles.items()
            if title.startswith("ray::") and not title.startswith(NO_WORK)
        ]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def signal_workers(self, number: signal.Signals) -> None:
        """Send a signal to every process in which tasks or actors run."""
        _send(self.workers, number)

    def kill(self) -> None:
        """End the node like a machine that loses its power: none of its processes says anything more."""
        while pids := self.pids:
            for number in (signal.SIGSTOP, signal.SIGKILL):
                _send(pids, number)
            self.process.poll()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def wait(self) -> None:
        """Wait until the node has joined."""
        deadline = time.monotonic() + SLOWEST_START
        while READY not in self.log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                told = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"the node {self.ip} has not started:\n{told}")
            time.sleep(0.05)


class Raylets:
    """A cluster, stopped at the end of a ``with`` block.

    Whoever connects to it in this process must disconnect before the block ends: Ray waits for ever for a
    head that is gone.

    Args:
        hidden: Folders that only the head sees.
        cpus: Of the head, for trials to run on.
    """

    def __init__(self, hidden: Iterable[Path] = (), *, cpus: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="raylets-", dir="/tmp"))  # sockets take short paths alone
        self._hidden = (*hidden, self.folder, Path("/dev/shm"))
        self._ips = (f"127.0.0.{number}" for number in range(11, 255))
        self._port = _free_port()
        self._client_port = _free_port() if importlib.util.find_spec("grpc") else None
        self.nodes: list[Raylet] = []
        """The nodes that were started, dead ones too; the head first."""

        options = [
            "--head", f"--port={self._port}", f"--temp-dir={self.folder}", "--no-monitor",
            f"--system-config={json.dumps(SYSTEM)}", "--include-dashboard=false",
            *([f"--ray-client-server-port={self._client_port}"] if self._client_port else []),
        ]  # fmt: skip
        try:
            self._start(options, cpus, {}, ()).wait()
        except BaseException:
            self.stop()
            raise

    @property
    def head(self) -> Raylet:
        return self.nodes[0]

    @property
    def address(self) -> str:
        """What a driver connects to, ``host:port``."""
        return f"{self.head.ip}:{self._port}"

    @property
    def client_address(self) -> str:
        """What a driver connects to that stays outside, once somebody listens there.

        Only where the Ray client is installed.
        """
        deadline = time.monotonic() + SLOWEST_START
        while not _listens(self.head.ip, self._client_port or 0):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no client server has started:\n{self.head.log.read_text()[-3000:]}")
            time.sleep(0.05)
        return f"ray://{self.head.ip}:{self._client_port}"

    @property
    def workers(self) -> list[Raylet]:
        """The nodes that are alive, the head left out."""
        return [node for node in self.nodes[1:] if node.alive]

    def add(
        self,
        cpus: int = 1,
        *,
        resources: Mapping[str, float] | None = None,
        wait: bool = True,
        before: Iterable[str] = (),
    ) -> Raylet:
        """Start a node with a disk of its own, by a command with these words before it."""
        entering = [*_entering(self._hidden), *before]
        node = self._start([f"--address={self.address}"], cpus, resources or {}, entering)
        if wait:
            node.wait()
        return node

    def add_all(self, count: int, cpus: int = 1) -> list[Raylet]:
        """Start several nodes at a time."""
        nodes = [self.add(cpus, wait=False) for _ in range(count)]
        for node in nodes:
            node.wait()
        return nodes

    def _start(
        self, options: list[str], cpus: int, resources: Mapping[str, float], entering: Iterable[str]
    ) -> Raylet:
        ip = next(self._ips)
        log = self.folder.with_name(f"{self.folder.name}-{ip}.log")
        command = [
            *entering, sys.executable, __file__,
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options,
            f"--node-ip-address={ip}", f"--num-cpus={cpus}", "--num-gpus=0", "--disable-usage-stats",
            f"--object-store-memory={STORE_BYTES}", "--min-worker-port=0", "--max-worker-port=0",
            "--include-log-monitor=false", f"--resources={json.dumps(dict(resources))}",
        ]  # fmt: skip
        without = {"AUTOFREEZE_CACHE", "AUTOFREEZE_TEST_DATA", "RAY_ADDRESS", "HF_HOME", "XDG_CACHE_HOME"}
        env = {name: value for name, value in os.environ.items() if name not in without}
        env |= {"HOME": str(self.folder / "home"), "PYTHONPATH": str(Path(__file__).parents[1])}
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, cwd="/", env=env, stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        node = Raylet(ip, process, log)
        self.nodes.append(node)
        return node

    def stop(self) -> None:
        """Kill all nodes, and delete what they have written."""
        for node in reversed(self.nodes):
            node.kill()
            node.log.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Raylets":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@functools.cache
def why_not() -> str:
    """Why no such cluster can be had here; empty where it can."""
    if not sys.platform.startswith("linux"):
        return "nodes with disks of their own need mount namespaces, which only Linux has"
    return "" if _unsharing() else "no mount namespace can be made here (unshare --mount)"


@functools.cache
def _unsharing() -> tuple[str, ...]:
    """Give the command that starts another one in a mount namespace: as root, else as root of a namespace."""
    for command in (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount")):
        probe = [*command, "mount", "-t", "tmpfs", "none", "/dev/shm"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return command
    return ()


def _entering(hidden: Iterable[Path]) -> list[str]:
    if why_not():
        raise RuntimeError(why_not())
    return [*_unsharing(), "sh", "-c", ENTER, "sh", *map(str, hidden), "--"]


def _session(leader: int) -> Iterator[int]:
    """Give the processes of a session, zombies left out."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                _, _, rest = (entry / "stat").read_text(errors="replace").rpartition(")")
                state, _, _, session = rest.split()[:4]
                if int(session) == leader and state not in "ZX":
                    yield int(entry.name)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def title(pid: int) -> str:
    """Give the command of a process, or what it calls itself; empty where it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.11", 0))
        return int(probe.getsockname()[1])


def _listens(ip: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((ip, port), timeout=1):
        return True
    return False


def _lead(command: list[str]) -> None:
    """Run a node until it ends, or until whoever started it is gone."""
    node = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end() -> None:
        node.wait()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    sys.stdin.buffer.read()
    while others := [pid for pid in _session(os.getpid()) if pid != os.getpid()]:
        _send(others, signal.SIGKILL)


if __name__ == "__main__":
    _lead(sys.argv[1:])
