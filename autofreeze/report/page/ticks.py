"""Ticks of logarithmic axes: few, at round numbers, each with its whole number beside it."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from autofreeze.report.page.marks import place

MOST = 5
"""Ticks at most."""


def log_axis(values: Iterable[float], write: Callable[[float], str]) -> dict[str, Any]:
    """Lay out a logarithmic axis: its range with a little room, and its ticks.

    Args:
        values: All that stand on it, > 0.
        write: How a tick is written.
    """
    logs = [math.log10(value) for value in values]
    low, high = min(logs, default=-4.0), max(logs, default=-2.0)
    room = 0.06 * (high - low) + 0.05
    low, high = low - room, high + room
    ticks = _ticks(low, high)
    return {
        "type": "log",
        "range": [place(low), place(high)],
        "tickvals": [place(tick) for tick in ticks],
        "ticktext": [write(tick) for tick in ticks],
    }


def _ticks(low: float, high: float) -> list[float]:
    """Give round numbers between two exponents: 1, 2 and 5 of a decade, 1 and 3, or 1 of every so many."""
    span = high - low
    steps = (1.0, 2.0, 5.0) if span < 1.2 else (1.0, 3.0) if span < 2 else (1.0,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    found = [step * 10.0**decade for decade in decades for step in steps]
    found = [tick for tick in found if low <= math.log10(tick) <= high]
    every = max(math.ceil(len(found) / MOST), 1)
    return found[::-1][::every][::-1]
