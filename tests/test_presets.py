"""Presets: what a word stands for."""

from itertools import pairwise

import pytest

from autofreeze.baselines import baselines
from autofreeze.budget import MIN_EPOCHS, default_epochs
from autofreeze.errors import ConfigError
from autofreeze.presets import PRESETS, Preset
from autofreeze.space import SpaceSpec

GROUPS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


def test_there_are_three_and_each_has_more_trials_than_the_one_before():
    assert list(PRESETS) == ["quick", "standard", "thorough"]
    for cheaper, dearer in pairwise(PRESETS.values()):
        assert cheaper.trials < dearer.trials


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_a_preset_names_a_shipped_space_and_leaves_half_of_its_trials_to_the_sampler(preset):
    space = SpaceSpec.load(preset.space).resolve(GROUPS, 10)
    assert space.searched
    assert preset.trials >= 2 * len(baselines(space.n_backbone, space.epochs))


def test_a_wider_space_comes_with_more_trials_for_each_axis_than_one():
    for preset in PRESETS.values():
        searched = SpaceSpec.load(preset.space).resolve(GROUPS, 10).searched
        assert preset.trials >= 2 * len(searched)


def test_the_quick_one_never_runs_longer_than_the_size_of_the_data_asks_for():
    for n_train in (8, 80, 800, 8_000, 80_000):
        lengths = [default_epochs(n_train, 32, preset.steps) for preset in PRESETS.values()]
        assert lengths[0] == min(lengths)
        assert lengths[0] >= MIN_EPOCHS


def test_a_preset_is_checked_and_cannot_be_changed():
    for wrong in ({"trials": 0}, {"folds": 9}, {"steps": 0}, {"budget": 1}):
        with pytest.raises(ConfigError):
            Preset.parse({"trials": 1, "space": "quick", **wrong})
    with pytest.raises(ValueError, match="frozen"):
        PRESETS["quick"].trials = 3
