"""What a regime takes."""

import math

import pytest

from autofreeze.errors import ConfigError
from autofreeze.regime import Regime


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": "adam"}, "optimizer: got 'adam'; must be 'adamw' or 'sgd'"),
        ({"batch_size": 0}, "batch_size: got 0; must be greater than or equal to 1"),
        ({"batch_size": 1.5}, "batch_size: got 1.5; must be a whole number"),
        ({"weight_decay": -1}, "weight_decay: got -1"),
        ({"weight_decay": math.nan}, "weight_decay: got nan"),
        ({"weight_decay": math.inf}, "weight_decay: got inf"),
        ({"momentum": 1}, "momentum: got 1; must be less than 1"),
        ({"label_smoothing": 1}, "label_smoothing: got 1; must be less than 1"),
        ({"label_smoothing": math.nan}, "label_smoothing: got nan"),
        ({"class_weights": "equal"}, "class_weights: got 'equal'"),
        ({"views": "mixup"}, "views: got 'mixup'; must be 'none' or 'flip'"),
        ({"norm": "train"}, "norm: got 'train'; must be 'follow' or 'eval'"),
        ({"weight-decay": 0.1}, "weight-decay: unknown; did you mean weight_decay?"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, words):
    with pytest.raises(ConfigError) as caught:
        Regime.parse(settings)
    assert caught.value.problems[0].startswith(words)


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        Regime.parse({"optimizer": "adam", "batch_size": 0, "normm": "eval"})
    assert len(caught.value.problems) == 3


def test_a_regime_comes_back_equal_from_json():
    regime = Regime(optimizer="sgd", batch_size=7, weight_decay=1e-5, norm="eval", views="none")
    assert Regime.model_validate_json(regime.model_dump_json()) == regime
