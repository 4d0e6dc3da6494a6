"""From a search to a file, and from the file to the same training."""

import json

import pytest
import timm
import torch
from safetensors import safe_open

from autofreeze import api, retraining
from autofreeze.errors import ConfigError, RunFolderError, TrainingError
from autofreeze.export.native import NativeFile
from autofreeze.export.run import export_run
from autofreeze.pulse import LOCK
from autofreeze.schedule import Schedule
from autofreeze.values import digest_of


@pytest.fixture(scope="module")
def searched(split_folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "run"
    result = api.search(
        split_folders, "test_resnet", out=out, trials=4, epochs=2, space="quick", device="cpu",
        from_scratch=True, image_size=32, mean=(0.4, 0.5, 0.6), metric="balanced_accuracy",
        confirm=0,
    )  # fmt: skip
    return result, out


@pytest.fixture
def file(searched, tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text(export_run(searched[1]).to_text())
    return path


@pytest.mark.parametrize("trial", [None, 0, 3])
def test_what_is_exported_is_read_back_equal(searched, tmp_path, trial):
    native = export_run(searched[1], trial=trial)
    (tmp_path / "a.yaml").write_text(native.to_text())
    assert NativeFile.load(tmp_path / "a.yaml") == native
    assert Schedule.load(tmp_path / "a.yaml") == native.schedule
    chosen = searched[0].best.number if trial is None else trial
    identity = json.loads((searched[1] / "run.json").read_text())["identity"]
    assert native.result.study == digest_of(identity)
    assert native.result.trial == chosen
    assert native.schedule == searched[0].trials[chosen].schedule
    assert native.curve[-1].value == searched[0].trials[chosen].fold_values[0]


def test_training_by_the_file_gives_the_same_curve(file, split_folders, tmp_path):
    told = []
    result = retraining.train(file, split_folders, out=tmp_path / "out", on_epoch=told.append)
    assert result.same_curve is True
    assert result.curve == result.expected
    assert len(told) == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.safetensors", "model.json", LOCK}


def test_timm_loads_the_model_and_gives_equal_logits(file, split_folders, tmp_path, monkeypatch):
    kept = []
    save = retraining.save_model
    monkeypatch.setattr(
        retraining, "save_model", lambda model, *a, **k: (kept.append(model), save(model, *a, **k))
    )
    path = retraining.train(file, split_folders, out=tmp_path / "out").model_path
    loaded = timm.create_model("test_resnet", num_classes=3, checkpoint_path=str(path))
    loaded = loaded.to(memory_format=torch.channels_last)  # as it was trained: the order of sums follows it
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), kept[0].eval()(images))


def test_labels_and_preprocessing_lie_in_the_model(file, split_folders, tmp_path):
    path = retraining.train(file, split_folders, out=tmp_path / "out").model_path
    with safe_open(path, "pt") as tensors:
        metadata = tensors.metadata()
    beside = json.loads(path.with_suffix(".json").read_text())
    assert json.loads(metadata["label_names"]) == beside["label_names"] == ["columns", "plain", "rows"]
    configuration = json.loads(metadata["pretrained_cfg"])
    assert configuration == beside["pretrained_cfg"]
    assert configuration["mean"] == [0.4, 0.5, 0.6]
    assert configuration["input_size"] == [3, 32, 32]
    assert metadata["architecture"] == "test_resnet"


def changed(searched, path, **changes):
    path.write_text(export_run(searched[1]).model_copy(update=changes).to_text())
    return path


def test_a_pruned_trials_curve_is_compared_as_far_as_it_goes(searched, split_folders, tmp_path):
    native = export_run(searched[1])
    file = changed(searched, tmp_path / "pruned.yaml", curve=native.curve[:1])
    assert retraining.train(file, split_folders, out=tmp_path / "out").same_curve is True


def test_an_edited_schedule_is_not_compared_with_the_trials_curve(file, split_folders, tmp_path):
    file.write_text(file.read_text().replace("batch_size: 32", "batch_size: 16"))
    result = retraining.train(file, split_folders, out=tmp_path / "out")
    assert result.same_curve is None
    assert result.changes == ("follows a schedule or regime that was edited",)


def test_a_training_that_diverges_leaves_no_model(searched, split_folders, tmp_path):
    native = export_run(searched[1])
    phases = [
        {**phase, "lrs": [lr and 1e30 for lr in phase["lrs"]]}
        for phase in native.schedule.model_dump()["phases"]
    ]
    wild = Schedule.model_validate({**native.schedule.model_dump(), "phases": phases})
    file = changed(searched, tmp_path / "wild.yaml", schedule=wild)
    with pytest.raises(TrainingError, match=r"non-finite .*no model was saved"):
        retraining.train(file, split_folders, out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK]


def test_other_images_give_no_verdict_on_the_curve(file, write_images, tmp_path):
    data = tmp_path / "other"
    for part, count, first in (("train", 4, 500), ("val", 3, 600)):
        write_images(data / part, (count,) * 3, first=first)
    assert retraining.train(file, data, out=tmp_path / "out").same_curve is None


def test_a_training_that_broke_off_is_not_continued_by_another_schedule(
    searched, file, split_folders, tmp_path
):
    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retraining.train(file, split_folders, out=tmp_path / "out", on_epoch=stop)
    other = tmp_path / "other.yaml"
    number = next(t.number for t in searched[0].trials if t.schedule != searched[0].best.schedule)
    other.write_text(export_run(searched[1], trial=number).to_text())
    with pytest.raises(ConfigError, match="another run"):
        retraining.train(other, split_folders, out=tmp_path / "out")
    assert retraining.train(file, split_folders, out=tmp_path / "out").same_curve is True


def test_reads_of_the_test_split_are_counted(file, split_folders, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOFREEZE_CACHE", str(tmp_path / "cache"))
    for number in (1, 2):
        result = retraining.train(file, split_folders, out=tmp_path / f"{number}", test=True)
        assert result.test_reads == number
        assert 0 <= result.test_value <= 1
    assert retraining.train(file, split_folders, out=tmp_path / "3").test_value is None


def test_a_model_that_is_there_is_not_overwritten(file, split_folders, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        retraining.train(file, split_folders, out=tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n", "must begin with format"),
        ("[]\n", "must begin with format"),
        ("format: autofreeze/schedule\nversion: 9\n", "version: got 9"),
        ("format: autofreeze/schedule\nversion: 2\n", "schedule"),
        ("{", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_schedule_is_refused(tmp_path, text, problem):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        NativeFile.load(tmp_path / "a.yaml")


def test_a_trial_that_does_not_exist_is_told(searched, tmp_path):
    with pytest.raises(ConfigError, match=r"got 99; the search has trials 0\.\.3"):
        export_run(searched[1], trial=99)
    with pytest.raises(RunFolderError, match="is this the folder of a search"):
        export_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("work_shares", [-7.0]), ("timm_layers", {"head": [-1]}), ("timm_layers", None), ("groups", 3)],
)
def test_a_report_whose_facts_are_none_is_refused(searched, tmp_path, name, value):
    report = json.loads((searched[1] / "report.json").read_text())
    report["backbone"][name] = value
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(RunFolderError, match=r"report\.json is damaged"):
        export_run(tmp_path)
