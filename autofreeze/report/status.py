"""How a search goes, on the terminal: what it tells of itself, and what has become of it."""

import shlex
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autofreeze.phrases import counted, duration, places_words, printable, roughly, shell_word
from autofreeze.pulse import Pulse, Sight
from autofreeze.scale import Scale
from autofreeze.status import Doing, UnderWay

LONG_SILENCE = 10.0
"""Seconds after which it is told how long ago the last word came."""

DAY = 86400.0

RESUME, COMMAND = "--resume", ":  autofreeze "


def render(sight: Sight, name: str, *, rows: int | None = None, resumes: bool = True) -> RenderableType:
    """Compose what was seen of a search on one data set.

    Args:
        sight: What was seen.
        name: What to call the search: its run folder, or the data set.
        rows: Rows at most of the table of runs; all of them when left out.
        resumes: Whether to say how it goes on, where it was killed or cut short.
    """
    lines = [f"{name}: {line}" if number == 0 else line for number, line in enumerate(lines_of(sight))]
    parts: list[RenderableType] = [line_of(line) for line in lines]
    status = sight.status
    if status.under_way:
        parts.append(_table(sight, status.under_way[:rows]))
        hidden = len(status.under_way) - len(status.under_way[:rows])
        parts += [Text(f"  and {counted(hidden, 'more run')}")] if hidden else []
    if resumes and (sight.pulse is Pulse.KILLED or status.cut_short):
        parts.append(line_of(resuming(status.command)))
    return Group(*parts)


def line_of(text: str) -> Text:
    """Write a line; one that ends with a command stays whole, to be copied, however narrow a terminal is."""
    whole = COMMAND in text
    return Text(printable(text), no_wrap=whole, overflow="ignore" if whole else None)


def lines_of(sight: Sight) -> list[str]:
    """Say what has become of a search, and how far it has come."""
    status = sight.status
    lines = [_standing(sight), _trials(sight)]
    if status.best is not None:
        best, value = status.best, status.scale.figure(status.best.value)
        when = "so far" if status.doing in (Doing.PREPARING, Doing.SEARCHING) else "of the search"
        lines.append(f"best {when}: trial {best.number} ({best.name}), {status.scale.metric} {value}")
    if status.fresh is not None:
        lines.append(_fresh(sight))
    if len(status.under_way) > 1:
        places = places_words(status.places)
        were = "" if sight.pulse is Pulse.RUNNING else " then"
        lines.append(f"under way{were}: {len(status.under_way)} runs" + (f"; {places}" if places else ""))
    return lines


def resuming(command: str) -> str:
    """Say how a search goes on that was killed or cut short.

    Args:
        command: What it was begun by; empty where it was not a command.
    """
    words = _words(command)
    match words[:2]:
        case ["autofreeze", "search"]:
            end = words.index("--") if "--" in words else len(words)  # behind it nothing is an option
            if RESUME not in words[:end]:
                words.insert(end, RESUME)
            return f"it goes on where it was, with:  {' '.join(map(shell_word, words))}"
        case ["autofreeze", "demo"]:
            return "a demonstration is begun anew, with another --out"
    return "it goes on where it was, searched again with resume=True"


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # no command line
        return []


def _standing(sight: Sight) -> str:
    """Say whether it runs, what it is or was doing, and where its process is."""
    status, age = sight.status, sight.status.age(sight.now)
    ago = f"{duration(age)} ago" if age < DAY else f"on {status.written.astimezone():%Y-%m-%d %H:%M}"
    place = f"process {status.process} on {status.host}"
    match sight.pulse:
        case Pulse.RUNNING:
            silent = f"; last word {ago}" if age > LONG_SILENCE else ""
            for_long = duration((sight.now - status.began).total_seconds())
            return f"{status.doing.value}, for {for_long} ({place}){silent}"
        case Pulse.ENDED:
            return f"ended {ago}" + (f", cut short: {status.cut_short}" if status.cut_short else "")
        case Pulse.KILLED:
            return f"was killed while {status.doing.value}; last word {ago} ({place})"
        case Pulse.UNKNOWN:
            return (
                f"{status.doing.value}, by its last word {ago}; whether {place} still runs cannot be seen "
                "from this machine"
            )


def _trials(sight: Sight) -> str:
    """Say how many trials have ended, and how; what is left of them."""
    status = sight.status
    ended = ", ".join(f"{number} {ending}" for ending, number in status.ended.items())
    line = f"{status.counted} of {counted(status.trials, 'trial')} have ended"
    if status.tunings:
        line += f", and {status.tuned} of {status.tunings} that tune baselines"
    line += f": {ended}" if ended else ""
    return line + (_left(sight, "; ") if status.doing is Doing.SEARCHING else "")


def _fresh(sight: Sight) -> str:
    """Say how far the confirmation has come."""
    status, fresh = sight.status, sight.status.fresh
    assert fresh is not None
    parts = [f"{fresh.seeds} looked at"] if fresh.seeds else []
    if fresh.total:
        look = "next" if fresh.seeds else "first"
        left = _left(sight, ", ") if status.doing is Doing.CONFIRMING else ""
        parts.append(f"{fresh.done} of {fresh.total} runs done for the {look} look{left}")
    return f"fresh seeds (at most {fresh.planned}): {'; '.join(parts) or 'none run yet'}"


def _left(sight: Sight, joint: str) -> str:
    left = sight.status.seconds_left
    if left is None or sight.pulse is not Pulse.RUNNING:
        return ""
    return f"{joint}about {roughly(max(left - sight.status.age(sight.now), 0.0))} left"


def _table(sight: Sight, runs: Sequence[UnderWay]) -> Table:
    """Tabulate runs under way: how far each is, and where, as far as there is more than one place."""
    status, runs_on = sight.status, sight.pulse is Pulse.RUNNING
    until = sight.now if runs_on else status.written
    placed = bool(status.places)
    fresh = any(run.fresh is not None for run in runs)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for heading in ("fresh\nseed" if fresh else "fold", "epoch", status.scale.metric):
        table.add_column(heading, justify="right", no_wrap=True)
    if placed:
        table.add_column("where", no_wrap=True)
    table.add_column("running\nfor" if runs_on else "ran\nfor", justify="right", no_wrap=True)
    for run in runs:
        heads = f", {run.heads} heads" if run.heads else ""
        part = str(run.fresh) if run.fresh is not None else f"{run.fold + 1}/{run.folds}"
        table.add_row(
            str(run.number),
            Text(printable(run.name + heads)),
            part,
            f"{run.epochs_done:g}/{run.epochs:g}",
            _value(status.scale, run),
            *([Text(printable(run.where or "–"))] if placed else []),
            duration(max((until - run.since).total_seconds(), 0.0)),
        )
    return table


def _value(scale: Scale, run: UnderWay) -> str:
    return "–" if run.value is None else scale.figure(run.value)
