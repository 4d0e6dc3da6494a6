"""Whether a cluster still answers.

It is asked in a thread of its own: some calls of Ray wait a minute for a head that is gone, and then end the
process without a word.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from autofreeze.errors import AutofreezeError, ClusterError

SILENCE_SECONDS = 30.0
"""A head that has been silent for so long counts as gone. Ray itself waits for 60 s."""

WAY_OUT = "what has ended is kept; go on with --resume, on another cluster, or without --ray on this machine"

Answer = TypeVar("Answer")


@contextmanager
def answering() -> Iterator[None]:
    """Tell that the cluster is gone when an error of Ray in the block says so.

    Raises:
        ClusterError: It does.
    """
    import ray

    try:
        yield
    except AutofreezeError:
        raise
    except Exception as error:
        if not isinstance(error, ray.exceptions.RayError) and ray.is_initialized():
            raise
        raise ClusterError(_gone(_in_a_line(error))) from error


class Lookout(Generic[Answer]):
    """Asks a cluster something, again and again.

    Args:
        ask: Asks it, by calls of Ray alone.
        seconds: From one answer to the next question.

    Raises:
        ClusterError: The first question is not answered.
    """

    def __init__(self, ask: Callable[[], Answer], *, seconds: float) -> None:
        self._ask, self._seconds = ask, seconds
        self._closed = threading.Event()
        self._why = ""
        self._asked: float | None = None
        with answering():
            self._answer = ask()
        threading.Thread(target=self._run, name="lookout", daemon=True).start()

    @property
    def gone(self) -> str:
        """Why the cluster is gone; empty where it is not."""
        asked = self._asked
        silent = 0.0 if asked is None else time.monotonic() - asked
        if not self._why and silent >= SILENCE_SECONDS:
            self._why = f"its head has not answered for {silent:.0f} s"
        return self._why

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def look(self) -> Answer:
        """Give the newest answer, the same object until there is another one.

        Raises:
            ClusterError: The cluster is gone.
        """
        if self.gone:
            raise ClusterError(_gone(self.gone))
        return self._answer

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Note, and tell, that the cluster is gone when an error of Ray in the block says so.

        Raises:
            ClusterError: It does.
        """
        try:
            with answering():
                yield
        except ClusterError as error:
            self._why = self._why or _in_a_line(error.__cause__ or error)
            raise

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            self._asked = time.monotonic()
            try:
                self._answer = self._ask()
            except Exception as error:  # noqa: BLE001 - it is told where the answer is looked for
                self._why = self._why or _in_a_line(error)
                return
            self._asked = None


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300].removesuffix(".")


def _gone(why: str) -> str:
    return f"the cluster is gone; {WAY_OUT} ({why})"
