"""CSV files of labels: ``path,label`` with ``split`` and ``group`` where there are any."""

import csv
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from autofreeze.errors import DataError
from autofreeze.sources.listing import (
    PART_NAMES,
    PARTS,
    Files,
    Listing,
    Part,
    first,
    in_words,
    leads_out,
    path_key,
)
from autofreeze.values import did_you_mean

NEEDED = ("path", "label")
COLUMNS = (*NEEDED, "split", "group")


@dataclass(frozen=True, slots=True)
class _Row:
    """One image; spaces around each value are gone."""

    line: int
    """Where the row begins, counted from 1."""

    path: str
    label: str
    split: str
    group: str


def list_table(path: str | os.PathLike[str]) -> Listing:
    """List the images that a CSV file names.

    The first line names the columns: ``path``, from the folder of the CSV file and with forward slashes;
    ``label``, the class; ``split``, a part's name as for folders, everywhere or nowhere; ``group``, whose
    image it is, everywhere or nowhere. The order of rows and columns does not matter: a CSV of the images of
    a folder gives the folder's own numbers.

    Raises:
        DataError: Every fault is told, with its line.
    """
    given = Path(path).expanduser()
    where = str(path)
    if not given.is_file():
        raise DataError("is a folder" if given.is_dir() else "no such file; check the path", where=where)
    root = given.parent.resolve()
    rows, problems = _rows(_text(given, where), where)
    problems += _problems(rows, root)
    if problems:
        raise DataError(first([text for _, text in sorted(problems)]), where=where)
    return _listing(given, root, sorted(rows, key=lambda row: path_key(row.path)))


def _listing(given: Path, root: Path, rows: Sequence[_Row]) -> Listing:
    classes = tuple(sorted({row.label for row in rows}, key=path_key))
    numbers = {name: number for number, name in enumerate(classes)}
    parts: tuple[Part | None, ...] = tuple(PART_NAMES.get(row.split.lower()) for row in rows)
    by_subject = bool(rows[0].group)
    held_out = f"test part held out{' by subject' if by_subject else ''}"
    named = in_words([part for part in PARTS if part in parts]) if rows[0].split else held_out
    paths = tuple(row.path for row in rows)
    return Listing(
        name=given.stem,
        root=root,
        where=str(given),
        classes=classes,
        paths=paths,
        labels=tuple(numbers[row.label] for row in rows),
        parts=parts,
        images=Files(root, paths),
        layout=f"CSV file, {named}",
        subjects=tuple(row.group for row in rows) if by_subject else None,
    )


# Reading

_Problem = tuple[int, str]
"""Line, and the sentence with the line in it."""


def _text(given: Path, where: str) -> str:
    try:
        raw = given.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=where) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"line {line}: is not UTF-8; save the file as UTF-8", where=where) from None


def _rows(text: str, where: str) -> tuple[list[_Row], list[_Problem]]:
    """Read rows; those that do not fit the columns are told and left out."""
    problems: list[_Problem] = []
    cells = _cells(text, problems)
    _, header = next(cells, (1, []))
    names = [name.strip().lower() for name in header]
    problems += [(1, f"line 1: {problem}") for problem in _column_problems(names, where)]
    rows: list[_Row] = []
    for line, values in cells:
        if len(values) != len(names):
            hint = "; quote a value that holds a comma" if len(values) > len(names) else ""
            count = f"{len(values)} value{'' if len(values) == 1 else 's'}"
            problems.append((line, f"line {line}: {count} for {len(names)} columns{hint}"))
            continue
        given = dict(zip(names, (value.strip() for value in values), strict=True))
        path = os.path.normpath(given["path"]).replace(os.sep, "/") if given["path"] else ""
        rows.append(_Row(line, path, given["label"], given.get("split", ""), given.get("group", "")))
    if not rows and not problems:
        raise DataError("no rows below the line that names the columns", where=where)
    return rows, problems


def _cells(text: str, problems: list[_Problem]) -> Iterator[tuple[int, list[str]]]:
    """Give rows that are not blank with the line each begins in; what stops the reading is a problem."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        reason = "is no CSV from here on; a quotation mark inside a quoted value is doubled"
        problems.append((line, f"line {line}: {reason} ({error})"))


def _column_problems(names: Sequence[str], where: str) -> list[str]:
    """Tell what is wrong with the first line.

    Raises:
        DataError: So much that the rows cannot be understood.
    """
    known = list(COLUMNS)
    problems = [f"no column {name}" for name in NEEDED if name not in names]
    if len(problems) == len(NEEDED):
        raise DataError(
            f"line 1: got {','.join(names) or 'nothing'}; must name the columns, separated by commas: "
            "path,label[,split][,group]",
            where=where,
        )
    problems += [f"column {name}: there is more than one" for name in known if names.count(name) > 1]
    unknown = [
        f"column {name or 'without a name'}: unknown{did_you_mean(name, known)}"
        for name in dict.fromkeys(names)
        if name not in known
    ]
    if problems:
        raise DataError([f"line 1: {problem}" for problem in (*problems, *unknown)], where=where)
    return unknown


# Faults


def _problems(rows: Sequence[_Row], root: Path) -> list[_Problem]:
    problems = [
        (row.line, f"line {row.line}: {fault}")
        for check in (_path_faults(root), _label_fault, _split_fault(rows), _group_fault(rows))
        for row in rows
        if (fault := check(row))
    ]
    if (
        rows
        and not problems
        and rows[0].split
        and all(PART_NAMES[row.split.lower()] != "train" for row in rows)
    ):
        problems.append((0, "no row has the split train; name training images, or leave the splits empty"))
    return problems + _repeats(rows)


def _path_faults(root: Path) -> Callable[[_Row], str]:
    folders: dict[Path, bool] = {}

    def fault(row: _Row) -> str:
        if not row.path:
            return "no path"
        relative = Path(row.path)
        if relative.is_absolute() or relative.parts[:1] == ("..",):
            return f"{row.path}: leads out of the folder of the CSV file; give paths within it"
        file = root / relative
        try:
            mode = file.lstat().st_mode
        except (OSError, ValueError):
            hint = (
                "; write folders with forward slashes" if "\\" in row.path else " below the CSV file's folder"
            )
            return f"{row.path}: no such file{hint}"
        if file.parent not in folders:
            folders[file.parent] = leads_out(file.parent, root)
        is_link = stat.S_ISLNK(mode)
        if folders[file.parent] or (is_link and leads_out(file, root)):
            return f"{row.path}: is a link that leads out of the CSV file's folder; put a copy in its place"
        if is_link and not file.exists():
            return f"{row.path}: is a link to a file that is not there"
        is_folder = file.is_dir() if is_link else stat.S_ISDIR(mode)
        return f"{row.path}: is a folder; name an image" if is_folder else ""

    return fault


def _label_fault(row: _Row) -> str:
    return "" if row.label else f"{row.path}: no label"


def _split_fault(rows: Sequence[_Row]) -> Callable[[_Row], str]:
    some = any(row.split for row in rows)

    def fault(row: _Row) -> str:
        if row.split and row.split.lower() not in PART_NAMES:
            return f"split {row.split}: unknown{did_you_mean(row.split.lower(), list(PART_NAMES))}"
        if some and not row.split:
            return "no split, and others have one; give one to all, or to none"
        return ""

    return fault


def _group_fault(rows: Sequence[_Row]) -> Callable[[_Row], str]:
    some = any(row.group for row in rows)
    reason = (
        "no group, and others have one; give one to all (an image that stands alone has its own), or to none"
    )
    return lambda row: reason if some and not row.group else ""


def _repeats(rows: Sequence[_Row]) -> list[_Problem]:
    firsts: dict[str, _Row] = {}
    problems = []
    for row in rows:
        before = firsts.setdefault(row.path, row)
        if before is not row and row.path:
            how = "" if row.label == before.label else f" with the label {before.label}"
            problems.append(
                (row.line, f"line {row.line}: {row.path}: is in line {before.line} as well{how}; keep one")
            )
    return problems
