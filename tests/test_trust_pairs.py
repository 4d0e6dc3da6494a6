"""Two at once: one search to a folder, many to a cache, and readers disturb nobody."""

import pytest
from trust import pairs


@pytest.mark.parametrize("check", pairs.CHECKS, ids=str)
def test_two_at_once_do_not_harm_each_other(check, tmp_path):
    check.try_few(tmp_path)
