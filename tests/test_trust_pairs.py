"""Two at once: one search to a folder, many to a cache, and readers disturb nobody."""

import pytest
from trust import pairs
from trust.cases import cases

LONG = ("pair-cache", "pair-room")
"""Several searches beside others of their own."""


@pytest.mark.parametrize("check", cases(pairs.CHECKS, long=LONG))
def test_two_at_once_do_not_harm_each_other(check, tmp_path):
    check.try_few(tmp_path)
