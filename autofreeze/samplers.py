"""Samplers, rebuilt at each ask from the seed and the trial's number.

So a resumed search draws what the unbroken one would have drawn.
"""

import warnings
from typing import Any, Literal, get_args

import optuna

from autofreeze.seeds import derive
from autofreeze.thinning import FlatSampler

SamplerName = Literal["tpe", "random", "qmc", "gp"]
SAMPLERS: tuple[str, ...] = get_args(SamplerName)
NEED_ALL_AXES: tuple[SamplerName, ...] = ("qmc", "gp")
"""Samplers that model the axes which all trials have drawn: one trial without any would blind them."""


def make_sampler(name: SamplerName, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Build the sampler for one trial.

    Args:
        name: ``tpe`` is multivariate and is shown a part of a long study's trials (``thinning.py``), ``qmc``
            is a scrambled Sobol sequence, ``gp`` a Gaussian process over the axes that all trials share.
        seed: The study's seed.
        number: The trial's number in the study.
    """
    own = derive(seed, "sampler", number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            return FlatSampler(optuna.samplers.TPESampler(seed=own, multivariate=True))
        if name == "gp":
            return optuna.samplers.GPSampler(seed=own, independent_sampler=_random(own))
        if name == "qmc":
            # One sequence for the whole study.
            return SobolSampler(
                scramble=True,
                seed=derive(seed, "sampler"),
                independent_sampler=_random(own),
                warn_independent_sampling=False,
            )
    return _random(own)


class SobolSampler(optuna.samplers.QMCSampler):
    """Optuna's sampler, but for how it counts: a trial's points follow from the trials before it.

    Optuna counts in the study, so that a trial which is drawn a second time, after a kill, gets other points
    than the first time, and so do all that follow.
    """

    _next: int | None = None
    _KEY = "qmc:after"
    """Attribute of a trial: the number in the sequence behind its last point."""

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        """Draw the next point of the sequence."""
        self._trial = trial
        return super().sample_relative(study, trial, search_space)

    def _find_sample_id(self, study: optuna.Study, _: object) -> int:
        if self._next is None:
            trials = study.get_trials(deepcopy=False)
            before = [one.system_attrs for one in trials if one.number < self._trial.number]
            self._next = max([*self._counted(study), *(own.get(self._KEY, 0) for own in before)], default=0)
        number, self._next = self._next, self._next + 1
        study._storage.set_trial_system_attr(self._trial._trial_id, self._KEY, self._next)
        return number

    @staticmethod
    def _counted(study: optuna.Study) -> list[int]:
        """Give where Optuna's own count stands, in a study that was begun by it."""
        attributes = study._storage.get_study_system_attrs(study._study_id)
        return [value + 1 for name, value in attributes.items() if name.startswith("qmc:")]


def _random(seed: int) -> optuna.samplers.RandomSampler:
    return optuna.samplers.RandomSampler(seed=seed)
