"""What the cache holds, as a table, and what was removed from it, in a line."""

from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from autofreeze.bytesize import format_bytes
from autofreeze.inventory import Cached, Cleared, Inventory
from autofreeze.phrases import printable

SHOWN = 8
"""Digits of a key: enough to tell entries apart, and to name one."""

KINDS = {"decoded": "decoded images", "features": "features"}


def overview(held: Inventory) -> Table:
    """Draw the entries, what was used longest ago first: that goes first when room is needed."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("key", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("last used", no_wrap=True)
    for cached in held.entries:
        table.add_row(cached.key[:SHOWN], _words(cached), format_bytes(cached.bytes), _local(cached.used))
    return table


def total(held: Inventory) -> str:
    """Say what all entries take, and what they may."""
    return (
        f"{held.folder}: {_entries(held.entries)}, {format_bytes(held.bytes)}; "
        f"the cache may hold {format_bytes(held.budget)} unless --cache-size says otherwise"
    )


def freed(cleared: Cleared) -> str:
    """Say what was removed, and what was left."""
    told = f"{cleared.folder}: {_entries(cleared.removed)} removed, {format_bytes(cleared.bytes)} freed"
    if cleared.busy:
        keys = ", ".join(cached.key[:SHOWN] for cached in cleared.busy)
        told += f"; left, since another process is filling it: {keys}"
    return told


def _words(cached: Cached) -> str:
    words = KINDS[cached.kind]
    words += f" of {cached.data}" if cached.data else ""
    words += f" by {cached.model}" if cached.model else ""
    return escape(printable(f"{words}: {cached.what or cached.state}"))


def _entries(entries: tuple[Cached, ...]) -> str:
    return f"{len(entries):,} {'entry' if len(entries) == 1 else 'entries'}"


def _local(time: str | None) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M") if time else "–"
