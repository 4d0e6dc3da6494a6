"""What a command needs and does not get: room, handles, memory, folders, a true clock."""

from trust import folders, limits, moments

CHECKS = (*limits.CHECKS, *folders.CHECKS, *moments.CHECKS)
