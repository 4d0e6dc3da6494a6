"""Which version of the format a native file has: for all who read one, whole or in part."""

from collections.abc import Mapping
from typing import Any, Literal

from autofreeze.errors import ConfigError

FORMAT: Literal["autofreeze/schedule"] = "autofreeze/schedule"
NEWEST: Literal[2] = 2
"""The version that is written, and that everything is read as."""


def version_of(data: Mapping[str, Any], *, where: str = "") -> int:
    """Read the version of a native file, 1 to ``NEWEST``.

    Args:
        data: What the file holds.
        where: The file, for messages.

    Raises:
        ConfigError: The version is missing, is none, or comes from the future.
    """
    if "version" not in data:
        raise ConfigError(f"version: missing; files of this autofreeze have version: {NEWEST}", where=where)
    version = data["version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError(f"version: got {version!r}; must be a whole number, 1 to {NEWEST}", where=where)
    if version > NEWEST:
        writer = data["versions"].get("autofreeze") if isinstance(data.get("versions"), dict) else None
        by = f"autofreeze {writer}" if isinstance(writer, str) else "a later autofreeze"
        raise ConfigError(
            f"version: got {version}; it was written by {by}, and this one reads 1 to {NEWEST}: update "
            "autofreeze, or export the schedule again with this one",
            where=where,
        )
    return version
