"""Searches side by side on the terminal: a table for each data set, then the schedules in words."""

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autofreeze.phrases import capitalised, counted, printable
from autofreeze.report.across import Across, Found, OfDataset, tell_best, tell_difference
from autofreeze.scale import number

WIDE = 110
"""Characters of a line that has room for the dates and all work."""


def show_across(found: Across, console: Console) -> None:
    """Print searches side by side; the console's width is kept to."""
    console.print(render(found, console.width))


def render(found: Across, width: int = 80) -> RenderableType:
    """Compose a part for each data set.

    Args:
        found: The searches.
        width: Characters in a line.
    """
    parts: list[RenderableType] = []
    for dataset in found.datasets:
        parts += [*_dataset(dataset, width), Text()]
    parts += [Text(printable(f"no report: {line}")) for line in found.absent]
    return Padding(Group(*parts), (1, 0, 0, 0))


def _dataset(dataset: OfDataset, width: int) -> list[RenderableType]:
    fingerprint = f" (fingerprint {dataset.fingerprint})" if dataset.fingerprint else ""
    heading = f"{dataset.name}{fingerprint}, {dataset.found[0].scale.metric}"
    parts: list[RenderableType] = [
        Text(printable(heading), style="bold"),
        Text(printable(f"{capitalised(tell_best(dataset))}.")),
        _figures(dataset, width),
    ]
    told = [tell_difference(dataset, one) for one in dataset.differences]
    told += ["these intervals hold all at once 95 times in 100"] if len(told) > 1 else []
    parts += [Text(printable(f"{capitalised(line)}.")) for line in (*told, *dataset.remarks)]
    for place, one in enumerate(dataset.found, start=1):
        parts.append(Text(printable(f"run {place}: {one.run}")))
        parts += [Padding(Text(printable(line)), (0, 0, 0, 2)) for line in _in_words(one, width) if line]
    return parts


def _figures(dataset: OfDataset, width: int) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("run", justify="right", no_wrap=True)
    table.add_column("model", overflow="fold", min_width=8)
    wide = width >= WIDE
    for heading in ("px", "epochs", "mean", "95 % interval", "seeds", "work of\none run"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("all work", "begun") if wide else ():
        table.add_column(heading, justify="right", no_wrap=True)
    for place, one in enumerate(dataset.found, start=1):
        cells = [
            str(place),
            printable(one.model or one.name),
            str(one.image_size or "–"),
            f"{one.epochs:g}",
            _mean(one),
            _interval(one),
            str(one.seeds or "–"),
            _work(one, one.run_work),
        ]
        table.add_row(*map(Text, cells + ([_work(one, one.work), _day(one)] if wide else [])))
    return table


def _mean(one: Found) -> str:
    return "–" if one.confirmed is None else one.scale.figure(one.confirmed.mean)


def _interval(one: Found) -> str:
    """Write the interval; where there is none, how the search stands."""
    if one.confirmed is None:
        return "no schedule" if one.standing == "none" else one.standing
    if one.confirmed.low is None or one.confirmed.high is None:
        return "–"
    return one.scale.value_span(one.confirmed.low, one.confirmed.high)


def _work(one: Found, work: float | None) -> str:
    if work is None:
        return "–"
    return number(work, 3) if one.scale.unit == "plain" else f"{work:,.0f}"


def _day(one: Found) -> str:
    return one.created[:10] or "–"


def _in_words(one: Found, width: int) -> list[str]:
    begun = (
        "" if width >= WIDE or not one.created else f"begun {_day(one)}; work of all {_work(one, one.work)}; "
    )
    weights = f"weights: {one.weights}" + (f" ({one.weights_digest})" if one.weights_digest else "")
    return [
        one.sentence and f"{one.best}: {one.sentence}",
        _standing(one),
        f"{begun}{weights if one.weights else ''}".rstrip("; "),
        _pixels(one),
    ]


def _standing(one: Found) -> str:
    cut = f"; the search was cut short ({one.cut_short})" if one.cut_short else ""
    if one.standing == "none":
        return f"no trial was completed{cut}"
    if one.standing == "confirmed":
        on = f"scored on {one.n_val:,} images, trained on {one.n_train:,}; " if one.n_val else ""
        return f"{on}confirmed on {counted(one.seeds, 'fresh seed')}{cut}"
    value = one.scale.figure(one.in_search)
    return f"{one.standing}: {one.scale.metric} {value} in the search, on one seed, the best of many{cut}"


def _pixels(one: Found) -> str:
    told = [f"{name} {value}" for name, value in one.preprocessing.items() if name != "image_size"]
    return f"preprocessing: {', '.join(told)}" if told else ""
