"""Hostile text of every kind: files, options and names, changed at random."""

from trust import fuzz_curves, fuzz_names, fuzz_options, fuzz_space, fuzz_study, fuzz_table
from trust.check import Check

CHECKS: tuple[Check, ...] = tuple(
    check
    for subject in (fuzz_space, fuzz_study, fuzz_table, fuzz_options, fuzz_names, fuzz_curves)
    for check in subject.CHECKS
)
"""All checks, in the order of the table."""
