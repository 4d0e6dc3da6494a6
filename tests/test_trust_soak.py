"""Many trials in one process."""

import pytest
from trust import soak


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(one, marks=() if one.name == "soak-own" else pytest.mark.long, id=one.name)
        for one in soak.CHECKS
    ],
)
def test_many_trials_in_one_process_leave_memory_handles_and_threads_as_they_were(check, tmp_path):
    check.try_few(tmp_path)
