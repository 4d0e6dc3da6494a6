"""Hostile data of every kind: images, weights, caches and folders."""

from trust import fuzz_images
from trust.check import Check

CHECKS: tuple[Check, ...] = (*fuzz_images.CHECKS,)
"""All checks, in the order of the table."""
