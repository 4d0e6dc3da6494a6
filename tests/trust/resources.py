"""To come."""

from trust.check import Check

CHECKS: tuple[Check, ...] = ()
