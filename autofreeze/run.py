"""The run folder: everything that a search keeps, and who may write to it.

``run.json`` says what is searched, ``study.journal`` is Optuna's, ``records.jsonl`` holds every epoch of
every run, ``checkpoints/`` the rolling state of runs under way, ``status.json`` how it goes; ``report.json``,
``report.html`` and ``report.md`` tell the outcome, and are written again as trials end.
"""

import json
import os
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import filelock
import optuna
from optuna.storages import JournalStorage

from autofreeze.documents import write_text
from autofreeze.errors import RunFolderError
from autofreeze.job import EpochRecord, Job
from autofreeze.journal import Journal
from autofreeze.journalreader import JournalReader
from autofreeze.records import RECORDS, line_of, repair
from autofreeze.values import digest_of

SCHEMA = 2
STUDY_NAME = "autofreeze"

LOCK_PATIENCE = 0.5
"""Seconds for which a lock is tried: whoever looks whether a search runs holds it for an instant."""


class RunFolder:
    """A run folder, open for one search at a time.

    Args:
        path: The folder; made when missing.
        identity: What makes the study what it is, as plain data by name. A folder that holds a study with
            another identity is refused.
        resume: Whether to go on with the study that is there.
        command: For ``run.json``.
        storage: A folder that others see as well, where rolling checkpoints lie; in the run folder when left
            out.

    Raises:
        RunFolderError: The folder holds another study, or one and ``resume`` is not set; another process
            is using it; it cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        identity: Mapping[str, Any],
        *,
        resume: bool = False,
        command: str = "",
        storage: Path | None = None,
    ) -> None:
        self.path = Path(path)
        check_usable(self.path, resume=resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.path / ".lock", timeout=LOCK_PATIENCE)
            self._lock.acquire()
        except filelock.Timeout:
            raise RunFolderError(
                "another search is using this folder; wait for it, or choose another --out", where=str(path)
            ) from None
        except OSError as error:
            raise RunFolderError(
                f"cannot be written: {error.strerror}; choose another --out", where=str(path)
            ) from None
        try:
            self._check_identity(dict(identity), command)
            self._checkpoints = self._find_checkpoints(storage)
            self._sweep()
            self.study = self._open_study()
            self._records = self._open_records()
        except BaseException:
            self._lock.release()
            raise

    def _check_identity(self, identity: dict[str, Any], command: str) -> None:
        file = self.path / "run.json"
        if not file.exists():
            created = datetime.now(UTC).isoformat(timespec="seconds")
            about = {"schema": SCHEMA, "created": created, "command": command, "identity": identity}
            write_text(file, json.dumps(about, indent=2) + "\n")
            return
        check_same_study(self.path, identity)

    def _find_checkpoints(self, storage: Path | None) -> Path:
        """Give the folder of rolling checkpoints; elsewhere its name is that of folder and study."""
        if storage is None:
            return self.path / "checkpoints"
        own = digest_of([str(self.path.absolute()), read_about(self.path)["created"]])
        folder = storage / "checkpoints" / own
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _sweep(self) -> None:
        """Delete half-written files of a killed search; we hold the lock, so nobody is writing them."""
        for pattern in (
            ".run.json.*",
            ".status.json.*",
            ".report.json.*",
            ".report.md.*",
            ".report.html.*",
            "checkpoints/.*.pt.*",
        ):
            for half in self.path.glob(pattern):
                half.unlink(missing_ok=True)

    def _open_records(self) -> IO[str]:
        repair(self.path / RECORDS)
        return (self.path / RECORDS).open("a", encoding="utf-8")

    def _open_study(self) -> optuna.Study:
        journal = self.path / "study.journal"
        repair(journal)
        # We hold the folder's lock, so a lock on the journal belongs to a process that died.
        for stale in self.path.glob("study.journal.lock*"):
            stale.unlink(missing_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if journal.exists():  # Optuna passes over a damaged last line, and writes behind it
            deque(JournalReader(journal).read_logs(0), maxlen=0)
        self._journal = Journal(journal)
        try:
            storage = JournalStorage(self._journal)
            return optuna.create_study(
                study_name=STUDY_NAME, storage=storage, direction="maximize", load_if_exists=True
            )
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            # Optuna takes each line as it finds it: what it stumbles over is damaged.
            raise RunFolderError(
                f"is damaged ({type(error).__name__}: {error}); put a copy of the file in its place, or "
                "begin anew with another --out",
                where=str(journal),
            ) from None

    def together(self) -> AbstractContextManager[None]:
        """Have what the study writes within a block reach the disk at the block's end, in one go.

        Raises:
            RunFolderError: The folder was removed or renamed.
        """
        self._refuse_gone()
        return self._journal.together()

    def append(self, job: Job, record: EpochRecord, *, at: float | None = None, where: str = "") -> None:
        """Keep a record: one line, on disk before this returns.

        Args:
            job: Whose it is.
            record: What its newest epoch gave.
            at: When that epoch ended, in seconds since 1970; now when left out.
            where: Name of the place; see ``Recorded.where``.
        """
        self._refuse_gone()
        self._records.write(line_of(job, record, time.time() if at is None else at, where))
        self._records.flush()
        os.fsync(self._records.fileno())

    def _refuse_gone(self) -> None:
        """Refuse to go on where the folder is another one than when it was opened, or none.

        Raises:
            RunFolderError: It was removed or renamed; what has been written is not where it was.
        """
        with suppress(OSError):
            if os.path.samestat((self.path / RECORDS).stat(), os.fstat(self._records.fileno())):
                return
        raise gone(self.path)

    def checkpoint(self, job: Job) -> Path:
        """Where the rolling checkpoint of a job lies."""
        part = f"fold-{job.fold}" if job.fresh is None else f"fresh-{job.fresh:02d}"
        return self._checkpoints / f"trial-{job.trial:04d}-{part}.pt"

    def drop_checkpoint(self, job: Job) -> None:
        """Delete the rolling checkpoint of a job that has ended."""
        self.checkpoint(job).unlink(missing_ok=True)

    def close(self) -> None:
        """Let the folder go."""
        try:
            with suppress(OSError):  # the disk is full: whoever wrote has been told
                self._records.close()
        finally:
            self._lock.release()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gone(path: Path) -> RunFolderError:
    """Say that a run folder is no longer where it was."""
    return RunFolderError(
        "was removed or renamed while the search ran; put it back and go on with --resume, or begin anew",
        where=str(path),
    )


def check_usable(path: Path, *, resume: bool) -> None:
    """Refuse a folder that a new search would overwrite; touches nothing.

    Raises:
        RunFolderError: The path is a file, a folder of other things, or holds a study that is not to be
            resumed; or no folder can be made there.
    """
    if path.is_file():
        raise RunFolderError("is a file; give a folder with --out", where=str(path))
    if not path.is_dir():
        check_can_be_made(path)
        return
    held = any(entry.name != ".lock" and not entry.match(".run.json.*") for entry in path.iterdir())
    if (path / "run.json").exists():  # asked afterwards: another search may be making its folder just now
        if not resume:
            raise RunFolderError(
                "holds a study already; go on with it by --resume, or choose another --out", where=str(path)
            )
    elif held:
        raise RunFolderError("is neither empty nor a run folder; choose another --out", where=str(path))


def check_can_be_made(path: Path) -> None:
    """Refuse a path where no folder can be made; touches nothing.

    Raises:
        RunFolderError: What lies above it is a file, or may not be written to.
    """
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise RunFolderError(f"cannot be made: {above} is a file; choose another --out", where=str(path))
    if not os.access(above, os.W_OK | os.X_OK):
        raise RunFolderError(
            f"cannot be made: {above} may not be written to; choose another --out", where=str(path)
        )


def check_same_study(path: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds another study; one without any will do. Touches nothing.

    Args:
        path: The folder.
        identity: As for :class:`RunFolder`.

    Raises:
        RunFolderError: The study there has another identity; all differences are told.
    """
    if not (path / "run.json").exists():
        return
    before = read_about(path)["identity"]
    after = json.loads(json.dumps(identity))
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    if changed:
        raise RunFolderError(
            ["holds another study; choose another --out, or give what it was started with"]
            + [
                f"{key}: {_short(before.get(key))} there, {_short(after.get(key))} asked for"
                for key in changed
            ],
            where=str(path),
        )


def read_about(path: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Raises:
        RunFolderError: The folder is no run folder.
    """
    try:
        about: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"no run folder: run.json cannot be read ({error})", where=str(path)) from None
    if not isinstance(about, dict):
        raise RunFolderError("no run folder: run.json holds no object", where=str(path))
    if about.get("schema") != SCHEMA:
        raise RunFolderError(
            f"was written with schema {about.get('schema')}; this version knows {SCHEMA}", where=str(path)
        )
    if not isinstance(about.get("identity"), dict) or not isinstance(about.get("created"), str):
        raise RunFolderError(
            "run.json is damaged: it does not say what is searched, and since when; put a copy of it in its "
            "place",
            where=str(path),
        )
    return about


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
