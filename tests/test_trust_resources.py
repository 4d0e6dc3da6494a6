"""Room, handles, memory and folders that a command needs and does not get: told, and nothing is lost."""

import pytest
from trust import resources
from trust.cases import cases
from trust.faults import can_mount

LONG = {"resource-disk-out", "resource-data", "resource-signals"}
"""What tests of files, stores and searches hold as well, in a fraction of the time."""


@pytest.mark.parametrize("check", cases(resources.CHECKS, long=LONG))
def test_what_is_missing_is_told_and_the_search_goes_on_later(check, tmp_path):
    if check.name in resources.BY_MOUNTS and not can_mount():
        pytest.skip("needs mounts of its own, which are not allowed here")
    check.try_few(tmp_path)
