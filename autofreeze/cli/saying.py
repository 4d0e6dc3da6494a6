"""Sentences for the terminal, and paths in them."""

from pathlib import Path

import typer


def say(*sentences: str, err: bool = False) -> None:
    """Write sentences, each on a line; what would steer a terminal, or begin a line, as an escape.

    Args:
        sentences: Of whatever names of files and classes.
        err: Whether to standard error.
    """
    from autofreeze.phrases import printable

    for sentence in sentences:
        typer.echo(printable(sentence), err=err)


def quoted(path: Path) -> str:
    """Write a path for a shell, in a command that is told."""
    from autofreeze.phrases import shell_word

    return shell_word(str(path))
