"""The plan of a search in words."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from autofreeze.bytesize import format_bytes
from autofreeze.phrases import counted, printable, roughly
from autofreeze.plan import Plan, Range, StoreSize


def plan_lines(plan: Plan, *, device: str, out: Path, seconds: float | None = None) -> list[str]:
    """Say in a few lines what a search will cost and where it is kept.

    Args:
        plan: What is expected.
        device: What was measured.
        out: The run folder.
        seconds: What is left of the time that was given, if any was.
    """
    folds = f"{plan.folds} folds" if plan.folds > 1 else "1 fold"
    runs = ", ".join(f"{name} {roughly(spent)}" for name, spent in plan.baselines.items())
    each = [f"baselines: {runs}"] if runs else []
    if plan.draws:
        each.append(f"an average draw, trained to its end, {roughly(plan.draw)}")
    expected = plan.expected
    more = []
    if expected.tuning:
        more.append(f"plan: then {plan.tuning} trials that tune baselines: {range_words(expected.tuning)}")
    if expected.confirmation:
        more.append(
            f"plan: then the confirmation on up to {plan.fresh_seeds} fresh seeds: "
            f"{range_words(expected.confirmation)}"
        )
    limit = "" if seconds is None else f"; --time ends it after {roughly(seconds)}"
    return [
        f"plan: {plan.trials} trials × {folds} × {plan.epochs:g} epochs, training on {plan.n_train:,} images "
        f"and scored on {plan.n_val:,} in a fold",
        f"plan: {range_words(expected.search)} on {device} ({other_words(plan)}); " + "; ".join(each),
        *more,
        f"plan: four searches in five lie between such ends; measured on a few steps just now; kept in {out}"
        f", each trial as it ends{limit}",
    ]


def expected_line(plan: Plan) -> str:
    """Say what the last session was expected to take."""
    return (
        f"Expected when the last session began: {range_words(plan.expected.search)} for {plan.trials} trials."
    )


def range_words(span: Range) -> str:
    """Write a range of time: ``about 10 min (7 min to 15 min)``."""
    return f"about {roughly(span.middle)} ({roughly(span.low)} to {roughly(span.high)})"


def other_words(plan: Plan) -> str:
    """Say what the search would take the other way, with the cache or without."""
    other = plan.anew if plan.reuse else plan.stored
    return f"{'without' if plan.reuse else 'with'} the cache about {roughly(other.search.middle)}"


def show_plan(plan: Plan, console: Console, *, title: str, limit: float | None = None) -> None:
    """Print the plan of a search as the command tells it.

    Args:
        plan: What is expected.
        console: Where to.
        title: Model and data.
        limit: Seconds of ``--time``, if it was given.
    """
    console.print(_depths(plan, title))
    for line in (*_notes(plan), "", *memory_lines(plan), *size_lines(plan)):
        console.print(printable(line), markup=False, highlight=False)
    console.print(_times(plan))
    if limit is not None:
        share = f"; --time ends it after {roughly(limit)}"
        console.print(f"the search and its confirmation together{share}", markup=False, highlight=False)


def _depths(plan: Plan, title: str) -> Table:
    """Draw the cost of a training step by the lowest column that trains."""
    table = Table(box=SIMPLE_HEAD, title=f"{title}: a training step, by image", title_justify="left")
    table.add_column("lowest", no_wrap=True)
    for heading in ("work anew", "stored", "ms anew", "stored", "in a store", "whole store"):
        table.add_column(heading, justify="right")
    for column, border in enumerate(plan.pace.borders):
        cut = column > 0 and not border.refusal
        mark = "" if border.measured else "~"
        size = next((one for one in plan.stores if one.border == border.name), None)
        table.add_row(
            border.name,
            f"{plan.work(column, stored=False):.2f}",
            f"{plan.work(column, stored=True):.3g}" if cut else "–",
            f"{mark}{1000 * (border.step + border.prefix):.3g}",
            f"{mark}{1000 * border.step:.3g}" if cut else "–",
            format_bytes(size.image_bytes) if size and cut else "–",
            _whole_store(size) if size and cut else "–",
        )
    return table


def _whole_store(size: StoreSize) -> str:
    if not size.views:
        return "–"
    return format_bytes(size.whole_bytes) + (" *" if size.why_not else "")


def _notes(plan: Plan) -> list[str]:
    """Explain the table, and say what would not be stored."""
    views = max((one.views for one in plan.stores), default=0)
    lines = [
        "lowest: the lowest column that trains. work: forward passes of one image through the whole model. "
        "anew: the frozen part is run for every batch; stored: it is read. ~: between measured ones",
        f"whole store: of all images in {counted(views, 'view')}"
        if views
        else "views never repeat: only what validation needs is stored",
    ]
    reasons: dict[str, list[str]] = {}
    for one in plan.stores:
        if one.why_not:
            reasons.setdefault(one.why_not, []).append(one.border)
    return lines + [f"* not stored below {', '.join(borders)}: {why}" for why, borders in reasons.items()]


def memory_lines(plan: Plan) -> list[str]:
    """Say what memory a step takes."""
    if plan.memory is None:
        return []
    how = "measured" if plan.memory.measured else "counted"
    held = plan.memory.process_bytes
    process = "" if held is None else f"; the process has held {format_bytes(held)} at most so far"
    return [f"memory: {format_bytes(plan.memory.step_bytes)} for a step of everything ({how}){process}"]


def size_lines(plan: Plan) -> list[str]:
    """Say what the cache may hold, and what is run."""
    lines = []
    if plan.budget_bytes is not None:
        lines.append(f"cache: it may hold {format_bytes(plan.budget_bytes)}")
    folds = counted(plan.folds, "fold")
    lines.append(
        f"search: {plan.trials} trials × {folds} × {plan.epochs:g} epochs, training on {plan.n_train:,} "
        f"images and scored on {plan.n_val:,} in a fold; an average draw, trained to its end, "
        f"{roughly(plan.draw)}"
    )
    if plan.baselines:
        runs = ", ".join(f"{name} {roughly(spent)}" for name, spent in plan.baselines.items())
        lines.append(f"baselines: {runs}")
    return lines


def _times(plan: Plan) -> Table:
    """Draw the expected times, with the cache and without."""
    table = Table(
        box=SIMPLE_HEAD,
        title="expected time: four in five lie between the ends in brackets",
        title_justify="left",
    )
    table.add_column("")
    for heading in ("with the cache", "without (--no-reuse)"):
        table.add_column(heading)
    ways = (plan.stored, plan.anew)
    for name in ("search", "tuning", "confirmation", "whole"):
        spans = [getattr(way, name) for way in ways]
        if all(span is not None for span in spans):
            table.add_row(name, *(range_words(span) for span in spans))
    return table
