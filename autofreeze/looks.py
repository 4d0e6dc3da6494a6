"""Looks at a confirmation: who is left behind, who is chosen, what may be said."""

from typing import Literal

from autofreeze.intervals import Interval
from autofreeze.values import Value

LOOKS = (6, 12, 24)
"""Fresh seeds at each look."""

Decision = Literal["better", "worse", "no difference", "undecided"]


class Comparison(Value):
    """The chosen schedule against another one."""

    trial: int
    """The chosen one."""

    against: int
    """The other trial."""

    interval: Interval
    """Of the difference, chosen minus other, in the metric's unit (more is better; log loss: nats saved)."""

    decision: Decision
    seeds: tuple[int, int]
    """Numbers of the fresh seeds that it rests on: the first, and the one after the last."""
