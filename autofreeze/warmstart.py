"""Warm starts: what won in an earlier search, as points of this one's space.

Models and lengths of runs differ, so a schedule is taken over by shares: its depth by the share of forward
work that trains, its times by the share of the run. Rates stay what they are.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from pydantic import Field

from autofreeze.axes import REGIME_AXES, WHOLE_AXES, Choice, Range
from autofreeze.job import settings_digest
from autofreeze.results import Ending, StudyResult, TrialResult, rank
from autofreeze.schedule import Schedule, format_rate
from autofreeze.space import Space
from autofreeze.values import Value

MOST_OF_A_RUN = 3
"""Schedules that are taken from one earlier search, at most."""

SHARE = 0.25
"""Share of a search's trials that may be warm starts."""

EVEN = 1.02
"""Factor below which two rates, or two steps between rates, count as equal: files round to six digits."""


class WarmStart(Value):
    """A schedule that did well in an earlier search, as a point of this one's space."""

    origin: str
    """Where it comes from: ``RUN#trial``."""

    params: dict[str, Any] = Field(default_factory=dict)
    """A value for each axis that is searched."""

    moved: tuple[str, ...] = ()
    """What the space could not reach, in sentences: the nearest was taken."""


class WarmStarts(Value):
    """What was taken from earlier searches."""

    runs: tuple[str, ...] = ()
    """Their run folders, as they were given."""

    taken: tuple[WarmStart, ...] = ()
    """In the order in which they are to be tried."""

    left_out: tuple[str, ...] = ()
    """What was not taken, and why, a sentence each."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What there is to tell before the search begins."""
        origins = ", ".join(one.origin for one in self.taken)
        moved = [f"{one.origin}: {line}" for one in self.taken for line in one.moved]
        return (*([f"begins with {origins}"] if origins else []), *moved, *self.left_out)


@dataclass(frozen=True)
class Earlier:
    """An earlier search: how it is called, and what it found."""

    name: str
    result: StudyResult


def warm_quota(trials: int) -> int:
    """Give how many of a search's trials may be warm starts: a quarter, and one at least."""
    return max(1, int(trials * SHARE + 1e-9))


def gather(earlier: Sequence[Earlier], space: Space, work_shares: Sequence[float], trials: int) -> WarmStarts:
    """Take what won in earlier searches, each search's best first, as far as a quarter of the trials reaches.

    Args:
        earlier: The searches, each with a complete trial.
        space: What may be tried.
        work_shares: Of this model: share of forward work by column, stem first, head last.
        trials: Trials of the search in all.
    """
    queues: list[list[tuple[str, WarmStart]]] = []
    left_out: list[str] = []
    for one in earlier:
        queue = []
        for trial in winners_of(one.result):
            origin = f"{one.name}#{trial.number}"
            reason = why_not(trial, space)
            if reason:
                left_out.append(f"{origin} left out: {reason}")
                continue
            mapped = mapped_to(trial, shares_of(one.result), space, work_shares)
            start = WarmStart(origin=origin, params=mapped.params, moved=tuple(mapped.moved))
            queue.append((settings_digest(*space.build(_whole(space, start.params))), start))
        queues.append(queue)
    taken: dict[str, WarmStart] = {}
    dropped = []
    for digest, start in _in_turn(queues):
        if digest in taken:
            left_out.append(f"{start.origin} left out: here it is the same as {taken[digest].origin}")
        elif len(taken) == warm_quota(trials):
            dropped.append(start.origin)
        else:
            taken[digest] = start
    if dropped:
        left_out.append(
            f"{', '.join(dropped)} left out: a quarter of the {trials} trials at most begins where earlier "
            "searches ended"
        )
    return WarmStarts(
        runs=tuple(one.name for one in earlier), taken=tuple(taken.values()), left_out=tuple(left_out)
    )


def tell_warm_starts(result: StudyResult) -> str:
    """Say which trials of a search began where earlier ones ended, and whether one of them won."""
    started = [one for one in result.trials if one.warm_start]
    if not started:
        return ""
    told = ", ".join(f"trial {one.number} from {one.warm_start}" for one in started)
    best = result.best
    if best is None:
        return told
    won = f"{best.warm_start} won" if best.warm_start else "none of them won"
    return f"{told}; {won}"


def winners_of(result: StudyResult, most: int = MOST_OF_A_RUN) -> tuple[TrialResult, ...]:
    """Give what won in a search: its best schedule, then the others that stayed to the end, equal ones once.

    Where nothing was confirmed, the complete trials that may win, by their values.
    """
    best = result.best
    if best is None:
        return ()
    by_number = {one.number: one for one in result.trials}
    found = result.confirmation
    if found is not None and found.chosen is not None:
        stayed = [one for one in found.candidates if one.dropped_at is None and one.mean is not None]
        stayed.sort(key=lambda one: -(one.mean or 0.0))
        others = [by_number[one.trial] for one in stayed]
    else:
        others = sorted((one for one in result.trials if one.ending is Ending.COMPLETE), key=rank)[::-1]
    unlike: dict[str, TrialResult] = {}
    for trial in (best, *(one for one in others if one.affordable)):
        unlike.setdefault(settings_digest(trial.schedule, trial.regime), trial)
    return tuple(unlike.values())[:most]


def shares_of(result: StudyResult) -> tuple[float, ...]:
    """Give the share of forward work by column of an earlier search's model; even ones where it kept none."""
    n = len(result.trials[0].schedule.groups)
    shares = result.backbone.get("work_shares", ())
    return tuple(shares) if len(shares) == n else (1 / n,) * n


def why_not(trial: TrialResult, space: Space) -> str:
    """Say why a schedule cannot be taken over at all; empty when it can."""
    if space.spec.shape != "flat":
        return f"the space {space.spec.name} holds no schedules of its kind"
    if _thaws(trial.schedule) is None:
        return f"{trial.recipe} is no schedule that opens the backbone from the head down"
    optimizer = space.axes.get("optimizer", space.fixed_regime.optimizer)
    allowed = optimizer.options if isinstance(optimizer, Choice) else (optimizer,)
    if trial.regime.optimizer not in allowed:
        here = " or ".join(map(str, allowed))
        return f"its rates are for {trial.regime.optimizer}, and this search uses {here}"
    return ""


@dataclass
class Mapped:
    """A point as it takes shape."""

    params: dict[str, Any] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)


def mapped_to(
    trial: TrialResult, shares: Sequence[float], space: Space, work_shares: Sequence[float]
) -> Mapped:
    """Map a schedule and its regime to a point of a flat space; see :func:`why_not` for which ones can be.

    Args:
        trial: What won.
        shares: Of its model: share of forward work by column.
        space: What may be tried here.
        work_shares: Of this model.
    """
    thaws = _thaws(trial.schedule)
    assert thaws is not None
    schedule, scale = trial.schedule, space.epochs / trial.schedule.epochs
    depth = nearest_depth(sum(shares[len(shares) - 1 - len(thaws) :]), work_shares) if thaws else 0
    wanted: dict[str, Any] = {
        "unfreeze_depth": depth,
        "freeze_stem": False,
        "warmup_epochs": (thaws[0].start if thaws else 0.0) * scale,
        "unfreeze_every": (thaws[-1].start - thaws[0].start) * scale / (depth - 1) if depth > 1 else 0.0,
        "head_lr": schedule.phases[-1].lrs[-1],
        "curve": schedule.curve,
        "curve_over": schedule.curve_over,
        "lr_ramp_epochs": schedule.lr_ramp_epochs * scale,
        **{name: getattr(trial.regime, name) for name in REGIME_AXES},
    }
    found = Mapped()
    if thaws:
        wanted |= _spread_of(thaws, schedule, shares, depth, space, work_shares, found)
    for name, axis in space.axes.items():
        if name in wanted:
            _put(found, name, axis, wanted[name])
    placed = space.place(found.params)
    assert placed is not None, found.params  # every value lies on its axis
    found.params = {name: int(one) if name in WHOLE_AXES else one for name, one in placed.items()}
    return found


def nearest_depth(share: float, work_shares: Sequence[float]) -> int:
    """Give the backbone groups, counted from the head, whose share of work with the head's is nearest.

    At least one: of no depth at all nothing is asked.
    """
    backbone = tuple(reversed(work_shares[:-1]))
    reached = [work_shares[-1] + below for below in accumulate(backbone)]
    return min(range(len(reached)), key=lambda turn: abs(reached[turn] - share)) + 1


@dataclass(frozen=True)
class _Thaw:
    """When a backbone group begins to train, and at what rate."""

    start: float
    rate: float


def _thaws(schedule: Schedule) -> list[_Thaw] | None:
    """Give the thaws of a schedule from the head down; None where it is no such schedule."""
    n_backbone = len(schedule.groups) - 1
    head = {phase.lrs[-1] for phase in schedule.phases}
    if len(head) != 1 or None in head:
        return None
    starts = list(accumulate((phase.epochs for phase in schedule.phases), initial=0.0))
    found: list[_Thaw] = []
    for column in range(n_backbone - 1, -1, -1):
        cells = [phase.lrs[column] for phase in schedule.phases]
        rates = {lr for lr in cells if lr is not None}
        if not rates:
            lower = [phase.lrs[below] for phase in schedule.phases for below in range(column)]
            return found if all(lr is None for lr in lower) else None
        first = next(place for place, lr in enumerate(cells) if lr is not None)
        if len(rates) != 1 or None in cells[first:] or (found and starts[first] < found[-1].start):
            return None
        found.append(_Thaw(starts[first], rates.pop()))
    return found


def _spread_of(
    thaws: Sequence[_Thaw],
    schedule: Schedule,
    shares: Sequence[float],
    depth: int,
    space: Space,
    work_shares: Sequence[float],
    found: Mapped,
) -> dict[str, Any]:
    """Say how the backbone's rates are spread, in the words that the space has for it."""
    rates = [thaw.rate for thaw in thaws]
    top, head = rates[0], schedule.phases[-1].lrs[-1] or math.nan
    kind = _kind_of(rates)
    axis = space.axes["rates"]
    allowed = axis.options if isinstance(axis, Choice) else (axis,)
    orders = {
        "one": ("one", "decay", "per_group"),
        "decay": ("decay", "per_group", "one"),
        "per_group": ("per_group", "decay", "one"),
    }
    chosen = next(word for word in orders[kind] if word in allowed)
    spread = {"rates": chosen, "backbone_ratio": top / head}
    if chosen == "decay":
        spread["depth_ratio"] = rates[-1] / top
    if chosen == "per_group":
        places = _middles(shares)
        for turn, middle in enumerate(_middles(work_shares)):
            nearest = min(range(len(rates)), key=lambda one: abs(places[one] - middle))
            spread[f"group_offset_{turn + 1}"] = rates[nearest] / top if turn < depth else 1.0
    if (chosen == "one" and kind != "one") or (kind == "per_group" and chosen == "decay"):
        found.moved.append(f"rates by group become {'one rate' if chosen == 'one' else 'a decay'}")
    return spread


def _kind_of(rates: Sequence[float]) -> str:
    """Say how rates are spread, those of the highest group first."""
    steps = [after / before for before, after in pairwise(rates)]
    if all(1 / EVEN < step < EVEN for step in steps):
        return "one"
    return "decay" if max(steps) < EVEN * min(steps) and max(steps) < 1 else "per_group"


def _middles(work_shares: Sequence[float]) -> list[float]:
    """Give the share of work above the middle of each backbone group, the one nearest the head first."""
    *backbone, head = work_shares
    ends = list(accumulate(reversed(backbone), initial=head))
    return [(above + below) / 2 for above, below in pairwise(ends)]


def _put(found: Mapped, name: str, axis: Any, value: Any) -> None:
    """Put a value on its axis: as it is where the axis reaches it, else the nearest, which is told."""
    if isinstance(axis, Range):
        low, high = float(axis.low), float(axis.high)
        near: Any = min(max(float(value), low), high)
        if not low * (1 - 1e-6) <= value <= high * (1 + 1e-6):
            found.moved.append(
                f"{name} {_shown(name, value)} lies outside {_shown(name, low)} to {_shown(name, high)}: "
                "nearest taken"
            )
        found.params[name] = int(near) if name in WHOLE_AXES else near
        return
    options = axis.options if isinstance(axis, Choice) else (axis,)
    near = value if value in options else _nearest_option(options, value)
    found.params[name] = near
    if near != value and name not in REGIME_AXES:
        found.moved.append(f"{name} {_shown(name, value)} is not searched: {_shown(name, near)} taken")


def _nearest_option(options: Sequence[Any], value: Any) -> Any:
    numbers = [one for one in options if isinstance(one, int | float) and not isinstance(one, bool)]
    if isinstance(value, int | float) and not isinstance(value, bool) and numbers:
        return min(numbers, key=lambda one: abs(one - value))
    return options[0]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, float):
        return format_rate(value) if name.endswith("_lr") else f"{value:.3g}"
    return str(value)


def _whole(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Add the axes that are fixed."""
    return {name: params.get(name, axis) for name, axis in space.axes.items()}


def _in_turn(queues: Sequence[Sequence[Any]]) -> Iterator[Any]:
    """Go through the first of each, then the second of each."""
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))
