"""What folders, CSV files and timm's readers are taken to say."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autofreeze.data import open_dataset
from autofreeze.errors import DataError
from autofreeze.sources import list_source
from autofreeze.sources.listing import path_key
from autofreeze.sources.reader import _Pixels
from autofreeze.sources.table import list_table


def touch(root: Path, *paths: str) -> Path:
    """Write files that are told apart by their bytes alone: listing and hashing decode nothing."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def table(root: Path, *lines: str, name: str = "labels.csv", end: str = "\n") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes("".join(line + end for line in lines).encode())
    return root / name


def problems_of(data) -> str:
    with pytest.raises(DataError) as caught:
        list_source(data)
    assert caught.value.exit_status == 2
    assert str(data) in str(caught.value)
    return "\n".join(caught.value.problems)


# CSV files


def test_a_csv_of_a_folders_images_says_what_the_folder_says(tmp_path):
    names = [
        f"{part}/{pet}/{n}.png" for part in ("train", "test") for pet in ("dog", "Cat") for n in (10, 9, 1)
    ]
    folder = open_dataset(touch(tmp_path, *names))
    rows = [f"{name.split('/')[1]},{name},{name.split('/')[0]}" for name in names]
    listed = open_dataset(table(tmp_path, "label,path,split", *rows))
    assert listed.paths == folder.paths
    assert listed.classes == folder.classes == ("Cat", "dog")
    assert listed.fingerprint == folder.fingerprint
    assert listed.name == "labels"
    assert listed.layout == "CSV file, train and test"


def test_without_splits_a_test_part_is_held_out_as_for_class_folders(tmp_path):
    names = [f"{pet}/{n}.png" for pet in ("cat", "dog") for n in range(10)]
    folder = open_dataset(touch(tmp_path / "pets", *names), seed=3)
    rows = [f"pets/{name},{name[:3]}," for name in names]
    for header, ends in (("path,label", 2), ("path,label,split", 3)):
        cut = [",".join(row.split(",")[:ends]) for row in rows]
        listed = open_dataset(table(tmp_path, header, *cut), seed=3)
        assert listed.counts == folder.counts == {"train": (8, 8), "val": (0, 0), "test": (2, 2)}
        assert {listed.content[i] for i in listed.test} != set()
        assert listed.layout == "CSV file, test part held out"


@pytest.mark.parametrize(
    ("word", "part"),
    [("train", "train"), ("val", "val"), ("valid", "val"), ("Validation", "val"), ("TEST", "test")],
)
def test_split_words_are_those_of_folders_in_any_case(tmp_path, word, part):
    touch(tmp_path, "a.png", "b.png")
    listing = list_table(table(tmp_path, "path,label,split", "a.png,x,train", f"b.png,y,{word}"))
    assert listing.parts == ("train", part)


def test_groups_become_subjects(tmp_path):
    touch(tmp_path, *(f"{n}.png" for n in range(12)))
    rows = [f"{n}.png,{'ab'[n % 2]},patient {n // 3}" for n in range(12)]
    dataset = open_dataset(table(tmp_path, "path,label,group", *rows))
    assert dataset.subjects.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert dataset.subject_names[3] == "patient 3"
    assert dataset.layout == "CSV file, test part held out by subject"
    assert open_dataset(table(tmp_path, "path,label", *(r.rpartition(",")[0] for r in rows))).subjects is None


def test_an_empty_group_column_names_no_subjects(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    assert list_table(table(tmp_path, "path,label,group", "a.png,x,", "b.png,y,")).subjects is None


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_quotes_marks_and_line_ends_of_any_editor_are_read(tmp_path, start, end):
    touch(tmp_path, "a, b.png", 'sa"id.png', "ü/c.png")
    rows = ('"a, b.png","one, two"', '"sa""id.png",x', "", " ./ü/c.png , x ")
    listing = list_table(table(tmp_path, f"{start}Path, Label", *rows, end=end))
    assert dict(zip(listing.paths, (listing.classes[i] for i in listing.labels), strict=True)) == {
        "a, b.png": "one, two",
        'sa"id.png': "x",
        "ü/c.png": "x",
    }


def test_the_order_of_rows_does_not_matter(tmp_path):
    touch(tmp_path, *(f"{n}.png" for n in range(8)))
    rows = [f"{n}.png,{'ab'[n % 2]}" for n in range(8)]
    one = open_dataset(table(tmp_path, "path,label", *rows))
    two = open_dataset(table(tmp_path, "path,label", *rows[::-1]))
    assert one.fingerprint == two.fingerprint
    assert one.paths == two.paths


def test_image_files_of_any_ending_may_be_named(tmp_path):
    touch(tmp_path, "a.tiff", "b")
    assert list_table(table(tmp_path, "path,label", "a.tiff,x", "b,y")).paths == ("a.tiff", "b")


BAD_TABLES = {
    "nothing": ([], "line 1: got nothing; must name the columns, separated by commas: path,label[,split]"),
    "no rows": (["path,label"], "no rows below the line that names the columns"),
    "no header": (["a.png,x", "b.png,y"], "line 1: got a.png,x; must name the columns"),
    "semicolons": (["path;label", "a.png;x"], "got path;label; must name the columns, separated by commas"),
    "no label column": (["path,split", "a.png,train"], "line 1: no column label"),
    "no path column": (["file,label", "a.png,x"], "line 1: no column path"),
    "unknown column": (["path,label,spilt", "a.png,x,train"], "column spilt: unknown; did you mean split?"),
    "unlike any": (["path,label,age", "a.png,x,3"], "column age: unknown; known: path, label, split, group"),
    "nameless column": (["path,label,", "a.png,x,"], "line 1: column without a name: unknown"),
    "column twice": (["path,label,label", "a.png,x,x"], "line 1: column label: there is more than one"),
    "missing file": (["path,label", "a.png,x", "c.png,y"], "line 3: c.png: no such file below the CSV"),
    "backslashes": (["path,label", "d\\e.png,y"], "d\\e.png: no such file; write folders with forward"),
    "a folder": (["path,label", "d,y"], "line 2: d: is a folder; name an image"),
    "no path": (["path,label", ",y"], "line 2: no path"),
    "no label": (["path,label", "a.png, "], "line 2: a.png: no label"),
    "same twice": (["path,label", "a.png,x", "b.png,y", "a.png,x"], "line 4: a.png: is in line 2 as well"),
    "two labels": (
        ["path,label", "a.png,x", "d/../a.png,y"],
        "line 3: a.png: is in line 2 as well with the label x; keep one",
    ),
    "unknown split": (["path,label,split", "a.png,x,trian"], "split trian: unknown; did you mean train"),
    "half the splits": (["path,label,split", "a.png,x,train", "b.png,x,"], "line 3: no split, and others"),
    "no train": (["path,label,split", "a.png,x,val", "b.png,x,test"], "no row has the split train"),
    "half the groups": (["path,label,group", "a.png,x,p", "b.png,x,"], "line 3: no group, and others have"),
    "above": (["path,label", "../a.png,x"], "line 2: ../a.png: leads out of the folder of the CSV file"),
    "above by the way": (["path,label", "d/../../a.png,x"], "line 2: ../a.png: leads out of the folder"),
    "absolute": (["path,label", "/etc/hostname,x"], "line 2: /etc/hostname: leads out of the folder"),
    "too few": (["path,label,group", "a.png,x"], "line 2: 2 values for 3 columns"),
    "too many": (["path,label", "a.png,one, two"], "3 values for 2 columns; quote a value that holds"),
    "open quote": (["path,label", "a.png,x", '"b.png,y'], "line 3: is no CSV"),
    "stray quote": (["path,label", '"a"b.png,y'], "line 2: is no CSV"),
    "null byte": (["path,label", "a\0.png,y"], "line 2: a\0.png: no such file"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "words"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_faulty_csv_is_refused_with_the_line(tmp_path, lines, words):
    touch(tmp_path, "a.png", "b.png", "d/e.png")
    assert words in problems_of(table(tmp_path, *lines))


def test_lines_are_those_of_the_file_where_values_hold_line_ends(tmp_path):
    touch(tmp_path, "a.png")
    assert "line 5: c.png: no such file" in problems_of(
        table(tmp_path, "path,label", 'a.png,"two', 'lines"', "", "c.png,x")
    )


def test_a_csv_that_is_not_utf8_is_refused_with_the_line(tmp_path):
    (tmp_path / "labels.csv").write_bytes("path,label\na.png,x\nbär.png,y\n".encode("latin-1"))
    assert problems_of(tmp_path / "labels.csv") == "line 3: is not UTF-8; save the file as UTF-8"


def test_all_faults_of_a_csv_are_told_at_once_and_in_order(tmp_path):
    touch(tmp_path, "a.png")
    lines = [
        "path,label,split,group,age",
        "a.png,,train,p,3",
        "a.png,x,trial,,3",
        "b.png,x,train,p,3",
        "a.png",
        '"a".png',
        "c.png,x,train,p,3",
    ]
    told = problems_of(table(tmp_path, *lines)).splitlines()
    lines = [1, 2, 3, 3, 3, 4, 5, 6]
    assert [line.split(":")[0] for line in told] == [f"line {line}" for line in lines]


def test_ten_faults_are_named_and_the_rest_counted(tmp_path):
    told = problems_of(table(tmp_path, "path,label", *(f"{n}.png,x" for n in range(1234)))).splitlines()
    assert told[9] == "line 11: 9.png: no such file below the CSV file's folder"
    assert told[10:] == ["and 1,224 more"]


def test_a_missing_csv_is_told(tmp_path):
    assert problems_of(tmp_path / "labels.csv") == "no such file; check the path"


def test_a_folder_whose_name_ends_in_csv_is_a_folder(tmp_path):
    touch(tmp_path / "pets.csv", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    assert open_dataset(tmp_path / "pets.csv").classes == ("a", "b")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["1.png,a,train", "2.png,a,train"], "only one class (a)"),
        (["1.png,a,train", "2.png,a,train", "3.png,b,train"], "class b: 1 training image; at least 2"),
        (["1.png,a,train", "2.png,a,train", "3.png,b,test"], "class b: 0 training images; at least 2"),
    ],
)
def test_classes_that_cannot_be_trained_are_told_with_the_csv(tmp_path, rows, words):
    touch(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, "path,label,split", *rows)
    with pytest.raises(DataError) as caught:
        open_dataset(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


# Links


@pytest.fixture
def outside(tmp_path):
    return touch(tmp_path / "outside", "a/1.png", "a/2.png", "1.png")


def test_links_within_a_folder_are_followed(tmp_path):
    root = touch(tmp_path / "pets", ".git/annex/1", "a/2.png", "b/1.png", "b/2.png", "c/1.png", "c/2.png")
    (root / "a/1.png").symlink_to(root / ".git/annex/1")
    (root / "d").symlink_to("c", target_is_directory=True)
    dataset = open_dataset(root)
    assert dataset.classes == ("a", "b", "c", "d")
    assert len(dataset) == 8
    rows = [f"{name},{name[0]}" for name in dataset.paths]
    assert open_dataset(table(root, "path,label", *rows)).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("link", ["a/3.png", "c", "train", ".hidden"])
def test_a_folder_with_a_link_that_leads_out_is_refused_and_the_link_named(tmp_path, outside, link):
    root = touch(tmp_path / "pets", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    target = outside / "1.png" if link.endswith("png") else outside
    (root / link).symlink_to(target)
    assert (
        problems_of(root)
        == f"{link}: is a link that leads out of the folder, to {target}; put a copy in its place"
    )


def test_a_link_that_leads_out_is_refused_before_anything_walks_through_it(tmp_path):
    root = touch(tmp_path / "pets", "a/1.png", "b/1.png")
    (root / "everything").symlink_to("/")
    assert "everything: is a link that leads out" in problems_of(root)


def test_a_link_back_to_a_folder_that_it_lies_in_is_refused(tmp_path):
    root = touch(tmp_path / "pets", "a/1.png", "b/1.png")
    (root / "a/again").symlink_to(root)
    assert problems_of(root) == "a/again: is a link to a folder that it lies in; remove it"


def test_links_that_are_no_images_may_lead_anywhere(tmp_path, outside):
    root = touch(tmp_path / "pets", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (root / "python").symlink_to(sys.executable)
    assert len(open_dataset(root)) == 4


def test_a_csv_whose_images_lie_behind_links_that_lead_out_is_refused(tmp_path, outside):
    root = touch(tmp_path / "pets", "a.png")
    (root / "linked.png").symlink_to(outside / "1.png")
    (root / "away").symlink_to(outside)
    (root / "gone.png").symlink_to(root / "nowhere")
    told = problems_of(table(root, "path,label", "linked.png,x", "away/a/1.png,x", "gone.png,x", "a.png,x"))
    assert told.splitlines() == [
        "line 2: linked.png: is a link that leads out of the CSV file's folder; put a copy in its place",
        "line 3: away/a/1.png: is a link that leads out of the CSV file's folder; put a copy in its place",
        "line 4: gone.png: is a link to a file that is not there",
    ]


def test_the_folder_itself_may_be_reached_by_a_link(tmp_path):
    root = touch(tmp_path / "pets", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    table(root, "path,label", *(f"{name}.png,{name[0]}" for name in ("a/1", "a/2", "b/1", "b/2")))
    (tmp_path / "link").symlink_to(root)
    assert (
        open_dataset(tmp_path / "link").fingerprint == open_dataset(tmp_path / "link/labels.csv").fingerprint
    )


@pytest.mark.parametrize("digits", [4300, 4301, 9000])
def test_names_of_any_number_of_digits_have_an_order(digits):
    names = ["9" * digits, "1" * digits, "a"]
    assert sorted(names, key=path_key)[:2] == ["1" * digits, "9" * digits]


# timm's readers


def draw(root: Path, counts: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 255, (6, 5, 3), np.uint8)).save(root / folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def parted(tmp_path_factory):
    """Class folders in train/, val/ and test/."""
    counts = {"train/cat": 3, "train/dog": 4, "val/cat": 2, "val/dog": 1, "test/dog": 2}
    return draw(tmp_path_factory.mktemp("parted") / "pets", counts)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Class folders alone."""
    return draw(tmp_path_factory.mktemp("plain") / "pets", {"cat": 10, "dog": 10})


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
    """The package ``datasets``, told to stay off the network and to cache in a folder of the tests."""
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return datasets


def by_content(dataset) -> dict:
    """What a data set says of each image, whatever the numbering."""
    part_of = {image: part for part in ("train", "val", "test") for image in dataset.part(part)}
    return {
        dataset.content[image]: (dataset.classes[dataset.labels[image]], part_of[image])
        for image in range(len(dataset))
    }


@pytest.mark.parametrize("prefix", ["hfds/", "torch/image_folder@"])
@pytest.mark.parametrize("layout", ["parted", "plain"])
def test_readers_of_a_local_folder_say_what_the_folder_says(hub, request, prefix, layout):
    root = request.getfixturevalue(layout)
    folder, read = open_dataset(root, seed=5), open_dataset(f"{prefix}{root}", seed=5)
    assert by_content(read) == by_content(folder)
    assert read.classes == folder.classes
    assert read.name == "pets"
    assert ("train, val" in read.layout or "train, validation" in read.layout) == (layout == "parted")
    assert ("test part held out" in read.layout) == (layout == "plain")
    same = {content: image for image, content in enumerate(folder.content)}
    for image in range(len(read)):
        with read.open_image(image) as one, folder.open_image(same[read.content[image]]) as two:
            assert np.array_equal(np.asarray(one), np.asarray(two))


def test_encoded_bytes_inside_a_table_are_hashed_as_the_file_is(hub, plain, tmp_path):
    folder = hub.load_dataset(str(plain), split="train")
    folder.map(lambda row: row, load_from_cache_file=False)
    folder.to_parquet(str(tmp_path / "train.parquet"))
    assert by_content(open_dataset(f"hfds/{tmp_path}")) == by_content(open_dataset(plain))


def saved(hub, tmp_path, features=None, **columns) -> str:
    """Write a table with an image column as a local data set."""
    n = len(next(iter(columns.values())))
    images = [Image.fromarray(np.full((4, 4, 3), shade, np.uint8)) for shade in range(n)]
    columns = {key: images if value is None else value for key, value in columns.items()}
    columns.setdefault("image", images)
    kinds = {key: hub.Image() for key, value in columns.items() if value is images} | (features or {})
    table = hub.Dataset.from_dict(columns)
    for key, kind in kinds.items():
        table = table.cast_column(key, kind)
    table.to_parquet(str(tmp_path / "train.parquet"))
    return f"hfds/{tmp_path}"


def test_labels_that_are_words_are_classes(hub, tmp_path):
    dataset = open_dataset(saved(hub, tmp_path, label=["b", "a", "b", "a", "a10", "a9", "a10", "a9"]))
    assert dataset.classes == ("a", "a9", "a10", "b")
    assert [dataset.classes[label] for label in dataset.labels[:3]] == ["b", "a", "b"]


def test_names_of_classes_that_no_image_has_are_left_out(hub, tmp_path):
    kind = hub.ClassLabel(names=["ape", "bee", "cat"])
    dataset = open_dataset(saved(hub, tmp_path, {"kind": kind}, kind=[2, 0, 2, 0]))
    assert dataset.classes == ("ape", "cat")
    assert dataset.labels.tolist() == [1, 0, 1, 0]


def test_a_test_split_without_labels_is_passed_over_and_said(hub, tmp_path):
    kind = hub.ClassLabel(names=["ape", "bee"])
    saved(hub, tmp_path, {"label": kind}, label=[0, 1, 0, 1])
    (tmp_path / "train.parquet").rename(tmp_path / "labelled")
    saved(hub, tmp_path, {"label": kind}, label=[-1, -1])
    (tmp_path / "train.parquet").rename(tmp_path / "test.parquet")
    (tmp_path / "labelled").rename(tmp_path / "train.parquet")
    dataset = open_dataset(f"hfds/{tmp_path}")
    assert dataset.counts == {"train": (2, 2), "val": (0, 0), "test": (0, 0)}
    assert dataset.layout == "Hugging Face data set, train and test; test without labels, passed over"


BAD_HFDS = {
    "no labels": ({"age": [1.5, 2.5]}, "no column of classes, and none is called label; columns: age, image"),
    "no images": (
        {"image": ["x", "y"], "label": ["a", "b"]},
        "no column of images, and none is called",
    ),
    "some without": ({"label": ["a", "b", "a", "b", None]}, "train: 1 images have no label"),
}


@pytest.mark.parametrize(("columns", "words"), BAD_HFDS.values(), ids=BAD_HFDS)
def test_a_hugging_face_data_set_that_cannot_be_used_is_refused(hub, tmp_path, columns, words):
    assert words in problems_of(saved(hub, tmp_path, **columns))


def test_several_columns_of_classes_of_which_none_is_called_label_are_refused(hub, tmp_path):
    kinds = {name: hub.ClassLabel(names=["x", "y"]) for name in ("fine", "coarse")}
    name = saved(hub, tmp_path, kinds, fine=[0, 1], coarse=[1, 0])
    assert "2 columns of classes (fine, coarse), and none is called label" in problems_of(name)


def test_an_empty_cell_where_an_image_should_be_is_named(hub, tmp_path):
    name = saved(hub, tmp_path, {"image": hub.Image()}, label=["a", "b", "a", "b"], image=None)
    table = hub.Dataset.from_parquet(str(tmp_path / "train.parquet"))
    rows = [{**row, "image": None if place == 2 else row["image"]} for place, row in enumerate(table)]
    hub.Dataset.from_list(rows, features=table.features).to_parquet(str(tmp_path / "train.parquet"))
    with pytest.raises(DataError, match="train/2: holds no image"):
        open_dataset(name)


def test_a_data_set_that_cannot_be_downloaded_is_told_in_one_line(hub):
    told = problems_of("hfds/nobody/nothing")
    assert told.startswith("cannot be had: ")
    assert "hfds/FOLDER" in told
    assert len(told.splitlines()) == 1


def test_without_the_package_datasets_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("autofreeze.sources.reader.find_spec", lambda name: None)
    assert "pip install 'autofreeze[hf]'" in problems_of(f"hfds/{tmp_path}")


def write_cifar10(root: Path) -> Path:
    """Write CIFAR-10's own files with few images."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        batch = {"data": rng.integers(0, 255, (4, 3072), np.uint8), "labels": [0, 1, 0, 1]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile"]}))
    return root


def test_images_that_are_arrays_are_hashed_by_their_pixels(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    dataset = open_dataset(f"torch/cifar10@{write_cifar10(tmp_path)}")
    assert dataset.classes == ("airplane", "automobile")
    assert dataset.counts == {"train": (10, 10), "val": (0, 0), "test": (2, 2)}
    assert len(set(dataset.content)) == 24
    assert dataset.paths[:2] == ("train/0", "train/1")
    own = CIFAR10(tmp_path, train=False)
    with dataset.open_image(int(dataset.test[1])) as image:
        assert np.array_equal(np.asarray(image), own.data[1])
    with pytest.raises(DataError, match="is not a file"):
        dataset.file(0)
    assert open_dataset(f"torch/cifar10@{tmp_path}").fingerprint == dataset.fingerprint


def test_pixels_of_another_shape_or_mode_are_another_image():
    # A list of pairs is all that is asked of a data set of torchvision.
    raw = bytes(range(12))
    images = [
        Image.frombytes(mode, size, raw) for mode, size in (("L", (3, 4)), ("L", (4, 3)), ("RGB", (2, 2)))
    ]
    read = _Pixels([(image, 0) for image in images])
    assert len({read.digest(image) for image in range(3)}) == 3


BAD_READERS = {
    "unknown": ("torch/cifar11", "no such data set; did you mean cifar10"),
    "nothing": ("torch/", "names no data set; give torch/NAME"),
    "no folder": ("torch/image_folder", "give the folder: torch/image_folder@FOLDER"),
    "missing folder": ("torch/image_folder@/no/where", "no such folder: /no/where"),
    "archive": ("torch/imagenet@{}", "cannot be had: The archive"),
    "hfids": ("hfids/x", "hfids/ streams its images, and a search reads them many times"),
    "tfds": ("tfds/x", "give hfds/NAME, torch/NAME, a folder or a CSV file"),
    "wds": ("wds/x", "wds/ streams its images"),
}


@pytest.mark.parametrize(("name", "words"), BAD_READERS.values(), ids=BAD_READERS)
def test_a_reader_that_cannot_be_used_is_refused(tmp_path, name, words):
    assert words in problems_of(name.format(tmp_path))


def test_a_folder_that_is_called_as_a_reader_is_a_folder(tmp_path, monkeypatch):
    touch(tmp_path / "torch/pets", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    monkeypatch.chdir(tmp_path)
    assert open_dataset("torch/pets").classes == ("a", "b")


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_names_that_are_no_utf_8_are_told_before_anything_is_read(tmp_path):
    photos = touch(tmp_path / "photos", "cat/a.png", "dog/b.png")
    (photos / "dog").rename(photos / "\udcff")
    assert "class \udcff: has a name that is no UTF-8; rename it" in problems_of(photos)
    (photos / "\udcff").rename(photos / "dog")
    odd = photos.rename(tmp_path / "\udcfe")
    assert "the folder itself: has a name that is no UTF-8" in problems_of(odd)
