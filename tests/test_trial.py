"""A task opened: what its trials are judged by."""

from dataclasses import replace

import numpy as np
import pytest

from autofreeze.errors import ConfigError
from autofreeze.imagesubject import ImageSubject
from autofreeze.job import Job
from autofreeze.metrics import METRICS, score
from autofreeze.recipes import gradual
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
