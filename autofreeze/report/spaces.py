"""Search spaces as tables."""

from collections.abc import Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from autofreeze.axes import AXIS_WORDS, DEFAULTS, REGIME_AXES, SCHEDULE_AXES, Axis, Choice, Range
from autofreeze.regime import Regime
from autofreeze.space import Space, SpaceSpec
from autofreeze.spacefiles import headline


def overview(files: Mapping[str, Path]) -> Table:
    """Draw the shipped spaces: name, shape, axes that are searched, for whom."""
    table = Table(box=SIMPLE_HEAD)
    for heading in ("space", "shape"):
        table.add_column(heading, no_wrap=True)
    table.add_column("axes", justify="right")
    table.add_column("what", overflow="fold")
    for name, path in files.items():
        spec = SpaceSpec.load(name)
        table.add_row(name, spec.shape, str(n_searched(spec)), headline(path))
    return table


def n_searched(spec: SpaceSpec) -> int:
    """Count the axes that are not fixed, as written."""
    return sum(isinstance(axis, Range | Choice) for axis in spec.axes.values())


def render(spec: SpaceSpec, fitted: Space | None = None, model: str = "") -> Table:
    """Draw a space: each axis, what it tries, what it means.

    Args:
        spec: The space as written.
        fitted: The same for the layer groups of a model and a length of run; adds a column.
        model: Name of that model.
    """
    title = f"{spec.name}: {spec.shape}, {n_searched(spec)} axes searched"
    if fitted is not None:
        groups = ", ".join(fitted.groups)
        title += f"; for {model} ({groups}) and {fitted.epochs:g} epochs: {len(fitted.searched)} axes"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    names = (*SCHEDULE_AXES[spec.shape], *REGIME_AXES)
    table.add_column("axis", no_wrap=True, min_width=max(map(len, names)))
    table.add_column("tries")
    if fitted is not None:
        table.add_column("for this model")
    table.add_column("what", overflow="fold")
    defaults = DEFAULTS | dict(Regime())
    for name in names:
        axis = spec.axes[name] if name in spec.axes else defaults[name]
        cells = [name, words(axis) + ("" if name in spec.axes else " (default)")]
        if fitted is not None:
            cells.append(_fitted_words(name, fitted))
        table.add_row(*cells, AXIS_WORDS[name])
    return table


def words(axis: Axis | None) -> str:
    """Write an axis on one line: ``0.0003 to 0.01, log``, ``one of decay, one``, or its value."""
    if isinstance(axis, Range):
        text = f"{_short(axis.low)} to {_short(axis.high)}"
        return text + (", log" if axis.log else "") + (f", step {axis.step:g}" if axis.step else "")
    if isinstance(axis, Choice):
        return f"one of {', '.join(_short(option) for option in axis.options)}"
    return _short(axis)


def _short(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _fitted_words(name: str, fitted: Space) -> str:
    """Say what became of an axis; ``group_offset`` became one for each backbone group, or none."""
    if name == "group_offset":
        turns = [axis for axis in fitted.axes if axis.startswith("group_offset_")]
        return f"{len(turns)} axes, {words(fitted.axes[turns[0]])}" if turns else "not used"
    return words(fitted.axes.get(name, dict(Regime()).get(name)))
