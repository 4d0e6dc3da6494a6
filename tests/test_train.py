"""Training by a file: longer, on all images, with another backbone, broken off and continued."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from io import StringIO

import pytest
import torch
from exported import native_of
from rich.console import Console
from safetensors.torch import load_file

import autofreeze
from autofreeze import recipes, retraining
from autofreeze.cli import main
from autofreeze.display import Display
from autofreeze.errors import AutofreezeError, ConfigError, InputError
from autofreeze.export.native import NativeFile
from autofreeze.export.searchresult import SearchResult
from autofreeze.pulse import LOCK
from autofreeze.report.training import line_of, summary
from autofreeze.retraining import _Telling, train
from autofreeze.stability import Watch

EPOCHS = 2
STEPS = 4
"""Of an epoch of the 24 training images, in batches of six."""


@pytest.fixture(scope="module")
def native(backbone):
    """A file for test_resnet: an epoch of the head alone, another with two backbone groups."""
    found = backbone()
    schedule = recipes.lp_ft(
        found.groups.names, EPOCHS, warmup_epochs=1, unfreeze_depth=2, head_lr=4e-3, rates="one"
    )
    native = native_of(found.build(3, seed=0), found.groups, schedule)
    facts = {"weights_digest": found.digest, "preprocessing": found.preprocessing}
    return native.model_copy(update={"backbone": native.backbone.model_copy(update=facts)})


def written(path, native, *, task=None, **changes):
    """Write a file that differs in some fields, and in some of its task."""
    changes["task"] = native.task.model_copy(update=task or {})
    path.write_text(native.model_copy(update=changes).to_text())
    return path


@pytest.fixture
def file(native, tmp_path):
    return written(tmp_path / "best.yaml", native)


@pytest.fixture(scope="module")
def trained(native, split_folders, tmp_path_factory):
    """What the file gives when nothing breaks off: the result, and the folder."""
    folder = tmp_path_factory.mktemp("trained")
    return train(written(folder / "best.yaml", native), split_folders, out=folder / "out")


@pytest.fixture(scope="module")
def broken_off(native, split_folders, tmp_path_factory):
    """The folder that the same training leaves when it is broken off in its second epoch."""
    folder = tmp_path_factory.mktemp("broken")
    file = written(folder / "best.yaml", native)
    with pytest.raises(Broken):
        train(file, split_folders, out=folder / "out", on_step=breaking_at(STEPS + 1))
    return folder / "out"


class Broken(KeyboardInterrupt):
    """Somebody pressed Ctrl-C."""


def breaking_at(step):
    def at(done, total):
        if done == step:
            raise Broken

    return at


def tensors_of(result):
    return load_file(result.model_path)


def same_bits(result, other):
    ours, theirs = tensors_of(result), tensors_of(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# Length


def test_another_length_stretches_the_whole_schedule(file, split_folders, tmp_path):
    told = []
    result = train(file, split_folders, out=tmp_path / "out", epochs=5, on_epoch=told.append)
    stretched = NativeFile.load(file).schedule.scaled(5).timetable(4)
    assert [record.step for record in told] == [4, 8, 12, 16, 20]
    assert [record.rates for record in told] == [stretched.rates(record.step - 1) for record in told]
    assert [sum(rate is not None for rate in record.rates) for record in told] == [1, 1, 3, 3, 3]
    assert result.changes[0] == "takes 5 epochs instead of 2"


def test_the_trials_curve_is_a_reference_for_its_own_length_alone(native, trained, split_folders, tmp_path):
    task = native.task.model_copy(update={"data": str(split_folders)})
    facts = {"fingerprint": retraining.Workbench.open(task).dataset.fingerprint}
    data = native.data.model_copy(update=facts)
    file = written(tmp_path / "a.yaml", native, curve=trained.curve, data=data)
    same = train(file, split_folders, out=tmp_path / "same", epochs=EPOCHS)
    longer = train(file, split_folders, out=tmp_path / "longer", epochs=3)
    assert (same.same_curve, same.changes) == (True, ())
    assert (longer.same_curve, longer.changes) == (None, ("takes 3 epochs instead of 2",))
    assert "takes 3 epochs instead of 2, so the trial's curve is no reference" in summary(longer)


# All images


def test_full_data_trains_on_all_images_but_those_of_the_test_split(
    file, split_folders, tmp_path, monkeypatch
):
    seen = []
    fit = retraining.fit

    def spy(model, columns, schedule, regime, examples, **settings):
        seen.append(examples)
        return fit(model, columns, schedule, regime, examples, **settings)

    monkeypatch.setattr(retraining, "fit", spy)
    told = []
    result = train(file, split_folders, out=tmp_path / "out", full_data=True, on_epoch=told.append)
    (examples,) = seen
    dataset = retraining.Workbench.open(
        NativeFile.load(file).task.model_copy(update={"data": str(split_folders)})
    ).dataset
    assert sorted(examples.train) == sorted([*dataset.train, *dataset.val])
    assert not set(examples.train) & set(dataset.test)
    assert len(examples.val) == 0
    assert told[0].step == 7  # 39 images in batches of six
    assert (result.n_train, result.n_val) == (39, 0)
    assert "trains on the validation images too" in result.changes


def test_full_data_takes_all_folds_where_no_validation_part_was_made(file, class_folders, tmp_path):
    result = train(file, class_folders, out=tmp_path / "out", full_data=True)
    folds = train(file, class_folders, out=tmp_path / "folds")
    assert result.n_train == folds.n_train + folds.n_val
    assert folds.n_val > 0


@pytest.mark.parametrize("metric", ["balanced_accuracy", "log_loss"])
def test_without_validation_no_figure_of_one_is_told(native, split_folders, tmp_path, metric):
    found = SearchResult(trial=4, metric="top1", value=0.75, n_val=15)
    file = written(tmp_path / "a.yaml", native, task={"metric": metric}, result=found)
    told = []
    result = train(file, split_folders, out=tmp_path / "out", full_data=True, on_epoch=told.append)
    lines = [line_of(record) for record in told]
    assert all("val" not in line and "nan" not in line for line in lines)
    text = summary(result)
    assert "trained on 39 images; none was left to validate on" in text
    assert "not confirmed on fresh seeds; top1 0.75 over 15 validation images in the search" in text
    assert "nan" not in text
    last = told[-1]
    again = type(last).model_validate_json(last.model_dump_json())
    assert again.same_as(last)
    assert (again.n_val, len(again.predicted_classes)) == (0, 0)


# Another backbone


def test_another_backbone_is_refused_with_the_way_out(file, split_folders, tmp_path):
    with pytest.raises(ConfigError, match=r"found for test_resnet.*--map-groups carries it over to resnet18"):
        train(file, split_folders, out=tmp_path / "out", model="resnet18", from_scratch=True)
    assert not (tmp_path / "out").exists()


def test_other_groups_are_refused_with_the_way_out(file, split_folders, tmp_path):
    with pytest.raises(ConfigError, match=r"the schedule's groups are stem, .*--map-groups"):
        train(file, split_folders, out=tmp_path / "out", granularity=3)
    result = train(file, split_folders, out=tmp_path / "out", granularity=3, map_groups=True)
    assert "has other layer groups" in result.changes


def test_another_backbone_takes_the_schedule_over_and_what_became_of_the_groups_is_told(
    file, split_folders, tmp_path
):
    lines, told = [], []
    result = train(
        file, split_folders, out=tmp_path / "out", model="test_vit", from_scratch=True, map_groups=True,
        tell=lines.append, on_epoch=told.append,
    )  # fmt: skip
    assert lines[0] == "the schedule is carried over from test_resnet to test_vit:"
    assert any("head <- head" in line for line in lines)
    assert lines[-1] == "test_vit: random weights, images of 32 px"
    assert [sum(rate is not None for rate in record.rates) for record in told] == [1, 2]
    assert result.changes[0] == "trains another backbone"
    beside = json.loads((tmp_path / "out" / "model.json").read_text())
    assert beside["architecture"] == "test_vit"
    assert beside["model_args"] == {"img_size": 32}


def test_weights_and_preprocessing_stay_with_their_backbone(native, split_folders, tmp_path):
    mean = (0.1, 0.2, 0.3)
    facts = native.backbone.preprocessing.model_copy(update={"mean": mean})
    backbone = native.backbone.model_copy(update={"preprocessing": facts})
    own = {"weights": "/nowhere/w.safetensors", "from_scratch": False, "mean": mean}
    file = written(tmp_path / "a.yaml", native, task=own, backbone=backbone)

    def means(out, **asked):
        result = train(file, split_folders, out=tmp_path / out, from_scratch=True, epochs=1, **asked)
        return json.loads(result.model_path.with_suffix(".json").read_text())["pretrained_cfg"]["mean"]

    assert means("other", model="test_vit", map_groups=True) == [0.5, 0.5, 0.5]  # timm's own of test_vit
    assert means("same") == list(mean)


# Progress


def test_each_step_is_told(file, split_folders, tmp_path):
    steps = []
    train(file, split_folders, out=tmp_path / "out", on_step=lambda *step: steps.append(step))
    assert steps == [(step, 8) for step in range(1, 9)]


def test_who_tells_of_steps_still_watches_them():
    told = []
    losses = [1.0] * 10 + [100.0] * 50
    telling, watch = _Telling(len(losses), lambda *step: told.append(step)), Watch()
    reasons = [telling.look(step, 0, loss, (1.0,)) for step, loss in enumerate(losses)]
    assert reasons == [watch.look(step, 0, loss, (1.0,)) for step, loss in enumerate(losses)]
    assert any("loss spike" in reason for reason in reasons)
    assert told[-1] == (60, 60)


def test_a_terminal_shows_a_bar_while_steps_are_taken():
    shown = StringIO()
    display = Display(console=Console(file=shown, force_terminal=True, width=80))
    with display.shown():
        display.stepping(3, 8)
        display._progress.refresh()
    assert "training" in shown.getvalue()
    assert "3/8" in shown.getvalue()


def test_elsewhere_steps_are_a_line_every_ten_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shown = StringIO()
    display = Display(console=Console(file=shown, force_terminal=False, width=80))
    for step in range(1, 9):
        now[0] += 4
        display.stepping(step, 8)
    assert shown.getvalue().splitlines() == ["training: 4 of 8 steps", "training: 7 of 8 steps"]


# Broken off and continued


@pytest.mark.parametrize("step", [2, 6], ids=["first epoch", "second epoch"])
def test_a_training_broken_off_within_an_epoch_goes_on_to_the_same_bits(
    file, trained, split_folders, tmp_path, step
):
    with pytest.raises(Broken):
        train(file, split_folders, out=tmp_path / "out", on_step=breaking_at(step))
    left = [path.name for path in (tmp_path / "out").iterdir() if path.name != LOCK]
    assert left == ([] if step < STEPS else ["training.pt"])
    lines = []
    result = train(file, split_folders, out=tmp_path / "out", tell=lines.append)
    assert same_bits(result, trained)
    assert result.curve == trained.curve
    assert any("going on from" in line for line in lines) == (step >= STEPS)
    assert not (tmp_path / "out" / "training.pt").exists()


@pytest.mark.long
def test_a_training_that_is_killed_goes_on_to_the_same_bits(file, split_folders, tmp_path):
    whole = train(file, split_folders, out=tmp_path / "whole", threads=1, epochs=30)
    command = [
        sys.executable, "-m", "autofreeze.cli", "train", str(file), str(split_folders), "--threads", "1",
        "--epochs", "30", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    checkpoint = tmp_path / "out" / "training.pt"
    kills = 0
    for waits in (0.0, 0.13, 0.31):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ)
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and not (
            checkpoint.exists() and checkpoint.stat().st_mtime_ns != before
        ):
            time.sleep(0.002)
        time.sleep(waits)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 1
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(ours[name], tensor) for name, tensor in tensors_of(whole).items())


def test_ctrl_c_says_that_the_same_command_goes_on(file, split_folders, tmp_path, monkeypatch, capsys):
    fit = retraining.fit

    def broken(*given, **settings):
        yield next(fit(*given, **settings))
        raise KeyboardInterrupt

    monkeypatch.setattr(retraining, "fit", broken)
    given = ["train", str(file), str(split_folders), "--out", str(tmp_path / "out")]
    assert main(given) == 130
    assert "broken off after epoch 1; the same command goes on from there" in capsys.readouterr().err
    monkeypatch.undo()


@pytest.mark.parametrize(
    "other",
    [{"epochs": 3}, {"full_data": True}, {"mean": (0.1, 0.2, 0.3)}, {"image_size": 40}, {"weights": "w.pth"}],
    ids=["another length", "all images", "other preprocessing", "another size", "other weights"],
)
def test_what_another_training_left_is_not_continued(
    file, broken_off, split_folders, tmp_path, backbone, other
):
    out = shutil.copytree(broken_off, tmp_path / "out")
    if "weights" in other:
        found = backbone()
        stem = found.groups.groups[0].parameters[0]
        torch.save({**found.tensors, stem: found.tensors[stem] + 0.01}, tmp_path / "w.pth")
        other = {"weights": str(tmp_path / "w.pth")}
    with pytest.raises(ConfigError, match=r"another run; delete it to start anew \(--force does\)"):
        train(file, split_folders, out=out, **other)
    assert (out / "training.pt").read_bytes() == (broken_off / "training.pt").read_bytes()


def test_what_a_training_on_other_classes_left_is_not_continued(file, broken_off, write_images, tmp_path):
    for part in ("train", "val"):
        write_images(tmp_path / "two" / part, (4, 4))
    out = shutil.copytree(broken_off, tmp_path / "out")
    with pytest.raises(ConfigError, match="another run"):
        train(file, tmp_path / "two", out=out)


def test_force_begins_anew_where_another_training_was_broken_off(file, broken_off, split_folders, tmp_path):
    out = shutil.copytree(broken_off, tmp_path / "out")
    result = train(file, split_folders, out=out, epochs=1, force=True)
    assert same_bits(result, train(file, split_folders, out=tmp_path / "fresh", epochs=1))


def test_force_goes_on_with_the_same_training(file, broken_off, trained, split_folders, tmp_path):
    out, steps = shutil.copytree(broken_off, tmp_path / "out"), []
    result = train(file, split_folders, out=out, force=True, on_step=lambda *step: steps.append(step))
    assert [done for done, _ in steps] == [5, 6, 7, 8]
    assert same_bits(result, trained)


@pytest.mark.parametrize(
    "write",
    [lambda path: path.write_bytes(b""), lambda path: path.write_text("junk"),
     lambda path: torch.save({"a": torch.ones(2)}, path), lambda path: torch.save(torch.ones(2), path)],
    ids=["empty", "text", "no training", "a tensor"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_told_and_kept(file, split_folders, tmp_path, write):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out" / "training.pt")
    with pytest.raises(ConfigError, match=r"training\.pt: is no checkpoint"):
        train(file, split_folders, out=tmp_path / "out")
    assert (tmp_path / "out" / "training.pt").exists()


# What is there already


def test_force_replaces_a_model_only_when_the_new_one_is_whole(file, trained, split_folders, tmp_path):
    out = shutil.copytree(trained.model_path.parent, tmp_path / "out")
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match=r"model\.safetensors exists already; --force overwrites it"):
        train(file, split_folders, out=out)
    with pytest.raises(Broken):
        train(file, split_folders, out=out, force=True, epochs=3, on_step=breaking_at(6))
    assert (out / "model.safetensors").read_bytes() == before
    result = train(file, split_folders, out=out, force=True, epochs=3)
    assert not same_bits(result, trained)
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "model.json", LOCK}


def test_a_disk_that_is_full_is_told_and_what_was_trained_is_not_lost(file, trained, split_folders, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the first checkpoint, not the second
    try:
        with pytest.raises(AutofreezeError, match=r"cannot be written to \(File too large\); make room"):
            train(file, split_folders, out=tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    left = [path.name for path in (tmp_path / "out").iterdir() if path.name != LOCK]
    assert left == ["training.pt"]
    assert same_bits(train(file, split_folders, out=tmp_path / "out"), trained)


@pytest.mark.parametrize("place", ["file/below", "/proc/here"])
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_opened(file, tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose another --out"):
        train(file, "/nowhere", out=tmp_path / place)


def test_a_second_training_in_a_folder_is_refused_and_the_first_one_goes_on(file, split_folders, tmp_path):
    refused = []

    def begin_another(step, steps):
        if step == 2:
            with pytest.raises(ConfigError) as told:
                train(file, split_folders, out=tmp_path / "out", force=True)
            refused.append(str(told.value))

    result = train(file, split_folders, out=tmp_path / "out", on_step=begin_another)
    assert refused == [
        f"{tmp_path / 'out'}: another training is using this folder; wait for it, or choose another --out"
    ]
    assert same_bits(result, train(file, split_folders, out=tmp_path / "alone"))


def test_what_another_training_left_while_the_command_was_read_is_not_overwritten(
    file, trained, split_folders, tmp_path, monkeypatch
):
    def made_late(folder):
        shutil.copytree(trained.model_path.parent, folder)

    monkeypatch.setattr(retraining, "_make", made_late)
    with pytest.raises(ConfigError, match=r"model\.safetensors exists already"):
        train(file, split_folders, out=tmp_path / "out")


def test_a_json_of_somebody_elses_is_not_overwritten(file, split_folders, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.json").write_text("mine")
    with pytest.raises(ConfigError, match=r"model\.json exists already; --force overwrites it"):
        train(file, split_folders, out=tmp_path / "out")


def test_all_that_is_wrong_is_told_at_once_and_before_anything_is_opened(file, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError) as caught:
        train(file, "/nowhere", out=tmp_path / "taken", epochs=-1, model="resnet18")
    told = "\n".join(caught.value.problems)
    assert "epochs: got -1; must be more than 0" in told
    assert "--map-groups" in told
    assert "taken is a file; choose another --out" in told


@pytest.mark.parametrize("epochs", [0, -2, float("nan"), float("inf"), 1e6])
def test_a_length_that_is_none_is_refused(file, split_folders, tmp_path, epochs):
    with pytest.raises(ConfigError, match="epochs: got"):
        train(file, split_folders, out=tmp_path / "out", epochs=epochs)


def test_an_own_validation_part_does_not_mind_the_folds_of_the_search(native, split_folders, tmp_path):
    file = written(tmp_path / "a.yaml", native, task={"folds": 3})
    assert train(file, split_folders, out=tmp_path / "out", epochs=1).n_val == 15


def test_the_command_takes_every_option(file, split_folders, tmp_path, capsys):
    out = tmp_path / "out"
    given = [
        "train", str(file), str(split_folders), "--out", str(out), "--epochs", "1", "--full-data", "--model",
        "test_vit", "--map-groups", "--from-scratch", "--image-size", "48", "--device", "cpu", "--test",
    ]  # fmt: skip
    assert main(given) == 0
    output, errors = capsys.readouterr()
    assert "carried over from test_resnet to test_vit" in errors
    assert "training on all 39 images that are not of the test split" in errors
    assert "test top1" in output
    assert f"predict by it:  autofreeze predict {out} IMAGES" in output
    assert json.loads((out / "model.json").read_text())["pretrained_cfg"]["input_size"] == [3, 48, 48]
    assert main(given) == 2
    assert "exists already; --force overwrites it" in capsys.readouterr().err


def test_training_is_offered_by_the_package():
    assert autofreeze.train is train
