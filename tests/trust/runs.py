# ruff: noqa: E501 - tables are read by line
"""A run of few images, made once, and the commands that read runs."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from trust.finds import Finds
from trust.numbers import MODEL, SHORT, in_process, write_classes


@cache
def image_run() -> Path:
    """Search few images once in this process; the run folder, which stays as it is."""
    folder = Path(tempfile.mkdtemp(prefix="autofreeze-trust-"))
    write_classes(folder / "data", (12, 12))
    arguments = (
        "search",
        folder / "data",
        *MODEL,
        *SHORT,
        "--cache",
        folder / "cache",
        "--out",
        folder / "run",
    )
    status, told = in_process(*arguments)
    assert status == 0, told
    return folder / "run"


def copied(run: Path, target: Path) -> None:
    """Give what a run has written, in a new folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run, target, ignore=shutil.ignore_patterns(".lock"))


@contextlib.contextmanager
def placed(home: Path) -> Iterator[None]:
    """Run commands deep inside a folder of their own, in which home, cache and temporary folder lie too."""
    below = home / "a" / "b" / "c"
    below.mkdir(parents=True)
    changed = {"HOME": str(home / "a"), "AUTOFREEZE_CACHE": str(home / "cache"), "BROWSER": "true"}
    before, there, temporary = {name: os.environ.get(name) for name in changed}, Path.cwd(), tempfile.tempdir
    os.environ.update(changed)
    os.chdir(below)
    tempfile.tempdir = str(below)
    try:
        yield
    finally:
        os.chdir(there)
        tempfile.tempdir = temporary
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


READERS = (
    ("report",), ("report", "--json"), ("status",), ("status", "--json"), ("export",), ("export", "--to", "pytorch"),
    ("compare",), ("report", "--html"),
)  # fmt: skip


def read_by(finds: Finds, given: object, run: Path, reader: Sequence[str]) -> None:
    """Let a command read a run; what it gives as JSON must be strict JSON."""
    arguments: list[object] = [reader[0], run, *reader[1:]]
    if reader[0] == "compare":
        arguments = ["compare", run, image_run()]
    status, told = finds.command((reader, given), run.parent, *arguments)
    if status == 0 and "--json" in reader:
        try:
            json.loads(told, parse_constant=_no_json)
        except ValueError as error:
            finds.add(f"{' '.join(reader)}: gives no JSON: {error}", given)


def _no_json(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
