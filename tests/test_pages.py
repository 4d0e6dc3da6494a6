"""The made-up reports that the tests of the page rest on."""

import json

import pytest
from pages import SCENARIOS, report_of

from autofreeze.report.report import Report


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_made_up_report_is_what_a_search_could_have_written(name):
    report = report_of(name)
    assert len(report.result.trials) == SCENARIOS[name].trials
    assert report.verdict.sentences if hasattr(report.verdict, "sentences") else report.verdict
    written = json.loads(json.dumps(report.document()))
    assert Report.parse(written) == report


def test_a_made_up_report_is_the_same_at_each_call():
    assert report_of("full") is report_of("full")
