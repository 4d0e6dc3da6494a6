"""What is kept of the test split, and how its reads are counted."""

import json

import pytest

from autofreeze.testreads import note_read
from autofreeze.testsplit import KEPT, SplitValues, kept_in

WHOLE = {"key": "a", "values": {"3": 0.5, "0": 0.25}, "reads": 2}


def test_what_was_read_is_known_again(tmp_path):
    (tmp_path / KEPT).write_text(json.dumps(WHOLE))
    assert kept_in(tmp_path) == SplitValues(key="a", values={0: 0.25, 3: 0.5}, reads=2)


@pytest.mark.parametrize(
    "text",
    [
        "", "[" * 100_000, "[]", "null", json.dumps(WHOLE)[:-3],
        *(json.dumps(WHOLE | change) for change in (
            {"values": None}, {"values": {"x": 0.5}}, {"values": {"0": "x"}}, {"values": {"0": float("nan")}},
            {"reads": 0}, {"reads": None}, {"key": 1}, {"more": 1},
        )),
    ],
)  # fmt: skip
def test_what_is_damaged_counts_as_not_read(tmp_path, text):
    (tmp_path / KEPT).write_text(text)
    assert kept_in(tmp_path) is None


def test_a_note_that_cannot_be_read_counts_as_a_read(tmp_path):
    assert note_read(tmp_path, "f", by="x", value=0.5) == 1
    with (tmp_path / "test-reads" / "f.jsonl").open("ab") as stream:
        stream.write(b"\xff\xfe\n")
    assert note_read(tmp_path, "f", by="x", value=0.5) == 3
