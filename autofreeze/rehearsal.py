"""Searches rehearsed: what the sampler may draw and what may end early, without training anything.

How long a search takes hangs on what nobody knows before it: how far schedules lie apart, whether deep ones
are good, which runs are ended. A rehearsal makes that up, and judges by the rules of ``pruning.py`` and
``looks.py`` in short. What comes out is how many epochs of which schedule are run. Values are in standard
errors of the metric over the images of one fold.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import numpy as np

from autofreeze.arms import arm_wanted
from autofreeze.confirmation import Arm
from autofreeze.finalists import BY_ARM, FEWEST, MOST
from autofreeze.looks import LOOKS, limit_at
from autofreeze.pruning import BEHIND, GO_ON, GRACE_SHARE, MIN_PEERS

SPREAD, SPREAD_SD = 1.4, 0.8
"""How far schedules lie apart, in standard errors over 100 images: the median, and the spread of its
logarithm between searches. It grows with the root of the images. These constants were chosen so that searches
played on recorded runs are met (``benchmarks/plan_ranges.py played``)."""

TREND = 1.0
"""What lies between a schedule whose work is best in this search and one at the other end, in spreads."""

AS_BASELINE = 0.3
"""Share of the searches in which the work of some baseline is best: a draw has it seldom."""

NOISE, PASSING, PAIRED = 0.5, 0.3, 0.8
"""Luck of a run on its fold; that of one epoch; standard error of a difference on the same images."""

STARTUP = 10
"""Trials that a sampler draws evenly, as Optuna's TPE does."""

CHOSEN_OF = 14
"""Even draws of which it then takes the one whose work is nearest to what is best: how far its draws move."""


@dataclass(frozen=True)
class Part:
    """A schedule that may be run."""

    arm: Arm
    work: float
    """Of a whole run, between the least (0) and the most (1) that there is."""

    epochs: int
    """Of a whole run."""

    thaw: float = 0.0
    """Epochs before its last thaw."""

    @property
    def judged_from(self) -> int:
        """Epochs after which it may be called unpromising for the first time."""
        return max(math.ceil(self.thaw + GRACE_SHARE * (self.epochs - self.thaw) - 1e-9), 1)


@dataclass(frozen=True)
class Ran:
    """What was run of one trial, or of one candidate of a confirmation."""

    part: int
    """Index: baselines first, then the pool."""

    epochs: tuple[int, ...]
    """Of each fold, or of each fresh seed."""


@dataclass(frozen=True)
class Rehearsal:
    """One search that may come."""

    trials: tuple[Ran, ...]
    candidates: tuple[Ran, ...]


@dataclass(frozen=True)
class Casting:
    """What is rehearsed.

    Args:
        baselines: Those that are left to run, in order.
        pool: Draws of the space; at least one where there are more trials than baselines.
        even: How many of them, the first ones, are even draws; the others were moved into an arm. 0: all are.
        trials: Trials that are left to run.
        folds: Folds that a trial is scored on.
        n_val: Images that a fold is scored on.
        arms: Those that get a third of the trials each; fewer than two: nothing is shared out.
        planned: Fresh seeds at most.
        prune: Whether unpromising trials are ended early.
        ended: Trials that were run before.
        steered: Whether the sampler learns from what was run.
    """

    baselines: Sequence[Part]
    pool: Sequence[Part]
    trials: int
    folds: int
    n_val: int
    arms: Sequence[Arm] = ()
    planned: int = 0
    even: int = 0
    prune: bool = True
    ended: int = 0
    steered: bool = True


def rehearse(casting: Casting, rng: np.random.Generator) -> Rehearsal:
    """Make up one search and its confirmation."""
    return _Stage(casting, rng).play()


@dataclass
class _Actor:
    """A trial under way, or ended."""

    index: int
    part: Part
    worth: float
    baseline: bool
    ran: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    complete: bool = False

    @property
    def score(self) -> float:
        return sum(self.scores) / len(self.scores)


class _Peer(NamedTuple):
    """A run on a fold."""

    value: float
    epochs: int
    age: float
    """Epochs since its last thaw."""


class _Stage:
    def __init__(self, casting: Casting, rng: np.random.Generator) -> None:
        self._cast, self._rng = casting, rng
        self._spread = SPREAD * math.exp(SPREAD_SD * rng.standard_normal()) * math.sqrt(casting.n_val / 100)
        self._parts = [*casting.baselines, *casting.pool]
        kind = casting.baselines if rng.random() < AS_BASELINE or not casting.pool else casting.pool
        self._favoured = float(rng.choice([part.work for part in kind or casting.pool]))
        self._peers: list[list[_Peer]] = [[] for _ in range(casting.folds)]
        self._rungs: list[list[float]] = [[] for _ in range(casting.folds)]
        self._ended: list[_Actor] = []
        self._counts: dict[Arm, int] = dict.fromkeys(casting.arms, 0)
        self._by_arm: Mapping[Arm, list[int]] = {
            arm: [
                index
                for index, part in enumerate(casting.pool)
                if part.arm == arm and (index >= casting.even or not casting.even)
            ]
            for arm in casting.arms
        }

    def play(self) -> Rehearsal:
        for turn in range(self._cast.trials):
            actor = self._next(turn)
            if actor.part.arm in self._counts:
                self._counts[actor.part.arm] += 1
            self._run(actor)
            self._ended.append(actor)
        return Rehearsal(
            tuple(Ran(one.index, tuple(one.ran)) for one in self._ended), tuple(self._confirmed())
        )

    def _next(self, turn: int) -> _Actor:
        """Give the next baseline, or what the sampler draws."""
        if turn < len(self._cast.baselines):
            return self._actor(turn, self._cast.baselines[turn], baseline=True)
        arm = arm_wanted(self._counts, turn) if len(self._counts) > 1 else None
        pool = (
            self._by_arm[arm] if arm and self._by_arm[arm] else range(self._cast.even or len(self._cast.pool))
        )
        learns = self._cast.steered and turn + self._cast.ended >= STARTUP
        choices = CHOSEN_OF if learns else 1
        known = len(self._cast.baselines)
        drawn = [known + pool[place] for place in self._rng.integers(len(pool), size=choices)]
        if learns:  # and what it likes may be near a baseline
            drawn += [one for one in range(known) if arm is None or self._parts[one].arm == arm]
        index = min(drawn, key=lambda one: abs(self._parts[one].work - self._favoured))
        return self._actor(index, self._parts[index], baseline=False)

    def _actor(self, index: int, part: Part, *, baseline: bool) -> _Actor:
        worth = -self._spread * (TREND * abs(part.work - self._favoured) + self._rng.standard_exponential())
        return _Actor(index, part, worth, baseline)

    def _run(self, actor: _Actor) -> None:
        """Run a trial, fold after fold."""
        lacking = self._lacks(actor.part.arm)
        spared = actor.baseline or not self._cast.prune or lacking
        for fold in range(self._cast.folds):
            value = actor.worth + NOISE * self._rng.standard_normal()
            free = spared or fold > 0  # within a run, trials are judged on the first fold alone
            epochs = actor.part.epochs if free else self._epochs(actor.part, value, self._peers[fold])
            self._peers[fold].append(_Peer(value, epochs, epochs - actor.part.thaw))
            actor.ran.append(epochs)
            if epochs < actor.part.epochs:
                return
            actor.scores.append(value)
            ahead = sum(score > actor.score for score in self._rungs[fold])
            self._rungs[fold].append(actor.score)
            rivals = len(self._rungs[fold])
            if fold + 1 == self._cast.folds or not self._cast.prune or lacking:
                continue
            if actor.baseline:
                out = self._is_behind(actor)
            else:
                out = rivals > MIN_PEERS and ahead >= math.ceil(rivals / GO_ON)
            if out:
                return
        actor.complete = True

    def _lacks(self, arm: Arm) -> bool:
        """Whether an arm has fewer complete trials than finalists; those are not pruned."""
        return (
            arm in self._counts and sum(one.complete and one.part.arm == arm for one in self._ended) < BY_ARM
        )

    def _epochs(self, part: Part, value: float, peers: Sequence["_Peer"]) -> int:
        """Say after how many epochs a run ends: early, where it lies below the medians of its peers."""
        for epoch in range(part.judged_from, part.epochs):
            same_epoch = [one.value for one in peers if one.epochs >= epoch]
            same_age = [one.value for one in peers if one.age >= epoch - part.thaw - 1e-9]
            if min(len(same_epoch), len(same_age)) >= MIN_PEERS:
                bar = min(median(same_epoch), median(same_age)) - 1
                if value + PASSING * self._rng.standard_normal() < bar:
                    return epoch
        return part.epochs

    def _is_behind(self, actor: _Actor) -> bool:
        """Judge a baseline between two folds against the best complete trial."""
        best = max((one.score for one in self._ended if one.complete), default=None)
        error = PAIRED / math.sqrt(len(actor.scores))
        return best is not None and actor.score < best - BEHIND * error

    def _confirmed(self) -> list[Ran]:
        """Give the candidates of the confirmation, and the fresh seeds that each is run on."""
        complete = sorted((one for one in self._ended if one.complete), key=lambda one: -one.score)
        if not self._cast.planned or not complete:
            return []
        error = PAIRED / math.sqrt(self._cast.folds)
        could_win = [one for one in complete if one.score >= complete[0].score - BEHIND * error]
        of_arm = {arm: [one for one in complete if one.part.arm == arm][:BY_ARM] for arm in self._cast.arms}
        chosen = [one for one in complete if any(one in some for some in of_arm.values())]
        for one in complete:
            wanted = len(chosen) < FEWEST or (len(chosen) < MOST and one in could_win)
            if one not in chosen:
                if not wanted:
                    break
                chosen.append(one)
        chosen += [one for one in could_win if one.baseline and one not in chosen]
        return self._looks(chosen)

    def _looks(self, chosen: Sequence[_Actor]) -> list[Ran]:
        """Take the looks: who is clearly behind after the first runs no further."""
        planned = self._cast.planned
        seeds = {id(one): planned for one in chosen}
        worths = [one.worth for one in chosen]
        best = chosen[int(np.argmax(worths))]
        for look in LOOKS[:-1]:
            if look >= planned:
                break
            error = PAIRED * math.sqrt(1 + NOISE**2) / math.sqrt(look)
            gaps = {id(one): best.worth - one.worth + error * self._rng.standard_normal() for one in chosen}
            limit = limit_at(look, planned, len(chosen) - 1) * error
            if look == LOOKS[0]:
                of_arm = {one.part.arm: one for one in sorted(chosen, key=lambda one: one.worth)}
                for one in chosen:
                    if gaps[id(one)] > limit and one not in of_arm.values():
                        seeds[id(one)] = look
            elif all(gaps[id(one)] > limit for one in chosen if one is not best):
                seeds = {key: min(count, look) for key, count in seeds.items()}
        return [Ran(one.index, (one.part.epochs,) * seeds[id(one)]) for one in chosen]
