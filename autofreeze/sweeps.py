"""Sweeps: where the head trains alone, a draw becomes many heads that share their features.

The features are computed once, and a further head costs little beside them. So a trial that trains nothing
else tries the head's settings at once, and counts as one trial: the best head is told, all are kept.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autofreeze.axes import Choice, Range
from autofreeze.job import MEMBER_FIELDS, Member
from autofreeze.space import Space

MOST_MEMBERS = 16
"""Heads of a sweep. Up to as many, one more costs hardly anything (``benchmarks/fused_heads.py``)."""

HEAD_RATE = "head_lr"
SWEPT = (HEAD_RATE, *sorted(MEMBER_FIELDS))
"""Axes that are swept, where a space searches them."""

_GOLDEN = (math.sqrt(5) - 1) / 2


def points_of(
    space: Space, params: Mapping[str, Any], most: int = MOST_MEMBERS
) -> tuple[dict[str, Any], ...]:
    """Give the heads that a draw is swept with, as values of the swept axes; the drawn ones come first.

    Rates go round the whole range in even steps from the drawn one, so that the sweeps of two draws look at
    different rates (systematic sampling). Lists are gone through, also from what was drawn.

    Args:
        space: What may be tried.
        params: The point that was drawn.
        most: Heads at most.

    Returns:
        Values by axis; empty where the drawn point trains more than the head, or nothing can be swept.
    """
    axes = {name: axis for name, axis in space.searched.items() if name in SWEPT and name in params}
    if not axes or space.build(_whole(space, params))[0].unfreeze_depth:
        return ()
    lists = {name: axis.options for name, axis in axes.items() if isinstance(axis, Choice)}
    ranges = {name: axis for name, axis in axes.items() if isinstance(axis, Range)}
    n = most if ranges else min(most, math.prod(len(options) for options in lists.values()))
    found: dict[str, dict[str, Any]] = {}
    for turn in range(n):
        point = _from_lists(lists, params, turn)
        for place, (name, axis) in enumerate(ranges.items()):
            stride = turn / n if not place else turn * _GOLDEN * place
            point[name] = _further(axis, params[name], stride)
        point = {name: point[name] for name in axes} if turn else {name: params[name] for name in axes}
        member = member_of(space, params, point)
        found.setdefault(member.settings_digest, point)
    return tuple(found.values()) if len(found) > 1 else ()


def member_of(space: Space, params: Mapping[str, Any], point: Mapping[str, Any]) -> Member:
    """Build one head of a sweep.

    Args:
        space: What may be tried.
        params: The point that was drawn, or the same with the swept values of any of its heads.
        point: The head's values of the swept axes.
    """
    schedule, regime = space.build(_whole(space, {**params, **point}))
    return Member(schedule=schedule, regime=regime, params=dict(point))


def members_of(
    space: Space, params: Mapping[str, Any], points: Sequence[Mapping[str, Any]]
) -> tuple[Member, ...]:
    """Build the heads of a sweep from their values of the swept axes."""
    return tuple(member_of(space, params, point) for point in points)


def _whole(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Add the axes that are fixed."""
    return {name: params.get(name, axis) for name, axis in space.axes.items()}


def _from_lists(lists: Mapping[str, Sequence[Any]], params: Mapping[str, Any], turn: int) -> dict[str, Any]:
    """Give the turn-th combination of lists, counted from the drawn one."""
    point = {}
    for name, options in lists.items():
        turn, place = divmod(turn, len(options))
        point[name] = options[(options.index(params[name]) + place) % len(options)]
    return point


def _further(axis: Range, value: float, stride: float) -> float:
    """Go on in a range by a share of it, from its end to its beginning, on the scale that it is drawn on."""
    low, high = float(axis.low), float(axis.high)
    if axis.log:
        place = math.log(value / low) / math.log(high / low)
        found = low * (high / low) ** ((place + stride) % 1)
    else:
        found = low + (high - low) * (((value - low) / (high - low) + stride) % 1)
    if axis.step:
        found = low + axis.step * round((found - low) / axis.step)
    return float(min(max(found, low), high))
