"""Python source of exports: values as code, and templates filled with them."""

import keyword
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from autofreeze.export.heading import heading
from autofreeze.export.native import NativeFile
from autofreeze.modes import outermost
from autofreeze.schedule import Schedule

WIDTH = 88
"""Of a line, at most, as ruff and Black have it where nobody asks for another."""


def render(
    template: str,
    file: NativeFile,
    *,
    followed: Schedule | None = None,
    differences: tuple[str, ...] = (),
    **values: Any,
) -> str:
    """Fill a template of ``export/templates`` to a Python file that ruff has nothing to say about.

    Templates know ``heading`` (comment lines), ``file`` (the native file), ``groups``, ``modes`` and
    ``phases`` (plain values of the schedule) and the filter ``literal``.

    Args:
        template: File name.
        file: What is exported.
        followed: What the code follows, where the file's schedule cannot be; the heading tells of the file's.
        differences: What the export does otherwise than the schedule says.
        values: What the template needs beside.
    """
    text = (
        _environment()
        .get_template(template)
        .render(
            heading="\n".join(f"# {line}".rstrip() for line in heading(file, differences)),
            file=file,
            groups={name: list(members) for name, members in outermost(file.backbone.groups).items()},
            modes=dict(file.backbone.modes),
            phases=[(phase.epochs, list(phase.lrs)) for phase in (followed or file.schedule).phases],
            **values,
        )
    )
    return text.rstrip("\n") + "\n"


def literal(value: Any, indent: int = 0, before: int = 0) -> str:
    """Write plain data as Python source, formatted as ruff formats it.

    Args:
        value: None, booleans, numbers, text, and lists, tuples and dicts of them.
        indent: Spaces that the line begins with on which the value stands.
        before: Characters in front of it on that line, beside the indent, and behind it.
    """
    if not isinstance(value, list | tuple | dict):
        return _scalar(value)
    flat = _flat(value)
    if indent + before + len(flat) <= WIDTH or not value:
        return flat
    opening, closing = _brackets(value)
    inner = indent + 4
    if isinstance(value, dict):
        keys = {key: f"{_scalar(key)}: " for key in value}
        items = [keys[key] + literal(item, inner, len(keys[key]) + 1) for key, item in value.items()]
    else:
        items = [literal(item, inner, 1) for item in value]
    lines = "".join(f"{' ' * inner}{item},\n" for item in items)
    return f"{opening}\n{lines}{' ' * indent}{closing}"


def assigned(value: Any, name: str) -> str:
    """Write ``NAME = value``; the filter of the templates for constants."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"name: got {name!r}; must be a name of Python's")
    return f"{name} = {literal(value, 0, len(name) + 3)}"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        opening, closing = _brackets(value)
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return opening + ", ".join(map(_flat, value)) + comma + closing
    return _scalar(value)


def _brackets(value: Any) -> tuple[str, str]:
    kind = dict if isinstance(value, dict) else list if isinstance(value, list) else tuple
    return {dict: ("{", "}"), list: ("[", "]"), tuple: ("(", ")")}[kind]


def _scalar(value: Any) -> str:
    """Write a scalar; text in double quotes, unless that would take more backslashes."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise ValueError(f"got {value}; source has no literal for it")
    text = repr(value)
    if isinstance(value, str) and text.startswith("'") and '"' not in text:
        return '"' + text[1:-1].replace("\\'", "'") + '"'
    return text


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("autofreeze.export", "templates"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["literal"] = literal
    environment.filters["assigned"] = assigned
    return environment
