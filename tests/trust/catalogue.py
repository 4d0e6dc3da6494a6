"""All checks, in the order of the table."""

import importlib

from trust.check import Check

FAMILIES = (
    "kills",
    "kills_ray",
    "soak",
    "resources",
    "pairs",
    "fuzz_text",
    "fuzz_data",
    "numbers",
    "repeats",
    "supply",
)


def all_checks() -> tuple[Check, ...]:
    """Give every check of every family."""
    found = [check for family in FAMILIES for check in importlib.import_module(f"trust.{family}").CHECKS]
    names = [check.name for check in found]
    assert len(set(names)) == len(names), "two checks have one name"
    return tuple(found)
