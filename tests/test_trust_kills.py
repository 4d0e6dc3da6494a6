"""What is killed hard at any instant goes on, and has lost nothing."""

import pytest
from trust import kills
from trust.cases import cases

LONG = ("kill-search", "kill-filling", "kill-report", "kill-export")
"""What a search without a confirmation and a training do not show already: it takes long."""


@pytest.mark.parametrize("check", cases(kills.CHECKS, long=LONG))
def test_a_command_that_is_killed_at_any_instant_goes_on_and_has_lost_nothing(check, tmp_path):
    check.try_few(tmp_path)
