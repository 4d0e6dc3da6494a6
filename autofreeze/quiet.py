"""Libraries that talk while they try: kept off the terminal, so that our own one line is what is read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Let a library's logger tell errors alone within the block, not its remarks on every attempt.

    Args:
        name: Of the logger, such as ``huggingface_hub``.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
