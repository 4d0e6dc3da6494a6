"""Reading and writing YAML and whole files: positions for messages, nothing half written."""

import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from autofreeze.errors import ConfigError
from autofreeze.wholefile import written_whole

MAX_BYTES = 1_000_000
"""Larger than any schedule or space that a person wrote."""

MAX_DEPTH = 50
"""Mappings and lists within each other: ruamel takes minutes over a hundred thousand."""

NEXT_LINE = "\x85"
"""A line break to YAML, which ruamel escapes in double quotes alone."""

MAX_REPEATED = 100_000
"""Entries that aliases may add up to: a few that repeat each other can stand for billions."""


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data, and the line of each key for messages."""

    data: Any
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    """Path of keys and indices -> line, counted from 1."""

    def line_of(self, *path: str | int) -> str:
        """``line 7`` for messages, or nothing when the place is not known."""
        line = self.lines.get(path)
        return f"line {line}" if line else ""

    def located(self, problems: Iterable[str]) -> list[str]:
        """Put its line in front of each problem that begins with a path of keys: ``a.b.0: got ...``."""
        lines = {".".join(map(str, path)): line for path, line in self.lines.items()}
        heads = [(lines.get(problem.partition(": ")[0]), problem) for problem in problems]
        return [f"line {line}: {problem}" if line else problem for line, problem in heads]


def read_yaml(path: str | Path) -> Document:
    """Read a YAML 1.2 file (``1e-4`` is a number, a repeated key is an error).

    Raises:
        ConfigError: The file is missing, unreadable, too large or not YAML.
    """
    path = Path(path)
    try:
        there = path.stat()
        if not (stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)):  # a pipe may never end
            raise ConfigError("is no regular file", where=str(path))
        if there.st_size > MAX_BYTES:
            raise ConfigError(
                f"larger than {MAX_BYTES:,} bytes; this is no schedule or space", where=str(path)
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"cannot be read: {reason}", where=str(path)) from None
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str = "") -> Document:
    """Parse YAML text; see :func:`read_yaml`."""
    try:
        events = _events(text)
        faults = _tagged_lines(events) or _repeated_lines(events)
        loaded = None if faults else YAML(typ="rt").load(text)
    except ConfigError as error:
        raise ConfigError(error.problems, where=where) from None
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(f"line {line}: {str(error.problem).split(' with value')[0]}", where=where) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(f"{line}not valid YAML: {error.problem or error.context}", where=where) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"not valid YAML: {error}", where=where) from None
    if faults:
        raise ConfigError(faults, where=where)
    return Document(_plain(loaded), dict(_lines(loaded, ())))


def _events(text: str) -> list[Event]:
    """Parse as far as it is not nested too deeply.

    Raises:
        ConfigError: It is.
        YAMLError: It is no YAML.
    """
    found: list[Event] = []
    depth = 0
    for event in YAML(typ="rt").parse(text):
        found.append(event)
        if isinstance(event, SequenceStartEvent | MappingStartEvent):
            depth += 1
        elif isinstance(event, SequenceEndEvent | MappingEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1
            raise ConfigError(
                f"line {line}: mappings and lists are nested over {MAX_DEPTH} deep; flatten them"
            )
    return found


def _tagged_lines(events: Sequence[Event]) -> list[str]:
    """Every tag (``!name``) that is written out: none has a meaning here, so none is passed over."""
    return [
        f"line {event.start_mark.line + 1}: the tag {event.tag} has no meaning here; leave it out"
        for event in events
        if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent) and event.tag
    ]


def _repeated_lines(events: Sequence[Event]) -> list[str]:
    """Aliases that lie in what they name, and the first with which all of them repeat too much."""
    faults: list[str] = []
    sizes: dict[str | None, int] = {}
    inside: list[tuple[str | None, int]] = [(None, 0)]
    repeated = 0
    for event in events:
        if isinstance(event, SequenceStartEvent | MappingStartEvent):
            inside.append((event.anchor, 1))
            continue
        if isinstance(event, SequenceEndEvent | MappingEndEvent):
            anchor, size = inside.pop()
        elif isinstance(event, ScalarEvent):
            anchor, size = event.anchor, 1
        elif isinstance(event, AliasEvent):
            anchor, size = None, sizes.get(event.anchor, 1)
            where = f"line {event.start_mark.line + 1}"
            if event.anchor in [name for name, _ in inside]:
                faults.append(f"{where}: the alias *{event.anchor} lies in what it names; write it out")
            elif repeated <= MAX_REPEATED < repeated + size:
                faults.append(f"{where}: with *{event.anchor} aliases repeat over {MAX_REPEATED:,} entries")
            repeated += size
        else:
            continue
        sizes[anchor] = size
        inside[-1] = (inside[-1][0], inside[-1][1] + size)
    return faults


def _plain(node: Any) -> Any:
    """Strip ruamel's comment-keeping types down to what JSON knows."""
    if isinstance(node, CommentedMap):
        return {_joined(str(key)): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    if isinstance(node, str):
        return _joined(node)
    for kind in (bool, int, float):
        if isinstance(node, kind):
            return kind(node)
    # YAML 1.2 knows no dates: what ruamel reads as one was written as text.
    return node.isoformat() if isinstance(node, date | datetime) else node


def _joined(text: str) -> str:
    """Join pairs of surrogates, by which JSON escapes what lies beyond 16 bits; a single one stays."""
    return str(text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _lines(node: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], int]]:
    if isinstance(node, CommentedMap):
        for key, value in node.items():
            if key in (node.lc.data or {}):  # what a merge key (<<) brings in has no line of its own
                yield (*path, str(key)), node.lc.key(key)[0] + 1
            yield from _lines(value, (*path, str(key)))
    elif isinstance(node, CommentedSeq):
        for index, value in enumerate(node):
            yield (*path, index), node.lc.item(index)[0] + 1
            yield from _lines(value, (*path, index))


def to_yaml(data: Any, *, header: str = "") -> str:
    """Write plain data as YAML text: blocks, with mappings of plain scalars on one line.

    Args:
        data: JSON types.
        header: Comment lines to put above, without the ``#``.
    """
    yaml = YAML(typ="rt")
    yaml.width = 160
    yaml.representer.add_representer(
        type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    stream = StringIO()
    yaml.dump(_styled(data, depth=0), stream)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    return comment + stream.getvalue()


def _styled(data: Any, depth: int) -> Any:
    if isinstance(data, dict):
        node = CommentedMap((_styled(key, depth), _styled(value, depth + 1)) for key, value in data.items())
        if depth > 1 and _fits_a_line([*data, *data.values()]):
            node.fa.set_flow_style()
        return node
    if isinstance(data, list | tuple):
        items = CommentedSeq(_styled(value, depth + 1) for value in data)
        if _fits_a_line(data):
            items.fa.set_flow_style()
        return items
    if isinstance(data, str) and NEXT_LINE in data:
        return DoubleQuotedScalarString(data)
    return data


def _fits_a_line(scalars: Iterable[Any]) -> bool:
    """Whether a mapping or list may stand on one line.

    There ruamel writes some text that it cannot read back (``?x``, ``:x``), so plain words alone do.
    """
    return not any(
        isinstance(value, dict | list | tuple)
        or (isinstance(value, str) and not re.fullmatch(r"[\w./@+-][\w./@+ -]*", value))
        for value in scalars
    )


def write_yaml(path: str | Path, data: Any, *, header: str = "") -> None:
    """Write plain data to a YAML file, whole or not at all."""
    write_text(path, to_yaml(data, header=header))


def write_text(path: str | Path, text: str, *, new_folder: bool = True) -> None:
    """Write a text file whole; see :func:`write_bytes`."""
    write_bytes(path, text.encode(), new_folder=new_folder)


def write_bytes(path: str | Path, data: bytes, *, new_folder: bool = True) -> None:
    """Write a file whole: into a temporary neighbour, to disk, then renamed into place.

    Args:
        path: The file.
        data: What it is to hold.
        new_folder: See ``wholefile.written_whole``.
    """
    with written_whole(Path(path), new_folder=new_folder) as stream:
        stream.write(data)
