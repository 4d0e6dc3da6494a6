"""The examples of the documentation, run as they are."""

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = DOCS / "examples"


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


def test_the_loop_of_ones_own_goes_on_to_the_same_bits_after_an_interruption(tmp_path, monkeypatch):
    def run(name):
        monkeypatch.setattr(sys, "argv", ["own_loop.py", str(tmp_path / name)])
        torch.manual_seed(0)
        return runpy.run_path(str(EXAMPLES / "own_loop.py"))

    save = torch.save

    def interrupt(state, file):
        save(state, file)
        raise KeyboardInterrupt

    bound = run("whole")["bound"]
    assert bound.timetable.total_steps == 21
    assert all(bound.trainable)
    monkeypatch.setattr(torch, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("broken")
    monkeypatch.setattr(torch, "save", save)
    assert torch.load(tmp_path / "broken")["epochs"] == 1
    run("broken")
    whole, resumed = (torch.load(tmp_path / name) for name in ("whole", "broken"))
    assert whole["epochs"] == resumed["epochs"] == 3
    tensors = [
        [*state["model"].values(), *(t for one in state["optimizer"]["state"].values() for t in one.values())]
        for state in (whole, resumed)
    ]
    assert len(tensors[0]) > 200
    assert all(torch.equal(one, other) for one, other in zip(*tensors, strict=True))


def test_every_line_of_the_page_on_ones_own_loop_is_run():
    """``ddp_loop.py`` by tests/test_binding_replicas.py, in two processes."""
    page = (DOCS / "own-loop.md").read_text(encoding="utf-8")
    run = {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in ("own_loop.py", "ddp_loop.py")}
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 2
    for block in blocks:
        assert any(block in text for text in run.values()), block
