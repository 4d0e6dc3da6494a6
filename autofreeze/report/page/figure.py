"""What a page is put together from: figures, tables, and reasons why there is none."""

import html
from typing import Any

from pydantic import Field

from autofreeze.phrases import printable
from autofreeze.values import Value

Trace = dict[str, Any]
"""A trace of plotly as plain data."""


class Figure(Value):
    """A figure of plotly as plain data: building one needs no plotly.

    Colours are names of ``palette.py``; the page puts in those of its light or dark dress.
    """

    id: str
    """Anchor in the page: lower-case words with hyphens."""

    title: str
    alt: str
    """What is seen, in sentences, for those who do not see it."""

    traces: tuple[Trace, ...]
    layout: dict[str, Any] = Field(default_factory=dict)
    """What differs from the page's own layout."""

    height: int = 380
    """In pixels."""

    note: str = ""
    """What is to be known beside it."""


class Cell(Value):
    """A cell of a table."""

    text: str
    key: float | str | None = None
    """What it is sorted by; its text when left out."""

    strong: bool = False
    href: str = ""
    """A page beside this one that it leads to."""


class Table(Value):
    """A table that readers may sort. Texts are plain; the page escapes them."""

    id: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: tuple[int, ...] = (0,)
    """Columns of words; the others hold numbers, to the right."""

    note: str = ""


class Picture(Value):
    """An image in a gallery. Texts are plain; the page escapes them."""

    name: str
    """Of its file."""

    label: str
    """Its class in the data."""

    predicted: str
    """The class that it was taken for most often."""

    wrong: int
    """Runs that got it wrong, 1..scored."""

    scored: int
    """Runs that were scored on it."""

    thumbnail: str = ""
    """A small JPEG as ``data:`` address; empty where it could not be read."""

    beside: str = ""
    """What else is known of it, in a few words; may be empty."""


class Gallery(Value):
    """Images beside one another, each with what is to be known of it."""

    id: str
    title: str
    pictures: tuple[Picture, ...]
    """In the order in which they are shown; at least one."""

    note: str = ""
    """What they are for, and what the figures beside them rest on."""


class Absent(Value):
    """A figure or table that there is no way to make."""

    id: str
    title: str
    reason: str


def label(text: str) -> str:
    """Write any text so that plotly shows it as it is: in titles, ticks, names and hovers it reads tags.

    Between two dollars it reads a formula.
    """
    return html.escape(printable(text), quote=False).replace("$", "&#36;")
