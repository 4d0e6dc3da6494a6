"""A file or an address shown in the user's browser, where there is one to show it."""

import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path


def show_file(path: Path) -> str:
    """Open a file in the browser.

    Returns:
        What became of it, in one line; the file is named in any case.
    """
    return show_address(path.absolute().as_uri(), name=str(path))


def show_address(address: str, *, name: str = "") -> str:
    """Open an address in the browser.

    Args:
        address: Its characters quoted, as ``Path.as_uri`` gives it.
        name: What people call it; the address when left out.

    Returns:
        What became of it, in one line.
    """
    name = name or address
    why_not = why_none(os.environ)
    if not why_not:
        try:
            if webbrowser.open(address):
                return f"opened in the browser: {name}"
        except webbrowser.Error:
            pass
        why_not = "no browser was found"
    return f"not opened ({why_not}): {name}"


def why_none(environment: Mapping[str, str], platform: str = sys.platform) -> str:
    """Say why no browser can be opened from here; empty where one may be.

    ``$BROWSER`` names one that works wherever this runs. Without it a browser that runs on the far side of a
    connection, or in the terminal itself, is no help.

    Args:
        environment: Variables of the process.
        platform: ``sys.platform``.
    """
    if environment.get("BROWSER"):
        return ""
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return "over SSH there is no browser of yours here"
    windows = platform in ("darwin", "win32", "cygwin")
    if not windows and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return "there is no display here"
    return ""
