"""What a search tries next: baselines first, then the sampler's draws, then the rates of tuned baselines."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from autofreeze import recipes
from autofreeze.arms import ArmSampler, arm_wanted, arms_of
from autofreeze.baselines import baselines, tuned_rate, with_rate
from autofreeze.confirmation import Arm, arm_of
from autofreeze.errors import RunFolderError
from autofreeze.frugality import Frugality, FrugalSampler
from autofreeze.job import Member
from autofreeze.regime import Regime
from autofreeze.results import TrialResult
from autofreeze.samplers import NEED_ALL_AXES, SamplerName, make_sampler
from autofreeze.schedule import Schedule
from autofreeze.seeds import derive
from autofreeze.space import Space
from autofreeze.sweeps import members_of, points_of
from autofreeze.warmstart import WarmStart


@dataclass(frozen=True)
class Proposal:
    """A trial that was asked for, and what it is to train."""

    trial: optuna.Trial
    schedule: Schedule
    regime: Regime
    members: tuple[Member, ...] = ()
    """The heads of a sweep, the drawn one first; empty where it is none."""

    @property
    def baseline(self) -> str | None:
        """Name of the baseline that it is, if it is one."""
        name: str | None = self.trial.user_attrs.get("baseline")
        return name

    @property
    def tuned(self) -> bool:
        """Whether it is one of the rates by which that baseline is tuned."""
        return "tuned" in self.trial.user_attrs


class Proposals:
    """Asks an Optuna study for trials.

    Everything follows from the study, the seed and the trials before, so that a search that was killed is
    proposed what the unbroken one would have been.

    Args:
        study: Optuna's.
        space: What may be tried.
        sampler: Which sampler draws.
        seed: Decides the draws.
        results: Gives the trials so far, those in hand included.
        can_sweep: Whether a draw of a head alone is swept; asked when there is one.
        frugality: Among how many draws each trial is chosen, and by what; None takes what is drawn.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        sampler: SamplerName,
        seed: int,
        results: Callable[[], Sequence[TrialResult]],
        can_sweep: Callable[[], bool] = lambda: False,
        frugality: Frugality | None = None,
    ) -> None:
        self._frugality = frugality
        self._study = study
        self._space = space
        self._sampler: SamplerName = sampler
        self._seed = seed
        self._results = results
        self._can_sweep = can_sweep
        self._arm_by_number: dict[int, Arm] = {}
        self.arms = arms_of(space)
        self._baselines = {
            baseline.name: baseline
            for baseline in baselines(space.n_backbone, space.epochs, space.fixed_regime.optimizer)
        }

    def enqueue_baselines(self, quota: int) -> None:
        """Put the baselines first, as many as the number of trials allows.

        Those that are missing come now: a search killed early has not queued all, and one that is taken up
        again may have been granted more trials.
        """
        queued = {
            name
            for trial in self._trials()
            if (name := trial.user_attrs.get("baseline")) and "tuned" not in trial.user_attrs
        }
        for baseline in self._baselines.values():
            if baseline.name in queued:
                continue
            placed = self._space.place(baseline.params)
            if placed is None and self._sampler in NEED_ALL_AXES:
                continue
            if len(queued) >= quota:
                return
            queued.add(baseline.name)
            self._study.enqueue_trial(
                placed or {}, user_attrs={"baseline": baseline.name, "in_space": placed is not None}
            )

    def enqueue_warm_starts(self, starts: Sequence[WarmStart]) -> None:
        """Put what won in earlier searches behind the baselines, each once."""
        queued = {trial.user_attrs.get("warm_start") for trial in self._trials()}
        for start in starts:
            if start.origin not in queued:
                self._study.enqueue_trial(start.params, user_attrs={"warm_start": start.origin})

    def asked(self) -> int:
        """Trials of the search that were asked for so far, those of a tuning left out."""
        return sum(
            one.state != TrialState.WAITING and "tuned" not in one.user_attrs for one in self._trials()
        )

    def ask(self) -> Proposal:
        """Ask for the next trial."""
        return self._suggest(self._next_number(), self._study.ask)

    def tuning_left(self, names: Sequence[str], trials: int) -> bool:
        """Whether a rate is left by which a baseline is to be tuned.

        Args:
            names: Of the baselines.
            trials: Rates of each.
        """
        return self._waits_for_tuning() or next(self._rates_left(names, trials), None) is not None

    def ask_tuning(self, names: Sequence[str], trials: int) -> Proposal:
        """Ask for the next trial by which a baseline is tuned; there is one left."""
        if not self._waits_for_tuning():  # else a search that was killed has queued one already
            name, turn = next(self._rates_left(names, trials))
            self._study.enqueue_trial({}, user_attrs={"baseline": name, "in_space": False, "tuned": turn})
        return self.ask()

    def running(self) -> Iterator[Proposal]:
        """Give the trials that a dead search left running; those in hand are not given again.

        Raises:
            RunFolderError: A trial holds what is no axis of the space.
        """
        in_hand = {one.number for one in self._results()}
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if frozen.number in in_hand:
                continue
            if unknown := sorted({*frozen.params} - {*self._space.axes}):
                raise RunFolderError(
                    f"study.journal: trial {frozen.number} is damaged, the space has no {', '.join(unknown)};"
                    " put a copy of the file in its place, or begin anew with another --out"
                )
            attributes = frozen.user_attrs
            if "regime" not in attributes:
                # Killed between ask and suggest: the same sampler draws it again.
                yield self._suggest(frozen.number, partial(self._redraw, frozen))
                continue
            yield Proposal(
                optuna.Trial(self._study, frozen._trial_id),
                Schedule.model_validate_json(attributes["schedule"]),
                Regime.model_validate_json(attributes["regime"]),
                members_of(self._space, frozen.params, attributes.get("sweep", ())),
            )

    def settle(self, frozen: FrozenTrial, params: Mapping[str, Any]) -> None:
        """Have the study hold the point that a trial's value belongs to: that of a sweep's best head.

        Args:
            frozen: The trial as the study holds it, still running.
            params: The whole point. What differs is written anew.
        """
        for name, value in params.items():
            if frozen.params[name] != value:
                distribution = frozen.distributions[name]
                inner = distribution.to_internal_repr(value)
                self._study._storage.set_trial_param(frozen._trial_id, name, inner, distribution)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _next_number(self) -> int:
        trials = self._trials()
        waiting = (trial.number for trial in trials if trial.state == TrialState.WAITING)
        return next(waiting, len(trials))

    def _waits_for_tuning(self) -> bool:
        return any(one.state == TrialState.WAITING and "tuned" in one.user_attrs for one in self._trials())

    def _rates_left(self, names: Sequence[str], trials: int) -> Iterator[tuple[str, int]]:
        """Give which baselines are still to be tuned, and by which of their rates."""
        begun = {
            (one.user_attrs["baseline"], one.user_attrs["tuned"])
            for one in self._trials()
            if "tuned" in one.user_attrs
        }
        pairs = ((name, turn) for name in names for turn in range(trials))
        return (pair for pair in pairs if pair not in begun)

    def _suggest(self, number: int, make_trial: Callable[[], optuna.Trial]) -> Proposal:
        self._study.sampler = self._make_sampler(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = make_trial()
            schedule, regime = self._point(trial)
        points = self._points(trial, schedule)
        if points:
            trial.set_user_attr("sweep", points)
        trial.set_user_attr("schedule", schedule.model_dump_json())
        trial.set_user_attr("regime", regime.model_dump_json())  # the last: with it the trial is drawn
        return Proposal(trial, schedule, regime, members_of(self._space, trial.params, points))

    def _points(self, trial: optuna.Trial, schedule: Schedule) -> tuple[dict[str, Any], ...]:
        """Give the heads of a sweep as values of the swept axes; none where the trial is no sweep.

        Baselines are run as they are known, to compare with.
        """
        if schedule.unfreeze_depth or "baseline" in trial.user_attrs or not self._can_sweep():
            return ()
        return points_of(self._space, trial.params)

    def _make_sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Make the sampler of one trial: draws kept to an arm where needed, and chosen among where wished."""
        before = [one for one in self._results() if one.number < number and not one.tuned]
        sampler = self._kept_to_arm(make_sampler(self._sampler, self._seed, number), number, before)
        if self._frugality is None:
            return sampler
        return FrugalSampler(sampler, self._space, self._frugality, before)

    def _kept_to_arm(
        self, sampler: optuna.samplers.BaseSampler, number: int, before: Sequence[TrialResult]
    ) -> optuna.samplers.BaseSampler:
        """Keep a sampler to one arm when that has had less than its third."""
        if len(self.arms) < 2:
            return sampler
        counts: dict[Arm, int] = dict.fromkeys(self.arms, 0)
        for result in before:
            counts[self._arm_of(result)] += 1
        arm = arm_wanted(counts, len(before))
        return sampler if arm is None else ArmSampler(sampler, self._space, arm, derive(self._seed, number))

    def _arm_of(self, result: TrialResult) -> Arm:
        """Give a trial's arm. It is the same in every state of the trial, so it is worked out once."""
        if result.number not in self._arm_by_number:
            self._arm_by_number[result.number] = arm_of(result.schedule)
        return self._arm_by_number[result.number]

    def _point(self, trial: optuna.Trial) -> tuple[Schedule, Regime]:
        """Draw from the space; a baseline that it does not reach is built as it is, with its fixed regime."""
        name = trial.user_attrs.get("baseline")
        if name is None or trial.user_attrs["in_space"]:
            return self._space.suggest(trial)
        baseline, turn = self._baselines[name], trial.user_attrs.get("tuned")
        if turn is not None:
            baseline = with_rate(baseline, tuned_rate(self._space, turn))
        schedule = recipes.gradual(self._space.groups, self._space.epochs, **baseline.params)
        return schedule, self._space.fixed_regime

    def _redraw(self, frozen: FrozenTrial) -> optuna.Trial:
        """Take up a trial of which some parameters were drawn: the next draws are those it would have had."""
        trial = optuna.Trial(self._study, frozen._trial_id)
        fixed = frozen.system_attrs.get("fixed_params", {})
        for name, distribution in frozen.distributions.items():
            if name not in (*trial.relative_params, *fixed) and not distribution.single():
                self._study.sampler.sample_independent(self._study, frozen, name, distribution)
        return trial
