"""A task opened: what its trials are judged by."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from autofreeze.errors import ConfigError
from autofreeze.imagesubject import ImageSubject
from autofreeze.job import Job, Member
from autofreeze.metrics import METRICS, score
from autofreeze.recipes import full, gradual, linear_probe
from autofreeze.regime import Regime
from autofreeze.task import Task
from autofreeze.trial import Workbench, run

SMALL = {"model": "test_resnet", "from_scratch": True, "image_size": 32, "folds": 1, "device": "cpu"}


def test_auto_is_decided_by_the_training_part_and_is_what_a_job_is_scored_by(write_images, tmp_path):
    write_images(tmp_path / "train", (13, 4, 5))
    write_images(tmp_path / "val", (9, 3, 3), first=50)  # three times: on its own top1
    bench = Workbench.open(Task(data=str(tmp_path), **SMALL))
    assert bench.metric == "balanced_accuracy"
    for metric in METRICS:
        assert replace(bench, task=Task(data=str(tmp_path), metric=metric, **SMALL)).metric == metric
    schedule = gradual(bench.backbone.groups.names, 1, head_lr=1e-2)
    (record,) = run(Job(trial=0, fold=0, seed=0, schedule=schedule, regime=Regime()), bench)
    labels = bench.dataset.labels[bench.splits[0].val]
    assert sorted(np.bincount(labels)) == [3, 3, 9]
    assert record.value == score("balanced_accuracy", labels, record.predicted_classes, record.val_loss)


def test_a_metric_over_classes_refuses_a_validation_part_of_one_class_before_decoding(
    write_images, tmp_path, session_cache
):
    write_images(tmp_path / "train", (5, 5))
    write_images(tmp_path / "val", (4,), first=60)
    before = set(session_cache.glob("decoded/*.npy"))
    with pytest.raises(ConfigError, match="metric: macro_f1 needs two classes, and the validation part"):
        Workbench.open(Task(data=str(tmp_path), metric="macro_f1", **SMALL))
    assert set(session_cache.glob("decoded/*.npy")) == before


def test_a_report_after_every_trial_builds_no_model_each_time(class_folders, monkeypatch):
    bench = Workbench.open(Task(data=str(class_folders), **SMALL))
    built = []
    build = Workbench.build_model
    monkeypatch.setattr(Workbench, "build_model", lambda *given: built.append(given) or build(*given))
    subject = ImageSubject(bench)
    assert subject.facts()["backbone"] == subject.facts()["backbone"]
    assert len(built) == 1


def flipped(raw):
    """Flip a bit of the largest tensor: torch itself does not notice."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
        held = archive.read(entry)
    at = raw.index(held) + len(held) // 2
    return raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]


def without_records(raw):
    """Whole, but for what is needed after the tensors have been taken over."""
    state = torch.load(io.BytesIO(raw), weights_only=True)
    del state["records"]
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


DAMAGES = {
    "cut": lambda raw, _: raw[: len(raw) // 2],
    "flipped": lambda raw, _: flipped(raw),
    "without records": lambda raw, _: without_records(raw),
    "empty": lambda raw, _: b"",
    "of another run": lambda raw, other: other,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("heads", [0, 2], ids=["one schedule", "a sweep"])
def test_a_checkpoint_that_cannot_be_continued_is_deleted_and_the_run_begins_anew(
    class_folders, tmp_path, damage, heads
):
    bench = Workbench.open(Task(data=str(class_folders), **SMALL))
    names = bench.backbone.groups.names

    def job(seed):
        schedules = [linear_probe(names, 2, head_lr=rate) for rate in (1e-2, 2e-2)[:heads]]
        members = tuple(Member(schedule=one, regime=Regime()) for one in schedules)
        schedule = schedules[0] if heads else full(names, 2, head_lr=1e-2)
        return Job(trial=0, fold=0, seed=seed, schedule=schedule, regime=Regime(), members=members)

    def begun(seed, file):
        run_of_it = run(job(seed), bench, checkpoint=file)
        next(run_of_it)
        run_of_it.close()
        return file.read_bytes()

    model = bench.build_model(0)
    expected = list(run(job(0), bench, model=model))
    file = tmp_path / "states" / "rolling.pt"
    file.parent.mkdir()
    other = begun(1, tmp_path / "states" / "other.pt")
    file.write_bytes(DAMAGES[damage](begun(0, file), other))
    again = bench.build_model(0)
    records = list(run(job(0), bench, checkpoint=file, model=again))
    assert all(one.same_as(two) for one, two in zip(records, expected, strict=True))
    assert_equal(again, model)


def assert_equal(model, other):
    for name, tensor in other.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
