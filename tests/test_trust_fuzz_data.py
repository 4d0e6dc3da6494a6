"""Files of data that were changed at random, or lie, are read or refused in plain words; none runs code."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from trust import fuzz_data, fuzz_images, fuzz_weights
from trust.check import Effort

from autofreeze import modelfile, weights
from autofreeze.errors import AutofreezeError


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
        (greedy, ""),
    ],
)
def test_a_reader_that_does_what_none_may_would_be_seen(reader, told, tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fuzz_images, "readers", lambda: {"decoded": reader})
    found = fuzz_images.fuzz_images(Effort(times=60, seed=0, folder=own))
    assert any(told in one for one in found.wrong)


@pytest.mark.filterwarnings("ignore")  # what the payloads leave open
def test_code_that_is_run_would_be_seen(tmp_path, monkeypatch):
    def trusting(path):
        with contextlib.suppress(Exception):
            torch.load(path, weights_only=False)
        raise AutofreezeError("is refused, too late")

    monkeypatch.setattr(weights, "read_weights", trusting)
    found = fuzz_weights.fuzz_weights(Effort(times=1, seed=0, folder=tmp_path))
    assert any("code in a file was run" in one for one in found.wrong)
    assert any("for writing" in one or "os.system" in one for one in found.wrong)


def test_tensors_that_are_no_plain_arrays_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_tensors_only", lambda state, path: state)
    found = fuzz_weights.fuzz_weights(Effort(times=1, seed=0, folder=tmp_path))
    assert any("TypeError at weights.py" in one for one in found.wrong)


def test_a_model_that_takes_memory_before_it_is_compared_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_weights, "WORDS", {"architecture": ("vit_giant_patch14_224",)})
    monkeypatch.setattr(modelfile.TrainedModel, "_difference", lambda trained, model: "")
    monkeypatch.setattr(torch, "device", lambda name: torch.random.fork_rng(devices=[]))
    found = fuzz_weights.fuzz_models(Effort(times=2, seed=0, folder=tmp_path))
    assert found.wrong
