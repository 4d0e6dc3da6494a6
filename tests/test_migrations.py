# ruff: noqa: E501 - tables are read by line
"""Native files of earlier versions are read as ones of today; those of the future are refused."""

import copy
import math
from contextlib import suppress

import pytest
from handedits import VERSION_1

from autofreeze.documents import parse_yaml, to_yaml
from autofreeze.errors import ConfigError
from autofreeze.export.migrations import MIGRATIONS, migrated
from autofreeze.export.native import NativeFile
from autofreeze.fileversion import NEWEST
from autofreeze.modes import from_parameters
from autofreeze.schedule import Schedule

OLD = sorted(path.stem for path in VERSION_1.glob("*.yaml"))


def test_every_version_has_a_migration_to_the_next():
    assert len(MIGRATIONS) + 1 == NEWEST


@pytest.mark.parametrize("name", OLD)
def test_a_file_of_version_1_is_read_and_becomes_one_of_today(name, tmp_path):
    old = NativeFile.load(VERSION_1 / f"{name}.yaml")
    assert old.version == NEWEST
    (tmp_path / "new.yaml").write_text(old.to_text())
    assert NativeFile.load(tmp_path / "new.yaml") == old
    before = parse_yaml((VERSION_1 / f"{name}.yaml").read_text()).data
    kept = ("schedule", "regime", "task", "seed", "curve_fused", "curve_views", "versions")
    assert {part: old.to_plain()[part] for part in kept} == {part: before[part] for part in kept}
    for part in ("fingerprint", "classes", "class_images", "images", "folds", "name"):
        assert old.to_plain()["data"].get(part) == before["data"].get(part, old.to_plain()["data"][part])


def test_what_version_1_said_is_still_said():
    probe, lp_ft, own = (
        NativeFile.load(VERSION_1 / f"{name}.yaml") for name in ("linear_probe", "lp_ft", "own")
    )
    assert (probe.confirmed, lp_ft.confirmed, own.confirmed) == (True, False, False)
    assert probe.backbone.weights_digest == "2f92d30f9abbbe74"
    assert probe.backbone.modes == from_parameters(probe.backbone.groups)
    assert probe.preprocessing.mean == (0.4, 0.5, 0.6)
    assert len(lp_ft.curve) == 2
    assert lp_ft.curve[1].train_loss == 0.8513445854187012
    assert (own.task, own.backbone.modes) == (None, {})
    assert (own.result.direction, own.result.value, own.result.fold_values) == ("minimize", 1 / 6, (1 / 6,))
    assert [point.train_loss for point in own.curve] == [None] * 3
    assert [point.value for point in own.curve] == [0.25, 0.2, 1 / 6]


def old(**parts):
    """The plain data of a version 1 file, some of it another."""
    return parse_yaml((VERSION_1 / "lp_ft.yaml").read_text()).data | parts


def test_a_log_loss_of_version_1_was_an_objective():
    result = {
        "trial": 3,
        "metric": "log_loss",
        "value": 0.5,
        "val_loss": -math.log(0.5),
        "fold_values": [0.5, 0.25],
    }
    told_of_it = migrated(old(result=result))["result"]
    assert told_of_it["direction"] == "minimize"
    assert [told_of_it["value"], *told_of_it["fold_values"]] == pytest.approx(
        [math.log(2), math.log(2), math.log(4)]
    )


def test_a_run_that_broke_down_is_told_as_far_as_it_went():
    points = [
        {"epochs_done": n, "train_loss": loss, "val_loss": 1.0, "value": 0.5}
        for n, loss in ((1.0, 1.0), (2.0, math.nan))
    ]
    assert migrated(old(curve=points))["curve"] == points[:1]


def test_a_suggestion_had_an_empty_result():
    assert migrated(old(result={}))["result"] is None


def test_a_migration_changes_nothing_that_it_is_given():
    before = old()
    kept = copy.deepcopy(before)
    migrated(before)
    assert before == kept


@pytest.mark.parametrize("part", ["backbone", "data", "result", "curve", "task", "confirmed", "schedule"])
@pytest.mark.parametrize(
    "nonsense", [None, 3, "x", [], [1], {}, {"groups": 3}, {"groups": {"a": [1]}}, {"value": "x"}], ids=repr
)
def test_an_old_file_that_was_edited_to_nonsense_is_told_about_it(part, nonsense, tmp_path):
    (tmp_path / "a.yaml").write_text(to_yaml(old(**{part: nonsense})))
    with suppress(ConfigError):  # and nothing else
        NativeFile.load(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (
            "9",
            "version: got 9; it was written by autofreeze 3.1, and this one reads 1 to 2: update autofreeze, or export the schedule again with this one",
        ),
        ("3", "version: got 3; it was written by"),
        ("0", "version: got 0; must be a whole number, 1 to 2"),
        ("-1", "version: got -1; must be a whole number"),
        ("1.5", "version: got 1.5; must be a whole number"),
        ("'2'", "version: got '2'; must be a whole number"),
        ("true", "version: got True; must be a whole number"),
        ("[2]", "version: got [2]; must be a whole number"),
        ("null", "version: got None; must be a whole number"),
    ],
)
def test_a_version_that_cannot_be_read_is_told_with_what_to_do(version, words, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        f"format: autofreeze/schedule\nversion: {version}\nversions: {{autofreeze: '3.1'}}\nschedule: else\n"
    )
    for read in (NativeFile.load, Schedule.load):
        with pytest.raises(ConfigError) as refused:
            read(path)
        assert str(refused.value).startswith(f"{path}: {words}")


def test_a_missing_version_is_told(tmp_path):
    (tmp_path / "a.yaml").write_text("format: autofreeze/schedule\n")
    with pytest.raises(ConfigError, match="version: missing; files of this autofreeze have version: 2"):
        NativeFile.load(tmp_path / "a.yaml")


def test_a_file_of_version_1_trains_as_it_did(split_folders, tmp_path):
    """The very curve where the machine rounds as the one did on which it was found; else nearly."""
    from autofreeze import retraining

    file = VERSION_1 / "lp_ft.yaml"
    result = retraining.train(file, split_folders, out=tmp_path / "out")
    assert result.expected == NativeFile.load(file).curve
    for ours, theirs in zip(result.curve, result.expected, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)
        assert ours.val_loss == pytest.approx(theirs.val_loss, rel=1e-3)
