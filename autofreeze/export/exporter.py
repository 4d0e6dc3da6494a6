"""What an export target is: a way to write a schedule down, or the reason why it cannot."""

from typing import NamedTuple, Protocol

from autofreeze.export.fidelity import Assessment
from autofreeze.export.native import NativeFile


class ExportedFile(NamedTuple):
    """One file of an export, whole."""

    ending: str
    """What follows the stem of the name that was asked for, such as ``.py`` or ``_callback.py``."""

    text: str


class Exporter(Protocol):
    """A target. Both methods are pure: the same file gives the same answer and the same texts.

    A new target is a module of ``export/targets`` that is named in its ``EXPORTERS``, and passes
    ``tests/test_exporters.py``.
    """

    @property
    def name(self) -> str:
        """As in ``autofreeze export --to NAME``."""
        ...

    @property
    def title(self) -> str:
        """What is written, for people: ``finetuning-scheduler 2.14: schedule and callback``."""
        ...

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of the files that :meth:`write` gives, the one that a user asks for first."""
        ...

    @property
    def takes_own(self) -> bool:
        """Whether it also writes down what was found with a training of the user's own, of unknown model."""
        ...

    def assess(self, file: NativeFile, /) -> Assessment:
        """Say how truly the target can express the file's schedule and regime; the file is one it takes."""
        ...

    def write(self, file: NativeFile, /) -> tuple[ExportedFile, ...]:
        """Write the nearest that the target knows; called only where :meth:`assess` does not refuse.

        What differs stands at the top of the first file.
        """
        ...
