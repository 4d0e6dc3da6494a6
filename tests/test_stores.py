"""Images are decoded once, to the bits that timm makes, and never lost or half there."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from timm.data.transforms_factory import create_transform

from autofreeze import shelf, stores
from autofreeze.bytesize import format_bytes, parse_bytes
from autofreeze.data import open_dataset
from autofreeze.errors import ConfigError, DataError
from autofreeze.preprocessing import Preprocessing
from autofreeze.stores import default_cache_folder, open_decoded_store, store_key

REAL = os.environ.get("AUTOFREEZE_TEST_DATA")
SMALL = Preprocessing(image_size=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
STORE_BYTES = 128 + 12 * 16 * 16 * 3


@pytest.fixture
def folder(tmp_path):
    """Twelve noisy images of two classes, of several sizes and kinds."""
    root = tmp_path / "images"
    noise = np.random.Generator(np.random.PCG64(4))
    for number in range(12):
        path = root / ("ant", "bee")[number % 2] / f"{number}.{('png', 'jpg')[number // 2 % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (20 + number, 40 - 2 * number, 3), np.uint8)
        Image.fromarray(pixels).convert(("RGB", "L")[number // 4 % 2]).save(path)
    return root


@pytest.fixture
def dataset(folder):
    return open_dataset(folder)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def stored(cache: Path) -> set[str]:
    return {path.stem for path in (cache / "decoded").glob("*.npy")}


def leftovers(cache: Path) -> list[Path]:
    return [path for path in (cache / "decoded").iterdir() if path.suffix not in {".npy", ".json", ".lock"}]


def by_timm(path: Path, preprocessing: Preprocessing) -> np.ndarray:
    transform = create_transform(
        preprocessing.image_size,
        is_training=False,
        use_prefetcher=True,
        interpolation=preprocessing.interpolation,
        crop_pct=preprocessing.crop_pct,
    )
    with Image.open(path) as image:
        return np.asarray(transform(image.convert("RGB"))).transpose(1, 2, 0)


@pytest.mark.parametrize(
    "preprocessing",
    [
        SMALL,
        SMALL.model_copy(update={"image_size": 24, "interpolation": "bilinear", "crop_pct": 1.0}),
    ],
    ids=["bicubic 16", "bilinear 24 uncropped"],
)
def test_stored_images_equal_timms_own_to_the_bit(dataset, cache, preprocessing):
    store = open_decoded_store(dataset, preprocessing, cache_folder=cache)
    size = preprocessing.image_size
    assert store.images.shape == (12, size, size, 3)
    assert store.images.dtype == np.uint8
    for image in range(12):
        assert np.array_equal(store.images[image], by_timm(dataset.file(image), preprocessing))
    assert store.intact()
    assert leftovers(cache) == []


def test_a_second_call_decodes_nothing(dataset, cache):
    seen = []
    first = open_decoded_store(
        dataset, SMALL, cache_folder=cache, progress=lambda done, total: seen.append((done, total))
    )
    assert first.filled
    assert seen == [(count, 12) for count in range(1, 13)]
    for path in dataset.paths:
        (dataset.root / path).unlink()
    second = open_decoded_store(dataset, SMALL, cache_folder=cache)
    assert not second.filled
    assert np.array_equal(first.images, second.images)
    assert first.path == second.path


def test_the_key_follows_what_the_bytes_follow_from(dataset, folder, tmp_path):
    key = store_key(dataset, SMALL)
    folder.rename(tmp_path / "moved")
    assert store_key(open_dataset(tmp_path / "moved", seed=5), SMALL) == key
    assert (
        store_key(dataset, SMALL.model_copy(update={"mean": (0.1, 0.1, 0.1), "std": (1.0, 1.0, 1.0)})) == key
    )
    changed = [{"image_size": 17}, {"interpolation": "bilinear"}, {"crop_pct": 0.9}]
    assert len({store_key(dataset, SMALL.model_copy(update=change)) for change in changed} | {key}) == 4
    (tmp_path / "moved/ant/0.png").replace(tmp_path / "moved/ant/8.png")
    assert store_key(open_dataset(tmp_path / "moved"), SMALL) != key


CHILD = """
import sys
from autofreeze.data import open_dataset
from autofreeze.preprocessing import Preprocessing
from autofreeze.stores import open_decoded_store
root, cache = sys.argv[1:]
import timm.data  # what a store is filled with; it takes long to load
dataset = open_dataset(root)
print("ready", flush=True)
sys.stdin.readline()
store = open_decoded_store(
    dataset, Preprocessing(image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3), cache_folder=cache)
print(store.filled, store.key, int(store.images.sum(dtype="u8")), flush=True)
"""


def test_two_processes_that_open_at_once_decode_once_and_a_third_call_reuses(dataset, folder, cache):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    # Both find the store missing and its lock taken, and go on at the same time.
    (cache / "decoded").mkdir(parents=True)
    with FileLock(cache / "decoded" / f"{store_key(dataset, SMALL)}.lock"):
        for child in children:
            child.stdin.write("\n")
            child.stdin.flush()
        time.sleep(0.5)
        assert stored(cache) == set()
    answers = [child.communicate(timeout=60)[0].split() for child in children]
    store = open_decoded_store(dataset, SMALL, cache_folder=cache)
    assert sorted(answer[0] for answer in answers) == ["False", "True"]
    assert not store.filled
    assert {tuple(answer[1:]) for answer in answers} == {
        (store.key, str(int(store.images.sum(dtype=np.uint64))))
    }


def cut_short(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)


def change_note(path: Path, **changes) -> None:
    note = path.with_suffix(".json")
    note.write_text(json.dumps(json.loads(note.read_text()) | changes))


@pytest.mark.parametrize(
    "harm",
    [
        cut_short,
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").unlink(),
        lambda path: path.with_suffix(".json").write_text('{"key": "'),
        lambda path: np.save(path, np.zeros((12, 16, 48, 1), np.uint8)),
        lambda path: np.save(path, np.zeros((12, 16, 16, 3), np.int8)),
        lambda path: change_note(path, unreadable={"3": "is no image"}),
        lambda path: change_note(path, unreadable=None),
        lambda path: change_note(path, shape=[12, 16, 16, 3.5]),
        lambda path: path.with_suffix(".json").write_text("[" * 10**5),
        lambda path: path.write_bytes(path.read_bytes().replace(b"|u1", b"|O8")),
    ],
    ids=[
        "cut short", "empty", "gone", "no note", "torn note", "other shape", "other type",
        "another unreadable image", "no unreadable images", "half an image", "a note of lists", "objects",
    ],
)  # fmt: skip
def test_a_damaged_store_is_built_again(dataset, cache, harm):
    good = np.array(open_decoded_store(dataset, SMALL, cache_folder=cache).images)
    harm(cache / "decoded" / f"{store_key(dataset, SMALL)}.npy")
    again = open_decoded_store(dataset, SMALL, cache_folder=cache)
    assert again.filled
    assert np.array_equal(again.images, good)
    assert not open_decoded_store(dataset, SMALL, cache_folder=cache).filled


def test_changed_bytes_are_found_out_and_the_images_decoded_again(dataset, cache, monkeypatch):
    store = open_decoded_store(dataset, SMALL, cache_folder=cache)
    good = np.array(store.images)
    with store.path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([255 - store.images[-1, -1, -1, -1]]))
    assert not store.intact()
    again = open_decoded_store(dataset, SMALL, cache_folder=cache)
    assert again.filled
    assert np.array_equal(again.images, good)
    told = []
    monkeypatch.setattr(stores, "LONG_BYTES", 0)
    assert not open_decoded_store(
        dataset, SMALL, cache_folder=cache, progress=lambda *done: told.append(done)
    ).filled
    assert told == [(12, 12)]


def test_what_a_killed_process_left_is_cleared_away(dataset, cache):
    shelf = cache / "decoded"
    shelf.mkdir(parents=True)
    (shelf / f"{store_key(dataset, SMALL)}.part").write_bytes(bytes(10**6))
    (shelf / "another.part").write_bytes(bytes(10**6))
    store = open_decoded_store(dataset, SMALL, cache_folder=cache, budget_bytes=STORE_BYTES)
    assert store.filled
    assert leftovers(cache) == []


def sized(size: int) -> Preprocessing:
    return SMALL.model_copy(update={"image_size": size})


def test_the_store_used_longest_ago_makes_room(dataset, cache):
    one, two = (open_decoded_store(dataset, sized(size), cache_folder=cache) for size in (16, 17))
    open_decoded_store(dataset, sized(16), cache_folder=cache)  # used again: now 17 is the older one
    one, two = one.key, two.key  # and none is open any more
    who_has_it_open = np.load(cache / "decoded" / f"{two}.npy", mmap_mode="r")
    room = sum(path.stat().st_size for path in (cache / "decoded").glob("*.npy")) + 3000
    three = open_decoded_store(dataset, sized(18), cache_folder=cache, budget_bytes=room)
    assert stored(cache) == {one, three.key}
    assert not (cache / "decoded" / f"{two}.json").exists()
    # Another process that has it open keeps it.
    assert np.array_equal(who_has_it_open[0], by_timm(dataset.file(0), sized(17)))


def test_nothing_is_evicted_while_there_is_room(dataset, cache):
    for size in (16, 17, 18):
        open_decoded_store(dataset, sized(size), cache_folder=cache)
    assert len(stored(cache)) == 3


def test_a_store_that_a_process_is_opening_is_not_evicted(dataset, cache):
    one, _ = (open_decoded_store(dataset, sized(size), cache_folder=cache).key for size in (16, 17))
    with FileLock(cache / "decoded" / f"{one}.lock"):
        three = open_decoded_store(dataset, sized(18), cache_folder=cache, budget_bytes=23_000)
    assert stored(cache) == {one, three.key}


def test_a_store_that_this_process_reads_is_not_evicted_even_beyond_the_budget(dataset, cache):
    one = open_decoded_store(dataset, sized(16), cache_folder=cache)
    two = open_decoded_store(dataset, sized(17), cache_folder=cache, budget_bytes=12_000)
    assert stored(cache) == {one.key, two.key}
    del one
    three = open_decoded_store(dataset, sized(18), cache_folder=cache, budget_bytes=12_500)
    assert stored(cache) == {two.key, three.key}


def test_reading_images_counts_as_a_use(dataset, cache, monkeypatch):
    store = open_decoded_store(dataset, SMALL, cache_folder=cache)
    note = store.path.with_suffix(".json")
    monkeypatch.setattr(shelf, "TOUCH_SECONDS", 0.0)
    for use in (lambda: store.images, lambda: store.read(np.array([0]))):
        os.utime(note, ns=(0, 0))
        use()
        assert note.stat().st_mtime_ns > 0


def test_a_store_larger_than_the_budget_is_refused_before_anything_is_evicted(dataset, cache):
    kept = open_decoded_store(dataset, SMALL, cache_folder=cache)
    with pytest.raises(ConfigError) as caught:
        open_decoded_store(dataset, sized(256), cache_folder=cache, budget_bytes=2_000_000)
    words = str(caught.value)
    for part in ("2.36 MB", "2 MB", "--cache-size 3MB", "--image-size"):
        assert part in words
    assert stored(cache) == {kept.key}
    assert leftovers(cache) == []


def test_all_unreadable_images_are_named_together(dataset, folder, cache):
    for name in ("ant/0.png", "bee/1.png", "ant/2.jpg"):
        (folder / name).write_bytes((folder / name).read_bytes()[:60])
    (folder / "bee/3.jpg").write_text("no image")
    with pytest.raises(DataError) as caught:
        open_decoded_store(open_dataset(folder), SMALL, cache_folder=cache)
    words = str(caught.value)
    assert words.startswith("4 of 12 images in ")
    for name in (
        "ant/0.png",
        "bee/1.png",
        "ant/2.jpg",
        "bee/3.jpg: is no image, or of a kind that is not read",
    ):
        assert name in words
    assert "repair these files, or remove them" in words
    assert stored(cache) == set()
    assert leftovers(cache) == []


def test_an_image_that_changes_before_it_is_decoded_gets_into_no_store(dataset, cache):
    file = dataset.file(3)
    before = file.read_bytes()
    shutil.copy(dataset.file(0), file)
    for _ in range(2):
        with pytest.raises(DataError, match="has other contents than when it was read first"):
            open_decoded_store(dataset, SMALL, cache_folder=cache)
        assert stored(cache) == set()
        file.unlink(missing_ok=True)
        shutil.copy(dataset.file(1), file)
    file.write_bytes(before)
    again = open_decoded_store(dataset, SMALL, cache_folder=cache)
    assert np.array_equal(again.images[3], by_timm(file, SMALL))


def test_of_many_unreadable_images_ten_are_named(folder, cache):
    for path in folder.rglob("*.*g"):
        path.write_text(f"no image: {path}")
    with pytest.raises(DataError) as caught:
        open_decoded_store(open_dataset(folder), SMALL, cache_folder=cache)
    assert caught.value.problems[-2:] == ("and 2 more", "repair these files, or remove them")
    assert len(caught.value.problems) == 12


def test_photos_are_turned_as_exif_says(folder, cache):
    halves = np.zeros((32, 32, 3), np.uint8)
    halves[:16] = 255  # white above black
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    Image.fromarray(halves).save(folder / "ant/turned.png", exif=exif)
    dataset = open_dataset(folder)
    store = open_decoded_store(dataset, SMALL.model_copy(update={"crop_pct": 1.0}), cache_folder=cache)
    turned = store.images[dataset.paths.index("ant/turned.png")]
    assert turned[:, 10:].min() == 255
    assert turned[:, :6].max() == 0


def test_images_of_16_bits_are_scaled_and_not_turned_white(folder, cache):
    ramp = np.linspace(0, 65535, 900).astype(np.uint16).reshape(30, 30)
    Image.fromarray(ramp).save(folder / "ant/deep.png")
    dataset = open_dataset(folder)
    store = open_decoded_store(dataset, SMALL, cache_folder=cache)
    pixels = store.images[dataset.paths.index("ant/deep.png")]
    assert 120 < pixels.mean() < 135
    assert pixels.min() < 30
    assert pixels.max() > 225


def test_an_unreadable_image_in_no_part_is_zeros_and_noted(folder, cache):
    (folder / "ant/2.jpg").write_bytes((folder / "ant/2.jpg").read_bytes()[:200])
    dataset = open_dataset(folder)
    bad = dataset.paths.index("ant/2.jpg")
    for filled in (True, False):
        store = open_decoded_store(dataset.without([bad]), SMALL, cache_folder=cache)
        assert store.filled is filled
        assert [image for image in range(12) if not store.images[image].any()] == [bad]
        assert list(store.note.unreadable) == [bad]
        assert "truncated" in store.note.unreadable[bad].lower()
    assert store.intact()
    with pytest.raises(DataError, match=r"^1 of 12 images in .*\n  ant/2.jpg: "):
        open_decoded_store(dataset, SMALL, cache_folder=cache)  # kept, and refused where a part holds it


def test_transparent_and_four_colour_images_are_read_without_remarks(folder, cache):
    noise = np.random.Generator(np.random.PCG64(5)).integers(0, 256, (30, 30, 4), np.uint8)
    Image.fromarray(noise, "RGBA").save(folder / "ant/alpha.png")
    Image.fromarray(noise, "CMYK").save(folder / "ant/print.jpg")
    Image.fromarray(noise[:, :, :3]).quantize(16).save(folder / "ant/p.png", transparency=bytes(range(16)))
    assert len(open_decoded_store(open_dataset(folder), SMALL, cache_folder=cache)) == 15


def test_a_folder_that_cannot_be_written_to_is_refused_with_the_way_out(dataset, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(ConfigError, match="--cache FOLDER") as caught:
            open_decoded_store(dataset, SMALL, cache_folder=folder)
        assert str(folder) in str(caught.value)


def test_reading_gives_writable_copies_in_the_order_asked(dataset, cache):
    store = open_decoded_store(dataset, SMALL, cache_folder=cache)
    got = store.read(np.array([5, 0, 5]))
    assert type(got) is np.ndarray
    assert np.array_equal(got, np.stack([store.images[5], store.images[0], store.images[5]]))
    got[:] = 0
    assert store.images.any()
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


def test_a_store_travels_to_another_process_as_its_path(dataset, cache):
    store = open_decoded_store(dataset, SMALL, cache_folder=cache)
    packed = pickle.dumps(store)
    assert len(packed) < 1000
    assert np.array_equal(pickle.loads(packed).images, store.images)
    store.path.unlink()
    with pytest.raises(ConfigError, match="is gone"):
        pickle.loads(packed)


def test_the_note_beside_the_data_says_what_it_is(dataset, cache):
    store = open_decoded_store(dataset, SMALL, cache_folder=cache)
    raw = store.path.with_suffix(".json").read_bytes()
    note = json.loads(raw)
    assert note["n"] == 12
    assert note["shape"] == [12, 16, 16, 3]
    assert note["file_bytes"] == store.path.stat().st_size == STORE_BYTES
    assert note["preprocessing"]["interpolation"] == "bicubic"
    assert stores.StoreNote.read(raw) == store.note


def test_the_cache_folder_is_where_people_put_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOFREEZE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_folder() == tmp_path / "own"
    monkeypatch.delenv("AUTOFREEZE_CACHE")
    assert default_cache_folder() == tmp_path / "xdg" / "autofreeze"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_folder() == Path.home() / ".cache" / "autofreeze"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10GB", 10**10),
        ("8GiB", 2**33),
        ("1.5 kb", 1500),
        ("7", 7),
        ("2T", 2 * 10**12),
        (" 3 MB ", 3 * 10**6),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "10 GG", "1e9", "ten", "0.2", "9" * 400 + "GB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="10GB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (999_600, "1 MB"),
        (1.234e9, "1.23 GB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes_are_written_with_three_digits(size, text):
    assert format_bytes(int(size)) == text


@pytest.mark.real
@pytest.mark.skipif(REAL is None, reason="AUTOFREEZE_TEST_DATA is not set")
@pytest.mark.parametrize("name", ["hymenoptera2", "covidxray3"])
def test_real_photos_are_stored_with_timms_bits(name, cache):
    dataset = open_dataset(Path(REAL) / name)
    preprocessing = SMALL.model_copy(update={"image_size": 96})
    store = open_decoded_store(dataset, preprocessing, cache_folder=cache)
    for image in range(0, len(dataset), 29):
        assert np.array_equal(store.images[image], by_timm(dataset.file(image), preprocessing))
    assert not open_decoded_store(dataset, preprocessing, cache_folder=cache).filled
