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


class AutofreezeError(Exception):
    """An expected failure, told in plain words: no traceback reaches the user.

    Args:
        problems: One sentence each: what was given, what is allowed, the way out. All of them at once.
        where: The file, option or object that the problems are about.
    """

    exit_status = 1

    def __init__(self, problems: str | Sequence[str], *, where: str = "") -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        self.where = where
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: " if self.where else ""
        if len(self.problems) == 1:
            return head + self.problems[0]
        return head.rstrip() + "".join(f"\n  {problem}" for problem in self.problems)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problems, self.where)


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
