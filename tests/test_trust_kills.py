"""What is killed hard at any instant goes on, and has lost nothing."""

import pytest
from trust import kills

IN_SHORT = ("kill-search-tpe", "kill-train", "kill-writes")
"""What a search shows without a confirmation, and a training: the rest takes long."""


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(one, marks=() if one.name in IN_SHORT else pytest.mark.long, id=one.name)
        for one in kills.CHECKS
    ],
)
def test_a_command_that_is_killed_at_any_instant_goes_on_and_has_lost_nothing(check, tmp_path):
    check.try_few(tmp_path)
