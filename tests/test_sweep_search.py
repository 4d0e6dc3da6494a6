"""A whole search with sweeps, with real training: what is kept, told, exported and trained again."""

import json
import shutil
from io import StringIO

import pytest
from rich.console import Console

from autofreeze import api
from autofreeze.display import Display
from autofreeze.export.native import NativeFile
from autofreeze.export.run import export_run
from autofreeze.records import read_records
from autofreeze.report.files import read_report, write_report
from autofreeze.report.terminal import show
from autofreeze.report.training import summary
from autofreeze.results import Ending
from autofreeze.retraining import train

SPACE = "unfreeze_depth: 0\nhead_lr: {low: 1.0e-3, high: 1.0e-1, log: true}\nlabel_smoothing: [0, 0.1]\n"


@pytest.fixture(scope="module")
def search(split_folders, tmp_path_factory, session_cache):
    """``search(...)``: a search of a baseline and a sweep: (result, run folder)."""
    folder = tmp_path_factory.mktemp("sweeps")
    (folder / "heads.yaml").write_text(SPACE)

    def make(name, **given):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AUTOFREEZE_CACHE", str(session_cache))
            return api.search(
                split_folders, "test_resnet", out=folder / name, trials=2, epochs=3, device="cpu",
                space=str(folder / "heads.yaml"), from_scratch=True, image_size=32, confirm=0, **given,
            ), folder / name  # fmt: skip

    return make


@pytest.fixture(scope="module")
def searched(search):
    return search("run")


@pytest.fixture
def file(searched, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(export_run(searched[1], trial=1).to_text())
    return path


def test_the_heads_lie_in_the_report_and_in_the_records(searched):
    result, out = searched
    baseline, sweep = result.trials
    assert not baseline.members
    assert sweep.ending is Ending.COMPLETE
    assert sweep.value == max(one.value for one in sweep.members)
    assert read_report(out) == result
    stored = json.loads((out / "report.json").read_text())["trials"][1]
    assert stored["params"] == sweep.params
    assert [one["params"] for one in stored["members"]] == [one.params for one in sweep.members]
    assert len({tuple(one["params"].items()) for one in stored["members"]}) == 16
    curve = read_records(out)[1, 0]
    assert len(curve) == 3
    assert [one.value for one in curve[-1].members] == [one.fold_values[0] for one in sweep.members]
    assert "members" not in json.loads((out / "records.jsonl").read_text().splitlines()[0])["record"]


def test_every_report_says_that_it_was_a_sweep(searched):
    result, out = searched
    told = "1 was a sweep of 16 heads trained side by side, each counted as its best one"
    assert told in (out / "report.md").read_text()
    screen = StringIO()
    show(result, Console(file=screen, width=200))
    assert told in screen.getvalue()
    assert "rial 1, the best of 16 heads in one sweep: top1" in (out / "report.md").read_text()
    lines = StringIO()
    display = Display(2, Console(file=lines, width=200))
    for trial in result.trials:
        display.trial_ended(trial)
    _, line = lines.getvalue().splitlines()
    assert "(best of 16 heads)" in line


def test_the_same_heads_come_out_whether_features_are_kept_or_not(searched, search):
    again, out = search("uncached", reuse=False)
    assert again.trials[1].model_copy(update={"seconds": 0}) == searched[0].trials[1].model_copy(
        update={"seconds": 0}
    )
    pairs = zip(read_records(out)[1, 0], read_records(searched[1])[1, 0], strict=True)
    assert all(one.same_as(other) for one, other in pairs)


def test_training_by_the_best_head_follows_its_curve_to_within_rounding(
    file, searched, split_folders, tmp_path
):
    sweep = searched[0].trials[1]
    native = NativeFile.load(file)
    assert native.curve_fused
    assert (native.schedule, native.regime) == (sweep.schedule, sweep.regime)
    own = [record.members[sweep.member] for record in read_records(searched[1])[1, 0]]
    assert [point.val_loss for point in native.curve] == [record.val_loss for record in own]
    result = train(file, split_folders, out=tmp_path / "out")
    assert result.same_curve is True
    assert result.up_to_rounding
    assert "follows the trial's to within rounding" in summary(result)


def test_the_exported_curve_is_that_of_the_head_that_was_chosen(searched, tmp_path):
    # Whichever that is, and whoever led on the way.
    result, out = searched
    folder = shutil.copytree(out, tmp_path / "run")
    curve = read_records(out)[1, 0]
    for place in (3, 12):
        sweep = result.trials[1].model_copy(update={"member": place})
        folder.mkdir(parents=True, exist_ok=True)
        write_report(result.model_copy(update={"trials": (result.trials[0], sweep)}), folder)
        exported = export_run(folder, trial=1).curve
        assert [point.val_loss for point in exported] == [one.members[place].val_loss for one in curve]


def test_another_curve_is_told_from_rounding(file, split_folders, tmp_path):
    native = NativeFile.load(file)
    bent = [point.model_copy(update={"val_loss": point.val_loss + 0.01}) for point in native.curve]
    file.write_text(native.model_copy(update={"curve": tuple(bent)}).to_text())
    assert train(file, split_folders, out=tmp_path / "out").same_curve is False


def test_a_baseline_of_the_same_search_comes_out_to_the_bit(searched, split_folders, tmp_path):
    file = tmp_path / "baseline.yaml"
    file.write_text(export_run(searched[1], trial=0).to_text())
    result = train(file, split_folders, out=tmp_path / "out")
    assert result.same_curve is True
    assert not result.up_to_rounding
    assert result.curve == result.expected
