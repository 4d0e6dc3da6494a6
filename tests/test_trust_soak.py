"""Many trials in one process."""

import pytest
from trust import soak
from trust.cases import cases


@pytest.mark.parametrize("check", cases(soak.CHECKS, long=("soak-images",)))
def test_many_trials_in_one_process_leave_memory_handles_and_threads_as_they_were(check, tmp_path):
    check.try_few(tmp_path)
