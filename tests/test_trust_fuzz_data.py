"""Files of data that were changed at random, or lie, are read or refused in plain words; none runs code."""

from pathlib import Path

import numpy as np
import pytest
from trust import fuzz_data, fuzz_images
from trust.check import Effort


@pytest.mark.parametrize("check", fuzz_data.CHECKS, ids=str)
def test_hostile_files_are_read_or_refused_in_plain_words(check, tmp_path):
    check.try_few(tmp_path)


def of_no_certain_pixels(image):
    image.load()
    return np.random.default_rng().integers(0, 256, (32, 32, 3), np.uint8)


def flat(image):
    image.load()
    return np.zeros((32, 32), np.uint8)


def broken(_):
    raise ZeroDivisionError


def wordless(_):
    raise OSError("\x1b[2J")


def writing(_):
    Path("elsewhere").write_text("x", encoding="utf-8")


def greedy(_):
    return bytearray(8 << 30)


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        (of_no_certain_pixels, "other pixels when decoded again"),
        (flat, "decoded: to (32, 32)"),
        (broken, "ZeroDivisionError"),
        (wordless, "refused without plain words"),
        (writing, "elsewhere"),
        (greedy, "memory"),
    ],
)
def test_a_reader_that_does_what_none_may_would_be_seen(reader, told, tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fuzz_images, "readers", lambda: {"decoded": reader})
    found = fuzz_images.fuzz_images(Effort(times=60, seed=0, folder=own))
    assert any(told in one for one in found.wrong)
