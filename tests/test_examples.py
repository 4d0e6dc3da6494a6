"""The examples of the documentation, run as they are."""

import ast
import os
import runpy
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@pytest.fixture
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_example_is_short(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    code = (
        node
        for top in tree.body[1:]
        for node in ast.walk(top)
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom)
    )
    assert len({node.lineno for node in code}) <= 20


@pytest.mark.usefixtures("_quiet")
def test_the_pruner_works_in_an_objective_of_ones_own():
    study = runpy.run_path(str(EXAMPLES / "optuna_pruner.py"))["study"]
    assert len(study.trials) == 10
    for trial in study.trials:
        warmup = trial.params["warmup_epochs"]
        assert trial.user_attrs["unfreeze_epoch"] == warmup
        if trial.state == TrialState.PRUNED:
            assert len(trial.intermediate_values) - warmup >= (6 - warmup) / 2
        else:
            assert list(trial.intermediate_values) == list(range(6))


def test_fit_runs_inside_a_ray_tune_function(class_folders, tmp_path):
    # In a process of its own: Ray's daemons end with it, and its files stay in the test's folder.
    home = {"HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ray_tune.py"), str(class_folders), "1"],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("best:")]
    value, epochs = float(line.split()[1]), line.split()[3]
    assert 0 <= value <= 1
    assert epochs == "2"
