"""Each image is looked at once: what is seen is true, kept, and small."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import autofreeze.survey
from autofreeze.checks.leaks import NEAR
from autofreeze.data import open_dataset
from autofreeze.decoding import Unreadable, decode_in_order, to_rgb
from autofreeze.errors import ConfigError, DataError
from autofreeze.survey import nearest, perceptual_hashes, survey


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture with light and dark places, and a little noise."""
    rng = np.random.default_rng([7, seed])
    places = Image.fromarray(rng.integers(20, 200, (5, 6, 3), np.uint8))
    smooth = np.asarray(places.resize(size, Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(np.clip(smooth + rng.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Twelve scenes of two classes; tests add what they look for."""
    root = tmp_path / "images"
    for number in range(12):
        path = root / ("ant", "bee")[number % 2] / f"{number:02}.{('png', 'jpg')[number // 2 % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(number).save(path)
    return root


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def looked_at(folder, cache):
    """The survey, and the image ids by path."""
    dataset = open_dataset(folder)
    return survey(dataset, cache_folder=cache), {path: image for image, path in enumerate(dataset.paths)}


def test_hashes_are_what_the_definition_says():
    pictures = np.stack([np.asarray(scene(n).convert("L").resize((32, 32))) for n in range(5)])
    places = np.arange(32)
    waves = np.cos(np.pi * np.outer(np.arange(8), 2 * places + 1) / 64)
    for picture, found in zip(pictures, perceptual_hashes(pictures), strict=True):
        strengths = (waves @ picture.astype(float) @ waves.T).ravel()
        bits = "".join("1" if strength > np.median(strengths) else "0" for strength in strengths)
        assert f"{int(found):064b}" == bits


def recoded(**options):
    return lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", **options)))


COPIES = {
    "jpeg 50": recoded(quality=50),
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "larger": lambda image: image.resize((180, 135)),
    "square": lambda image: image.resize((64, 64)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copies_hash_nearly_alike(copy):
    def hashes(images):
        small = [np.asarray(i.convert("L").resize((32, 32), Image.Resampling.LANCZOS)) for i in images]
        return perceptual_hashes(np.stack(small))

    scenes = [scene(n) for n in range(40)]
    apart = np.bitwise_count(hashes(scenes) ^ hashes([copy(image) for image in scenes]))
    assert apart.max() <= NEAR


def test_different_scenes_hash_far_apart(tmp_path, cache):
    small = [np.asarray(scene(n).convert("L").resize((32, 32))) for n in range(200)]
    hashes = perceptual_hashes(np.stack(small))
    apart = np.bitwise_count(hashes[:, None] ^ hashes)[~np.eye(200, dtype=bool)]
    assert apart.min() > NEAR


def test_the_nearest_image_is_found_as_if_all_pairs_were_compared(monkeypatch):
    monkeypatch.setattr(autofreeze.survey, "_PAIRS_AT_ONCE", 150)
    hashes = np.random.Generator(np.random.PCG64(3)).integers(0, 2**64, 90, np.uint64)
    hashes[80] = hashes[3] ^ np.uint64(0b101)
    left, right = np.arange(50, 90), np.arange(0, 50)[::-1].copy()
    like, distances = nearest(hashes, left, right)
    slow = [[bin(int(hashes[a] ^ hashes[b])).count("1") for b in right] for a in left]
    assert like.tolist() == [right[np.argmin(row)] for row in slow]
    assert distances.tolist() == [min(row) for row in slow]
    assert (like[30], distances[30]) == (3, 2)


def test_many_images_are_compared_in_little_memory():
    hashes = np.random.Generator(np.random.PCG64(3)).integers(0, 2**64, 24_000, np.uint64)
    tracemalloc.start()
    nearest(hashes, np.arange(12_000), np.arange(12_000, 24_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6  # all pairs at once would take 1.2 GB


def test_what_is_seen_of_an_image_is_true(folder, cache):
    scene(20, (50, 40)).convert("CMYK").save(folder / "ant/print.jpg")
    scene(21).convert("RGBA").save(folder / "ant/alpha.png")
    Image.new("RGB", (70, 60), (10, 200, 30)).save(folder / "ant/flat.jpg")
    Image.fromarray(np.array([[0, 4095]] * 2, np.uint16)).save(folder / "ant/deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(22).rotate(90, expand=True).save(folder / "ant/turned.jpg", exif=exif, quality=95)
    scene(22).save(folder / "ant/upright.png")
    seen, ids = looked_at(folder, cache)
    assert seen.unreadable == {}
    kinds = {name: seen.modes[ids[f"ant/{name}"]] for name in ("print.jpg", "alpha.png", "deep.png")}
    assert kinds == {"print.jpg": "CMYK", "alpha.png": "RGBA+alpha", "deep.png": "I;16"}
    assert [path for path, image in ids.items() if seen.flat[image]] == ["ant/flat.jpg"]
    assert seen.contrast[ids["ant/flat.jpg"]] == 0
    assert seen.peaks[ids["ant/deep.png"]] == np.float32(4095 / 65535)
    assert seen.peaks[ids["ant/print.jpg"]] == 1
    sizes = {
        name: (seen.widths[ids[name]], seen.heights[ids[name]])
        for name in ("ant/print.jpg", "ant/turned.jpg")
    }
    assert sizes == {"ant/print.jpg": (50, 40), "ant/turned.jpg": (120, 90)}
    turned, upright = seen.hashes[ids["ant/turned.jpg"]], seen.hashes[ids["ant/upright.png"]]
    assert np.bitwise_count(turned ^ upright) <= NEAR


def test_a_large_photo_hashes_like_its_small_copy(folder, cache):
    """JPEGs are decoded at a fraction of their size."""
    scene(30, (2000, 1500)).save(folder / "ant/large.jpg", quality=90)
    scene(30, (2000, 1500)).resize((200, 150)).save(folder / "ant/small.png")
    seen, ids = looked_at(folder, cache)
    large, small = ids["ant/large.jpg"], ids["ant/small.png"]
    assert (seen.widths[large], seen.heights[large]) == (2000, 1500)
    assert np.bitwise_count(seen.hashes[large] ^ seen.hashes[small]) <= 2


def test_images_that_cannot_be_read_are_told_with_their_reason(folder, cache):
    (folder / "ant/00.png").write_bytes((folder / "ant/00.png").read_bytes()[:3000])
    (folder / "bee/03.jpg").write_text("no image")
    seen, ids = looked_at(folder, cache)
    assert set(seen.unreadable) == {ids["ant/00.png"], ids["bee/03.jpg"]}
    assert "truncated" in seen.unreadable[ids["ant/00.png"]]
    assert seen.unreadable[ids["bee/03.jpg"]] == "is no image, or of a kind that is not read"
    assert seen.hashes[ids["bee/03.jpg"]] == 0
    assert seen.modes[ids["bee/03.jpg"]] == ""


def test_an_image_that_is_away_for_a_while_is_not_noted_as_unreadable(folder, cache):
    dataset = open_dataset(folder)
    file = dataset.file(0)
    file.rename(folder / "away")
    with pytest.raises(DataError, match="cannot be read any more"):
        survey(dataset, cache_folder=cache)
    (folder / "away").rename(file)
    assert not survey(dataset, cache_folder=cache).unreadable


@pytest.mark.parametrize("progressive", [False, True])
def test_a_quick_look_misses_no_truncation(progressive):
    raw = encoded(scene(1, (900, 700)), "JPEG", quality=80, progressive=progressive)
    cuts = [len(raw) - 1, len(raw) - 2, *range(len(raw) - 7, 600, -len(raw) // 25)]
    files = [raw, *(raw[:cut] for cut in cuts)]
    looks, decodes = (
        [
            isinstance(result, Unreadable)
            for result in decode_in_order(lambda n: Image.open(io.BytesIO(files[n])), range(len(files)), how)
        ]
        for how in (autofreeze.survey._look, to_rgb)
    )
    assert looks == decodes
    assert not looks[0]
    assert all(looks[3:])


def test_a_second_look_decodes_nothing(folder, cache):
    dataset = open_dataset(folder)
    told = []
    first = survey(dataset, cache_folder=cache, progress=lambda done, total: told.append((done, total)))
    assert told == [(count, 12) for count in range(1, 13)]
    for path in dataset.paths:
        (folder / path).unlink()
    again = survey(dataset, cache_folder=cache, progress=lambda *_: pytest.fail("looked again"))
    for name in ("widths", "heights", "modes", "hashes", "contrast", "flat", "peaks", "unreadable"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert {path.suffix for path in (cache / "survey").iterdir()} == {".npz", ".lock"}


def test_other_images_are_looked_at_anew(folder, cache):
    looked_at(folder, cache)
    (folder / "bee/03.jpg").write_text("no image")
    seen, ids = looked_at(folder, cache)
    assert list(seen.unreadable) == [ids["bee/03.jpg"]]


def rewritten(path, **arrays):
    """Put other arrays into a survey."""
    with np.load(path) as kept:
        held = {name: kept[name] for name in kept}
    np.savez(path, **{**held, **arrays})


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: np.savez(path, hashes=np.zeros(12, np.uint64)),
        lambda path: path.write_bytes(path.read_bytes().replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\x63")),
        lambda path: rewritten(path, widths=np.zeros(11, np.int32)),
        lambda path: rewritten(path, hashes=np.zeros(12, np.int64)),
        lambda path: rewritten(path, words=np.frombuffer(b"[]", np.uint8)),
        lambda path: rewritten(path, words=np.frombuffer(b"[" * 10**5, np.uint8)),
        lambda path: path.unlink(),
    ],
    ids=[
        "cut short", "empty", "of another kind", "of another version", "too few widths",
        "hashes of another type", "a list", "lists in lists", "gone",
    ],
)  # fmt: skip
def test_a_damaged_survey_is_made_again(folder, cache, harm):
    good, _ = looked_at(folder, cache)
    [file] = (cache / "survey").glob("*.npz")
    harm(file)
    again, _ = looked_at(folder, cache)
    assert np.array_equal(good.hashes, again.hashes)


def test_a_folder_that_cannot_be_written_to_is_told_with_the_way_out(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="--cache FOLDER"):
        looked_at(folder, tmp_path / "file")


def test_many_images_are_surveyed_in_blocks(folder, cache, monkeypatch):
    whole, _ = looked_at(folder, cache)
    monkeypatch.setattr(autofreeze.survey, "_BLOCK", 5)
    blocks, _ = looked_at(folder, cache / "other")
    assert np.array_equal(whole.hashes, blocks.hashes)
    assert np.array_equal(whole.contrast, blocks.contrast)
