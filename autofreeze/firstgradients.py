"""The first gradient into the backbone: how large it is at once, and after a warm-up.

It is what freezing first is meant to tame: a random head's gradient, which reaches pretrained layers.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Literal

from autofreeze.instabilities import ALPHA, Row, peak_rate, row_of
from autofreeze.job import Thaw
from autofreeze.ranks import Median, Relation, median_of, relation
from autofreeze.results import Ending, TrialResult
from autofreeze.values import Value

FEWEST_UNSTABLE = 3
"""Runs that became unstable, and that did not, below which a relation with it is not asked for."""

Finding = Literal["smaller", "larger", "not told"]
"""What freezing first made of the first gradient; *not told*: the interval holds 1, or there is none."""


class Side(Value):
    """The first gradients of one row of the map, where the same groups train first."""

    runs: int
    norm: Median
    """2-norm over all backbone groups that train at that step. Equal gradients count once: in a search, all
    that train at once with one batch size begin with the same head and the same batch."""

    relative: Median
    """The same over the 2-norm of those groups' weights."""

    loss: Median
    """Of the step, in nats."""


class FirstGradients(Value):
    """First gradients at once and after a warm-up, where the same groups train first."""

    columns: tuple[int, ...]
    """Backbone groups that train at that step, stem first."""

    names: tuple[str, ...]
    all_of_backbone: bool
    at_once: Side | None
    after_warmup: Side | None
    ratio: Median | None
    """First gradients after a warm-up over the one at once, and their median; None where either is missing.
    Its interval is for the warm-ups of the search: at once there is one head and one first batch."""

    finding: Finding


class GradientsAndOutcome(Value):
    """What first gradients after a warm-up go with, among runs at the same peak rate; see ``ranks.relation``.

    Gradients are taken over the weights, and over the median of runs in which the same groups train first.
    """

    value: Relation | None
    """With the metric at the end, of complete runs; positive: the larger the gradient, the better the run.
    None where there are too few runs."""

    unstable: Relation | None
    """With becoming unstable after the thaw."""


class Drifts(Value):
    """How far the features of complete runs had moved at the end."""

    at_once: Median | None
    after_warmup: Median | None


class Beginnings(Value):
    """How runs of a search began to train their backbones, and what it went with."""

    gradients: tuple[FirstGradients, ...]
    """By the groups that train first, those of the most runs first. Empty: nothing is known."""

    outcome: GradientsAndOutcome
    drifts: Drifts


@dataclass(frozen=True)
class Beginning:
    """The first backbone step of one trial."""

    trial: TrialResult
    thaw: Thaw

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """Backbone groups that train at that step, stem first."""
        *backbone, _ = self.thaw.grad_norms
        return tuple(column for column, norm in enumerate(backbone) if norm is not None)

    @cached_property
    def norm(self) -> float:
        """2-norm of the gradient over those groups."""
        return _root_of_squares(self.thaw.grad_norms[column] for column in self.columns)

    @cached_property
    def relative(self) -> float:
        """The same over the 2-norm of their weights; NaN where those are zero."""
        weights = _root_of_squares(self.thaw.weight_norms[column] for column in self.columns)
        return self.norm / weights if weights else math.nan

    @property
    def row(self) -> Row:
        """The trial's row in the map of instabilities."""
        return row_of(self.trial.schedule)

    @property
    def is_finite(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self.columns) and all(map(math.isfinite, (self.norm, self.relative, self.thaw.loss)))


def first_steps(trials: Sequence[TrialResult]) -> list[Beginning]:
    """Give the first backbone steps of all trials with a run of their own, those that were finite."""
    found = [Beginning(one, one.thaw) for one in trials if one.same_as is None and one.thaw is not None]
    return [one for one in found if one.is_finite]


def beginnings(trials: Sequence[TrialResult]) -> Beginnings:
    """Compare how runs began to train their backbones, at once and after a warm-up.

    Of each trial with a run of its own the first fold counts. Gradients that were not finite are left out:
    their runs ended there, as unstable.

    Args:
        trials: Of one search.
    """
    own = [trial for trial in trials if trial.same_as is None]
    finite = first_steps(own)
    places: dict[tuple[int, ...], list[Beginning]] = defaultdict(list)
    for one in finite:
        places[one.columns].append(one)
    ordered = sorted(places.values(), key=lambda here: (-len(here), here[0].columns))
    return Beginnings(
        gradients=tuple(map(_compared, ordered)),
        outcome=_outcome([one for one in finite if one.row == "after a warm-up"]),
        drifts=Drifts(at_once=_drift(own, "at once"), after_warmup=_drift(own, "after a warm-up")),
    )


def _compared(here: Sequence[Beginning]) -> FirstGradients:
    at_once = _distinct(one for one in here if one.row == "at once")
    after = _distinct(one for one in here if one.row == "after a warm-up")
    ratio = None
    if at_once and after:
        reference = median_of([one.norm for one in at_once])
        assert reference is not None
        ratio = median_of([_over(one.norm, reference.median) for one in after])
    columns, groups = here[0].columns, here[0].trial.schedule.groups
    return FirstGradients(
        columns=columns,
        names=tuple(groups[column] for column in columns),
        all_of_backbone=len(columns) == len(groups) - 1,
        at_once=_side(at_once, sum(one.row == "at once" for one in here)),
        after_warmup=_side(after, sum(one.row == "after a warm-up" for one in here)),
        ratio=ratio,
        finding=_finding(ratio),
    )


def _over(norm: float, reference: float) -> float:
    """Divide; a head that begins at zero sends no gradient down at once, and anything is more."""
    return norm / reference if reference else math.inf if norm else math.nan


def _distinct(begun: Iterable[Beginning]) -> list[Beginning]:
    """Keep one of those that began with the same head and batch, as far as loss and gradient tell."""
    return list({(one.thaw.loss, one.thaw.grad_norms): one for one in begun}.values())


def _side(begun: Sequence[Beginning], runs: int) -> Side | None:
    norm = median_of([one.norm for one in begun])
    relative = median_of([one.relative for one in begun])
    loss = median_of([one.thaw.loss for one in begun])
    if norm is None or relative is None or loss is None:
        return None
    return Side(runs=runs, norm=norm, relative=relative, loss=loss)


def _finding(ratio: Median | None) -> Finding:
    if ratio is None or ratio.low is None or ratio.high is None:
        return "not told"
    return "smaller" if ratio.high < 1 else "larger" if ratio.low > 1 else "not told"


def _outcome(begun: Sequence[Beginning]) -> GradientsAndOutcome:
    complete = [one for one in begun if one.trial.ending is Ending.COMPLETE and one.trial.value is not None]
    ended = (Ending.COMPLETE, Ending.UNPROMISING, Ending.UNSTABLE)
    told = [one for one in begun if one.trial.ending in ended]
    unstable = [float(one.trial.ending is Ending.UNSTABLE) for one in told]
    enough = min(sum(unstable), len(unstable) - sum(unstable)) >= FEWEST_UNSTABLE
    return GradientsAndOutcome(
        value=_relation(complete, [one.trial.value or 0.0 for one in complete]),
        unstable=_relation(told, unstable) if enough else None,
    )


def _relation(begun: Sequence[Beginning], outcome: Sequence[float]) -> Relation | None:
    alike: dict[tuple[int, ...], list[float]] = defaultdict(list)
    for one in begun:
        alike[one.columns].append(one.relative)
    sizes = [_over(one.relative, median(alike[one.columns])) for one in begun]
    return relation(sizes, outcome, given=[peak_rate(one.trial.schedule) for one in begun])


def _drift(trials: Sequence[TrialResult], row: Row) -> Median | None:
    return median_of(
        [
            trial.drift
            for trial in trials
            if trial.drift is not None and trial.ending is Ending.COMPLETE and row_of(trial.schedule) == row
        ]
    )


def _root_of_squares(norms: Iterable[float | None]) -> float:
    return math.sqrt(sum(norm**2 for norm in norms if norm is not None))


def is_told(found: Relation | None) -> bool:
    """Whether a relation is there, beyond what chance would give."""
    return found is not None and found.p < ALPHA
