"""What a confirmation found: the finalists of a search on fresh seeds, and how sure that is."""

from typing import Literal

from autofreeze.looks import LOOKS, Comparison
from autofreeze.schedule import Schedule
from autofreeze.values import Value

Arm = Literal["freeze_first", "at_once"]
"""Whether the backbone is frozen at the start of the run; a head alone freezes it throughout."""


def arm_of(schedule: Schedule) -> Arm:
    """Say whether a schedule begins with the head alone."""
    *backbone, _ = schedule.phases[0].lrs
    return "freeze_first" if all(lr is None for lr in backbone) else "at_once"


class Candidate(Value):
    """A schedule on fresh seeds. Figures are means over the seeds of the estimate."""

    trial: int
    """Number of the trial that the schedule comes from."""

    finalist: bool
    """Whether the search chose it; otherwise it is a baseline that could win."""

    arm: Arm
    views: str = ""
    """What its runs on fresh seeds saw: the views of a training on its own, which a search need not have."""

    values: tuple[float, ...] = ()
    """The metric by fresh seed, in the order of the seeds; those of all seeds that it ran on."""

    mean: float | None = None
    """Mean of the metric over the seeds that the estimate rests on, as an objective (more is better)."""

    standard_error: float | None = None
    """Of the mean, for new images and seeds."""

    low: float | None = None
    high: float | None = None
    """Ends of the mean's 95 % interval, for new images and seeds."""

    log_loss: float | None = None
    """Mean validation log loss over the same seeds, in nats."""

    train_top1: float | None = None
    """Share of the training images classified rightly in the last epoch, augmented, in training mode."""

    top1: float | None = None
    """Share of the validation images classified rightly, whatever the metric."""

    class_accuracies: tuple[float | None, ...] = ()
    """Share of each class classified rightly, all seeds of the estimate together; None: no image of it."""

    dropped_at: int | None = None
    """Seeds after which it was left behind; None: it stayed to the end."""

    reason: str = ""
    """Why it was left behind."""

    work: float = 0.0
    """Forward-equivalents spent on its confirmation."""

    run_work: float = 0.0
    """Forward-equivalents of one run, the mean."""

    test_value: float | None = None
    """The metric on the test split (``metrics.score``), the mean over models of the first fresh seeds; only
    for the chosen one and the baselines."""


class Confirmation(Value):
    """The finalists and the baselines that could win, on fresh seeds."""

    planned: int
    """Fresh seeds at most: 6, 12 or 24."""

    seeds: int
    """Fresh seeds that were run."""

    choice_seeds: int
    """The first seeds, on which the winner was chosen."""

    estimate_seeds: tuple[int, int]
    """Numbers of the seeds that the figures rest on, from 0: the first, and the one after the last."""

    delta: float
    """Half-width of *no difference*, in the metric's unit: .01 is a point."""

    chosen: int | None
    """Trial whose schedule won."""

    candidates: tuple[Candidate, ...]
    comparisons: tuple[Comparison, ...] = ()
    """The chosen one against each other candidate."""

    own_split: bool = False
    """Whether a user's own validation part was used throughout, so that the split did not vary."""

    n_train: int = 0
    n_val: int = 0
    """Images that one run trained on and was scored on."""

    test_images: int = 0
    """Images of the test split, when it was read."""

    test_seeds: int = 0
    """Models by which each test value was taken."""

    test_reads: int = 0
    """How often the test split of these data has been read on this machine, this time included."""

    work: float = 0.0
    seconds: float = 0.0
    cut_short: str = ""
    """Why it ended before it should have; empty when it did not."""

    def candidate(self, trial: int) -> Candidate:
        """Find a candidate by its trial's number."""
        return next(one for one in self.candidates if one.trial == trial)

    def seeds_of(self, trial: int) -> range:
        """Give the numbers of the fresh seeds that a candidate's figures rest on."""
        return seeds_rested_on(self.estimate_seeds, dropped=self.candidate(trial).dropped_at is not None)

    @property
    def concluded(self) -> bool:
        """Whether it came to its end, and somebody won."""
        return self.chosen is not None and not self.cut_short

    @property
    def winner(self) -> Candidate | None:
        """The chosen candidate."""
        return None if self.chosen is None else self.candidate(self.chosen)


def seeds_rested_on(estimate: tuple[int, int], *, dropped: bool) -> range:
    """Give the numbers of the fresh seeds that the figures of a candidate rest on.

    Args:
        estimate: Those of the last look's estimate: the first, and the one after the last.
        dropped: Whether the candidate was left behind: then the first look's.
    """
    return range(LOOKS[0]) if dropped else range(*estimate)
