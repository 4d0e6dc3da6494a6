"""Ctrl-C: the first one ends the search after the epoch, the second one at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether somebody has asked to stop."""

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self) -> str:
        """Give the reason to stop; empty while there is none."""
        return self.reason


@contextmanager
def watch_for_interruption(tell: Callable[[str], None] | None = None) -> Iterator[Interruption]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request; the second SIGINT is a ``KeyboardInterrupt``.

    Only the main thread can watch signals; elsewhere nothing is watched.

    Args:
        tell: Called with a line for the user at the first signal.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def ask(number: int, _: FrameType | None) -> None:
        if interruption.reason and number == signal.SIGINT:
            raise KeyboardInterrupt
        interruption.reason = "interrupted"
        if tell:
            tell("stopping after this epoch; press Ctrl-C again to stop at once")

    numbers = [signal.SIGINT, signal.SIGTERM]
    # A terminal that is closed; nohup has it ignored, and so it stays.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
