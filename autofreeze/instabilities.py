"""Where in a search runs became unstable: by the backbone's rate, with and without a warm-up."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from autofreeze.confirmation import arm_of
from autofreeze.proportions import Contrast, Share, Stratum, contrast, share_of
from autofreeze.results import Ending, TrialResult
from autofreeze.schedule import Schedule
from autofreeze.stability import Kind, kind_of
from autofreeze.values import Value

Row = Literal["at once", "after a warm-up", "head alone"]
"""What trains first: the backbone at once, or after head-only epochs, or never."""

ROWS: tuple[Row, ...] = get_args(Row)

ALPHA = 0.05
"""A claim is made of what chance would give less often than this."""

STEPS = 100
"""Steps of an epoch when the height of a rate curve is looked up: finer than a decade needs."""

Finding = Literal["less often", "more often", "not told", "too few", "nothing to compare"]
"""How often runs became unstable after a warm-up, against at once, at equal rates. *Not told*: chance alone
would give such numbers. *Too few*: no outcome could have told."""


class Cell(Value):
    """Runs of one kind at peak rates of one decade."""

    row: Row
    decade: int
    """Exponent of the lower end of the rates: -4 is 1e-4 to 1e-3. See ``peak_rate``."""

    unstable: Share
    kinds: dict[str, int]
    """How they were unstable -> how many; see ``stability.kind_of``."""


ONE_SIDED: Kind = "below the head alone"
"""Only a run after a warm-up can be judged so: at once there is no head alone to fall below."""


class WarmupEffect(Value):
    """Whether runs that train the backbone after a warm-up became unstable less often than those at once."""

    finding: Finding
    contrast: Contrast
    """Of the runs after a warm-up with those at once, a stratum for each decade of the peak rate."""

    left_out: int
    """Runs that were unstable in the way of ``ONE_SIDED``: in the contrast they count as stable."""


class Instabilities(Value):
    """The map of a search: which runs became unstable."""

    unstable: Share
    """Of all runs that can be told."""

    kinds: dict[str, int]
    """How they were unstable -> how many, the most frequent first."""

    before_thaw: int
    """Unstable ones after a warm-up that had not come to its end: the head alone made them so."""

    too_early: int
    """Runs that were pruned before their backbone trained: they are in no cell, since they cannot tell."""

    cells: tuple[Cell, ...]
    """By row in the order of ``ROWS``, by decade; those without a run are left out."""

    warmup: WarmupEffect


@dataclass(frozen=True)
class _Run:
    """One run, as far as the map goes."""

    row: Row
    rate: float
    reason: str | None
    """Why it was unstable; None: it was not."""

    @property
    def decade(self) -> int:
        return math.floor(math.log10(self.rate) + 1e-9)

    @property
    def kind(self) -> str:
        return kind_of(self.reason or "") or "another reason"


def instabilities(trials: Sequence[TrialResult]) -> Instabilities:
    """Map where runs became unstable.

    A trial counts as one run, whatever its folds, in one cell: complete, pruned as unpromising once its
    backbone had trained, or unstable at any time. Each head of a sweep counts. Baselines count, and so do
    those at tuned rates: they were trained like any other. What has no run of its own does not (the result
    of an equal trial, a schedule that was too dear), nor does what broke off for other reasons. A run that
    was pruned counts as stable as far as it went.

    Shares are those of what was tried, not of the space: the sampler avoids what became unstable.

    Args:
        trials: Of one search.
    """
    counted = [trial for trial in trials if trial.same_as is None]
    thaws_known = any(trial.thaw is not None for trial in counted)
    told = [trial for trial in counted if _is_told(trial, thaws_known=thaws_known)]
    runs = [run for trial in told for run in _runs_of(trial)]
    unstable = [run for run in runs if run.reason is not None]
    at_risk = {Ending.COMPLETE, Ending.UNPROMISING, Ending.UNSTABLE}
    return Instabilities(
        unstable=share_of(len(unstable), len(runs)),
        kinds=_kinds(unstable),
        before_thaw=sum(
            trial.ending is Ending.UNSTABLE and not _thawed(trial, thaws_known=thaws_known)
            for trial in told
            if trial.schedule.unfreeze_depth
        ),
        too_early=sum(trial.ending in at_risk for trial in counted) - len(told),
        cells=tuple(_cells(runs)),
        warmup=_effect(runs),
    )


def row_of(schedule: Schedule) -> Row:
    """Say in which row of the map a schedule stands."""
    if not schedule.unfreeze_depth:
        return "head alone"
    return "at once" if arm_of(schedule) == "at_once" else "after a warm-up"


def peak_rate(schedule: Schedule) -> float:
    """Give the highest rate that any group of the backbone gets at any step; of a head alone the head's.

    After a warm-up a curve over the run has come down: the rate at the thaw is what counts.
    """
    return _peak(schedule, slice(-1) if schedule.unfreeze_depth else slice(-1, None))


def peak_rate_of_head(schedule: Schedule) -> float:
    """Give the highest rate that the head gets at any step; 0 where it never trains."""
    return _peak(schedule, slice(-1, None))


def _peak(schedule: Schedule, columns: slice) -> float:
    timetable = schedule.timetable(STEPS)
    ramp = round(schedule.lr_ramp_epochs * STEPS)
    peaks = [0.0]
    for number, phase in enumerate(schedule.phases):
        top = max((lr for lr in phase.lrs[columns] if lr is not None), default=None)
        start, end = timetable.phase_start(number), timetable.ends[number]
        if top is None or start == end:
            continue
        climbed = ramp + (start if schedule.curve_over == "phase" else 0)  # from there on the curve falls
        steps = range(start, min(max(climbed, start) + 1, end))
        peaks.append(top * max(timetable.factor(step) for step in steps))
    return max(peaks)


def _is_told(trial: TrialResult, *, thaws_known: bool) -> bool:
    """Whether a run can be told stable or not."""
    if trial.ending is Ending.UNPROMISING:
        return not trial.schedule.unfreeze_depth or _thawed(trial, thaws_known=thaws_known)
    return trial.ending in (Ending.COMPLETE, Ending.UNSTABLE)


def _thawed(trial: TrialResult, *, thaws_known: bool) -> bool:
    """Whether the backbone has trained; taken for granted in a report that knows of no thaw at all."""
    return row_of(trial.schedule) == "at once" or trial.thaw is not None or not thaws_known


def _runs_of(trial: TrialResult) -> Iterator[_Run]:
    row, rate = row_of(trial.schedule), peak_rate(trial.schedule)
    if not trial.members:
        yield _Run(row, rate, trial.reason if trial.ending is Ending.UNSTABLE else None)
        return
    own = max(phase.lrs[-1] or 0.0 for phase in trial.schedule.phases)
    for member in trial.members:
        yield _Run(row, member.params.get("head_lr", own) * rate / own, member.reason or None)


def _cells(runs: Sequence[_Run]) -> Iterator[Cell]:
    places: dict[tuple[int, int], list[_Run]] = defaultdict(list)
    for run in runs:
        places[ROWS.index(run.row), run.decade].append(run)
    for (row, decade), here in sorted(places.items()):
        unstable = [run for run in here if run.reason is not None]
        share = share_of(len(unstable), len(here))
        yield Cell(row=ROWS[row], decade=decade, unstable=share, kinds=_kinds(unstable))


def _kinds(runs: Sequence[_Run]) -> dict[str, int]:
    return dict(Counter(run.kind for run in runs).most_common())


def _effect(runs: Sequence[_Run]) -> WarmupEffect:
    """Compare the two rows that train the backbone, decade by decade of the peak rate."""
    backbone = [run for run in runs if run.row != "head alone"]
    found = contrast([_stratum(backbone, decade) for decade in sorted({run.decade for run in backbone})])
    left_out = sum(run.kind == ONE_SIDED for run in backbone)
    return WarmupEffect(finding=_finding(found), contrast=found, left_out=left_out)


def _stratum(runs: Sequence[_Run], decade: int) -> Stratum:
    here = [run for run in runs if run.decade == decade]
    with_warmup = [_counts(run) for run in here if run.row == "after a warm-up"]
    at_once = [_counts(run) for run in here if run.row == "at once"]
    return Stratum(
        count=sum(with_warmup), of=len(with_warmup), other_count=sum(at_once), other_of=len(at_once)
    )


def _counts(run: _Run) -> bool:
    """Whether a run was unstable in a way that both kinds can be."""
    return run.reason is not None and run.kind != ONE_SIDED


def _finding(found: Contrast) -> Finding:
    if found.share is None:
        return "nothing to compare"
    if found.least_p >= ALPHA:
        return "too few"
    if found.p >= ALPHA:
        return "not told"
    return "more often" if found.more else "less often"
