"""How schedules, figures, times and places are written, wherever they are told."""

import shlex
from collections.abc import Iterable, Mapping

from autofreeze.recipes import name_of
from autofreeze.schedule import Schedule, format_rate

SHOWN_PLACES = 4
"""Places that a line names; of more it says how many there are."""

RECIPE_WORDS = {
    "linear_probe": "train the head alone",
    "full": "train everything from the start",
    "frozen_stem": "train everything but {frozen} from the start",
    "last_groups": "train {trained} from the start, the rest frozen",
    "lp_ft": "train the head alone for {warmup}, then {trained}",
    "gradual": "train the head alone for {warmup}, then thaw {trained} step by step",
    "one_block": "train the head and {trained} alone",
    "chain_thaw": "train the head, then each group alone, then everything",
}


def sentence(schedule: Schedule) -> str:
    """Say in one sentence what a schedule does."""
    recipe = name_of(schedule)
    ever = [any(phase.lrs[column] for phase in schedule.phases) for column in range(len(schedule.groups))]
    backbone = schedule.groups[:-1]
    trained = [name for name, trains in zip(backbone, ever, strict=False) if trains]
    frozen = [name for name, trains in zip(backbone, ever, strict=False) if not trains]
    if recipe == "gradual" and schedule.warmup_epochs == 0:
        words = f"train from the head down, thawing {_names(trained, backbone)} step by step"
    else:
        words = RECIPE_WORDS.get(recipe, "train as the table says").format(
            frozen=_names(frozen, backbone),
            trained=_names(trained, backbone),
            warmup=_epochs(schedule.warmup_epochs),
        )
    return f"{words}, {_rates(schedule)}, {schedule.curve_words}, {_epochs(schedule.epochs)}"


def _epochs(number: float) -> str:
    return f"{number:g} {'epoch' if number == 1 else 'epochs'}"


def _names(names: list[str], backbone: tuple[str, ...]) -> str:
    if len(names) == len(backbone):
        return "everything"
    if len(names) > 1:
        return f"{names[0]} to {names[-1]}"
    return names[0] if names else "nothing"


def _rates(schedule: Schedule) -> str:
    head = {phase.lrs[-1] for phase in schedule.phases if phase.lrs[-1]}
    backbone = {lr for phase in schedule.phases for lr in phase.lrs[:-1] if lr}
    named = {"head": head, "backbone": backbone}
    return ", ".join(f"{name} at {_span(rates)}" for name, rates in named.items() if rates)


def _span(rates: set[float]) -> str:
    low, high = min(rates), max(rates)
    return format_rate(low) if low == high else f"{format_rate(low)} to {format_rate(high)}"


def standard_error(value: float, n: float) -> float:
    """Binomial standard error of a share of ``n`` images."""
    return float((max(value * (1 - value), 0.0) / n) ** 0.5) if n else float("nan")


def printable(text: str) -> str:
    r"""Write what would steer a terminal, or is no text at all, as an escape: ``\x1b``, ``\udce9``.

    Names of classes and files may hold anything; on Linux also bytes that are no UTF-8.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shell_word(text: str) -> str:
    """Write a word for a shell, on one line: what is not printable in ``$'…'``, which bash and zsh know."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_in_ansi_c, text)) + "'"


def _in_ansi_c(char: str) -> str:
    if char.isprintable():
        return f"\\{char}" if char in "\\'" else char
    kind = "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors=kind))


def capitalised(text: str) -> str:
    """Begin with a capital, and leave the rest as it is."""
    return text[:1].upper() + text[1:]


def counted(number: object, noun: str) -> str:
    """Write a number and its noun: ``1 thread``, ``2 threads``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listed(words: Iterable[str]) -> str:
    """Join words as a sentence does: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds: float) -> str:
    """Write a time for people: ``43 s``, ``12 min 5 s``, ``3 h 20 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def roughly(seconds: float) -> str:
    """Write an estimated time, no finer than it is known: ``0.4 s``, ``50 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 9.5:
        return f"{max(seconds, 0.1):.1g} s"
    if seconds < 60:
        return f"{round(seconds, -1):.0f} s" if seconds < 55 else "1 min"
    if seconds < 570:
        half = round(seconds / 30)
        return f"{half // 2} min" + (" 30 s" if half % 2 else "")
    if seconds < 3570:
        return f"{seconds / 60:.0f} min"
    minutes = 10 * round(seconds / 600)
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def places_words(places: Mapping[str, int]) -> str:
    """Say where runs are under way: ``2 on node-a (GPU 0), 1 on node-b``; empty for no place at all."""
    if len(places) > SHOWN_PLACES:
        return f"{sum(places.values())} on {len(places)} places"
    return ", ".join(f"{number} on {printable(place)}" for place, number in places.items())
