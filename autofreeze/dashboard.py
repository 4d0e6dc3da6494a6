"""optuna-dashboard on the study of a run folder: on this machine alone, and only to look at."""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.storages import JournalStorage

from autofreeze.errors import ConfigError, RunFolderError
from autofreeze.journalreader import JournalReader
from autofreeze.report.files import folder_of

HOST = "127.0.0.1"
"""The only address that is listened at."""

PORT = 8080
TRIED_PORTS = 20
"""Ports behind one that is taken that are tried, before any will do."""

LOOKING = ("GET", "HEAD")
"""Methods that change nothing."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def journal_of(run: str | Path, dataset: str | None = None) -> Path:
    """Find the study of a run folder.

    Args:
        run: The run folder of a search, which may be under way.
        dataset: Which of several data sets.

    Raises:
        RunFolderError: There is none, or none yet.
        ConfigError: The data set is unknown, or must be named.
    """
    folder = Path(run)
    if dataset is not None or not (folder / "run.json").exists():
        folder = folder_of(run, dataset)
    journal = folder / "study.journal"
    if not journal.is_file():
        raise RunFolderError("holds no study yet: its search has not begun", where=str(folder))
    return journal


@contextmanager
def served(journal: Path, port: int = PORT) -> Iterator["DashboardServer"]:
    """Bind a server of the study; it answers while ``serve_forever`` runs.

    Args:
        journal: The study's file, which is never written to.
        port: Of ``HOST``; 0 takes any. Where it is taken, one behind it is, at last any.

    Raises:
        ConfigError: optuna-dashboard is missing, or the port is none or may not be used.
        RunFolderError: The journal cannot be read.
    """
    if find_spec("optuna_dashboard") is None:
        raise ConfigError("the dashboard needs another package: pip install 'autofreeze[dashboard]'")
    if not 0 <= port < 2**16:
        raise ConfigError(f"port: got {port}; must be 0 (any that is free) to {2**16 - 1}")
    from optuna_dashboard import wsgi

    application = only_looked_at(wsgi(JournalStorage(JournalReader(journal))))
    with _bound(port) as server:
        server.set_app(application)
        yield server


def _bound(port: int) -> "DashboardServer":
    behind = range(port, min(port + TRIED_PORTS, 2**16)) if port else ()
    for one in (*behind, 0):
        try:
            return DashboardServer((HOST, one), _QuietHandler)
        except PermissionError:
            raise ConfigError(
                f"port: got {one}, which only the system may use; choose one above 1023"
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not one:
                raise ConfigError(f"port: {one} cannot be listened at: {error.strerror}") from None
    raise AssertionError("a free port was asked for last")


class DashboardServer(ThreadingMixIn, WSGIServer):
    """A server that answers several requests at once, at ``HOST``."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows two servers would share a port

    def server_bind(self) -> None:
        """Bind; without asking any name server what this machine is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.server_port}/dashboard"


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Write no line for each request: pages ask every few seconds."""


def only_looked_at(application: Application) -> Application:
    """Refuse whatever could change the study, and what comes by another name than this machine's.

    A page of another site, whose name somebody makes lead to this machine, could else read along.

    Args:
        application: A WSGI application.
    """

    def guarded(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        name = environment.get("HTTP_HOST", "").rpartition(":")[0] or environment.get("HTTP_HOST", "")
        if name not in (HOST, "localhost"):
            return _refusal(start, "403 Forbidden", f"only {HOST} and localhost are answered", [])
        if environment["REQUEST_METHOD"] not in LOOKING:
            reason = "autofreeze shows a study, and changes nothing in it"
            return _refusal(start, "405 Method Not Allowed", reason, [("Allow", ", ".join(LOOKING))])
        return application(environment, start)

    return guarded


def _refusal(
    start: Callable[..., Any], status: str, reason: str, more: list[tuple[str, str]]
) -> Iterable[bytes]:
    body = json.dumps({"reason": reason}).encode()
    start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *more])
    return [body]
