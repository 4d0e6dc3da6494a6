"""A report: the result of a search, its evidence, and all that follows from both."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from autofreeze.evidence import Evidence
from autofreeze.phrases import sentence
from autofreeze.report.comparison import Compared, compare
from autofreeze.report.facts import check_facts
from autofreeze.report.stability import Stability, stability_of
from autofreeze.results import StudyResult
from autofreeze.verdict import Verdict, verdict_of

DERIVED = ("verdict", "confirmed", "best", "compared", "stability", "endings", "work")
"""Keys of ``report.json`` that follow from the result."""

EVIDENCE = "evidence"


@dataclass(frozen=True)
class Report:
    """What ``report.json`` holds. All that people are shown is taken from here."""

    result: StudyResult
    evidence: Evidence = field(default_factory=Evidence)

    @cached_property
    def verdict(self) -> Verdict:
        """What is said of the search."""
        return verdict_of(self.result)

    @cached_property
    def compared(self) -> tuple[Compared, ...]:
        """The best schedule beside the others."""
        return compare(self.result)

    @cached_property
    def stability(self) -> Stability:
        """Which runs became unstable, and how the first gradients compare."""
        return stability_of(self.result)

    def document(self) -> dict[str, Any]:
        """Give it as plain data: what follows from the result first, then the result, then the evidence."""
        best = self.result.best
        return {
            "verdict": self.verdict.plain(),
            "confirmed": self.verdict.confirmed,
            "best": None if best is None else {"trial": best.number, "sentence": sentence(best.schedule)},
            "compared": [row.plain() for row in self.compared],
            "stability": self.stability.plain(),
            "endings": Counter(trial.ending.value for trial in self.result.trials),
            "work": self.result.work,
            **self.result.plain(),
            EVIDENCE: self.evidence.plain(),
        }

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "Report":
        """Read what :meth:`document` gave; one of an earlier version has no evidence.

        Raises:
            pydantic.ValidationError: It is damaged, or from another version.
        """
        kept = {key: value for key, value in data.items() if key not in (*DERIVED, EVIDENCE)}
        result = StudyResult.model_validate(kept)
        check_facts(result)
        return cls(result, Evidence.model_validate(data.get(EVIDENCE, {})))
