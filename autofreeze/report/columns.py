"""Layer groups as a table."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from autofreeze.bytesize import format_bytes
from autofreeze.groups import LayerGroups


def render(groups: LayerGroups, model: str, image_size: int) -> Table:
    """Draw a model's layer groups: the columns of its schedules, stem first."""
    table = Table(
        box=SIMPLE_HEAD, title=f"{model}, {len(groups)} layer groups at {image_size} px", title_justify="left"
    )
    table.add_column("group")
    table.add_column("modules", overflow="fold")
    for heading in ("parameters", "forward work", "input per image"):
        table.add_column(heading, justify="right")
    for group in groups.groups:
        table.add_row(
            group.name,
            ", ".join(group.modules),
            f"{group.n_parameters:,}",
            f"{100 * group.work_share:.1f} %",
            format_bytes(group.boundary_bytes),
        )
    return table
