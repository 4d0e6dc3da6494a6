"""Libraries that talk while they try: kept off the terminal, so that our own one line is what is read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(name: str, level: int = logging.ERROR) -> Iterator[None]:
    """Let a library's logger tell errors alone within the block, not its remarks on every attempt.

    Args:
        name: Of the logger, such as ``huggingface_hub``.
        level: What it still tells.
    """
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
