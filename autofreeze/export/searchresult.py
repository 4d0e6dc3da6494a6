"""What a native file says of how good its schedule was, and how sure that is."""

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from autofreeze.confirmation import Candidate
from autofreeze.figures import shown_candidate, shown_value
from autofreeze.job import settings_digest
from autofreeze.phrases import counted, printable
from autofreeze.results import StudyResult, TrialResult
from autofreeze.scale import Direction
from autofreeze.values import Value

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Estimate(Value):
    """What a schedule came to on fresh seeds, which had no part in its choice.

    Figures are those of the result's metric, as people read it.
    """

    mean: Finite
    low: Finite | None = None
    high: Finite | None = None
    """Ends of the mean's 95 % interval, for new images and seeds."""

    seeds: int = Field(ge=1)
    """Fresh seeds that the mean rests on."""

    test_value: Finite | None = None
    """The metric on the test split, the mean over models of the first fresh seeds; None: it was not read."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        ends = [self.mean if end is None else end for end in (self.low, self.high)]
        if not ends[0] <= self.mean <= ends[1]:
            raise ValueError(f"mean: got {self.mean:g}; must lie from low to high")
        return self


class SearchResult(Value):
    """What a search found for a schedule."""

    study: str = Field(default="", pattern="^([0-9a-f]{16})?$")
    """Hash of what was searched, the identity in the run folder's ``run.json``; empty where not known."""

    trial: int = Field(ge=0)
    """Its number in the search."""

    settings: str = Field(default="", pattern="^([0-9a-f]{16})?$")
    """Hash of schedule and regime as they were found, by which a file tells that they have been edited since;
    empty where it is not known."""

    metric: str = Field(min_length=1)
    direction: Direction = "maximize"
    """Whether more of the metric is better, or less."""

    value: Finite | None = None
    """The metric over the validation images of all folds, as people read it. The best of many trials looks
    better than it is: see ``estimate``."""

    val_loss: Finite | None = None
    """Mean log loss over the same images, in nats."""

    fold_values: tuple[Finite, ...] = ()
    """The metric by fold."""

    n_val: int = Field(default=0, ge=0)
    """Validation images that the value rests on."""

    confirmed: bool = False
    """Whether the schedule won on fresh seeds."""

    estimate: Estimate | None = None
    """What these made of it; None where it did not win there, or it is not known any more."""

    @model_validator(mode="after")
    def _estimated_when_confirmed(self) -> Self:
        if self.estimate is not None and not self.confirmed:
            raise ValueError("estimate: given for a schedule that is not confirmed; leave one of them out")
        return self

    @property
    def standing(self) -> str:
        """Say in words how good the schedule is, and how sure that is."""
        metric, found = printable(self.metric), self.estimate
        if found is not None:
            ends = "" if None in (found.low, found.high) else f" (95 %: {found.low:.4g} to {found.high:.4g})"
            return f"confirmed on {counted(found.seeds, 'fresh seed')}: {metric} {found.mean:.4g}{ends}"
        sure = "confirmed on fresh seeds" if self.confirmed else "not confirmed on fresh seeds"
        if self.value is None:
            return sure
        over = f" over {self.n_val:,} validation images" if self.n_val else ""
        return f"{sure}; {metric} {self.value:.4g}{over} in the search"

    @classmethod
    def of(cls, result: StudyResult, trial: TrialResult, *, study: str = "") -> Self:
        """Read what a report says of a trial.

        Args:
            result: The search.
            trial: One of its trials.
            study: Hash of the search's identity.
        """
        scale, winner = result.scale, _winner(result)
        confirmed = winner is not None and winner.trial == trial.number
        return cls(
            study=study,
            trial=trial.number,
            settings=settings_digest(trial.schedule, trial.regime.for_training),
            metric=result.metric,
            direction="minimize" if scale.unit == "nats" else result.direction,
            value=finite(shown_value(scale, trial)),
            val_loss=finite(trial.val_loss),
            fold_values=tuple(value for value in map(scale.shown, trial.fold_values) if math.isfinite(value)),
            n_val=trial.n_val,
            confirmed=confirmed,
            estimate=_estimate(result) if confirmed else None,
        )


def finite(value: float | None) -> float | None:
    """Give a number, or None for what is none."""
    return None if value is None or not math.isfinite(value) else value


def _winner(result: StudyResult) -> Candidate | None:
    """Give the candidate that won on fresh seeds, where these came to their end."""
    found = result.confirmation
    return found.winner if found is not None and found.concluded else None


def _estimate(result: StudyResult) -> Estimate | None:
    """Give what fresh seeds made of the winner."""
    found, winner = result.confirmation, _winner(result)
    if found is None or winner is None or winner.mean is None:
        return None
    scale, shown = result.scale, shown_candidate(result.scale, winner)
    first, end = found.estimate_seeds
    return Estimate(
        mean=scale.shown_mean(winner.mean),
        low=finite(shown.low),
        high=finite(shown.high),
        seeds=end - first,
        test_value=None if winner.test_value is None else scale.shown(winner.test_value),
    )
