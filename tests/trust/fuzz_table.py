# ruff: noqa: E501 - tables are read by line
"""Hostile text: tables of images, whose paths may lead anywhere."""

import shutil
from typing import Any

from hypothesis import strategies as st

from trust.changes import bent
from trust.check import Check, Effort, Outcome
from trust.finds import Finds, with_examples
from trust.numbers import write_classes

PATHS = (
    "a.png", "b.png", "sub/c.png", "./a.png", "sub/../a.png", "../secret.png", "sub/../../secret.png", "/etc/passwd",
    "link.png", "out/secret.png", "gone.png", "sub", "", ".", "..", "a.png\0", "a\npng", "C:\\a.png", "sub\\c.png", "~/a.png",
    "x" * 5000, "a/" * 3000, "=cmd()", "\u202ea.png", "\ud7ff", "é.png", "file:///etc/passwd", "/dev/zero", "loop/a.png",
)  # fmt: skip
GOOD = ("a.png", "b.png", "sub/c.png")
CELLS = (
    "cat",
    "dog",
    "",
    "train",
    "test",
    "val",
    "=cmd()",
    "a,b",
    'a"b',
    "two\nlines",
    "\0",
    "\x1b[31m",
    "x" * 200_000,
    "1",
)
HEADERS = (
    ("path", "label"), ("label", "path"), ("path", "label", "split"), ("path", "label", "split", "group"), ("PATH", " label "),
    ("path", "path"), ("path", "label", ""), (), ("path", "label", *(["x"] * 10_000)),
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Draw a table with paths that may lead anywhere."""
    tame = draw(st.booleans())  # mostly right, so that single faults are met
    header = draw(st.sampled_from(HEADERS[:3] if tame else HEADERS))
    quoted = draw(st.booleans())

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted else text

    lines = [",".join(map(cell, header))]
    if tame:
        given = {"label": "cat", "split": "train", "group": "one"}
        for path in draw(
            st.lists(st.sampled_from((*GOOD, draw(st.sampled_from(PATHS)))), unique=True, max_size=4)
        ):
            lines.append(",".join(cell({**given, "path": path}[name]) for name in header))
    for _ in range(0 if tame else draw(st.integers(0, 6))):
        row = [
            draw(st.sampled_from(PATHS)),
            *(draw(st.sampled_from(CELLS)) for _ in range(draw(st.integers(0, 4)))),
        ]
        lines.append(",".join(map(cell, row)))
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-7")))
    raw = draw(st.sampled_from(("\n", "\r\n", "\r"))).join(lines).encode(encoding, "replace")
    return draw(bent(raw)) if draw(st.integers(0, 3)) == 0 else raw


def fuzz_tables(effort: Effort) -> Outcome:
    """List the images that tables name: none may lie outside the table's folder."""
    from autofreeze.sources.table import list_table

    root = effort.folder / "data"
    write_classes(effort.folder / "images", (1,))
    image = next((effort.folder / "images").rglob("*.png"))
    for name in ("data/a.png", "data/b.png", "data/sub/c.png", "data/é.png", "secret.png"):
        (effort.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, effort.folder / name)
    (root / "link.png").symlink_to(effort.folder / "secret.png")
    (root / "out").symlink_to(effort.folder)
    (root / "loop").symlink_to(root / "loop")
    file = root / "table.csv"

    def body(finds: Finds, raw: bytes) -> None:
        file.write_bytes(raw)
        listing: Any = finds.attempt("a table", raw, lambda: list_table(file), effort.folder)
        for path in listing.paths if listing else ():
            if not (root / path).resolve().is_relative_to(root.resolve()):
                finds.add(f"a path that leaves was taken: {path!r}", raw)
        if finds.tried % 10 == 0:
            finds.command(raw, effort.folder, "check", file)

    return with_examples(effort, tables(), body)


CHECKS: tuple[Check, ...] = (
    Check(
        name="fuzz-table", fault="CSV data sets with paths that leave", run=fuzz_tables, quick=60, long=4000
    ),
)
"""All checks, in the order of the table."""
