"""The same command gives the same study, whatever surrounds it."""

import pytest
from trust import repeats
from trust.cases import cases
from trust.repeats import paths_apart


@pytest.mark.parametrize("check", cases(repeats.CHECKS, long=("repeat-ray",)))
def test_the_same_command_gives_the_same_study(check, tmp_path):
    check.try_few(tmp_path)


def test_another_number_anywhere_in_a_report_would_be_seen():
    one = {"trials": [{"value": 0.5, "seconds": 1.0}], "settings": {"task": {"data": "a", "threads": 1}}}
    other = {"trials": [{"value": 0.5, "seconds": 2.0}], "settings": {"task": {"data": "b", "threads": 1}}}
    assert not list(paths_apart(one, other))
    other["trials"][0]["value"] = 0.5000000000000001
    other["settings"]["task"]["threads"] = 2
    assert list(paths_apart(one, other)) == [
        "settings.task.threads: 1 and 2",
        "trials[0].value: 0.5 and 0.5000000000000001",
    ]
    assert list(paths_apart({"trials": [one, one]}, {"trials": [one]}))
