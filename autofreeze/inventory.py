"""What a cache folder holds, and clearing it: for people, and without torch."""

import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import Timeout

from autofreeze.errors import ConfigError
from autofreeze.notes import FeatureNote, StoreNote
from autofreeze.shelf import SUFFIXES, Entry, Kind, Shelf, default_budget, shelves_of
from autofreeze.values import Value, did_you_mean

State = Literal["whole", "being filled", "broken off"]
"""Broken off: half filled by a process that was killed, or data without a note that can be read."""


class Cached(Value):
    """An entry of the cache."""

    kind: Kind
    key: str
    state: State
    bytes: int
    data: str = ""
    """What the data set is called; empty where nothing says so."""

    model: str = ""
    """timm name; decoded images belong to no model."""

    what: str = ""
    """In words."""

    created: str | None = None
    """UTC, ISO 8601."""

    used: str | None = None
    """When it was used last, UTC, ISO 8601."""


class Inventory(Value):
    """What a cache folder holds, what was used longest ago first."""

    folder: str
    entries: tuple[Cached, ...]
    bytes: int
    """Of all entries, those that are being filled included."""

    budget: int
    """Bytes that a search keeps the cache within unless told otherwise."""


class Cleared(Value):
    """What was removed from a cache."""

    folder: str
    removed: tuple[Cached, ...]
    busy: tuple[Cached, ...]
    """Chosen and left: another process is filling them or removing them."""

    bytes: int
    """Of what was removed."""


def inventory(folder: Path) -> Inventory:
    """List what a cache folder holds; one that does not exist holds nothing."""
    found: list[tuple[int, Cached]] = []
    for shelf in shelves_of(folder):
        found += [(entry.used, _cached(entry)) for entry in shelf.entries()]
        found += [(0, _part(shelf, key, size)) for key, size in shelf.parts().items()]
    entries = tuple(cached for _, cached in sorted(found, key=lambda one: (one[0], one[1].key)))
    total = sum(cached.bytes for cached in entries)
    return Inventory(folder=str(folder), entries=entries, bytes=total, budget=default_budget(folder))


def clear(
    folder: Path,
    keys: Collection[str] = (),
    *,
    kinds: Collection[Kind] = tuple(SUFFIXES),
    older_than: float | None = None,
) -> Cleared:
    """Remove entries for which all that is given holds. What a process is filling stays.

    On POSIX, a process that has an entry open keeps its contents until it ends.

    Args:
        folder: The cache folder.
        keys: Keys, or how they begin; none: all.
        kinds: Of these shelves.
        older_than: Not used for so many seconds.

    Raises:
        ConfigError: No entry has a key that was given, or several begin with it; or nothing can be removed.
    """
    entries = inventory(folder).entries
    wanted = _named(keys, entries, folder)
    limit = None if older_than is None else time.time() - older_than
    chosen = [
        cached
        for cached in entries
        if cached.kind in kinds and cached.key in wanted and (limit is None or _used(cached) < limit)
    ]
    removed: list[Cached] = []
    busy: list[Cached] = []
    try:
        for cached in chosen:
            (removed if _remove(Shelf(folder, cached.kind), cached) else busy).append(cached)
    except OSError as error:
        raise ConfigError(f"cannot be cleared: {error.strerror or error}", where=str(folder)) from error
    freed = sum(cached.bytes for cached in removed)
    return Cleared(folder=str(folder), removed=tuple(removed), busy=tuple(busy), bytes=freed)


def _named(keys: Collection[str], entries: tuple[Cached, ...], folder: Path) -> set[str]:
    """Find keys by how they begin."""
    known = {cached.key for cached in entries}
    if not keys:
        return known
    problems = []
    found: set[str] = set()
    for start in keys:
        fitting = {key for key in known if start and key.startswith(start)}
        if not fitting:
            hint = did_you_mean(start, sorted(known)) if len(known) <= 10 else ""
            problems.append(f"{start}: no entry has this key{hint}; see autofreeze cache list")
        elif len(fitting) > 1 and start not in fitting:
            problems.append(f"{start}: {len(fitting)} keys begin so; give more of it")
        found |= {start} if start in fitting else fitting
    if problems:
        raise ConfigError(problems, where=str(folder))
    return found


def _used(cached: Cached) -> float:
    return datetime.fromisoformat(cached.used).timestamp() if cached.used else 0.0


def _remove(shelf: Shelf, cached: Cached) -> bool:
    try:
        with shelf.lock(cached.key, timeout=0):
            shelf.forget(cached.key)
            shelf.part(cached.key).unlink(missing_ok=True)
    except Timeout:
        return False
    return True


def _cached(entry: Entry) -> Cached:
    """Read what the note beside an entry says."""
    shelf, key = entry.shelf, entry.key
    plain = Cached(kind=shelf.kind, key=key, state="broken off", bytes=entry.bytes)
    try:
        text = shelf.read_note(key)
        said = _said(shelf, text) if text is not None else None
    except (ValueError, OSError):
        said = None
    if said is None:
        return plain
    used = datetime.fromtimestamp(entry.used / 1e9, UTC).isoformat(timespec="seconds")
    return plain.model_copy(update={**said, "state": "whole", "used": used})


def _said(shelf: Shelf, text: bytes) -> dict[str, str]:
    if shelf.kind == "decoded":
        note = StoreNote.read(text)
        what = f"{note.n:,} images at {note.preprocessing.image_size} px"
        return {"data": note.data, "what": what, "created": note.created}
    features = FeatureNote.read(text)
    spec = features.spec
    what = f"{features.n:,} images at {spec.image_size} px, below column {spec.boundary}, {spec.view}"
    if spec.erase:
        what += f", {100 * spec.erase:g} % erased"
    return {"data": features.data, "model": spec.model, "what": what, "created": features.created}


def _part(shelf: Shelf, key: str, size: int) -> Cached:
    try:
        with shelf.lock(key, timeout=0):
            state: State = "broken off"
    except Timeout:
        state = "being filled"
    except OSError:  # a folder that may only be read
        state = "being filled"
    return Cached(kind=shelf.kind, key=key, state=state, bytes=size)
