"""What every figure and table of the page must keep to, whatever it shows."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import plotly.graph_objects as go

from autofreeze.report.page.figure import Absent, Figure, Table
from autofreeze.report.page.palette import LIGHT, SCALES

MOST_BYTES = 600_000
"""Of one figure: a page of twenty keeps below 8 MB beside plotly's own script."""

MOST_TRACES = 40
MOST_LEGEND_ENTRIES = 9
CARTESIAN = {"scatter", "bar", "heatmap", "box", "violin", "histogram"}
TAGS = re.compile(r"</?(?:b|i|br|sub|sup|extra)\s*/?>")
COLOUR_KEY = re.compile(r"color(?:s|scale)?$")
VARIABLE = re.compile(r"%\{([^}]*)\}")
KNOWN = re.compile(r"(?:x|y|z|base|text|customdata\[(\d+)\])(?:[:|].*)?")


def check(part: Figure | Absent) -> Figure | Absent:
    """Hold a figure to what all must keep to; gives it back.

    It is a valid figure of plotly, of finite numbers, small, on cartesian axes; colours are names of the
    palette; nothing from the data is read as a tag or a variable; each trace says something on hover; and the
    words beside it are there.
    """
    assert re.fullmatch(r"[a-z][a-z0-9-]*", part.id), part.id
    assert part.title.strip()
    if isinstance(part, Absent):
        _is_sentence(part.reason)
        return part
    _is_sentence(part.alt)
    assert "chart of" not in part.alt.lower()
    assert part.note == "" or part.note.strip()[-1] in ".!?"
    written = json.dumps([part.traces, part.layout], allow_nan=False)
    assert len(written) < MOST_BYTES, f"{part.id}: {len(written):,} bytes"
    assert 0 < len(part.traces) <= MOST_TRACES, f"{part.id}: {len(part.traces)} traces"
    assert 100 < part.height < 4000
    for trace in part.traces:
        assert trace["type"] in CARTESIAN, trace["type"]
        _check_hover(trace)
    legend = [trace for trace in part.traces if trace.get("showlegend", True) and trace.get("name")]
    if part.layout.get("showlegend", True):
        assert len(legend) <= MOST_LEGEND_ENTRIES, f"{part.id}: {len(legend)} legend entries"
    for path, text in _texts([part.traces, part.layout]):
        _check_text(path, text)
    go.Figure(data=[coloured(trace) for trace in part.traces], layout=coloured(part.layout))
    return part


def check_table(part: Table | Absent) -> Table | Absent:
    """Hold a table to what all must keep to: rows as wide as its headings, keys that sort; gives it back."""
    assert re.fullmatch(r"[a-z][a-z0-9-]*", part.id), part.id
    assert part.title.strip()
    if isinstance(part, Absent):
        _is_sentence(part.reason)
        return part
    assert part.rows
    for row in part.rows:
        assert len(row) == len(part.headings)
    for column in zip(*part.rows, strict=True):
        kinds = {type(cell.key) for cell in column if cell.key is not None}
        assert len(kinds) <= 1, f"{part.id}: keys of {kinds}"
        keys = [cell.key for cell in column if isinstance(cell.key, float)]
        assert all(map(math.isfinite, keys))
    assert all(0 <= column < len(part.headings) for column in part.left)
    return part


def coloured(data: Any, dress: dict[str, str] = LIGHT, name: str = "light") -> Any:
    """Put colours in, as the page's script does."""
    if isinstance(data, dict):
        return {key: coloured(value, dress, name) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [coloured(value, dress, name) for value in data]
    if isinstance(data, str) and data in SCALES:
        return [list(stop) for stop in SCALES[data][name]]
    return dress.get(data, data) if isinstance(data, str) else data


def points(part: Figure) -> int:
    """Count the points drawn, over all traces; those without a place on either axis are none."""
    return sum(
        sum(x is not None and y is not None for x, y in zip(trace["x"], trace["y"], strict=True))
        for trace in part.traces
        if "x" in trace and "y" in trace
    )


def _is_sentence(text: str) -> None:
    assert text.strip(), "no words"
    assert text.strip()[-1] in ".!?", text


def _check_hover(trace: dict[str, Any]) -> None:
    template = trace.get("hovertemplate")
    if template is None:
        assert trace.get("hoverinfo") in ("skip", "none"), f"nothing is told of {trace.get('name')} on hover"
        return
    assert "<extra></extra>" in template, template
    width = _width(trace.get("customdata"))
    for variable in VARIABLE.findall(template):
        found = KNOWN.fullmatch(variable)
        assert found, f"%{{{variable}}} in {template}"
        assert found[1] is None or int(found[1]) < width, f"%{{{variable}}}: {width} columns"
    drawn = trace.get("y", trace.get("x"))
    if trace["type"] != "heatmap" and trace.get("customdata") is not None and drawn is not None:
        assert len(trace["customdata"]) == len(drawn)


def _width(data: Any) -> int:
    """Columns of custom data, of the row that has the fewest."""
    if not data:
        return 0
    rows = [cell for row in data for cell in row] if _is_grid(data) else data
    return min((len(row) for row in rows if row is not None), default=0)


def _is_grid(data: Sequence[Any]) -> bool:
    first = data[0]
    return bool(first) and isinstance(first[0], list | tuple)


def _texts(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(value, (*path, key))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _texts(value, path)
    elif isinstance(data, str):
        yield path, data


def _check_text(path: tuple[str, ...], text: str) -> None:
    is_colour = bool(COLOUR_KEY.search(path[-1]))
    is_token = text in LIGHT or text in SCALES
    assert is_colour == is_token, f"{'.'.join(path)}: {text!r}"
    assert "<" not in TAGS.sub("", text), f"{'.'.join(path)}: {text!r}"
    assert all(char.isprintable() for char in text), f"{'.'.join(path)}: {text!r}"
