"""The table at the end of the demonstration."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autofreeze.demo.contender import Contender


def render(contenders: Sequence[Contender]) -> RenderableType:
    """Draw the contenders, the best schedule first, and say by how much it leads.

    Args:
        contenders: At least two.
    """
    first = contenders[0]
    seeds, n_test = first.correct.shape
    table = Table(
        box=SIMPLE_HEAD,
        title=f"On {n_test:,} test images that the search never saw, {seeds} fresh seeds",
        title_justify="left",
    )
    table.add_column("schedule")
    for heading in ("test top1", "± over seeds", "best leads by", "± s.e."):
        table.add_column(heading, justify="right")
    table.add_column("what", overflow="fold")
    for one in contenders:
        lead, error = first.lead_over(one)
        gap = ("", "") if one is first else (f"{100 * lead:+.1f} pt", f"{100 * error:.1f} pt")
        table.add_row(one.name, f"{one.mean:.3f}", f"{one.spread:.3f}", *gap, one.words)
    return Group(table, Text(verdict(contenders)), Text())


def verdict(contenders: Sequence[Contender]) -> str:
    """Say over which contenders the first one leads by more than two standard errors."""
    first, *others = contenders
    beyond = {one.name: lead > 2 * error for one in others for lead, error in [first.lead_over(one)]}
    clear = [name for name, is_clear in beyond.items() if is_clear]
    within = [name for name, is_clear in beyond.items() if not is_clear]
    said = []
    if clear:
        said.append(f"The best schedule beats {' and '.join(clear)} by more than two standard errors.")
    if within:
        said.append(f"It does not beat {' or '.join(within)} by more than that: no gain is shown there.")
    return " ".join(said)
