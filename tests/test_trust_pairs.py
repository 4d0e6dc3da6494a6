"""Two at once: one search to a folder, many to a cache, and readers disturb nobody."""

import pytest
from trust import pairs

LONG = ("pair-cache", "pair-room")
"""Several searches beside others of their own."""


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(one, marks=pytest.mark.long if one.name in LONG else (), id=one.name)
        for one in pairs.CHECKS
    ],
)
def test_two_at_once_do_not_harm_each_other(check, tmp_path):
    check.try_few(tmp_path)
