"""Where names of points go, so that they lie neither on one another nor on the points, on a phone too."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CHARACTER, LINE = 6.4, 15.0
"""Width of a character and height of a line at 11 pixels."""

POINT = 7.0
"""From a point's middle to what may lie beside it."""

RINGS = (0.0, 14.0, 30.0, 48.0, 70.0, 96.0, 124.0)
"""How much farther off a name is tried, in turn."""


@dataclass(frozen=True)
class Named:
    """A point and the name beside it."""

    x: float
    y: float
    """In pixels of the narrowest plot, from its left and upper edges."""

    characters: int


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "_Box") -> float:
        """Give the area in common."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, width: float, height: float) -> float:
        """Give by how much it leaves a plot, in pixels."""
        return (
            max(-self.left, 0.0) + max(-self.top, 0.0)
            + max(self.right - width, 0.0) + max(self.bottom - height, 0.0)
        )  # fmt: skip


Line = tuple[float, float, float, float]
"""A level or upright line from one place to another: x, y, x, y."""


def place_names(
    points: Sequence[Named], *, width: float, height: float, lines: Sequence[Line] = ()
) -> list[tuple[float, float]]:
    """Give for each point where the middle of its name lies from it, in pixels, right and down.

    One after the other: the first place at which nothing is covered and the line to the point runs over
    nothing, nearer ones first; else the one that covers least. Where a plot is wider, names that lay clear of
    one another still do.

    Args:
        points: All that have names, the one that must stand best first.
        width: Of the narrowest plot, in pixels.
        height: Of it.
        lines: What else is not to be covered.
    """
    drawn = [
        _Box(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1) for x0, y0, x1, y1 in lines
    ]
    marks = [_Box(one.x - POINT, one.y - POINT, one.x + POINT, one.y + POINT) for one in points]
    taken: list[_Box] = []
    found = []
    for number, one in enumerate(points):
        others = [*drawn, *taken, *(mark for other, mark in enumerate(marks) if other != number)]
        best, least = (0.0, 0.0), float("inf")
        for right, down in _offsets(one):
            box = _box(one, right, down)
            cost = sum(map(box.overlap, others)) + 50.0 * box.outside(width, height)
            cost += 100.0 * sum(_passes(one, right, down, mark) for mark in others[len(drawn) :])
            if cost < least:
                best, least = (right, down), cost
            if cost == 0.0:
                break
        taken.append(_box(one, *best))
        found.append(best)
    return found


def _offsets(one: Named) -> Iterator[tuple[float, float]]:
    half = one.characters * CHARACTER / 2
    for ring in RINGS:
        aside, above = half + POINT + ring / 2, LINE / 2 + POINT + ring
        yield from ((0.0, -above), (0.0, above))
        if not ring:
            yield from ((aside, 0.0), (-aside, 0.0))
        yield from ((aside, -above), (-aside, -above), (aside, above), (-aside, above))
        yield from ((half, -above), (-half, -above), (half, above), (-half, above))


def _passes(one: Named, right: float, down: float, other: _Box) -> bool:
    """Whether the line from a point to the middle of its name runs over something."""
    steps = ((one.x + right * part / 10, one.y + down * part / 10) for part in range(1, 10))
    return any(other.left < x < other.right and other.top < y < other.bottom for x, y in steps)


def _box(one: Named, right: float, down: float) -> _Box:
    half, x, y = one.characters * CHARACTER / 2, one.x + right, one.y + down
    return _Box(x - half, y - LINE / 2, x + half, y + LINE / 2)
