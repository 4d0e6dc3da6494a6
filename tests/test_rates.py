"""Memory and disk are measured, never made up, and leave nothing behind."""

import os

import pytest

from autofreeze import rates


@pytest.mark.parametrize("row_bytes", [1, 4096, 2**30], ids=["one byte", "a page", "more than is moved"])
def test_the_rate_of_memory_is_measured_for_rows_of_any_length(row_bytes):
    rate = rates.memory_rate(row_bytes)
    assert 0 < rate < float("inf")
    assert rates.memory_rate(row_bytes) == rate  # once


def test_the_rate_of_a_disk_is_measured_once_and_leaves_no_file(tmp_path):
    rate = rates.disk_rate(tmp_path)
    assert rate > 0
    assert rates.disk_rate(tmp_path) == rate
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="none"):
        rates.disk_rate(tmp_path / "none")


def test_the_free_memory_is_part_of_what_the_machine_has():
    assert 0 < rates.free_memory() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
