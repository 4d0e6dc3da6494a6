"""A guard around code that reads hostile input: what it may not do is noticed by the interpreter itself.

An audit hook (PEP 578) sees every file that is opened for writing, made, moved or removed, every process that
is started and every socket that is connected. In a child process ``watched/sitecustomize.py`` sets the
hook, from two environment variables: ``TRUST_WRITABLE``, folders parted by ``os.pathsep``, and
``TRUST_LOG``, a file to which violations are appended.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DEVICES = ("/dev/null", "/dev/shm", "/dev/tty", "/proc/self", "/dev/urandom")
PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")
CHANGES = (
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
    "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile", "shutil.copytree",
)  # fmt: skip
LISTINGS = ("os.listdir", "os.scandir")
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


@dataclass
class Rules:
    """What is allowed, and what is told of the rest."""

    writable: tuple[str, ...]
    """Real paths of the folders in which files may be changed."""

    processes: bool
    """Whether processes may be started."""

    tell: Callable[[str], None] = field(repr=False)

    private: tuple[str, ...] = ()
    """Real paths of the folders of which nothing may even be read."""

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Judge an event."""
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, (str, bytes)) and writes(mode, flags) and not self._may_write(path):
                self.tell(f"opened {os.fsdecode(path)!r} for writing")
            if isinstance(path, (str, bytes)) and self.private and _lies_in(path, self.private):
                self.tell(f"opened {os.fsdecode(path)!r}")
        elif event in LISTINGS:
            if (
                isinstance(arguments[0], (str, bytes))
                and self.private
                and _lies_in(arguments[0], self.private)
            ):
                self.tell(f"{event} {os.fsdecode(arguments[0])!r}")
        elif event in CHANGES:
            # The last path is what comes to be or goes; what a link or a copy starts from is only read.
            paths = [one for one in arguments[:2] if isinstance(one, (str, bytes, os.PathLike))]
            if paths and not self._may_write(changed := _absolute(event, paths[-1], arguments)):
                self.tell(f"{event} {changed!r}")
        elif event in PROCESSES and not self.processes:
            self.tell(f"{event} {arguments[:2]!r}")
        elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = arguments[1]
            host = str(address[0]) if isinstance(address, tuple) else None  # else a socket of this machine
            if host is not None and not host.startswith(LOOPBACK):
                self.tell(f"{event} {address!r}")
        elif event in ("socket.getaddrinfo", "socket.gethostbyname") and arguments[0] is not None:
            host = os.fsdecode(arguments[0]) if isinstance(arguments[0], bytes) else str(arguments[0])
            if host and not host.startswith(LOOPBACK):
                self.tell(f"{event} {host!r}")

    def _may_write(self, path: str | bytes) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return real.startswith(DEVICES) or _lies_in(path, self.writable)


def _lies_in(path: str | bytes, folders: tuple[str, ...]) -> bool:
    # Links are followed, also where only the folder exists yet.
    real = os.path.realpath(os.fsdecode(path))
    return any(real == folder or real.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _absolute(event: str, path: "str | bytes | os.PathLike[str]", arguments: tuple[Any, ...]) -> str:
    """Give where a path lies that may be one within an open folder; that is the last argument then."""
    name, folder = os.fsdecode(path), arguments[-1]
    if event.startswith("os.") and event != "os.truncate" and isinstance(folder, int) and folder >= 0:
        return os.path.join(os.path.realpath(f"/proc/self/fd/{folder}"), name)  # noqa: PTH118 - events see no objects
    return name


def writes(mode: object, flags: int) -> bool:
    """Whether a file is opened to be changed, by the arguments of the audit event ``open``."""
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & WRITING)


_rules: list[Rules] = []
_hooked = False
_judging = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    global _judging
    if not _rules or _judging:
        return
    _judging = True
    try:
        for rules in _rules:
            rules.see(event, arguments)
    finally:
        _judging = False


def watch(rules: Rules) -> None:
    """Judge all events of this process from now on."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _rules.append(rules)


@contextlib.contextmanager
def guarded(
    writable: Iterable[Path], *, memory: int | None = None, private: Iterable[Path] = ()
) -> Iterator[list[str]]:
    """Watch a block that must start no process, open no connection, and write only below some folders.

    Args:
        writable: The folders; the temporary folder of the system is none of them unless it is named.
        memory: Bytes of address space by which this process may grow within the block; more is a
            ``MemoryError``, or whatever the code under test makes of it.
        private: Folders of which nothing may even be read.

    Yields:
        What was done that may not be, a sentence each; filled as the block goes on.
    """
    seen: list[str] = []
    rules = Rules(
        writable=tuple(os.path.realpath(one) for one in writable),
        processes=False,
        tell=seen.append,
        private=tuple(os.path.realpath(one) for one in private),
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory, hard))
    watch(rules)
    try:
        yield seen
    finally:
        _rules.remove(rules)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def watched(
    environment: dict[str, str], writable: Iterable[Path], log: Path, *, temporary: Path
) -> dict[str, str]:
    """Give an environment whose Python processes are watched, and tell violations in a file.

    Processes may be started in it; their children are watched too.

    Args:
        environment: To begin with.
        writable: Folders in which files may be changed.
        log: The file; not made while there is nothing to tell.
        temporary: The folder for temporary files, which may be written too; made when missing.
    """
    here = str(Path(__file__).parent / "watched")
    path = os.pathsep.join(filter(None, (here, environment.get("PYTHONPATH", ""))))
    temporary.mkdir(parents=True, exist_ok=True)
    folders = [*writable, log.parent, temporary]
    return {
        **environment,
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(temporary),
        "TRUST_WRITABLE": os.pathsep.join(os.path.realpath(one) for one in folders),
        "TRUST_LOG": str(log),
    }


def watch_from_environment() -> None:
    """Watch this process as the environment asks for."""
    log, writable = os.environ["TRUST_LOG"], os.environ["TRUST_WRITABLE"].split(os.pathsep)

    def tell(what: str) -> None:
        with open(log, "a", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - pathlib is not loaded yet
            file.write(f"{os.getpid()} {' '.join(sys.argv[:3])}: {what}\n")

    watch(Rules(writable=tuple(writable), processes=True, tell=tell))
