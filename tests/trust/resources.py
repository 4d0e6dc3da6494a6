"""What a command needs and does not get: room, handles, memory, folders, a true clock."""

from trust import folders, limits, moments

CHECKS = (*limits.CHECKS, *folders.CHECKS, *moments.CHECKS)
BY_MOUNTS = ("resource-disk", "resource-disk-out", "resource-read-only")
"""Checks that mount small disks and read-only folders, which a container may forbid."""
