"""Trials that have ended, found by what a study asks of them at every trial.

A study of ten thousand trials asks the same few things after each: nothing here walks over all of them.
"""

from collections.abc import Collection, Iterable, Iterator

from autofreeze.confirmation import Arm, arm_of
from autofreeze.results import Ending, TrialResult, rank

USABLE = (Ending.COMPLETE, Ending.UNPROMISING, Ending.UNSTABLE)
"""Endings that an equal trial takes over."""


class Outcomes:
    """Trials that have ended.

    Args:
        results: Those of earlier sessions.
    """

    def __init__(self, results: Iterable[TrialResult] = ()) -> None:
        self._by_number: dict[int, TrialResult] = {}
        self._by_settings: dict[str, list[TrialResult]] = {}
        self._complete: dict[Arm, int] = {"freeze_first": 0, "at_once": 0}
        self.best: TrialResult | None = None
        """The complete trial that ranks highest."""

        self.dear = 0
        """How many were too dear to run."""

        for result in results:
            self.add(result)

    def add(self, result: TrialResult) -> None:
        """Take note of a trial that has ended."""
        self._by_number[result.number] = result
        if result.ending in USABLE:
            self._by_settings.setdefault(result.settings_digest, []).append(result)
        if result.ending is Ending.COMPLETE:
            self._complete[arm_of(result.schedule)] += 1
            if self.best is None or rank(result) > rank(self.best):
                self.best = result
        self.dear += result.ending is Ending.TOO_DEAR

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[TrialResult]:
        """Go through them in the order in which they ended."""
        return iter(self._by_number.values())

    def with_unfinished(self, unfinished: Collection[TrialResult]) -> tuple[TrialResult, ...]:
        """Give all of them with those that are under way, by number."""
        merged = self._by_number | {one.number: one for one in unfinished}
        return tuple(merged[number] for number in sorted(merged))

    def complete_in(self, arm: Arm) -> int:
        """Count the complete trials of an arm."""
        return self._complete[arm]

    def twin_of(self, digest: str, *, spared: bool) -> TrialResult | None:
        """Find a trial with the same settings whose outcome can be taken over, the first one to end.

        Args:
            digest: Hash of schedule and regime, or of the heads of a sweep.
            spared: Whether the trial is to be trained to its end, so that a pruned one will not do.
        """
        found = self._by_settings.get(digest, ())
        return next((one for one in found if not (spared and one.ending is Ending.UNPROMISING)), None)
