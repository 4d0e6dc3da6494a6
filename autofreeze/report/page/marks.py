"""How trials are marked in figures: by how they ended, and by what they train first."""

import math
from typing import Any, NamedTuple

from autofreeze.instabilities import Row
from autofreeze.report.page.figure import label
from autofreeze.report.page.palette import BAD, BASELINE, FROZEN, GOOD, MUTED, OTHER, SERIES, WARN
from autofreeze.results import Ending
from autofreeze.scale import Scale

DIGITS = 6
"""Of a place on an axis: finer than a screen shows. What is read on hover is not rounded."""


MANY = 150
"""Points from which on they are small."""


class Mark(NamedTuple):
    """How one kind of trial looks: each tells it apart, so that colour is never needed."""

    words: str
    colour: str
    symbol: str
    hatch: str


ENDING_MARKS: dict[Ending, Mark] = {
    Ending.COMPLETE: Mark("complete", GOOD, "circle", ""),
    Ending.UNPROMISING: Mark("pruned: unpromising", OTHER, "triangle-down", "/"),
    Ending.UNSTABLE: Mark("pruned: unstable", BAD, "x", "x"),
    Ending.TOO_DEAR: Mark("too dear, not run", MUTED, "diamond-open", "."),
    Ending.NOT_COMPARABLE: Mark("not comparable", WARN, "square-open", "+"),
    Ending.FAILED: Mark("failed", WARN, "cross", "-"),
    Ending.UNFINISHED: Mark("unfinished", FROZEN, "circle-open", "|"),
}

ROW_MARKS: dict[Row, Mark] = {
    "at once": Mark("backbone at once", SERIES[1], "square", "/"),
    "after a warm-up": Mark("backbone after a warm-up", SERIES[0], "circle", ""),
    "head alone": Mark("head alone", SERIES[3], "diamond", "."),
}

BASELINE_MARK = Mark("baseline", BASELINE, "diamond", "")


def place(value: float | None) -> float | None:
    """Give a place on an axis; None where there is none."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def value_title(scale: Scale) -> str:
    """Name the metric as the title of an axis, and say when less is better."""
    falls = scale.unit == "nats" or scale.direction == "minimize"
    return label(scale.metric) + (" (less is better)" if falls else "")


def in_template(text: str) -> str:
    """Write any text into a template of a hover, where ``%{…}`` is a variable."""
    return label(text).replace("%{", "%&#123;")


def cut(text: str, most: int = 22) -> str:
    """Write a long name short, for a tick; hovers give it whole."""
    return label(text if len(text) <= most else f"{text[: most - 1]}…")


def aside(number: int) -> float:
    """Give how far aside the point of a trial lies, -1..1: evenly spread, and the same each time."""
    return 2 * (number * 0.6180339887498949 % 1) - 1


def dot(mark: Mark, points: int) -> dict[str, Any]:
    """Give the marker of a trace of points, small and thin where the figure holds many.

    Args:
        mark: Of the trace.
        points: Of the whole figure.
    """
    many = points > MANY
    return {
        "color": mark.colour,
        "symbol": mark.symbol,
        "size": 5 if many else 9,
        "opacity": 0.55 if many else 0.85,
    }
