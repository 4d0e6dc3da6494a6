"""docs/trust.md: every promise names tests that exist, and the table has every check."""

import ast
import re
from pathlib import Path

import pytest
from trust.catalogue import all_checks
from trust.table import PAGE, parts

ROOT = Path(__file__).parents[1]
PROMISES = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?(?:\[([\w-]+)\])?`", PAGE.read_text(encoding="utf-8"))


def rows():
    """The table's rows: name of the check -> its cells."""
    _, inside, _ = parts()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in inside.splitlines()]
    return {row[0].strip("` "): row for row in cells if len(row) > 1 and row[0].strip().startswith("`")}


@pytest.mark.parametrize(("file", "name", "case"), PROMISES, ids=["::".join(one) for one in PROMISES])
def test_every_test_that_holds_a_promise_exists(file, name, case):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert not name or name in functions
    assert not case or case in map(str, all_checks())


def test_the_table_has_a_row_for_every_check_and_no_other():
    assert list(rows()) == [check.name for check in all_checks()]


def test_every_check_was_tried_as_often_as_the_long_run_tries_it():
    for check in all_checks():
        row = rows()[check.name]
        assert row[1] == check.fault.replace("|", "\\|")
        assert int(row[2].replace(",", "")) >= check.long > 0
