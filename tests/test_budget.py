# ruff: noqa: E501 - tables are read by line
"""How long to train when nobody says, and durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autofreeze.budget import default_epochs, parse_duration, parse_work
from autofreeze.errors import ConfigError


@pytest.mark.parametrize(
    ("n_train", "batch_size", "epochs"),
    [(1, 32, 30), (640, 32, 30), (960, 32, 20), (1600, 32, 12), (3200, 32, 6), (3840, 32, 5), (10**6, 32, 5), (961, 32, 19)],
)  # fmt: skip
def test_runs_last_600_steps_within_5_to_30_epochs(n_train, batch_size, epochs):
    assert default_epochs(n_train, batch_size) == epochs


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 4096))
def test_more_images_never_mean_more_epochs(one, two, batch_size):
    assert default_epochs(max(one, two), batch_size) <= default_epochs(min(one, two), batch_size)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1d", 86400), (" 5m ", 300)],
)  # fmt: skip
def test_durations_are_read_as_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-5m", "5x", "m", "1h30", "1e3", "5 m", "nan", "1..5h", "h5"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigError, match="must be a time above zero such as 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "work"), [("20000", 20_000), ("20k", 20_000), ("1.5M", 1.5e6), ("2m", 2e6), (" 1G ", 1e9)]
)
def test_amounts_of_work_are_read(text, work):
    assert parse_work(text) == work


@pytest.mark.parametrize("text", ["", "0", "0k", "-5", "k", "1e5", "5 k", "nan", "1..5M", "20kk"])
def test_what_is_no_amount_of_work_is_refused(text):
    with pytest.raises(
        ConfigError, match=r"max-work: got .*; must be forward passes of one image, above zero"
    ):
        parse_work(text)
