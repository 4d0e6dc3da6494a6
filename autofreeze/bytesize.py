"""Sizes in bytes, as people write them."""

import re

from autofreeze.errors import ConfigError

_UNITS = {
    "": 1, "B": 1,
    "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip


LARGEST = 2**63
"""No file and no disk counts so many bytes."""


def parse_bytes(text: str, *, option: str = "size") -> int:
    """Read a size: ``10GB`` is 10 × 10⁹ bytes, ``10GiB`` is 10 × 2³⁰, a bare number is bytes.

    Raises:
        ConfigError: The text is no size, or not above zero, or out of all range.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text, re.IGNORECASE | re.ASCII)
    unit = _UNITS.get(match[2].upper()) if match else None
    size = float(match[1]) * unit if match and unit else 0.0
    if not 1 <= size < LARGEST:
        raise ConfigError(f"{option}: got {text!r}; must be a size above zero such as 500MB, 10GB or 8GiB")
    return int(size)


def format_bytes(size: int) -> str:
    """Write a size with three significant digits and a decimal unit: ``1.23 GB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} TB"
