"""Hostile text of every kind: files, options and names, changed at random."""

from trust import fuzz_options, fuzz_space, fuzz_study, fuzz_table
from trust.check import Check

CHECKS: tuple[Check, ...] = (*fuzz_space.CHECKS, *fuzz_study.CHECKS, *fuzz_table.CHECKS, *fuzz_options.CHECKS)
"""All checks, in the order of the table."""
