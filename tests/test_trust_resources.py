"""Room, handles and folders that a search needs and does not get: told, and nothing is lost."""

import pytest
from trust import resources

BRIEF = ("resource-file-size", "resource-gone")


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, marks=() if check.name in BRIEF else pytest.mark.long)
        for check in resources.CHECKS
    ],
    ids=str,
)
def test_what_is_missing_is_told_and_the_search_goes_on_later(check, tmp_path):
    check.try_few(tmp_path)
