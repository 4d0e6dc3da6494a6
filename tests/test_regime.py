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
        ({"views": "mixup"}, "views: got 'mixup'; must be none, flip, bank:K with K in 2..99"),
        ({"views": "bank:1"}, "views: got 'bank:1'; must be none, flip, bank:K with K in 2..99"),
        ({"views": 8}, "views: got 8; must be text"),
        ({"views": "online", "erase": 1.5}, "erase: got 1.5; must be less than or equal to 1"),
        ({"views": "online", "erase": math.nan}, "erase: got nan"),
        (
            {"erase": 0.25},
            "erase: got 0.25, and views is flip; only in crops is anything erased: choose bank:K or",
        ),
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
        Regime.parse({"optimizer": "adam", "batch_size": 0, "normm": "eval", "views": "bank:0", "erase": 2})
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize(
    ("views", "trained"), [("none", "none"), ("flip", "flip"), ("bank:4", "online"), ("online", "online")]
)
def test_a_training_on_its_own_makes_new_views_instead_of_a_bank(views, trained):
    regime = Regime(views=views, batch_size=7)
    assert regime.for_training == Regime(views=trained, batch_size=7)


def test_a_regime_comes_back_equal_from_json():
    regime = Regime(optimizer="sgd", batch_size=7, weight_decay=1e-5, norm="eval", views="bank:8", erase=0.25)
    assert Regime.model_validate_json(regime.model_dump_json()) == regime
