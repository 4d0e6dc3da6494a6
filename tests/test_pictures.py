"""Thumbnails: small, upright, as a model sees them, and nothing of the file but its pixels."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from autofreeze.data import open_dataset
from autofreeze.decoding import to_rgb
from autofreeze.pictures import MOST_BYTES, SIDE, thumbnail, thumbnails

SECRET = "52.5200N 13.4050E"


def raw(address):
    kind, _, text = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    return base64.b64decode(text, validate=True)


def opened(address):
    image = Image.open(BytesIO(raw(address)))
    image.load()
    return image


def made(image, suffix, **options):
    """Write an image into memory, and give it as a file that was opened."""
    stream = BytesIO()
    image.save(stream, suffix, **options)
    return Image.open(BytesIO(stream.getvalue()))


def colours(width, height):
    """Red, green / blue, white, a quarter each."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = (255, 255, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("size", "expected"), [((448, 224), (112, 56)), ((300, 900), (37, 112)), ((40, 20), (40, 20))]
)
def test_the_longest_side_is_112_pixels_at_most_and_the_shape_is_kept(size, expected):
    assert SIDE == 112
    shown = opened(thumbnail(made(colours(*size), "PNG")))
    assert np.abs(np.subtract(shown.size, expected)).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_it_is_set_upright_as_the_reader_does(kind):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = made(colours(400, 200), kind, exif=exif)
        expected = to_rgb(made(colours(400, 200), kind, exif=exif)).resize((2, 2), Image.Resampling.BOX)
        shown = opened(thumbnail(file))
        assert shown.size == ((112, 56) if orientation < 5 else (56, 112))
        found = np.asarray(shown.resize((2, 2), Image.Resampling.BOX), int)
        assert np.abs(found - np.asarray(expected, int)).max() < 25


def with_everything():
    """A photograph with all that a camera and an editor leave in a file."""
    exif = Image.Exif()
    exif[0x010E] = SECRET
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[29] = "N", (52.0, 31.0, 12.0), SECRET
    return made(
        colours(400, 300), "JPEG", exif=exif, comment=SECRET.encode(), xmp=f"<x>{SECRET}</x>".encode(),
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )  # fmt: skip


def test_nothing_of_the_file_is_in_it_but_its_pixels():
    file = with_everything()
    assert {"exif", "comment", "icc_profile", "xmp"} <= file.info.keys()  # else this shows nothing
    shown = raw(thumbnail(file))
    assert SECRET.encode() not in shown
    assert not any(mark in shown for mark in (b"Exif", b"GPS", b"http://ns.adobe.com", b"ICC_PROFILE"))
    kept = {marker for marker, _ in Image.open(BytesIO(shown)).applist}
    assert kept <= {"APP0"}
    assert set(opened(thumbnail(with_everything())).info) <= {
        "jfif", "jfif_version", "jfif_unit", "jfif_density",
    }  # fmt: skip


def test_a_text_of_a_png_is_not_in_it():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("comment", SECRET)
    info.add_text("Comment", SECRET)
    assert SECRET.encode() not in raw(thumbnail(made(colours(400, 300), "PNG", pnginfo=info)))


def test_noise_is_small_too():
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    for image in (Image.fromarray(noise), Image.fromarray(noise[:112, :112])):
        assert len(raw(thumbnail(made(image, "PNG")))) <= MOST_BYTES


def ramp(kind):
    """Grey that rises from left to right."""
    values = np.tile(np.linspace(0, 1, 200), (100, 1))
    if kind == "16-bit":
        return made(Image.fromarray((values * 65535).astype(np.uint16)), "PNG")
    grey = Image.fromarray((values * 255).astype(np.uint8))
    if kind == "alpha":
        return made(Image.merge("LA", (grey, Image.new("L", grey.size, 128))), "PNG")
    if kind == "palette":
        return made(grey.convert("P"), "PNG", transparency=3)
    return made(grey.convert(kind), "TIFF" if kind == "CMYK" else "PNG")


@pytest.mark.parametrize("kind", ["L", "16-bit", "alpha", "palette", "RGBA", "CMYK"])
def test_every_kind_of_file_is_shown_as_it_is_decoded_for_a_model(kind):
    expected = np.asarray(to_rgb(ramp(kind)).resize((8, 4), Image.Resampling.BOX), int)
    found = opened(thumbnail(ramp(kind)))
    assert found.mode == "RGB"
    assert np.abs(np.asarray(found.resize((8, 4), Image.Resampling.BOX), int) - expected).max() < 12
    assert np.ptp(expected) > 180  # else this shows nothing


def test_what_cannot_be_read_is_empty_and_the_others_are_there(class_folders, tmp_path):
    import shutil

    root = tmp_path / "photos"
    shutil.copytree(class_folders, root)
    dataset = open_dataset(root)
    dataset.file(0).unlink()
    dataset.file(1).write_bytes(b"no image")
    dataset.file(2).write_bytes(dataset.file(3).read_bytes()[:200])
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "floats.tiff")
    (tmp_path / "floats.tiff").replace(dataset.file(4))
    found = thumbnails(dataset, [5, 0, 1, 2, 3, 4])
    assert [bool(one) for one in found] == [True, False, False, False, True, False]


def test_whatever_a_reader_raises_a_report_is_written(class_folders):
    dataset = open_dataset(class_folders)

    class Broken:
        def open(self, image, digest):
            raise RuntimeError("the hub is away")

    object.__setattr__(dataset, "images", Broken())
    assert thumbnails(dataset, [0, 1]) == ["", ""]


def csv_of(root):
    """Write a CSV file of the images of a folder."""
    images = sorted(root.rglob("*.png"))
    lines = [f"{one.relative_to(root).as_posix()},{one.parent.name}" for one in images]
    (root / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return root / "labels.csv"


@pytest.mark.parametrize("source", ["csv", "hfds/{}", "torch/image_folder@{}"])
def test_every_source_shows_its_own_images(source, write_images, tmp_path, monkeypatch):
    root = write_images(tmp_path / "photos", (4, 4, 4))
    if source.startswith("hfds"):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = open_dataset(root)
    read = open_dataset(csv_of(root) if source == "csv" else source.format(root))
    number = {content: image for image, content in enumerate(folder.content)}
    found = thumbnails(read, range(len(read)))
    assert found == thumbnails(folder, [number[content] for content in read.content])
    assert all(found)


def test_images_of_a_data_set_of_torchvision_that_keeps_arrays_are_shown(class_folders):
    dataset = open_dataset(class_folders)

    class Arrays:
        def open(self, image, digest):
            return colours(32, 32)

    object.__setattr__(dataset, "images", Arrays())
    assert opened(thumbnails(dataset, [0])[0]).size == (32, 32)


@pytest.mark.real
@pytest.mark.parametrize("name", ["hymenoptera2", "covidxray3", "trashnet6"])
def test_photographs_and_radiographs_fit_at_full_size(real_data, name):
    dataset = open_dataset(real_data / name)
    shown = thumbnails(dataset, range(0, len(dataset), max(len(dataset) // 24, 1)))
    assert {max(opened(one).size) for one in shown} == {SIDE}
    assert max(len(raw(one)) for one in shown) <= MOST_BYTES
