"""What is seen while a search runs: bars on a terminal, lines elsewhere."""

import io

import pytest
from rich.console import Console

from autofreeze import api
from autofreeze.display import Display

GIVEN = {
    "confirm": 0,
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1,
    "space": "quick", "folds": 1, "trials": 2,
}  # fmt: skip


@pytest.fixture
def seen(class_folders, tmp_path):
    """``seen(is_terminal)``: everything that a short search writes while it runs, images decoded anew."""

    def search(is_terminal):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=is_terminal, width=100)
        out, cache = tmp_path / f"run-{is_terminal}", tmp_path / f"cache-{is_terminal}"
        api.search(class_folders, out=out, cache_folder=str(cache), display=Display(console=console), **GIVEN)
        return stream.getvalue()

    return search


def test_a_terminal_shows_bars_of_preparations_trials_and_the_best_so_far(seen):
    text = seen(True)
    for words in (
        "hashing images",
        "looking at images",
        "decoding images",
        "trial 0: linear_probe",
        "best 0.",
    ):
        assert words in text
    assert "\x1b[2K" in text  # bars are drawn again in place


def test_elsewhere_there_are_lines_alone_and_none_of_short_preparations(seen):
    text = seen(False)
    assert "\x1b" not in text
    assert "hashing" not in text
    lines = [line for line in text.splitlines() if line.startswith("trial")]
    assert [line.split()[1] for line in lines] == ["0/2", "1/2"]


def test_a_long_preparation_is_told_elsewhere_every_ten_seconds_and_at_its_end(monkeypatch):
    now = iter([0.0, 0.0, 5.0, 11.0, 12.0, 20.0])
    stream = io.StringIO()
    display = Display(console=Console(file=stream, width=100))
    monkeypatch.setattr("autofreeze.display.time.monotonic", lambda: next(now))
    for done in (1, 2, 3, 4, 5, 6):
        display.preparing("decoding images", done, 6)
    assert stream.getvalue().splitlines() == ["decoding images: 4 of 6", "decoding images: 6 of 6"]
