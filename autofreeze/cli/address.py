"""``--ray [ADDRESS]``: an option whose value may be left out, which typer does not know."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from autofreeze.cluster.asked import LOCAL, looks_like_address

OPTION = "--ray"


class CommandWithAddress(TyperCommand):
    """A command that takes ``--ray``: alone, or with an address behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--ray`` the value that stands for a local Ray, then parse as usual."""
        return list(super().parse_args(ctx, with_address(args)))


def with_address(words: Sequence[str]) -> list[str]:
    """Write out the value of every ``--ray`` that has none.

    The word behind it is its value where it looks like an address, right or wrong; another option, or the
    data, does not: ``--ray photos/`` is a local Ray and the data ``photos/``.
    """
    words = list(words)
    end = words.index("--") if "--" in words else len(words)
    found = []
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < end else "-"
        alone = word == OPTION and place < end and not looks_like_address(following)
        found.append(f"{OPTION}={LOCAL}" if alone else word)
    return found
