"""Hostile data of every kind: images, weights, caches and folders."""

from trust import fuzz_caches, fuzz_images, fuzz_links, fuzz_weights
from trust.check import Check

CHECKS: tuple[Check, ...] = (
    *fuzz_images.CHECKS,
    *fuzz_weights.CHECKS,
    *fuzz_caches.CHECKS,
    *fuzz_links.CHECKS,
)
"""All checks, in the order of the table."""
