"""What is killed hard at any instant goes on, and has lost nothing."""

import pytest
from trust import kills


@pytest.mark.parametrize("check", kills.CHECKS, ids=str)
def test_a_command_that_is_killed_at_any_instant_goes_on_and_has_lost_nothing(check, tmp_path):
    check.try_few(tmp_path)
