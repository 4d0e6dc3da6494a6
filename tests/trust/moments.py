"""What happens to a command at some moment: signals, and a clock that jumps."""

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

from trust.check import Check, Effort, Outcome
from trust.commands import instants
from trust.faults import wild_clock
from trust.ground import Spot, Tries, ground
from trust.victims import Instant

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def moments(effort: Effort) -> list[Instant]:
    """Give instants by changes to files, and every third one by the clock."""
    here = ground()
    by_change = [Instant(change=1 + int(one)) for one in instants(effort.rng, effort.times, here.changes)]
    by_clock = [Instant(seconds=one) for one in instants(effort.rng, effort.times, here.seconds / 2)]
    return [by_clock[turn] if turn % 3 == 2 else one for turn, one in enumerate(by_change)]


def send(process: int, *, number: signal.Signals) -> None:
    """Send a signal."""
    os.kill(process, number)


def _signals(effort: Effort) -> Outcome:
    """Sends one signal at a random instant."""
    tries = Tries(effort)
    for turn, at in enumerate(moments(effort)):
        number = SIGNALS[turn % len(SIGNALS)]
        spot, fault = tries.spot(), f"{number.name} {at}"
        ended = spot.search(at=at, act=partial(send, number=number))
        tries.judge(ended, fault, 0, 130, -number)
        tries.resume(spot, fault)
    return tries.outcome(effort.times)


def _seconds_in(data: Any) -> Iterator[float]:
    """Give every span of time in a report."""
    if isinstance(data, dict):
        for name, value in data.items():
            if "seconds" in name and isinstance(value, (int, float)):
                yield value
            else:
                yield from _seconds_in(value)
    elif isinstance(data, list):
        for value in data:
            yield from _seconds_in(value)


def _clock(effort: Effort) -> Outcome:
    """Searches, and looks, while the time of day jumps by up to 20 years; a limit of an hour ends none."""
    tries = Tries(effort)
    for _ in range(effort.times):
        seed = effort.rng.randrange(1 << 32) if effort.times > 1 else 0
        spot, fault, wild = tries.spot(), f"wild clock {seed}", partial(wild_clock, seed)
        ended = spot.search("--time", "1h", fault=wild)
        tries.judge(ended, fault)
        for told in (("status", spot.run), ("report", spot.run, "--open")):
            tries.judge(spot.command(*told, fault=wild), f"{told[0]} with {fault}")
        if not ended.status:
            _look(tries, spot, fault, ended.seconds)
        tries.resume(spot, fault)
    return tries.outcome(effort.times, "jumps of -20 to 10 years, at every eighth look at the clock")


def _look(tries: Tries, spot: Spot, fault: str, most: float) -> None:
    """See that no span of time was measured by the time of day."""
    report = json.loads((spot.run / "report.json").read_text(encoding="utf-8"))
    report.pop("plan")  # foretold, not measured
    spans = list(_seconds_in(report))
    if not spans or min(spans) < 0 or max(spans) > most:
        tries.wrong.append(
            f"{fault}: spans of {min(spans)} to {max(spans)} s are told, of {most:.1f} s in all"
        )


CHECKS: tuple[Check, ...] = (
    Check(
        name="resource-signals", fault="SIGTERM, SIGINT or SIGHUP to a search, then `--resume`",
        run=_signals, quick=1, long=24,
    ),
    Check(
        name="resource-clock", fault="a search while the clock jumps by hours and years, then a look at it",
        run=_clock, quick=1, long=10,
    ),
)  # fmt: skip
