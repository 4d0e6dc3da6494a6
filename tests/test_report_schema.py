"""The published schema of ``report.json`` fits every report, and is not stale."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pages import SCENARIOS, report_of

from autofreeze.cli import main
from autofreeze.report.comparison import outcome_of
from autofreeze.report.files import REPORT, write_report, write_summary
from autofreeze.report.schema import report_schema
from autofreeze.results import SummaryResult

PUBLISHED = Path(__file__).parents[1] / "docs" / "report.schema.json"
SCHEMA = Draft202012Validator(report_schema())


def strict(path):
    """Read JSON as others do: they know no NaN."""

    def refused(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refused)


def document_of(name):
    return json.loads(json.dumps(report_of(name).document(), allow_nan=False))


def test_the_published_schema_is_the_one_that_the_code_gives(capsys):
    """``autofreeze report --schema > docs/report.schema.json`` writes it anew."""
    assert main(["report", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == report_schema()
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == report_schema()


def test_the_schema_is_a_schema_in_words_that_validators_know():
    Draft202012Validator.check_schema(report_schema())
    assert not re.search(r'"(gt|ge|lt|le)":', json.dumps(report_schema()))


PLAIN = ("trials", "metric", "seconds", "command", "versions", "machine", "schema_version")
"""Keys whose names say all."""


def test_every_value_and_every_key_that_follows_is_described():
    kinds = report_schema()["$defs"]
    assert all(kind["description"] for kind in kinds.values())
    for name, key in kinds["Report"]["properties"].items():
        kind = kinds.get(key.get("$ref", "").rpartition("/")[2], {})
        told = key.get("description") or kind.get("description")
        assert told or name in (
            "trials",
            "metric",
            "seconds",
            "command",
            "versions",
            "machine",
            "schema_version",
        )


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "two_thousand"])
def test_every_report_fits(name):
    SCHEMA.validate(document_of(name))


def test_a_report_that_a_search_wrote_fits_and_is_strict_json(class_folders, tmp_path):
    given = ["--model", "test_resnet", "--from-scratch", "--image-size", "32", "--device", "cpu", "--epochs",
             "1", "--trials", "2", "--confirm", "0", "--out", str(tmp_path / "run")]  # fmt: skip
    assert main(["search", str(class_folders), *given]) == 0
    SCHEMA.validate(strict(tmp_path / "run" / REPORT))


def test_a_summary_fits(tmp_path):
    report = report_of("full")
    datasets = (outcome_of("photos", report.result), outcome_of("empty", report_of("no_trial").result))
    write_summary(SummaryResult(model="some_net", datasets=datasets, seconds=9.0), tmp_path)
    written = strict(tmp_path / REPORT)
    SCHEMA.validate(written)
    assert not SCHEMA.is_valid({**written, "kind": "images"})


def test_numbers_that_are_not_finite_are_text_and_come_back(tmp_path, made_result):
    result = made_result.result((0, 0.02, float("inf")))
    write_report(result, tmp_path)
    written = strict(tmp_path / REPORT)
    assert written["confirmation"]["comparisons"][0]["interval"]["high"] == "Infinity"
    SCHEMA.validate(written)
    from autofreeze.report.files import read_report

    assert read_report(tmp_path) == result


@pytest.mark.parametrize(
    "edit",
    [
        lambda report: report.update(surprise=1),
        lambda report: report["trials"][0].update(surprise=1),
        lambda report: report["verdict"].update(surprise=1),
        lambda report: report["evidence"].update(surprise=1),
        lambda report: report["best"].update(surprise=1),
        lambda report: report.pop("evidence"),
        lambda report: report.pop("stability"),
        lambda report: report["trials"][0].pop("ending"),
        lambda report: report["trials"][0].update(ending="lost"),
        lambda report: report["trials"][0].update(value="high"),
        lambda report: report.update(endings={"lost": 1}),
        lambda report: report.update(direction="up"),
    ],
)
def test_what_no_report_has_is_refused(edit):
    report = document_of("full")
    edit(report)
    assert not SCHEMA.is_valid(report)
