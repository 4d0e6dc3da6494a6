"""What a search session asks of whatever is searched: images with a backbone, or somebody's own training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autofreeze.cluster.here import Opener
from autofreeze.confirmation import Confirmation
from autofreeze.display import Display
from autofreeze.job import EpochRecord, Job
from autofreeze.mistakes import Mistakes
from autofreeze.plan import Plan
from autofreeze.regime import Regime
from autofreeze.results import StudyResult, TrialResult
from autofreeze.run import RunFolder
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule
from autofreeze.scoring import FreshScoring, Scoring
from autofreeze.searchoptions import Decided
from autofreeze.space import Space


@dataclass(frozen=True)
class Remaining:
    """What of a search is left to be planned."""

    space: Space
    options: Decided
    results: Sequence[TrialResult]
    """The trials so far."""

    affordable: Callable[[Schedule, Regime], bool]
    """Whether a draw may be run."""


class Subject(Protocol):
    """What is searched, opened and checked."""

    @property
    def given(self) -> str:
        """The data as they were given."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the layer groups, stem first, head last."""
        ...

    @property
    def scale(self) -> Scale:
        """Of what trials are judged by."""
        ...

    @property
    def scoring(self) -> Scoring:
        """What records of the search are worth."""
        ...

    @property
    def fresh_scoring(self) -> FreshScoring:
        """What records of the confirmation are worth."""
        ...

    @property
    def stops(self) -> tuple[type[Exception], ...]:
        """Errors of a run that end the search, since no other run would fare better."""
        ...

    def default_epochs(self, batch_size: int, steps: int) -> float:
        """Give the length of a run when nobody says."""
        ...

    def begin(self, folder: RunFolder) -> None:
        """Take note of what an open run folder holds already."""
        ...

    def run(self, job: Job, checkpoint: Path) -> Iterator[EpochRecord]:
        """Run a job; gives a record after each epoch."""
        ...

    def opener(self, *, shared_disk: bool) -> Opener:
        """Give what opens this on workers of a cluster.

        Args:
            shared_disk: Whether they all see the cache folder.
        """
        ...

    def run_work(self, schedule: Schedule, regime: Regime) -> float:
        """Give the forward-equivalents of one run on the first fold."""
        ...

    def can_sweep(self) -> bool:
        """Whether heads can be trained side by side; asked when somebody wants to."""
        ...

    def identity(self) -> dict[str, Any]:
        """Give what makes a study of this what it is; where things lie and how fast they run does not."""
        ...

    def facts(self) -> dict[str, Any]:
        """Give what a report says of it, in fields of ``StudyResult``."""
        ...

    def settings(self) -> dict[str, Any]:
        """Give what it was opened with, for ``StudyResult.settings``."""
        ...

    def mistakes(self, result: StudyResult, folder: Path) -> Mistakes | None:
        """Say what the best schedule gets wrong, from the records in a run folder; None where nobody can."""
        ...

    def introduction(self) -> list[str]:
        """Say in lines what is searched, before the first trial."""
        ...

    def foresee(self, remaining: Remaining, display: Display | None) -> Plan | None:
        """Plan what is left of a search; None where that cannot be measured."""
        ...

    def plan_lines(self, plan: Plan, out: Path, seconds: float | None) -> list[str]:
        """Tell a plan."""
        ...

    def read_test(
        self,
        found: Confirmation,
        jobs: Mapping[int, Sequence[Job]],
        folder: RunFolder,
        display: Display | None,
    ) -> Confirmation:
        """Read the test split, where there is one, by the models of these jobs."""
        ...
