"""Every error that autofreeze raises on purpose.

::

    AutofreezeError           exit status 1: it failed
    ├── TrainingError         a run of fit() cannot go on
    └── InputError            exit status 2: what was given is wrong; nothing was overwritten
        ├── ConfigError       settings, spaces, schedules
        ├── DataError         images, labels, splits
        ├── BackboneError     model names, weights, layer groups
        └── RunFolderError    run folders and the studies in them
"""

from collections.abc import Sequence

LONGEST = 2_000
"""Characters of one line: what was given may be as long as a file."""


class AutofreezeError(Exception):
    """An expected failure, told in plain words: no traceback reaches the user.

    Of a line longer than :data:`LONGEST` the middle is left out, which is said. Where a sentence has several
    lines, the others are set in, so that no name of a file or a class passes for a sentence.

    Args:
        problems: One sentence each: what was given, what is allowed, the way out. All of them at once.
        where: The file, option or object that the problems are about.
    """

    exit_status = 1

    def __init__(self, problems: str | Sequence[str], *, where: str = "") -> None:
        given = (problems,) if isinstance(problems, str) else problems
        self.problems: tuple[str, ...] = tuple(map(_shortened, given))
        self.where = where
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{_shortened(self.where)}: " if self.where else ""
        told = [problem.replace("\n", "\n    ") for problem in self.problems]
        if len(told) == 1:
            return head + told[0]
        return head.rstrip() + "".join(f"\n  {problem}" for problem in told)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problems, self.where)


def _shortened(text: str) -> str:
    """Leave out the middle of each line that is too long: the way out stands at the end."""
    return "\n".join(map(_shortened_line, text.split("\n"))) if len(text) > LONGEST else text


def _shortened_line(line: str) -> str:
    if len(line) <= LONGEST:
        return line
    half = LONGEST // 2 - 30  # what is said of the middle takes room too, and what was shortened stays
    return f"{line[:half]} … {len(line) - 2 * half:,} characters left out … {line[-half:]}"


def _rebuild(kind: type[AutofreezeError], problems: tuple[str, ...], where: str) -> AutofreezeError:
    """Unpickle an error: executors send them between processes."""
    return kind(problems, where=where)


class TrainingError(AutofreezeError):
    """A training run cannot go on."""


class InputError(AutofreezeError):
    """What the user gave is wrong; nothing was overwritten."""

    exit_status = 2


class ConfigError(InputError):
    """A setting, search space or schedule is wrong."""


class DataError(InputError):
    """The images, their labels or their splits are wrong."""


class BackboneError(InputError):
    """A model name, its weights or its layer groups are wrong."""


class RunFolderError(InputError):
    """A run folder cannot be used as asked."""


class ClusterError(AutofreezeError):
    """A cluster cannot be used, or is gone."""
