# ruff: noqa: E501 - tables are read by line
"""Hostile text: tables of images, right ones with odd names, and such with a fault, whose paths may lead anywhere."""

import csv
import io
import posixpath
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from trust.changes import bent
from trust.check import Check, Effort, Outcome
from trust.finds import Finds, with_examples
from trust.numbers import write_classes

GOOD = (
    "a.png",
    "b.png",
    "sub/c.png",
    "sub/d.png",
    "é.png",
    "two\nlines.png",
    "=cmd().png",
    'a "b", c.png',
    "\u202eright.png",
)
"""Files that are there."""

SAME = ("./a.png", "sub/../a.png", " a.png ", "sub//c.png", "sub/./c.png", "./sub/../b.png", "inside.png")
"""Other ways to write them, and a link that stays."""

BAD = (
    "../secret.png", "sub/../../secret.png", "/etc/passwd", "link.png", "out/secret.png", "gone.png", "sub", "", ".", "..",
    "a.png\0", "a\npng", "C:\\a.png", "sub\\c.png", "~/a.png", "x" * 5000, "a/" * 3000, "file:///etc/passwd", "/dev/zero",
    "loop/a.png", "../../../../../../etc/passwd", "out", "link.png/", "a.png/../../secret.png", "{root}/a.png", "%2e%2e/secret.png",
)  # fmt: skip
"""Paths that lead elsewhere, or nowhere."""

CELLS = (
    "",
    "=cmd()",
    "a,b",
    'a"b',
    "two\nlines",
    "\0",
    "\x1b[31m",
    "x" * 200_000,
    "9" * 5000,
    "\ufeff",
    "trian",
    "test",
)
HEADERS = (
    ("path", "path"), ("path", "label", ""), (), ("path", "label", *(["x"] * 10_000)), ("PATH", " label "), ("pfad", "label"),
    ("path;label",), ("=path", "label"), ("path", "label", "split", "split"),
)  # fmt: skip
SPLITS = ("train", "Train ", "training", "val", "valid", "validation", "test", " TEST")
WORDS = st.one_of(
    st.sampled_from(
        (
            "cat",
            "dog",
            "=cmd()",
            "two\nlines",
            "<b>",
            "\x1b[31m",
            "\u202eltr",
            "a,b",
            'a"b',
            "1e5",
            "x" * 3000,
        )
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)


@st.composite
def right_tables(draw: st.DrawFn) -> list[list[str]]:
    """Draw the rows of a table in which all is right, however oddly it is named; the first names the columns."""
    columns = draw(
        st.permutations(
            draw(
                st.sampled_from(
                    (("path", "label"), ("path", "label", "split"), ("path", "label", "split", "group"))
                )
            )
        )
    )
    paths = draw(
        st.lists(
            st.sampled_from(GOOD), min_size=2 if draw(st.booleans()) else 6, max_size=len(GOOD), unique=True
        )
    )
    if draw(st.booleans()):
        other = draw(st.sampled_from(SAME))
        paths = [one for one in paths if one != plain_path(other)]
        paths.append(other)
    words = draw(st.lists(WORDS, min_size=1, max_size=2))
    rows = [list(columns)]
    for number, path in enumerate(paths):
        given = {
            "path": path,
            "label": words[number % len(words)].strip() or "none",
            "split": "train" if number < 4 else draw(st.sampled_from(SPLITS)),
            "group": draw(WORDS).strip() or "g",
        }
        rows.append([given[name] for name in columns])
    return rows


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Draw a table: right in two of three cases, with a fault or with changed bytes in the others."""
    rows, fault = (
        draw(right_tables()),
        draw(st.sampled_from(("", "", "", "", "cell", "row", "bytes", "style"))),
    )
    if fault == "cell":
        row = draw(st.integers(1, len(rows) - 1))
        column = draw(st.integers(0, len(rows[0]) - 1))
        rows[row][column] = draw(st.sampled_from(BAD if rows[0][column] == "path" else CELLS))
    elif fault == "row":
        how = draw(st.sampled_from(("twice", "short", "long", "header", "blank")))
        row = rows[draw(st.integers(1, len(rows) - 1))]
        if how == "header":
            rows[0] = list(draw(st.sampled_from(HEADERS)))
        else:
            rows.append({"twice": row, "short": row[:-1], "long": [*row, "x"], "blank": [""] * len(row)}[how])
    text = io.StringIO(newline="")
    csv.writer(
        text,
        delimiter=draw(st.sampled_from(";\t|")) if fault == "style" else ",",
        quoting=draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC))),
        lineterminator=draw(st.sampled_from(("\n", "\r\n", "\r", "\n\n"))),
    ).writerows(rows)
    odd = (
        draw(st.sampled_from(("utf-16", "latin-1", "utf-7", "utf-32")))
        if fault == "style" and draw(st.booleans())
        else ""
    )
    raw = text.getvalue().encode(odd or draw(st.sampled_from(("utf-8", "utf-8-sig"))), "replace")
    return draw(bent(raw)) if fault == "bytes" else raw


def plain_path(cell: str) -> str:
    """Give the path that a cell means."""
    return posixpath.normpath(cell.strip())


def as_csv_says(raw: bytes) -> list[tuple[str, str, str]]:
    """Read path, label and group of every row by Python's csv alone, sorted."""
    lines = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    header, *rows = [line for line in lines if any(cell.strip() for cell in line)]
    names = [name.strip().lower() for name in header]
    given = [dict(zip(names, (cell.strip() for cell in row), strict=True)) for row in rows]
    return sorted((plain_path(row["path"]), row["label"], row.get("group", "")) for row in given)


def as_listed(listing: Any) -> list[tuple[str, str, str]]:
    """Give the same of what was read."""
    subjects: Sequence[str] = listing.subjects or [""] * len(listing.paths)
    labels = (listing.classes[label] for label in listing.labels)
    return sorted(zip(listing.paths, labels, subjects, strict=True))


def write_images(folder: Path) -> Path:
    """Write the images that tables name, one outside, and links that stay, that lead out and that go round."""
    root = folder / "data"
    write_classes(folder / "images", (1,))
    image = next((folder / "images").rglob("*.png"))
    for file in (*(root / name for name in GOOD), folder / "secret.png"):
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, file)
    (root / "inside.png").symlink_to(root / "sub" / "d.png")
    (root / "link.png").symlink_to(folder / "secret.png")
    (root / "out").symlink_to(folder)
    (root / "loop").symlink_to(root / "loop")
    return root


def fuzz_tables(effort: Effort) -> Outcome:
    """List the images that tables name: what Python's csv says, and none outside the table's folder.

    Every way to write a path comes first, in a table in which all else is right.
    """
    from autofreeze.sources.table import list_table

    root = write_images(effort.folder)
    file = root / "table.csv"
    ways = Finds()
    for path in (*GOOD, *SAME, *BAD):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("path", "label"), (path.replace("{root}", str(root)), "cat")])
        file.write_bytes(text.getvalue().encode())
        ways.tried += 1
        read = ways.attempt("a path", path, lambda: list_table(file), effort.folder) is not None
        if read == (path in BAD):
            ways.add(f"the path {path[:60]!r} is {'taken' if read else 'refused'}", path)

    def body(finds: Finds, raw: bytes) -> None:
        file.write_bytes(raw)
        listing: Any = finds.attempt("a table", raw, lambda: list_table(file), effort.folder)
        if listing is not None:
            if as_listed(listing) != as_csv_says(raw):
                finds.add(f"read as {as_listed(listing)}, not {as_csv_says(raw)}", raw)
            for path in listing.paths:
                if not (root / path).resolve().is_relative_to(root.resolve()):
                    finds.add(f"a path that leaves was taken: {path!r}", raw)
        if finds.tried % 10 == 0:
            finds.command(raw, effort.folder, "check", file, "--cache", effort.folder / "cache")

    found = with_examples(effort, tables(), body)
    return replace(found, tried=found.tried + ways.tried, wrong=[*ways.outcome().wrong, *found.wrong])


CHECKS: tuple[Check, ...] = (
    Check(name="fuzz-table", fault="CSV data sets, odd ones, and such with paths that leave", run=fuzz_tables, quick=60, long=4000),
)  # fmt: skip
"""All checks, in the order of the table."""
