# ruff: noqa: E501 - tables are read by line
"""The published schema of native files agrees with the reader, and is not stale."""

import json
import re
from pathlib import Path

import pytest
from handedits import BAD, READER_ALONE, VERSION_1, both, edited, put
from jsonschema import Draft202012Validator

from autofreeze.cli import main
from autofreeze.documents import to_yaml
from autofreeze.export.exporting import export_to
from autofreeze.export.fileschema import file_schema
from autofreeze.export.native import NativeFile

PUBLISHED = Path(__file__).parents[1] / "docs" / "schedule.schema.json"
SCHEMA = Draft202012Validator(file_schema())


def test_the_published_schema_is_the_one_that_the_code_gives(capsys):
    """``autofreeze export --schema > docs/schedule.schema.json`` writes it anew."""
    assert main(["export", "--schema"]) == 0
    assert capsys.readouterr().out == PUBLISHED.read_text(encoding="utf-8")
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == file_schema()


def test_the_schema_is_a_schema_in_words_that_validators_know():
    Draft202012Validator.check_schema(file_schema())
    assert not re.search(r'"(gt|ge|lt|le)":', json.dumps(file_schema()))


def test_every_field_of_the_file_is_described():
    for name, part in file_schema()["properties"].items():
        assert part.get("description") or part.get("$ref"), name
    assert all(kind["description"] for kind in file_schema()["$defs"].values())


@pytest.mark.parametrize(("edit", "problems"), BAD.values(), ids=BAD.keys())
def test_what_the_reader_refuses_the_schema_refuses_too(edit, problems, request):
    name = request.node.callspec.id
    assert SCHEMA.is_valid(edited(edit)) == (name in READER_ALONE), problems


GOOD = {
    "as it is": lambda data: None,
    "cells as lists": lambda data: [phase.update(lrs=list(phase["lrs"].values())) for phase in data["schedule"]["phases"]],
    "cells in another order": lambda data: [phase.update(lrs=dict(reversed(phase["lrs"].items()))) for phase in data["schedule"]["phases"]],
    "whole numbers for decimals": put("schedule/phases/0/epochs", 1),
    "bare": lambda data: [data.pop(name) for name in ("result", "curve", "versions", "curve_fused", "curve_views")],
    "no result": put("result", None),
    "crops erased": both(put("regime/views", "online"), put("regime/erase", 0.25)),
    "confirmed": both(put("result/confirmed", True), put("result/estimate", {"mean": 0.5, "low": 0.4, "high": 0.6, "seeds": 6})),
}  # fmt: skip


@pytest.mark.parametrize("edit", GOOD.values(), ids=GOOD.keys())
def test_a_good_file_is_good_for_reader_and_schema(edit, tmp_path):
    (tmp_path / "a.yaml").write_text(to_yaml(edited(edit)))
    NativeFile.load(tmp_path / "a.yaml")
    SCHEMA.validate(edited(edit))


def test_a_training_of_ones_own_fits_the_schema():
    SCHEMA.validate(json.loads(export_to("json", NativeFile.load(VERSION_1 / "own.yaml"))[0][0].text))
