"""Which runs became unstable, and how the first gradients compare: each figure once, for all that show it."""

from typing import NamedTuple

from autofreeze.firstgradients import Beginnings, FirstGradients, Side, beginnings, is_told
from autofreeze.instabilities import ONE_SIDED, ROWS, Cell, Instabilities, WarmupEffect, instabilities
from autofreeze.phrases import counted, listed
from autofreeze.proportions import Share
from autofreeze.ranks import Median, Relation
from autofreeze.results import StudyResult
from autofreeze.values import Value


class Stability(Value):
    """What a search says of stability; ``stability`` in ``report.json``."""

    instabilities: Instabilities
    beginnings: Beginnings


class Grid(NamedTuple):
    """A table in words: its title, headings, and rows whose first cell names them."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]


def stability_of(result: StudyResult) -> Stability:
    """Take from a search what it says of stability."""
    return Stability(instabilities=instabilities(result.trials), beginnings=beginnings(result.trials))


def lines(found: Stability) -> list[str]:
    """Say what became unstable, whether a warm-up made a difference, and what it did to the first gradient.

    Returns:
        Sentences; none before a run can be told.
    """
    runs = found.instabilities
    if not runs.unstable.of:
        return []
    told = [_unstable(runs)]
    if runs.unstable.count:
        told.append(_effect(runs.warmup))
    return told + gradient_lines(found.beginnings)


def gradient_lines(found: Beginnings) -> list[str]:
    """Say what freezing first made of the first gradient, and what its size went with.

    Returns:
        Sentences; none where no groups began both at once and after a warm-up.
    """
    shown = next((one for one in found.gradients if one.ratio is not None), None)
    return [] if shown is None else [_first_gradient(shown), *_outcome(found)]


def map_grid(found: Instabilities, *, intervals: bool = False) -> Grid | None:
    """Tabulate the map: a row for each decade of the peak rate, a column for each kind of run.

    Args:
        found: The map.
        intervals: Whether to give the 95 % interval of each share as well.

    Returns:
        None where nothing became unstable.
    """
    if not found.unstable.count:
        return None
    cells = {(cell.row, cell.decade): cell for cell in found.cells}
    rows = [
        (_decade(decade), *(_cell(cells.get((row, decade)), intervals=intervals) for row in ROWS))
        for decade in sorted({cell.decade for cell in found.cells})
    ]
    return Grid("Unstable runs of all, by the backbone's peak rate", ("peak rate", *_HEADINGS), rows)


_HEADINGS = ("at once", "after a warm-up", "head alone (its rate)")


def gradient_grid(found: Beginnings) -> Grid | None:
    """Tabulate first gradients, by what trains first; None where nothing is known of them."""
    rows = [
        (
            groups_words(one),
            *_side_cells(one.at_once),
            *_side_cells(one.after_warmup),
            "–" if one.ratio is None else _with_interval(one.ratio),
        )
        for one in found.gradients
    ]
    headings = (
        "what trains first",
        *("runs at once", "gradient", "over weights", "loss"),
        *("runs after a warm-up", "gradient", "over weights", "loss"),
        "ratio",
    )
    return Grid("The first gradient into the backbone, medians", headings, rows) if rows else None


def drift_line(found: Beginnings) -> str:
    """Say how far features had moved at the end; empty where it is not known."""
    sides = {"at once": found.drifts.at_once, "after a warm-up": found.drifts.after_warmup}
    told = [
        f"{_size(one.median)} {row} ({counted(one.n, 'run')})"
        for row, one in sides.items()
        if one is not None
    ]
    return f"drift of the features by the end, median: {listed(told)}" if told else ""


# What became unstable


def _unstable(found: Instabilities) -> str:
    share = found.unstable
    if not share.count:
        most = f"95 % interval: at most {_percent(share.high)}"
        return f"nothing became unstable in {counted(share.of, 'run')} ({most})"
    kinds = ", ".join(f"{count} × {kind}" for kind, count in found.kinds.items())
    early = f"; {found.before_thaw} of them while the head alone trained" if found.before_thaw else ""
    return f"{_share(share)} became unstable, {_interval(share)}: {kinds}{early}"


def _effect(effect: WarmupEffect) -> str:
    found = effect.contrast
    rarer = "whether a warm-up makes that rarer cannot be told"
    if found.share is None or found.other_share is None:
        return f"{rarer}: no runs with one and at once train the backbone at peak rates of one decade"
    if effect.finding == "too few":
        return f"{rarer}: too few runs with one and at once at equal peak rates"
    shares = f"{_percent(found.share)} against {_percent(found.other_share)}"
    shares += f" at equal peak rates, {_p(found.p)}"
    if effect.left_out:
        shares += f" ({effect.left_out} {ONE_SIDED} not counted: only a warm-up can show that)"
    if effect.finding == "not told":
        return f"{rarer}: {shares}"
    return f"after a warm-up runs became unstable {effect.finding} than at once: {shares}"


# The first gradient


def _first_gradient(one: FirstGradients) -> str:
    assert one.at_once is not None
    assert one.after_warmup is not None
    assert one.ratio is not None
    did = f"freezing first made it {one.finding}"
    if one.finding == "not told":
        did = "whether freezing first made it smaller cannot be told"
    sizes = f"{_size(one.at_once.norm.median)} at once, {_size(one.after_warmup.norm.median)} after a warm-up"
    losses = f"{one.at_once.loss.median:.2f} and {one.after_warmup.loss.median:.2f} nats"
    return (
        f"the first gradient into the backbone ({groups_words(one)}): {did}, × {_with_interval(one.ratio)} "
        f"over {counted(one.after_warmup.norm.n, 'warm-up')}, one seed; {sizes}, at a loss of {losses}"
    )


def _outcome(found: Beginnings) -> list[str]:
    """Say what its size went with, among runs after a warm-up."""
    known = [
        (one, aim, rising if one.correlation > 0 else falling)
        for one, aim, rising, falling in (
            (found.outcome.value, "the final value", "the better they ended", "the worse they ended"),
            (found.outcome.unstable, "becoming unstable", "the more became unstable", "the fewer did"),
        )
        if one is not None
    ]
    clear = [f"{words} ({_relation(one)})" for one, _, words in known if is_told(one)]
    if clear:
        return [f"after a warm-up, at equal peak rates: the larger it was, {listed(clear)}"]
    if known:
        aims = " or ".join(f"{aim} ({_relation(one)})" for one, aim, _ in known)
        return [f"after a warm-up, at equal peak rates: no link of its size can be told with {aims}"]
    return []


def _relation(one: Relation) -> str:
    return f"rank correlation {one.correlation:+.2f}, {counted(one.n, 'run')}, {_p(one.p)}"


def groups_words(one: FirstGradients) -> str:
    """Name the groups that train first: ``all of it``, ``layer3 to layer4``."""
    if one.all_of_backbone:
        return "all of it"
    return one.names[0] if len(one.names) == 1 else f"{one.names[0]} to {one.names[-1]}"


def _side_cells(side: Side | None) -> tuple[str, ...]:
    if side is None:
        return ("0", "–", "–", "–")
    return (str(side.runs), _size(side.norm.median), _size(side.relative.median), f"{side.loss.median:.2f}")


# Figures


def _decade(exponent: int) -> str:
    return f"1e{exponent} to 1e{exponent + 1}"


def _cell(cell: Cell | None, *, intervals: bool) -> str:
    if cell is None:
        return "–"
    share = cell.unstable
    return f"{share.count}/{share.of}" + (f" ({_span(share)})" if intervals else "")


def _share(share: Share) -> str:
    return f"{share.count} of {counted(share.of, 'run')}"


def _interval(share: Share) -> str:
    return f"{_percent(share.count / share.of)} (95 % interval {_span(share)})"


def _span(share: Share) -> str:
    return f"{100 * share.low:.0f} to {100 * share.high:.0f} %"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _size(value: float) -> str:
    return f"{value:.3g}"


def _with_interval(one: Median) -> str:
    if one.low is None or one.high is None:
        return _factor(one.median)
    return f"{_factor(one.median)} ({_factor(one.low)} to {_factor(one.high)})"


def _factor(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 10 else f"{value:.2g}"
