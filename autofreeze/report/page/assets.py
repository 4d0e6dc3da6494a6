"""What is put into a page: scripts and style; and what a browser is told to refuse."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autofreeze.report.page.palette import DARK, LIGHT, SCALES


@cache
def plotly() -> str:
    """Give plotly's own script, from its package, which is found without being imported."""
    found = find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


@cache
def script() -> str:
    """Give the page's own script."""
    return _read("page.js")


@cache
def style() -> str:
    """Give the page's style, its colours being those of the palette."""
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; {dark} }} }}\n"
        f":root[data-theme=light] {{ color-scheme: light; {light} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}\n"
        f"@media print {{ :root:root:root {{ color-scheme: light; {light} }} }}\n{_read('style.css')}"
    )


@cache
def policy(*, figures: bool) -> str:
    """Write the content security policy: the page's own scripts run and nothing else; nothing is loaded.

    Args:
        figures: Whether plotly's script is in the page.
    """
    scripts = [script(), *([plotly()] if figures else [])]
    hashes = " ".join(f"'sha256-{_hash(text)}'" for text in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def colours() -> dict[str, Any]:
    """Give the palette as the page's script takes it."""
    scales = {theme: {name: kinds[theme] for name, kinds in SCALES.items()} for theme in ("light", "dark")}
    return {"light": {**LIGHT, **scales["light"]}, "dark": {**DARK, **scales["dark"]}}


def island(data: object) -> str:
    """Write data as JSON that no browser takes for markup, wherever it stands.

    A number that is not finite, which JSON does not have, becomes null.
    """
    try:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII alone
    except ValueError:
        finite = json.loads(json.dumps(data), parse_constant=lambda _: None)
        text = json.dumps(finite, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _variables(palette: Mapping[str, str]) -> str:
    return " ".join(f"--{name.partition(':')[2]}: {colour};" for name, colour in palette.items())


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return files("autofreeze.report.page").joinpath(name).read_text(encoding="utf-8")
