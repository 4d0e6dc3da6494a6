"""The example of docs/own-training.md, run as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

from autofreeze.export.run import export_run
from autofreeze.own.groups import OwnGroups
from autofreeze.own.job import FitJob
from autofreeze.recipes import full, linear_probe
from autofreeze.regime import Regime
from autofreeze.report.files import read_report
from autofreeze.results import Ending

PAGE = Path(__file__).parents[1] / "docs" / "own-training.md"
GROUPS = {"embed": "embed", "body": "body", "head": "head"}


def example(**instead):
    """The code of the example, some of its options replaced."""
    code = max(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S), key=len)
    for name, value in instead.items():
        code, count = re.subn(rf"\b{name}=[^,\n]+,\n", f"{name}={value},\n", code)
        assert count == 1, name
    return code


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A small search by the example: (its names, its run folder)."""
    out = tmp_path_factory.mktemp("example") / "run"
    names = {}
    exec(example(trials="4", epochs="3", confirm="0", out=repr(str(out))), names)
    return names, out


def accuracy(names, schedule, seed, *, pretrained=True):
    """What a schedule comes to on one fresh seed, from pretrained weights or from random ones."""
    job = FitJob(
        trial=0, schedule=schedule, regime=Regime(), epochs=6, seed=seed, fold=0, n_folds=1, fresh=0,
        checkpoint=Path("none"), _groups=OwnGroups.read(GROUPS), _on_bind=lambda bound: None,
    )  # fmt: skip
    kept = dict(names["pretrained"])
    try:
        if not pretrained:
            names["pretrained"].clear()
        *_, last = names["my_fit"](job)
    finally:
        names["pretrained"].update(kept)
    return float(np.mean(np.asarray(last.scores)))


def test_the_example_is_searched_and_its_best_schedule_exported(ran):
    names, out = ran
    result = names["result"]
    assert read_report(out) == result
    assert {one.ending for one in result.trials} <= {Ending.COMPLETE, Ending.UNPROMISING}
    assert result.best.n_val == 320
    assert export_run(out).schedule == result.best.schedule
    curve = export_run(out, trial=result.best.number).curve
    assert len(curve) == 3
    assert all(0 <= point.value <= 1 and point.val_loss > 0 for point in curve)


def test_pretraining_helps_so_that_freezing_is_a_question(ran):
    names, _ = ran
    groups = tuple(GROUPS)
    probe = linear_probe(groups, 6.0, head_lr=1e-2)
    whole = full(groups, 6.0, head_lr=1e-2, backbone_ratio=1.0)
    seeds = range(4)
    scratch = np.mean([accuracy(names, whole, seed, pretrained=False) for seed in seeds])
    probed = np.mean([accuracy(names, probe, seed) for seed in seeds])
    trained = np.mean([accuracy(names, whole, seed) for seed in seeds])
    assert scratch > 1 / 6  # guessing
    assert probed > scratch
    assert trained > probed


@pytest.mark.long
def test_the_whole_example_is_confirmed_on_fresh_seeds_by_example(tmp_path):
    names = {}
    exec(example(out=repr(str(tmp_path / "run"))), names)
    result = names["result"]
    found = result.confirmation
    assert found.concluded
    assert result.best.number == found.chosen
    assert all(320 < one.interval.images <= 480 for one in found.comparisons)  # seeds score others
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "Intervals are for new examples and seeds" in page
    assert "accuracy" in page
