"""Text that was changed at random is read or refused in plain words, and a study that was cut goes on."""

from pathlib import Path

import pytest
from trust import finds, fuzz_names, fuzz_study, fuzz_table, fuzz_text
from trust.check import Effort
from trust.finds import Finds


@pytest.mark.parametrize("check", fuzz_text.CHECKS, ids=str)
def test_hostile_text_is_read_or_refused_in_plain_words(check, tmp_path):
    check.try_few(tmp_path)


def break_down():
    raise KeyError("x")


def write_elsewhere():
    Path("elsewhere").write_text("x", encoding="utf-8")


@pytest.mark.parametrize("act", [break_down, write_elsewhere, lambda: bytearray(8 << 30)])
def test_what_is_neither_read_nor_refused_would_be_seen(tmp_path, monkeypatch, act):
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.chdir(tmp_path)
    finds = Finds()
    finds.attempt("a file", "text", act, own)
    assert finds.outcome().wrong


def test_a_study_that_goes_on_to_other_values_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_study, "values", id)
    found = fuzz_study.fuzz_journals(Effort(times=4, seed=0, folder=tmp_path))
    assert any("another study" in one for one in found.wrong)


def test_what_steers_a_terminal_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(finds, "in_process", lambda *_: (2, "no such file: \x1b[31m"))
    seen = Finds()
    seen.command("given", tmp_path, "report", "x")
    assert "shows control characters" in seen.outcome().wrong[0]


def test_a_table_that_is_read_otherwise_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_table, "as_csv_says", lambda _: [])
    found = fuzz_table.fuzz_tables(Effort(times=10, seed=0, folder=tmp_path))
    assert any("read as" in one for one in found.wrong)


@pytest.mark.parametrize(
    ("now", "wrong"),
    [
        ("x = ['a', 'b', 'c']\n# a name\n", False),
        ("x = []\n", False),
        ("x = ['a', f'{name}']\n", True),
        ("x = ['a']\nname()\n", True),
        ("x = ['a\n", True),
    ],
)
def test_a_name_that_becomes_code_would_be_seen(now, wrong):
    assert bool(list(fuzz_names.wrong_code("x = ['name']\n", now, ".py", "name"))) == wrong


@pytest.mark.parametrize(
    ("now", "wrong"), [("run 'a; b'\n", False), ("run a; b\n", True), (f"run {fuzz_names.CODE}\n", True)]
)
def test_a_name_that_becomes_a_command_would_be_seen(now, wrong):
    assert bool(list(fuzz_names.wrong_code("run name\n", now, ".sh", fuzz_names.CODE))) == wrong
