"""Planted faults are all found, nothing else is, and a search says so before it trains."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autofreeze.checking import check, judge
from autofreeze.checks.leaks import near_duplicates
from autofreeze.cli import main
from autofreeze.data import open_dataset
from autofreeze.errors import ConfigError, DataError
from autofreeze.findings import DataReport
from autofreeze.survey import survey


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture with light and dark places, and a little noise."""
    rng = np.random.default_rng([7, seed])
    places = Image.fromarray(rng.integers(20, 200, (5, 6, 3), np.uint8))
    smooth = np.asarray(places.resize(size, Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(np.clip(smooth + rng.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


# A table of images, as a CSV file lists them


def write_table(rows: list[dict[str, str]], file: Path) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["path", "label", "split", "group"])
        writer.writeheader()
        writer.writerows(rows)
    return file


def made_up_rows(folder: Path, *, train: int = 24, test: int = 14, size=(120, 90)) -> list[dict[str, str]]:
    """Different scenes of two classes, each of a subject of its own."""
    rows = []
    for number in range(2 * (train + test)):
        path = folder / f"{number:03}.{('jpg', 'png')[number % 3 == 0]}"
        scene(number, size).save(path)
        split = "train" if number < 2 * train else "test"
        label = ("ant", "bee")[number % 2]
        rows.append({"path": path.name, "label": label, "split": split, "group": path.name})
    return rows


def real_rows(source: Path, folder: Path) -> list[dict[str, str]]:
    rows = []
    for path in sorted(source.glob("t*/*/*.jpg")):
        split, label = path.parts[-3:-1]
        copy = folder / f"{split}-{path.name}"
        copy.write_bytes(path.read_bytes())
        rows.append({"path": copy.name, "label": label, "split": split, "group": copy.name})
    return rows


def truncated(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


HARMS = (
    truncated,
    lambda raw: raw[:-30],
    lambda raw: b"",
    lambda raw: b"<html>404</html>",
    lambda raw: bytes(len(raw)),
)  # fmt: skip
"""Turned upon the bytes of a file, each makes it unreadable."""


def copy_of(image: Image.Image, way: int) -> bytes:
    """Encode a near duplicate: coarser, smaller, or larger and coarser."""
    width, height = image.size
    if way == 1:
        image = image.resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    if way == 2:
        image = image.resize((width * 3 // 2, height * 3 // 2), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=(50, 90, 80)[way])
    return stream.getvalue()


def plant(rows: list[dict[str, str]], folder: Path) -> dict[str, set[tuple[str, ...]]]:
    """Plant 10 unreadable files, 30 near duplicates, a subject in two parts, a class without test images.

    Returns:
        Kind of finding -> the cases that are to be found.
    """
    train = [row for row in rows if row["split"] == "train"]
    test = [row for row in rows if row["split"] == "test"]
    near = set()
    for number, row in enumerate(train[:30]):
        copy = f"copy-{number:02}.jpg"
        with Image.open(folder / row["path"]) as image:
            (folder / copy).write_bytes(copy_of(image, number % 3))
        rows.append({"path": copy, "label": row["label"], "split": "test", "group": copy})
        near.add((copy, row["path"]))
    for row in train[30:33]:
        row["label"] = "wasp"
    train[33]["group"] = test[0]["group"] = "anna"
    bad = [*train[34:39], *test[1:6]]
    for number, row in enumerate(bad):
        file = folder / row["path"]
        file.write_bytes(HARMS[number % len(HARMS)](file.read_bytes()))
    return {
        "unreadable": {(row["path"],) for row in bad},
        "near_duplicates": near,
        "straddling_subjects": {tuple(sorted([train[33]["path"], test[0]["path"]]))},
        "missing_from_test": set(),
    }


def found(checked) -> dict[str, set[tuple[str, ...]]]:
    """Kind of finding -> its cases; of unreadable images without the reason."""
    return {
        finding.kind: {tuple(name.partition(": ")[0] for name in case) for case in finding.images}
        for finding in checked.findings
    }


@pytest.fixture
def planted(tmp_path):
    """The table, and what was planted in it."""
    (tmp_path / "data").mkdir()
    rows = made_up_rows(tmp_path / "data")
    expected = plant(rows, tmp_path / "data")
    return write_table(rows, tmp_path / "data" / "images.csv"), expected


def test_planted_faults_are_all_found_and_nothing_else(planted, cache):
    table, expected = planted
    checked = check(table, cache_folder=cache, image_size=64)
    told = found(checked)
    assert {kind: told.pop(kind) for kind in expected} == expected
    # What follows from how small this set is, and from the class that was planted with three images.
    assert set(told) == {"few_in_train", "class_ratio", "small_test"}
    [missing] = [finding for finding in checked.findings if finding.kind == "missing_from_test"]
    assert "no image of wasp" in missing.sentence
    [subject] = [finding for finding in checked.findings if finding.kind == "straddling_subjects"]
    assert "1 subject (anna) has" in subject.sentence


def test_sound_images_give_no_finding(tmp_path, cache):
    rows = made_up_rows(tmp_path, train=30, test=200, size=(40, 36))
    table = write_table(rows, tmp_path / "images.csv")
    assert check(table, cache_folder=cache, image_size=64).findings == ()


@pytest.mark.real
def test_faults_planted_among_real_photos_are_all_found_and_nothing_else(real_data, tmp_path, cache):
    rows = real_rows(real_data / "hymenoptera2", tmp_path)
    expected = plant(rows, tmp_path)
    table = write_table(rows, tmp_path / "images.csv")
    checked = check(table, cache_folder=cache, image_size=64)
    told = found(checked)
    assert {kind: told.pop(kind) for kind in expected} == expected
    assert set(told) == {"few_in_train", "class_ratio", "small_test"}


@pytest.mark.real
@pytest.mark.parametrize(("name", "most"), [("hymenoptera2", 0), ("covidxray3", 1)])
def test_real_photos_that_look_alike_do_not_drown_the_reader(real_data, cache, name, most):
    dataset = open_dataset(real_data / name)
    found = [*near_duplicates(dataset, survey(dataset, cache_folder=cache))]
    assert sum(len(finding.images) for finding in found) <= most


# One fault at a time, in folders


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """train/ and test/ with 20 and 12 scenes for each of two classes."""
    root = tmp_path_factory.mktemp("scenes")
    for number in range(64):
        part = "train" if number < 40 else "test"
        path = root / part / ("ant", "bee")[number % 2] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(number).save(path)
    return root


@pytest.fixture
def folder(scenes, tmp_path):
    """A copy of the scenes, to do harm to."""
    return Path(shutil.copytree(scenes, tmp_path / "data"))


def flat(root, name, colour=(9, 9, 9)):
    Image.new("RGB", (80, 80), colour).save(root / name)


def deep(root, name, most):
    ramp = np.linspace(0, most, 80 * 80).astype(np.uint16).reshape(80, 80)
    noise = np.random.default_rng(1).integers(0, most // 4, ramp.shape, np.uint16)
    Image.fromarray(ramp + noise).save(root / name)


def remove(root, pattern):
    for path in root.glob(pattern):
        path.unlink()


def copied(root, source, *targets):
    for target in targets:
        (root / target).write_bytes((root / source).read_bytes())


FAULTS = {
    "the same bytes in train and test": (
        lambda root: copied(root, "train/ant/002.png", "test/ant/again.png", "test/ant/twice.png"),
        "exact_duplicates", "warning", "2 of test in train",
        {("test/ant/again.png", "test/ant/twice.png", "train/ant/002.png")},
    ),
    "the same bytes twice in train": (
        lambda root: copied(root, "train/ant/002.png", "train/ant/again.png"),
        "repeated", "note", "1 training image repeats another",
        {("train/ant/002.png", "train/ant/again.png")},
    ),
    "the same bytes in two classes": (
        lambda root: copied(root, "train/ant/002.png", "train/bee/again.png"),
        "label_conflicts", "warning", "1 image is in two classes",
        {("train/ant/002.png", "train/bee/again.png")},
    ),
    "flat images": (
        lambda root: [flat(root, "train/ant/f.png"), flat(root, "test/ant/g.png", (9, 8, 9))],
        "flat", "warning", "2 images are one flat colour",
        {("train/ant/f.png",), ("test/ant/g.png",)},
    ),
    "a class without validation images": (
        lambda root: [(root / "val/ant").mkdir(parents=True), flat(root, "val/ant/f.png")],
        "missing_from_val", "warning", "val has no image of bee", set(),
    ),
    "a class with few test images": (
        lambda root: remove(root, "test/bee/04*.png"),
        "few_in_test", "warning", "(bee 7): one image moves the score of a class by up to 14 points", set(),
    ),
    "a class with fewer images than folds": (
        lambda root: [remove(root, "train/bee/01*.png"), remove(root, "train/bee/02*.png"),
                      remove(root, "train/bee/03*.png"), remove(root, "train/bee/001.png")],
        "few_in_train", "warning", "fewer than 5 training images (bee 4)", set(),
    ),
    "one class much larger": (
        lambda root: remove(root, "train/bee/0[123]*.png"),
        "class_ratio", "note", "class ant has 4.0 times the training images of class bee (20 and 5)", set(),
    ),
    "no test part": (
        lambda root: shutil.rmtree(root / "test"), "no_test", "note", "there is no test part", set(),
    ),
    "a small test part": (
        lambda root: None,
        "small_test", "warning", "24 images: an accuracy of 90 % is measured to ± 12.0", set(),
    ),
    "one small image": (
        lambda root: Image.new("L", (31, 300), 50).save(root / "train/ant/s.png"),
        "small_images", "note", "1 of 65 images has a short side of 31 px, less than half of 64",
        {("train/ant/s.png",)},
    ),
    "one large image": (
        lambda root: Image.new("1", (10_000, 9_000), 1).save(root / "train/ant/l.png"),
        "large_images", "note",
        "1 image has more than 89,478,485 pixels, up to 90,000,000: decoding one takes up to 1.08 GB",
        {("train/ant/l.png",)},
    ),
    "classes that look alike": (
        lambda root: [(part / "ant").rename(part / "Bee") for part in root.iterdir()],
        "alike_classes", "warning", "classes whose names look alike ('Bee', 'bee')", set(),
    ),
    "an accent written in two ways": (
        lambda root: [
            (part / name).rename(part / other)
            for part in root.iterdir()
            for name, other in (("ant", "\u00e1"), ("bee", "a\u0301"))
        ],
        "alike_classes", "warning", "classes whose names look alike", set(),
    ),
    "12 bits stored in 16": (
        lambda root: deep(root, "train/ant/d.png", 3200),
        "dark", "warning", "1 image of 16 bits uses at most 6.1 % of that range",
        {("train/ant/d.png",)},
    ),
    "16 bits": (
        lambda root: deep(root, "train/ant/d.png", 50_000),
        "deep", "note", "1 image has 16 bits per pixel",
        {("train/ant/d.png",)},
    ),
    "transparency": (
        lambda root: scene(99).convert("RGBA").save(root / "train/ant/a.png"),
        "transparent", "note", "1 image has transparency, which is dropped",
        {("train/ant/a.png",)},
    ),
    "printing inks": (
        lambda root: scene(99).convert("CMYK").save(root / "train/ant/c.jpg"),
        "colour_space", "note", "1 image has other colours than RGB",
        {("train/ant/c.jpg",)},
    ),
    "a few unreadable images": (
        lambda root: (root / "train/ant/002.png").write_text("no"),
        "unreadable", "warning", "1 of 64 images (1.6 %) cannot be read, and is left out",
        {("train/ant/002.png",)},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("harm", "kind", "severity", "words", "images"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_with_its_images(folder, cache, harm, kind, severity, words, images):
    harm(folder)
    checked = check(folder, cache_folder=cache, image_size=64, max_bad_images=0.05)
    [finding] = [finding for finding in checked.findings if finding.kind == kind]
    assert finding.severity == severity
    assert words in finding.sentence
    assert finding.way_out
    assert found(checked)[kind] == {tuple(sorted(case)) for case in images} or found(checked)[kind] == images


def test_flat_images_are_not_duplicates_of_each_other(folder, cache):
    for number in range(5):
        flat(folder, f"train/ant/f{number}.png", (number, 9, 9))
        flat(folder, f"test/ant/g{number}.png", (100 + number, 9, 9))
    assert "near_duplicates" not in found(check(folder, cache_folder=cache))


def test_equal_bytes_are_not_told_a_second_time_as_near_duplicates(folder, cache):
    copied(folder, "train/ant/002.png", "test/ant/again.png")
    assert "near_duplicates" not in found(check(folder, cache_folder=cache))


def test_a_near_duplicate_in_three_parts_is_told_once_for_each_that_is_scored(folder, cache):
    image = scene(2)
    for part, quality in (("val", 60), ("test", 80)):
        (folder / part / "ant").mkdir(parents=True, exist_ok=True)
        image.save(folder / part / "ant/copy.jpg", quality=quality)
    assert found(check(folder, cache_folder=cache))["near_duplicates"] == {
        ("val/ant/copy.jpg", "train/ant/002.png"),
        ("test/ant/copy.jpg", "train/ant/002.png"),
    }


def test_of_many_classes_the_smallest_are_named(tmp_path, cache, capsys):
    for number in range(60):
        (tmp_path / "data" / f"c{number:02}").mkdir(parents=True)
        for image in range(4 if number == 37 else 5):
            flat(tmp_path / "data", f"c{number:02}/{image}.png", (number, image, 0))
    checked = check(tmp_path / "data", cache_folder=cache, test_share=0.4)
    told = {finding.kind: finding.sentence for finding in checked.findings}
    assert (
        "(c37 2, c00 3, c01 3, c02 3, c03 3, c04 3, c05 3, c06 3, c07 3, c08 3 and 50 more)"
        in told["few_in_train"]
    )
    assert told["few_in_test"].count("c") < 40
    assert main(["check", str(tmp_path / "data"), "--cache", str(cache)]) == 0
    output = capsys.readouterr().out
    assert "c29" in output
    assert "c30" not in output
    assert "and 30 more (--json has all)" in output
    assert next(line for line in output.splitlines() if line.split()[:1] == ["all"]).split()[-1] == "299"


def test_findings_come_by_severity(planted, cache):
    checked = check(planted[0], cache_folder=cache)
    severities = [finding.severity for finding in checked.findings]
    assert severities == sorted(severities, key=("stops", "warning", "note").index)
    assert severities[0] == "stops"
    assert severities[-1] == "note"


# Unreadable images


def spoil(folder, count):
    """Make images unreadable, training images first."""
    paths = sorted(folder.rglob("*.png"), key=lambda path: ("train" not in path.parts, path.name))[:count]
    for number, path in enumerate(paths):
        path.write_bytes(HARMS[number % len(HARMS)](path.read_bytes()))
    return {path.relative_to(folder).as_posix() for path in paths}


@pytest.mark.parametrize(
    ("bad", "most", "stops"), [(3, 0.046, True), (3, 0.047, False), (1, 0, True), (0, 0, False)]
)
def test_the_share_of_unreadable_images_is_a_limit(folder, cache, bad, most, stops):
    names = spoil(folder, bad)
    checked = check(folder, cache_folder=cache, max_bad_images=most)
    assert checked.report().stops is stops
    assert checked.report().unreadable == bad
    if stops:
        with pytest.raises(DataError, match=f"{bad} of 64 images"):
            checked.usable()
    else:
        dataset = checked.usable()
        kept = {dataset.paths[image] for part in ("train", "test") for image in dataset.part(part)}
        assert kept == {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} - names
        assert len(dataset) == 64


def test_of_too_many_unreadable_images_ten_are_named_with_the_way_out(folder, cache):
    spoil(folder, 13)
    with pytest.raises(DataError) as caught:
        check(folder, cache_folder=cache).usable()
    assert caught.value.where.startswith("13 of 64 images (20 %) cannot be read, more than 1 %")
    assert len(caught.value.problems) == 12
    assert caught.value.problems[0].startswith("train/ant/000.png: ")
    assert caught.value.problems[-2] == "and 3 more"
    assert "--max-bad-images 0.204" in caught.value.problems[-1]


def test_a_class_that_is_lost_to_unreadable_images_stops(folder, cache):
    for path in sorted((folder / "train/bee").iterdir())[:-1]:
        path.write_bytes(b"")
    checked = check(folder, cache_folder=cache, max_bad_images=1)
    assert {"unreadable": "warning", "too_few_left": "stops"}.items() <= {
        finding.kind: finding.severity for finding in checked.findings
    }.items()
    with pytest.raises(DataError, match="class bee: 1 training image"):
        checked.usable()


def test_what_is_out_of_range_is_refused(folder):
    with pytest.raises(ConfigError) as caught:
        check(folder, max_bad_images=1.5, image_size=0)
    assert caught.value.problems == (
        "max_bad_images: got 1.5; must be a share, 0..1",
        "image_size: got 0; must be at least 1",
    )


def test_judging_reads_no_file(folder, cache):
    dataset = open_dataset(folder)
    seen = survey(dataset, cache_folder=cache)
    before = check(folder, cache_folder=cache).findings
    for path in folder.rglob("*.png"):
        path.unlink()
    assert judge(dataset, seen).findings == before


# The command


def test_the_command_tells_the_counts_and_every_finding(planted, cache, capsys):
    assert main(["check", str(planted[0]), "--cache", str(cache), "--max-bad-images", "0.2"]) == 0
    output, errors = capsys.readouterr()
    words = " ".join(output.split())
    for part in (
        "ant 19 27 46",
        "warning: 10 of 106 images (9.4 %) cannot be read, and are left out.",
        "30 of test like one of train",
        "1 subject (anna)",
        "test has no image of wasp",
        "and 27 more (--json names all)",
    ):
        assert part in words, part
    assert "Traceback" not in errors


def test_the_command_gives_programs_all_images(planted, cache, capsys):
    table, expected = planted
    assert main(["check", str(table), "--json", "--cache", str(cache)]) == 2
    output, _ = capsys.readouterr()
    report = DataReport.model_validate(json.loads(output))
    assert report.stops
    assert sum(map(sum, report.images.values())) == 96
    near = next(finding for finding in report.findings if finding.kind == "near_duplicates")
    assert set(near.images) == expected["near_duplicates"]


def test_the_status_says_whether_a_search_can_start(folder, cache, capsys):
    assert main(["check", str(folder), "--cache", str(cache)]) == 0
    spoil(folder, 3)
    assert main(["check", str(folder), "--cache", str(cache)]) == 2
    assert main(["check", str(folder), "--cache", str(cache), "--max-bad-images", "0.1"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["{folder}", "--max-bad-images", "2"], "max_bad_images: got 2; must be a share, 0..1"),
        (["{folder}", "--max-bad-images", "nan"], "max_bad_images: got nan"),
        (["{folder}", "--test-share", "1"], "test_share: got 1"),
        (["{folder}", "--image-size", "0"], "image_size: got 0"),
        (["{folder}", "--cache", "{folder}/train/ant/000.png"], "--cache FOLDER"),
        (["{folder}/test"], "only one class"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_told_in_plain_words(folder, tmp_path, capsys, given, words):
    remove(folder, "test/bee/*")
    (folder / "test/bee").rmdir()
    assert main(["check", *(word.format(folder=folder) for word in given)]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    [line] = [line for line in errors.splitlines() if not line.startswith("hashing images")]
    assert line.startswith("autofreeze: ")
    assert words in line


# Before a search


SEARCH = (
    "--confirm", "0",
    "--model", "test_resnet", "--from-scratch", "--image-size", "32", "--device", "cpu", "--trials", "1",
    "--epochs", "1", "--folds", "1",
)  # fmt: skip


def test_a_search_leaves_unreadable_images_out_and_says_so(folder, tmp_path, capsys):
    names = spoil(folder, 2)
    out = tmp_path / "run"
    assert main(["search", str(folder), *SEARCH, "--out", str(out), "--max-bad-images", "0.04"]) == 0
    _, errors = capsys.readouterr()
    assert "warning: 2 of 64 images (3.1 %) cannot be read, and are left out" in errors
    data = json.loads((out / "report.json").read_text())["data"]
    assert data["images"]["train"] == 38
    told = next(finding for finding in data["findings"] if finding["kind"] == "unreadable")
    assert told["cases"] == 2
    assert {case[0].partition(": ")[0] for case in told["images"]} == names


def test_a_search_with_too_many_unreadable_images_trains_nothing(folder, tmp_path, capsys):
    spoil(folder, 2)
    assert main(["search", str(folder), *SEARCH, "--out", str(tmp_path / "run")]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert "2 of 64 images (3.1 %) cannot be read, more than 1 %" in errors
    assert "--max-bad-images 0.032" in errors
    assert not (tmp_path / "run").exists()


def test_the_opened_task_holds_no_unreadable_image(folder, cache):
    from autofreeze.task import Task
    from autofreeze.trial import Workbench

    names = spoil(folder, 2)
    task = Task(
        data=str(folder), model="test_resnet", from_scratch=True, image_size=32, device="cpu",
        cache_folder=str(cache), max_bad_images=0.1,
    )  # fmt: skip
    bench = Workbench.open(task)
    bad = {image for image, path in enumerate(bench.dataset.paths) if path in names}
    assert set(bench.store.note.unreadable) == bad
    for split in bench.splits:
        assert not bad & {*split.train.tolist(), *split.val.tolist()}
    assert bench.findings[0].kind == "unreadable"


NAMES = ("[red]", "[bold]x", "pi|pe", "<b>", "ünï 日本", "esc\x1b[31m", "two\nlines")
SHOWN = ("[red]", "[bold]x", "pi|pe", "<b>", "ünï 日本", r"esc\x1b[31m", r"two\nlines")


def test_names_are_shown_as_text_whatever_they_hold(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for place, name in enumerate(NAMES):
        (tmp_path / name).mkdir()
        for number in range(5):
            scene(10 * place + number).save(tmp_path / name / f"{number}.png")
    copied(tmp_path, "[red]/0.png", "[red]/[blue].png")
    assert main(["check", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    rows = {line.split("  ")[1].strip() for line in output.splitlines() if line.rstrip().endswith(" 5")}
    assert rows == {*SHOWN} - {"[red]"}  # which has six
    assert "[red]/0.png  [red]/[blue].png" in output
    assert "\x1b" not in output


@pytest.mark.parametrize(
    ("encoding", "as_json"),
    [("utf-8", ()), ("ascii", ()), ("utf-8", ("--json",))],
    ids=["utf-8", "ascii", "json"],
)
def test_names_of_files_that_are_no_text_break_nothing(folder, cache, encoding, as_json):
    (folder / "train" / "ant" / "caf\udce9.png").write_bytes(b"no image")  # the byte 0xe9, which is no UTF-8
    done = _checked_by(encoding, folder, "--cache", cache, *as_json)
    assert (done.returncode, done.stderr) == (2, b"")  # an unreadable image is an error
    assert rb"caf\udce9.png" in done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_class_whose_name_is_no_text_is_told_on_any_terminal(folder, cache, encoding):
    for part in ("train", "test"):
        (folder / part / "ant").rename(folder / part / "caf\udce9")
    done = _checked_by(encoding, folder, "--cache", cache)
    assert done.returncode == 2
    assert rb"class caf\udce9: has a name that is no UTF-8; rename it" in done.stderr


def _checked_by(encoding, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "autofreeze.cli", "check", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
        check=False,
    )


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from autofreeze.cli import main; status = main(['check', '--help'])\n"
        "assert not {'torch', 'timm', 'numpy'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--max-bad-images" in done.stdout


def test_a_check_loads_no_torch(folder):
    code = (
        "import sys; from autofreeze.cli import main; status = main(sys.argv[1:])\n"
        "assert not {'torch', 'timm', 'optuna'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_counts_as_an_image_is_what_timm_takes_for_one():
    from timm.data.readers.img_extensions import IMG_EXTENSIONS

    from autofreeze.sources.folder import IMAGE_SUFFIXES

    assert IMAGE_SUFFIXES == IMG_EXTENSIONS


def many(root: Path, part: str, *counts: int) -> None:
    """Write tiny pictures, no two alike: a count for each of the classes ant, bee, …"""
    rng = np.random.default_rng(len(part))
    for name, count in zip(("ant", "bee"), counts, strict=True):
        (root / part / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(root / part / name / f"{number}.png")


@pytest.mark.parametrize(
    ("train", "test", "kinds"),
    [
        ((5, 9), (10, 10), set()),
        ((4, 9), (10, 10), {"few_in_train"}),
        ((5, 9), (9, 10), {"few_in_test"}),
    ],
    ids=["enough of each", "four to train on", "nine to test on"],
)
def test_a_class_is_small_below_five_training_and_ten_test_images(tmp_path, cache, train, test, kinds):
    many(tmp_path / "data", "train", *train)
    many(tmp_path / "data", "test", *test)
    checked = check(tmp_path / "data", cache_folder=cache, image_size=8)
    assert {finding.kind for finding in checked.findings} & {"few_in_train", "few_in_test"} == kinds


@pytest.mark.parametrize(("n", "severity"), [(138, "warning"), (139, "note")])
def test_a_test_part_that_measures_worse_than_five_points_is_a_warning(tmp_path, cache, n, severity):
    many(tmp_path / "data", "train", 6, 6)
    many(tmp_path / "data", "test", n - 60, 60)
    checked = check(tmp_path / "data", cache_folder=cache, image_size=8)
    assert [finding.severity for finding in checked.findings if finding.kind == "small_test"] == [severity]
