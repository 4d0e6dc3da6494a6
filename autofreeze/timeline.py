"""When each run was trained, and where: from the records, as they came in."""

from autofreeze.values import Value


class Stretch(Value):
    """A time in which one run was trained in one go."""

    where: str
    """Name of the place; empty where there is but one."""

    lane: int = 0
    """Number of the worker at the place, from 0. Nobody notes which one it was: runs that were trained side by
    side are told apart by their times."""

    trial: int
    fold: int | None
    """None of a run on a fresh seed."""

    fresh: int | None
    began: float
    """Seconds since the first run of the search began, whatever the sessions."""

    ended: float
