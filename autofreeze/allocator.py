"""How a CPU process keeps the memory that a training step frees.

glibc hands every block above its mmap threshold back to the kernel as soon as it is freed, and asks for
fresh, zeroed pages at the next step. Activations are such blocks. Kept in the process, they are there again.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Numbers of ``mallopt(3)``."""

KEPT_BYTES = 2**31 - 1
"""Free memory above which glibc may give some back: as much as its argument can say."""


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks for the next step. Changes no number, only the time.

    Returns:
        Whether the C library took the setting; False on systems without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, 2**26))
    return all([mallopt(number, value) == 1 for number, value in settings])
