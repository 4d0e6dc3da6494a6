"""Samplers, rebuilt at each ask from the seed and the trial's number.

So a resumed search draws what the unbroken one would have drawn.
"""

import warnings
from typing import Literal, get_args

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
            # One sequence for the whole study: its place in it is kept in the study's storage.
            return optuna.samplers.QMCSampler(
                scramble=True,
                seed=derive(seed, "sampler"),
                independent_sampler=_random(own),
                warn_independent_sampling=False,
            )
    return _random(own)


def _random(seed: int) -> optuna.samplers.RandomSampler:
    return optuna.samplers.RandomSampler(seed=seed)
