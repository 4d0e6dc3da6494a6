"""The table of docs/trust.md: one row for each check, as it last came out."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
BEGIN, END = "<!-- made by python -m tests.trust --long -->\n", "<!-- end -->\n"
HEAD = (
    "| check | fault or input | tried | lost | wrong | seconds to recover, median (longest) | took |"
    " besides |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Row:
    """What came of one check."""

    name: str
    fault: str
    outcome: dict[str, Any]
    """As :meth:`~trust.check.Outcome.as_dict` gives it, and the seconds that it ``took``."""

    def __str__(self) -> str:
        recovery = self.outcome["recovery"]
        seconds = f"{statistics.median(recovery):.1f} ({max(recovery):.1f})" if recovery else "–"
        cells = (
            f"`{self.name}`", self.fault, f"{self.outcome['tried']:,}", str(len(self.outcome["lost"])),
            str(len(self.outcome["wrong"])), seconds, f"{self.outcome['took']:,.0f} s", self.outcome["note"],
        )  # fmt: skip
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def parts() -> tuple[str, str, str]:
    """Give the page before the table, what lies between the marks, and the page after it."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    inside, mark, after = rest.partition(END)
    assert mark, f"{PAGE} has lost its marks"
    return before, inside, after


def renew(about: str, rows: list[Row]) -> None:
    """Write the table anew.

    Args:
        about: When, where and by which versions.
        rows: Of all checks.
    """
    before, _, after = parts()
    table = "\n".join([about, "", HEAD, *map(str, rows), ""])
    PAGE.write_text(before + BEGIN + table + END + after, encoding="utf-8")
