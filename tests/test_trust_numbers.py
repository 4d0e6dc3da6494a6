"""Numbers at the edge end in a report or in a message, never in a traceback or a score that is no number."""

import pytest
from trust import numbers


@pytest.mark.parametrize("check", numbers.CHECKS, ids=str)
def test_numbers_at_the_edge_end_in_a_report_or_a_message(check, tmp_path):
    check.try_few(tmp_path)


def test_a_score_that_is_no_number_would_be_seen(tmp_path):
    report = tmp_path / "report.json"
    report.write_text('{"trials": [{"ending": "complete", "number": 0, "value": NaN}]}')
    assert list(numbers.wrong_values(report))
    report.write_text('{"trials": [{"ending": "complete", "number": 0, "value": 1e999}]}')
    assert list(numbers.wrong_values(report))


def test_an_end_without_a_reason_would_be_seen(tmp_path):
    assert numbers.complaints(2, "Traceback (most recent call last)\nerror", tmp_path)
    assert numbers.complaints(1, "", tmp_path)
    assert numbers.complaints(0, "fine", tmp_path)
    assert numbers.complaints(3, "an error", tmp_path)
