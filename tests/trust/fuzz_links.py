# ruff: noqa: E501 - tables are read by line
"""Folders of images in which links lead out or in circles, pipes and devices lie, and names are what they may be.

Nothing outside is opened or listed, nothing is waited for, and what cannot be used is told.
"""

import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from trust.check import Check, Effort, Outcome
from trust.finds import MEMORY, Finds
from trust.fuzz_weights import honest_model
from trust.guard import guarded
from trust.numbers import in_process, write_classes

PATIENCE = 30.0
"""Seconds after which a pipe is written to, so that whoever waits for it goes on, and is found out."""

NAMES = (
    b"x" * 251 + b".png", b"two\nlines.png", b"tab\t.png", b"\x1b[31mred.png", "\u202egnp.exe.png".encode(), "\u200b.png".encode(),
    b"<script>alert(1)<.png", b"'quoted\".png", b"back\\slash.png", b"%s{0}$HOME.png", b"-rf.png", b"=cmd().png", b" .png", b"con.png",
    b"\xff\xfe.png", b"\xed\xa0\x80.png", "é.png".encode(), "e\u0301.png".encode(), b"A.PNG", b"a.png", "\U0001f600.png".encode(),
    b"9" * 200 + b".png", "\u0660\u0661.png".encode(), b"..png", b"*.png", b"~.png", b"a;b|c&d.png", b"[1].png", "İ.png".encode(), b"\r.png",
)  # fmt: skip
"""Of images."""

Put = Callable[[Path, Path], None]
"""Puts something into a folder of a class; the second folder lies outside, and holds an image and a folder."""


def _link(name: str, target: Callable[[Path, Path], Path | str]) -> Put:
    return lambda folder, outside: (folder / name).symlink_to(target(folder, outside))


def _socket(folder: Path, _: Path) -> None:
    before = Path.cwd()
    os.chdir(folder)  # an address may have few letters
    try:
        socket.socket(socket.AF_UNIX).bind("socket.png")
    finally:
        os.chdir(before)


def _device(folder: Path, _: Path) -> None:
    with suppress(OSError):  # not everybody may make one
        os.mknod(folder / "device.png", stat.S_IFCHR | 0o600, os.makedev(1, 5))


def _holes(folder: Path, _: Path) -> None:
    with (folder / "holes.png").open("wb") as file:
        file.truncate(2**40)


def _deep(folder: Path, _: Path) -> None:
    (folder / Path(*["d"] * 200)).mkdir(parents=True)


def _chain(folder: Path, _: Path) -> None:
    for number in range(60):
        (folder / f"chain{number}.png").symlink_to(f"chain{number + 1}.png")


REFUSED: dict[str, Put] = {
    "a link to an image outside": _link("out.png", lambda _, outside: outside / "secret.png"),
    "a link to a folder outside": _link("out", lambda _, outside: outside / "folder"),
    "a link to everything": _link("out", lambda _, __: "/"),
    "a link to the folder above": _link("out", lambda _, __: "../.."),
    "a link to a device": _link("out.png", lambda _, __: "/dev/zero"),
    "a link to the process": _link("out.png", lambda _, __: "/proc/self/environ"),
    "a link to its own folder": _link("out", lambda folder, _: folder),
    "a link out by a link": lambda folder, outside: (
        (folder / "one").symlink_to(outside), (folder / "two.png").symlink_to("one/secret.png")
    )[0],
}  # fmt: skip
"""What ends a check with the status 2."""

ODD: dict[str, Put] = {
    "a pipe": lambda folder, _: os.mkfifo(folder / "pipe.png"),
    "a pipe without an ending": lambda folder, _: os.mkfifo(folder / "pipe"),
    "a socket": _socket,
    "a device": _device,
    "a file with holes": _holes,
    "a link to itself": _link("loop.png", lambda _, __: "loop.png"),
    "a link to itself, as a folder": _link("loop", lambda _, __: "loop"),
    "a long chain of links": _chain,
    "a link to nothing": _link("gone.png", lambda _, __: "nothing.png"),
    "a link within": _link("again.png", lambda _, __: "000.png"),
    "a folder called as an image": lambda folder, _: (folder / "folder.png").mkdir(),
    "folders in folders": _deep,
    "an empty image": lambda folder, _: (folder / "empty.png").touch(),
    "a hidden link out": _link(".out.png", lambda _, outside: outside / "secret.png"),
    "a link out that is no image": _link("out.txt", lambda _, outside: outside / "secret.png"),
}  # fmt: skip
"""What may be told, or passed over."""


def _named(name: bytes) -> Put:
    def put(folder: Path, _: Path) -> None:
        shutil.copy(folder / "000.png", os.path.join(os.fsencode(folder), name))  # noqa: PTH118 - no text

    return put


NAMED: dict[str, Put] = {f"the name {name[:60]!r}": _named(name) for name in NAMES}


@contextmanager
def not_waited_for(folder: Path, waited: list[str]) -> Iterator[None]:
    """Let whoever waits for a pipe go on after a while, and note that."""

    def free() -> None:
        for pipe in folder.rglob("pipe*"):
            waited.append(f"waited for {pipe.name}")
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))

    timer = threading.Timer(PATIENCE, free)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def fuzz_links(effort: Effort) -> Outcome:
    """Check a folder with one to three odd things in it, and predict what is in it."""
    from autofreeze.predicting import predict

    finds, rng = Finds(memory=MEMORY), effort.rng
    own, outside = effort.folder / "own", effort.folder / "outside"
    write_classes(outside, (1,))
    (outside / "class0000" / "000.png").rename(outside / "secret.png")
    (outside / "class0000").rename(outside / "folder")
    write_classes(own / "plain", (6, 6))
    model = own / "model.safetensors"
    model.write_bytes(honest_model())
    kinds = {**REFUSED, **ODD, **NAMED}
    order = list(kinds)
    rng.shuffle(order)
    while finds.tried < effort.times:
        first = order[finds.tried % len(order)]  # each comes to be tried
        chosen = {first, *rng.sample(order, rng.randint(0, 2))}
        finds.tried += 1
        data = own / "data"
        shutil.copytree(own / "plain", data)
        for one in sorted(chosen):
            with suppress(FileExistsError):
                kinds[one](data / rng.choice(("class0000", "class0001")), outside)
        waited: list[str] = []
        with not_waited_for(data, waited), guarded([own], memory=MEMORY, private=[outside]) as seen:
            status, told = in_process("check", data, "--max-bad-images", "0.5", "--cache", own / "cache")
        problems = [*seen, *waited]
        if status not in (0, 1, 2) or "Traceback (most recent call last)" in told:
            problems.append(f"status {status}: {told[-600:]}")
        if any(not letter.isprintable() and letter != "\n" for letter in told):
            problems.append("shows control characters")
        if chosen & REFUSED.keys() and (status != 2 or "link" not in told):
            problems.append(f"not refused: status {status}: {told[-600:]}")
        if (
            len(chosen) == 1
            and first in NAMED
            and status == 2
            and "is no text" not in told
            and "UTF-8" not in told
        ):
            problems.append(f"a name was refused: {told[-600:]}")
        for one in problems:
            finds.add(f"check: {one}", sorted(chosen))
        finds.ends[f"status {status}"] = finds.ends.get(f"status {status}", 0) + 1
        with not_waited_for(data, waited):
            finds.attempt("predict", sorted(chosen), partial(predict, model, data, device="cpu"), own)
        for one in waited:
            finds.add(f"predict: {one}", sorted(chosen))
        shutil.rmtree(data)
    return finds.outcome()


CHECKS: tuple[Check, ...] = (
    Check(
        name="fuzz-data-links", fault="links that lead out or in circles, pipes, devices, files with holes, odd names among images",
        run=fuzz_links, quick=8, long=300,
    ),
)  # fmt: skip
"""All checks, in the order of the table."""
