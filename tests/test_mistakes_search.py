"""Mistakes in reports of real searches: a wrong label comes first, no image of the test split is there."""

import base64
import json

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from autofreeze import api
from autofreeze.data import open_dataset
from autofreeze.mistakes import Mistakes
from autofreeze.records import read_ends, read_fresh_records
from autofreeze.splits import scoring_splits

GIVEN = {
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 3,
    "trials": 2, "threads": 1,
}  # fmt: skip
SPACE = "warmup_epochs: 0\nhead_lr: {low: 5e-3, high: 1e-2, log: true}\nbackbone_ratio: 1\nbatch_size: 8\n"
PLACE = 'GPSHere and a <b>"comment"</b> %{x}'


def picture(label, seed):
    from conftest import picture

    return Image.fromarray(picture(label, seed, 32))


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    file = tmp_path_factory.mktemp("spaces") / "small.yaml"
    file.write_text(SPACE + "views: none\n")
    return file


@pytest.fixture(scope="module")
def mislabelled(write_images, space, tmp_path_factory):
    """A confirmed search, with a wrong label in val/ and in test/: (result, folder, dataset)."""
    root = tmp_path_factory.mktemp("mislabelled")
    for part, count, first in (("train", 8, 0), ("val", 5, 100), ("test", 3, 200)):
        write_images(root / part, (count,) * 3, first=first)
    gps = Image.Exif()
    gps[0x010E] = PLACE
    gps.get_ifd(0x8825)[29] = PLACE
    for part in ("val", "test"):
        picture(1, 999).save(root / part / "plain" / "<b>wrong%{x}.jpg", exif=gps, comment=PLACE.encode())
    result = api.search(root, out=root / "run", space=space, confirm=6, **GIVEN)
    return result, root / "run", open_dataset(root)


def mistakes_in(folder):
    return Mistakes.model_validate(json.loads((folder / "report.json").read_text())["evidence"]["mistakes"])


def test_a_wrong_label_comes_first(mislabelled):
    first, *others = mistakes_in(mislabelled[1]).images
    assert first.name == "val/plain/<b>wrong%{x}.jpg"
    assert (first.label, first.predicted) == (1, 2)  # plain, taken for rows
    assert (first.wrong, first.scored) == (6, 6)
    assert all(one.wrong < 6 for one in others)
    assert first.thumbnail.startswith("data:image/jpeg;base64,")


def test_no_image_of_the_test_split_is_among_them(mislabelled):
    _, folder, dataset = mislabelled
    found = mistakes_in(folder)
    allowed = {dataset.paths[image] for image in dataset.val}
    assert {one.name for one in found.images} <= allowed
    assert found.images_scored == len(allowed)
    evidence = json.loads((folder / "report.json").read_text())["evidence"]
    assert "test/plain" not in json.dumps(evidence)


def test_what_a_file_says_beside_its_pixels_is_not_in_the_report(mislabelled):
    _, folder, _ = mislabelled
    for one in mistakes_in(folder).images:
        raw = base64.b64decode(one.thumbnail.partition(",")[2])
        assert not any(mark in raw for mark in (b"GPS", b"Exif", b"comment", b"ICC_PROFILE"))
    for name in ("report.json", "report.html", "report.md"):
        assert "GPSHere" not in (folder / name).read_text()


def test_the_name_of_a_file_is_escaped_in_the_page(mislabelled):
    page = (mislabelled[1] / "report.html").read_text()
    assert "<b>wrong" not in page
    assert "&lt;b&gt;wrong%{x}.jpg" in page


def test_counts_of_a_confirmed_search_are_those_of_scikit_learn_on_the_same_predictions(mislabelled):
    result, folder, dataset = mislabelled
    found, records = mistakes_in(folder), read_fresh_records(folder)
    for one in found.confusions:
        seeds = result.confirmation.seeds_of(one.trial)
        predicted = [records[one.trial, seed][-1].predicted_classes for seed in seeds]
        labels = np.tile(dataset.labels[dataset.val], len(seeds))
        expected = confusion_matrix(labels, np.concatenate(predicted), labels=range(3))
        np.testing.assert_array_equal(one.matrix, expected)


def test_accuracies_by_class_are_those_that_the_confirmation_tells(mislabelled):
    result, folder, _ = mislabelled
    for one in mistakes_in(folder).confusions:
        shares = one.matrix.diagonal() / one.matrix.sum(axis=1)
        assert result.confirmation.candidate(one.trial).class_accuracies == pytest.approx(tuple(shares))


def test_a_search_on_held_out_folds_shows_no_image_that_it_held_out(write_images, space, tmp_path):
    root = write_images(tmp_path / "photos", (10, 10, 10))
    for number in range(5):
        picture(1, 900 + number).save(root / "plain" / f"wrong{number}.png")
    result = api.search(root, out=tmp_path / "run", space=space, folds=2, confirm=0, **{**GIVEN, "epochs": 1})
    dataset, found = open_dataset(root), mistakes_in(tmp_path / "run")
    assert not found.fresh
    assert found.images
    assert {one.name for one in found.images} <= {dataset.paths[image] for image in dataset.train}
    folds = scoring_splits(dataset.labels, dataset.train, dataset.val, seed=0, folds=2)
    labels = np.concatenate([dataset.labels[fold.val] for fold in folds])
    (best, *_), ends = found.confusions, read_ends(tmp_path / "run", {result.best.number}, "fold")
    predicted = []
    for fold in range(2):
        end = ends[result.best.number, fold]
        end = end if result.best.member is None else end.members[result.best.member]
        predicted.append(end.predicted_classes)
    expected = confusion_matrix(labels, np.concatenate(predicted), labels=range(3))
    np.testing.assert_array_equal(best.matrix, expected)
