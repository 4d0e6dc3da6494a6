"""docs/trust.md: every promise names tests that exist, and every check holds one."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from trust.catalogue import FAMILIES, all_checks
from trust.table import PAGE, parts

ROOT = Path(__file__).parents[1]
TEXT = PAGE.read_text(encoding="utf-8")
PROMISES = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?(?:\[([\w-]+)\])?`", TEXT)
CASES = re.findall(r"\[([\w-]+)\]`", TEXT)


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


def test_every_check_that_holds_a_promise_exists():
    assert set(CASES) <= {check.name for check in all_checks()}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_check_holds_a_promise_by_its_name_or_with_its_family(family):
    checks = importlib.import_module(f"trust.{family}").CHECKS
    alone = {check.name for check in checks} <= set(CASES)
    assert alone or f"`tests/test_trust_{family}.py`" in TEXT


def test_the_table_has_a_row_for_each_check_and_shows_what_it_does():
    checks = {check.name: check for check in all_checks()}
    assert list(rows()) == list(checks)
    for name, row in rows().items():
        assert row[1] == checks[name].fault.replace("|", "\\|")
        assert int(row[2].replace(",", "")) >= checks[name].long


def test_every_find_names_checks_that_exist():
    _, _, after = parts()
    found = {
        name
        for line in after.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w-]+)`", line.split("|")[1])
    }
    assert found
    assert found <= {check.name for check in all_checks()}
