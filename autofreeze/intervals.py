"""Intervals for new images and new seeds."""

from autofreeze.values import Value


class Interval(Value):
    """An estimate and how far off it may be."""

    estimate: float
    low: float
    high: float
    standard_error: float
    images: int
    """Distinct images that it rests on."""

    seeds: int
