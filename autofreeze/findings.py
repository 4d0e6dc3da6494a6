"""What a check of the data found, as values: for people, for programs, for the report of a search."""

from typing import Any, Literal

from autofreeze.values import Value

Severity = Literal["stops", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("stops", "warning", "note")
"""``stops``: nothing is trained. ``warning``: numbers will mislead, or images are lost. ``note``: to know."""


class Finding(Value):
    """One thing that the images say about what a search on them can be worth."""

    kind: str
    """For programs, such as ``near_duplicates``."""

    severity: Severity
    sentence: str
    way_out: str
    images: tuple[tuple[str, ...], ...] = ()
    """Names of the images concerned; those of one case stand together, such as the two of a pair."""

    def brief(self, most: int = 10) -> dict[str, Any]:
        """Give it as plain data with the first cases alone, and ``cases``, how many there are."""
        return {
            **self.model_dump(mode="json", exclude={"images"}),
            "cases": len(self.images),
            "images": [list(case[:most]) for case in self.images[:most]],
        }


class DataReport(Value):
    """What ``autofreeze check`` says of a data set."""

    name: str
    layout: str
    fingerprint: str
    """Of the images that can be read."""

    classes: tuple[str, ...]
    images: dict[str, tuple[int, ...]]
    """Part -> images of each class that can be read, in the order of ``classes``."""

    unreadable: int
    subjects: int | None
    """How many patients or scenes there are; None where the source does not say."""

    metric: str
    """What a search judges trials by unless told otherwise."""

    findings: tuple[Finding, ...]
    """By severity."""

    @property
    def stops(self) -> bool:
        """Whether nothing can be trained on these images."""
        return any(finding.severity == "stops" for finding in self.findings)
