"""Ticks of logarithmic axes: few, at round numbers, each with its whole number beside it."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from autofreeze.report.page.marks import place

MOST = 4
"""Ticks at most."""

STEPS = (
    (0.7, (1.0, 2.0, 3.0, 5.0, 7.0)),
    (1.2, (1.0, 2.0, 5.0)),
    (2.0, (1.0, 3.0)),
    (math.inf, (1.0,)),
)
"""Decades below which an axis has ticks at these multiples of a power of ten."""

ROOM = 0.16
"""Decades beyond the first and the last value, at least, so that even one value has a tick near it."""


def log_axis(values: Iterable[float], write: Callable[[float], str]) -> dict[str, Any]:
    """Lay out a logarithmic axis: its range with a little room, and its ticks.

    Args:
        values: All that stand on it, > 0.
        write: How a tick is written.
    """
    logs = [math.log10(value) for value in values]
    low, high = min(logs, default=-4.0), max(logs, default=-2.0)
    room = max(0.06 * (high - low), ROOM)
    low, high = low - room, high + room
    ticks = _ticks(low, high)
    return {
        "type": "log",
        "range": [place(low), place(high)],
        "tickvals": [place(tick) for tick in ticks],
        "ticktext": [write(tick) for tick in ticks],
    }


def _ticks(low: float, high: float) -> list[float]:
    """Give round numbers between two exponents, the fewer of a decade the more decades there are."""
    steps = next(steps for most, steps in STEPS if high - low < most)
    decades = range(math.floor(low), math.ceil(high) + 1)
    found = [step * 10.0**decade for decade in decades for step in steps]
    found = [tick for tick in found if low <= math.log10(tick) <= high]
    every = max(math.ceil(len(found) / MOST), 1)
    return found[::-1][::every][::-1]
