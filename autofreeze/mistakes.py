"""Which classes are taken for which, and the images that are most often wrong."""

from autofreeze.values import Value


class Confusion(Value):
    """How often images of each class were taken for each class, over all runs of a trial."""

    trial: int
    runs: int
    counts: tuple[tuple[int, ...], ...]
    """Row: the true class. Column: the predicted one. In the order of ``StudyResult.data["classes"]``."""


class WrongImage(Value):
    """An image that the best schedule gets wrong."""

    name: str
    """Of its file, below the data's folder; else what the source calls it."""

    label: int
    """Its class in the data."""

    predicted: int
    """The class that it was taken for most often."""

    wrong: int
    """Runs that got it wrong."""

    scored: int
    """Runs that were scored on it."""

    thumbnail: str = ""
    """A small JPEG as ``data:`` address; empty where it could not be read."""


class Mistakes(Value):
    """What the best schedule gets wrong, beside the best baseline."""

    fresh: bool
    """Whether they are those of the runs on fresh seeds; else of the search's folds."""

    confusions: tuple[Confusion, ...]
    """The best schedule's, then that of the best baseline where there is one."""

    images: tuple[WrongImage, ...]
    """Most often wrong first."""
