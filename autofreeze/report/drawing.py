"""A schedule as a picture of characters: groups as rows, time as columns, the rate as height."""

import math

from autofreeze.schedule import Schedule, format_rate

FROZEN = "·"
BLOCKS = "▁▂▃▄▅▆▇█"
"""From the lowest rate to the highest, in equal steps of the logarithm."""

TAIL = 10.0
"""A rate curve falls to zero: below this part of the lowest cell everything is drawn as the lowest block."""

STEPS_PER_EPOCH = 64
"""Fine enough for a picture, whatever the size of the data."""


def draw(schedule: Schedule, width: int = 80) -> str:
    """Draw what trains when, and how fast.

    Args:
        schedule: The table; every figure is read from its ``Timetable.rate``.
        width: Characters in a line, names included.

    Returns:
        A line for each group, stem first, one with the epochs, and one that explains the blocks.
    """
    timetable = schedule.timetable(STEPS_PER_EPOCH)
    margin = max(len(name) for name in schedule.groups) + 2
    columns = max(min(width - margin, 60), 8)
    steps = [int((column + 0.5) / columns * timetable.total_steps) for column in range(columns)]
    low, high = rate_span(schedule)
    lines = [
        name.ljust(margin) + "".join(_block(timetable.rate(group, step), low, high) for step in steps)
        for group, name in enumerate(schedule.groups)
    ]
    return "\n".join([*lines, " " * margin + _axis(schedule, columns), _legend(low, high, schedule)])


def rate_span(schedule: Schedule) -> tuple[float, float]:
    """Give the lowest rate that is told apart in a picture, and the highest."""
    cells = [lr for phase in schedule.phases for lr in phase.lrs if lr is not None]
    return min(cells) / (1 if schedule.curve == "constant" else TAIL), max(cells)


def _block(rate: float | None, low: float, high: float) -> str:
    if rate is None:
        return FROZEN
    if high <= low or rate >= high:
        return BLOCKS[-1]
    share = math.log(max(rate, low) / low) / math.log(high / low)
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]


def _axis(schedule: Schedule, columns: int) -> str:
    """Give the epochs at which phases begin, where there is room, and the last one at the right end."""
    end = f"{schedule.epochs:.4g}"
    line = [" "] * columns
    line[columns - len(end) :] = end
    free, start = 0, 0.0
    for phase in schedule.phases:
        mark = f"{start:.4g}" if start else "epoch 0"
        place = int(start / schedule.epochs * columns)
        if place >= free and place + len(mark) + 1 <= columns - len(end):
            line[place : place + len(mark)] = mark
            free = place + len(mark) + 1
        start += phase.epochs
    return "".join(line)


def _legend(low: float, high: float, schedule: Schedule) -> str:
    scale = f"{BLOCKS[-1]} {format_rate(high)}"
    if high > low:
        less = " or less" if schedule.curve != "constant" else ""
        scale = f"{BLOCKS[0]} {format_rate(low)}{less} to {scale}, on a logarithmic scale"
    return f"{FROZEN} frozen, {scale}"
