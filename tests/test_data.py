"""What a folder of images is taken to say."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.data.readers.reader_image_folder import ReaderImageFolder

from autofreeze.data import open_dataset
from autofreeze.errors import ConfigError, DataError

REAL = os.environ.get("AUTOFREEZE_TEST_DATA")


def draw(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5, 3), shade % 256, np.uint8) + np.arange(5, dtype=np.uint8)[:, None]).save(
        path
    )


def fill(root: Path, counts: dict[str, int], *, start: int = 0) -> Path:
    """Make ``count`` images, all different, in each folder."""
    shade = start
    for folder, count in counts.items():
        for number in range(count):
            draw(root / folder / f"{number}.png", shade)
            shade += 1
    return root


def test_train_val_and_test_folders_are_taken_as_they_are(tmp_path):
    root = fill(tmp_path / "pets", {"train/cat": 3, "train/dog": 4, "valid/cat": 2, "test/dog": 1})
    dataset = open_dataset(root)
    assert dataset.name == "pets"
    assert dataset.classes == ("cat", "dog")
    assert dataset.counts == {"train": (3, 4), "val": (2, 0), "test": (0, 1)}
    assert {dataset.paths[image] for image in dataset.val} == {"valid/cat/0.png", "valid/cat/1.png"}
    assert dataset.layout == "train/, valid/ and test/, one folder per class"
    for part in (dataset.train, dataset.val, dataset.test):
        assert all(
            dataset.paths[image].split("/")[1] == dataset.classes[dataset.labels[image]] for image in part
        )


def test_a_training_folder_without_a_test_folder_leaves_no_test_part(tmp_path):
    dataset = open_dataset(fill(tmp_path, {"train/a": 10, "train/b": 10}))
    assert dataset.counts == {"train": (10, 10), "val": (0, 0), "test": (0, 0)}


def test_plain_class_folders_hold_out_the_asked_share_of_each_class(tmp_path):
    root = fill(tmp_path, {"a": 20, "b": 40, "c": 2, "d": 3})
    assert open_dataset(root).counts == {"train": (16, 32, 2, 2), "val": (0, 0, 0, 0), "test": (4, 8, 0, 1)}
    assert open_dataset(root, test_share=0).counts["test"] == (0, 0, 0, 0)
    assert open_dataset(root, test_share=0.5).counts["test"] == (10, 20, 0, 1)


def test_the_held_out_part_follows_from_seed_and_content_alone(tmp_path):
    here, there = fill(tmp_path / "here", {"a": 20, "b": 20}), tmp_path / "there"
    shutil.copytree(here, there)
    for path in sorted(there.rglob("*.png")):
        path.rename(path.with_name(f"renamed-{99 - int(path.stem)}.png"))
    first, second, other = (
        open_dataset(here, seed=1),
        open_dataset(there, seed=1),
        open_dataset(here, seed=2),
    )
    held = [{dataset.content[image] for image in dataset.test} for dataset in (first, second, other)]
    assert held[0] == held[1]
    assert held[0] != held[2]


def test_byte_equal_images_never_lie_on_both_sides_of_the_held_out_part(tmp_path):
    fill(tmp_path, {"a": 20, "b": 20})
    for path in list((tmp_path / "a").iterdir()):
        for copy in range(3):
            shutil.copy(path, path.with_name(f"{path.stem}-copy{copy}.png"))
    for seed in range(20):
        # 21 % of 80 would cut a group of four copies.
        dataset = open_dataset(tmp_path, seed=seed, test_share=0.21)
        assert len(dataset.test) > 0
        assert len(dataset.leaked) == 0


def test_test_images_that_are_also_training_images_are_told(tmp_path):
    root = fill(tmp_path, {"train/a": 3, "train/b": 3, "test/a": 2})
    shutil.copy(root / "train/b/1.png", root / "test/a/9.png")
    dataset = open_dataset(root)
    # test/a/0.png and 1.png are new shades; 9.png is the copy.
    assert [dataset.paths[image] for image in dataset.leaked] == ["test/a/9.png"]


def test_an_image_is_opened_and_not_decoded(tmp_path):
    root = fill(tmp_path, {"a": 3, "b": 3})
    whole = (root / "b/1.png").read_bytes()
    (root / "b/1.png").write_bytes(whole[:-30])
    dataset = open_dataset(root)
    with dataset.open_image(dataset.paths.index("b/1.png")) as image:
        assert (image.size, image.mode) == ((5, 6), "RGB")
        with pytest.raises(OSError, match="truncated"):
            image.load()
    with dataset.open_image(0) as image:
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(dataset.file(0)).convert("RGB")))
    with pickle.loads(pickle.dumps(dataset)).open_image(0) as image:
        assert image.size == (5, 6)


@pytest.mark.parametrize("harm", ["other contents", "removed", "a folder"])
def test_an_image_that_has_changed_since_it_was_hashed_is_not_opened(tmp_path, harm):
    root = fill(tmp_path, {"a": 3, "b": 3})
    dataset = open_dataset(root)
    file = root / "b/1.png"
    file.unlink()
    if harm == "other contents":
        shutil.copy(root / "a/1.png", file)
    elif harm == "a folder":
        file.mkdir()
    with pytest.raises(DataError, match=rf"{file}: .*; begin again when nobody changes the images"):
        dataset.open_image(dataset.paths.index("b/1.png"))


def test_images_taken_out_are_in_no_part_and_keep_their_numbers(tmp_path):
    dataset = open_dataset(fill(tmp_path, {"train/a": 4, "train/b": 4, "val/a": 2, "test/b": 3}))
    gone = [int(dataset.train[1]), int(dataset.val[0]), int(dataset.test[2])]
    less = dataset.without(gone)
    assert less.paths == dataset.paths
    assert less.labels.tolist() == dataset.labels.tolist()
    assert less.content == dataset.content
    for part in ("train", "val", "test"):
        assert less.part(part).tolist() == [image for image in dataset.part(part) if image not in gone]
    assert sum(map(sum, less.counts.values())) == 10
    assert less.fingerprint not in (dataset.fingerprint, dataset.without(gone[:2]).fingerprint)
    assert dataset.without([]).fingerprint == dataset.fingerprint
    with pytest.raises(ValueError, match="read-only"):
        less.train[0] = 1


def test_taking_out_all_but_one_image_of_a_class_is_refused(tmp_path):
    dataset = open_dataset(fill(tmp_path, {"train/a": 3, "train/b": 3}))
    assert dataset.without(dataset.train[:1]).counts["train"] == (2, 3)
    with pytest.raises(DataError, match="class a: 1 training image; at least 2"):
        dataset.without(dataset.train[:2])


# Subjects


def fill_table(root: Path, rows: list[str], *, columns: str = "path,label,split,group") -> Path:
    """Write a CSV file, and an image of its own for each row."""
    for number, row in enumerate(rows):
        draw(root / row.split(",")[0], number)
    (root / "labels.csv").write_text("\n".join([columns, *rows]), encoding="utf-8")
    return root / "labels.csv"


def test_folders_name_no_subjects(tmp_path):
    dataset = open_dataset(fill(tmp_path, {"a": 3, "b": 3}))
    assert dataset.subjects is None
    assert len(dataset.straddling) == 0


def test_subjects_in_more_than_one_of_the_users_parts_are_told_and_not_refused(tmp_path):
    owners = {"train": "ppqqrrss", "val": "pt", "test": "qquu"}
    rows = [
        f"{part}{n}.png,{'ab'[n % 2]},{part},{owner}"
        for part, names in owners.items()
        for n, owner in enumerate(names)
    ]
    path = fill_table(tmp_path, rows)
    dataset = open_dataset(path)
    assert {dataset.subject_names[subject] for subject in dataset.straddling} == {"p", "q"}
    pooled = open_dataset(path, resplit=True)
    assert {pooled.subject_names[subject] for subject in pooled.straddling} == {"q"}
    of_q = [image for image in dataset.test if dataset.subject_names[dataset.subjects[image]] == "q"]
    assert {dataset.subject_names[subject] for subject in dataset.without(of_q).straddling} == {"p"}


def test_the_held_out_part_takes_whole_subjects_whatever_they_are_called(tmp_path):
    rows = [f"{n}.png,{'ab'[n % 2]},{n // 4}" for n in range(80)]
    path = fill_table(tmp_path, rows, columns="path,label,group")
    for seed in range(5):
        path.write_text("\n".join(["path,label,group", *rows]), encoding="utf-8")
        dataset = open_dataset(path, seed=seed)
        assert dataset.counts == {"train": (32, 32), "val": (0, 0), "test": (8, 8)}
        assert len(dataset.straddling) == 0
        renamed = [row.rpartition(",")[0] + f",patient {99 - int(row.split(',')[2])}" for row in rows]
        path.write_text("\n".join(["path,label,group", *renamed[::-1]]), encoding="utf-8")
        assert open_dataset(path, seed=seed).fingerprint == dataset.fingerprint


def test_the_fingerprint_follows_the_subjects(tmp_path):
    rows = [f"{n}.png,{'ab'[n % 2]},train,{n // 4}" for n in range(16)]
    one = open_dataset(fill_table(tmp_path, rows)).fingerprint
    two = open_dataset(fill_table(tmp_path, [row[:-1] + "xyzz"[int(row[-1])] for row in rows])).fingerprint
    none = open_dataset(fill_table(tmp_path, [row[:-1] for row in rows])).fingerprint
    assert len({one, two, none}) == 3


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (lambda n: "p", ["1 subject: too few to hold out a test part", "--test-share 0"]),
        (lambda n: "p" if n % 2 else n, ["class b: its 6 training images are all of one subject (p); at"]),
    ],
)
def test_too_few_subjects_are_refused_with_the_csv_and_the_way_out(tmp_path, owner, words):
    rows = [f"{n}.png,{'ab'[n % 2]},{owner(n)}" for n in range(12)]
    path = fill_table(tmp_path, rows, columns="path,label,group")
    with pytest.raises(DataError) as caught:
        open_dataset(path)
    for word in [*words, str(path)]:
        assert word in str(caught.value)


def test_a_class_of_one_subject_is_enough_beside_a_validation_part(tmp_path):
    rows = [f"{n}.png,{'ab'[n % 2]},{'train' if n < 8 else 'val'},{n % 2}{n // 8}" for n in range(12)]
    assert open_dataset(fill_table(tmp_path, rows)).counts["val"] == (2, 2)
    with pytest.raises(DataError, match="all of one subject"):
        open_dataset(fill_table(tmp_path, [row for row in rows if "train" in row]))


def test_a_users_validation_part_is_pooled_only_when_asked(tmp_path):
    root = fill(tmp_path, {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    kept, pooled = open_dataset(root), open_dataset(root, resplit=True)
    assert (len(kept.train), len(kept.val)) == (6, 4)
    assert (len(pooled.train), len(pooled.val)) == (10, 0)
    assert kept.fingerprint != pooled.fingerprint


def test_the_fingerprint_follows_the_data_and_not_its_place(tmp_path):
    here = fill(tmp_path / "here", {"train/a": 3, "train/b": 3})
    there = tmp_path / "some" / "where else"
    shutil.copytree(here, there)
    fingerprint = open_dataset(here).fingerprint
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0
    assert open_dataset(there).fingerprint == fingerprint
    draw(there / "train/a/2.png", 200)
    assert open_dataset(there).fingerprint != fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "train/b").rename(root / "train/bb"),
        lambda root: (root / "train/a/0.png").unlink(),
        lambda root: (root / "train/a/0.png").rename(root / "train/b/0b.png"),
        lambda root: (root / "test").rename(root / "val"),
    ],
    ids=["class name", "one image fewer", "another label", "another part"],
)
def test_every_change_of_meaning_changes_the_fingerprint(tmp_path, change):
    root = fill(tmp_path / "data", {"train/a": 4, "train/b": 4, "test/a": 1})
    before = open_dataset(root).fingerprint
    change(root)
    assert open_dataset(root).fingerprint != before


def test_image_ids_do_not_depend_on_the_order_of_the_file_system(tmp_path):
    names = ["1.png", "01.png", "001.png", "A.png", "a.png", "10.png", "2.png"]
    orders = []
    for place, listed in enumerate((names, names[::-1])):
        for name in listed:
            draw(tmp_path / str(place) / "x" / name, names.index(name))
            draw(tmp_path / str(place) / "y" / name, 100 + names.index(name))
        orders.append(open_dataset(tmp_path / str(place)).paths)
    assert orders[0] == orders[1]
    assert orders[0][:7] == tuple(
        f"x/{name}" for name in ("001.png", "01.png", "1.png", "2.png", "10.png", "A.png", "a.png")
    )


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    root = fill(tmp_path, {"train/a": 2, "train/b": 2})
    for hidden in (".ipynb_checkpoints/0.png", "train/.cache/0.png", "train/a/._0.png", "__MACOSX/a/0.png"):
        draw(root / hidden, 77)
    assert open_dataset(root).counts["train"] == (2, 2)


def test_a_class_that_is_called_train_is_a_class(tmp_path):
    dataset = open_dataset(fill(tmp_path, {"car": 5, "bus": 5, "train": 5}))
    assert dataset.classes == ("bus", "car", "train")


def test_part_folders_are_found_in_any_case(tmp_path):
    assert open_dataset(fill(tmp_path, {"Train/a": 2, "Train/b": 2, "TEST/a": 1})).counts["test"] == (1, 0)


BAD = {
    "no images": ({}, {"a": 0}, "no images; looked for .png, .jpg, .jpeg"),
    "one class": ({"train/a": 3}, {}, "only one class (a)"),
    "one image": ({"train/a": 3, "train/b": 1}, {}, "class b: 1 training image; at least 2"),
    "one image, plain": ({"a": 3, "b": 1}, {}, "class b: 1 training image; at least 2"),
    "loose": ({".": 3}, {}, "3 images lie outside class folders"),
    "loose in train": ({"train": 3}, {}, "train/0.png: 3 images lie outside class folders"),
    "unlabelled test": ({"train/a": 2, "train/b": 2, "test": 2}, {}, "test/0.png: 2 images lie outside"),
    "too deep": ({"a/x": 2, "b/x": 2}, {}, "a/x/0.png: 4 images lie deeper"),
    "empty class": ({"train/a": 2, "train/b": 2}, {"train/c": 0}, "train/c: no images in this folder"),
    "empty test": ({"train/a": 2, "train/b": 2}, {"test": 0}, "test/: no images"),
    "strange class": ({"train/a": 2, "train/b": 2, "val/c": 1}, {}, "val/c: no such class in train/"),
    "no train": ({"val/a": 2, "test/a": 2}, {}, "has test/ and val/ but no train/"),
    "two vals": ({"train/a": 2, "val/a": 2, "valid/a": 2}, {}, "has both val/ and valid/; keep one"),
}


@pytest.mark.parametrize(("counts", "empty", "words"), BAD.values(), ids=BAD.keys())
def test_a_folder_that_cannot_be_used_is_refused_in_words(tmp_path, counts, empty, words):
    fill(tmp_path, counts)
    for folder in empty:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_status == 2


def test_all_findings_are_told_at_once(tmp_path):
    fill(tmp_path, {"train/a": 2, "train/b": 2, "train": 1, "val/x": 1, "test/y": 1})
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    assert len(caught.value.problems) == 3


def test_a_missing_folder_and_a_file_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")
    draw(tmp_path / "one.png", 1)
    with pytest.raises(DataError, match="is a file; give the folder"):
        open_dataset(tmp_path / "one.png")


@pytest.mark.parametrize("share", [-0.1, 1, float("nan")])
def test_a_test_share_out_of_range_is_refused(tmp_path, share):
    with pytest.raises(ConfigError, match="test_share"):
        open_dataset(fill(tmp_path, {"a": 3, "b": 3}), test_share=share)


def test_arrays_cannot_be_changed_and_progress_is_told(tmp_path):
    seen = []
    dataset = open_dataset(
        fill(tmp_path, {"a": 3, "b": 3}), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(count, 6) for count in range(1, 7)]
    with pytest.raises(ValueError, match="read-only"):
        dataset.labels[0] = 1


@pytest.mark.real
@pytest.mark.skipif(REAL is None, reason="AUTOFREEZE_TEST_DATA is not set")
@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("trashnet6", (319, 396, 327, 469, 383, 110), 505),
        ("cifar10s", (200,) * 10, 500),
        ("hymenoptera2", (123, 121), 153),
        ("covidxray3", (104, 68, 69), 65),
    ],
)
def test_real_folders_are_read_with_timms_own_numbers(name, train, test):
    root = (Path(REAL) / name).resolve()
    dataset = open_dataset(root)
    assert dataset.counts["train"] == train
    assert len(dataset.test) == test
    reader = ReaderImageFolder(str(root / "train"))
    assert dict(zip(dataset.classes, range(99), strict=False)) == reader.class_to_idx
    assert [(str(dataset.file(i)), dataset.labels[i]) for i in dataset.train] == reader.samples
