"""Every kind of file becomes the pixels that its format says, or a reason why not."""

import errno
import hashlib
import io
import logging
import os
import random
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, features
from trust.guard import guarded

from autofreeze import decoding
from autofreeze.decoding import UNREADABLE, Unreadable, decode_in_order, to_rgb
from autofreeze.errors import AutofreezeError
from autofreeze.imagefile import open_image
from autofreeze.sources.listing import Files


def opened(image: Image.Image, kind: str, **options) -> Image.Image:
    """Write an image and open what was written."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return Image.open(io.BytesIO(stream.getvalue()))


def decoded(image: Image.Image, kind: str, **options) -> np.ndarray:
    pixels = to_rgb(opened(image, kind, **options))
    assert pixels.mode == "RGB"
    return np.asarray(pixels)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(colour_type: int, bits: int, rows: np.ndarray) -> Image.Image:
    """Open a PNG whose samples are given as they are stored: big-endian, one row after the other."""
    height, width = rows.shape[:2]
    raw = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + body))


DEEP = np.array([[0, 128, 129, 257], [4095, 32768, 65407, 65535]], np.uint16)
SCALED = np.array([[0, 0, 1, 1], [16, 128, 255, 255]])
"""DEEP over 65535, times 255, to the nearest whole number (0.498 and 254.502 tell rounding from cutting)."""


def same_in_all_channels(pixels: np.ndarray, grey: np.ndarray) -> bool:
    return np.array_equal(pixels, np.repeat(grey[:, :, None], 3, axis=2))


def test_grey_of_16_bits_is_scaled_by_what_16_bits_can_hold():
    assert same_in_all_channels(np.asarray(to_rgb(png(0, 16, DEEP))), SCALED)
    for kind in ("PNG", "TIFF", "PPM"):
        assert same_in_all_channels(decoded(Image.fromarray(DEEP), kind), SCALED), kind


def test_big_endian_tiffs_are_scaled_alike():
    image = Image.frombytes("I;16B", (4, 2), DEEP.astype(">u2").tobytes())
    assert opened(image, "TIFF").mode == "I;16B"
    assert same_in_all_channels(decoded(image, "TIFF"), SCALED)


def test_two_deep_images_keep_their_contrast():
    dim, bright = (decoded(Image.new("I;16", (2, 2), value), "PNG") for value in (4096, 61440))
    assert dim.max() == 16
    assert bright.min() == 239


def tiff(bits: int, photometric: int, data: bytes, *, width: int, sample_format: int = 1) -> Image.Image:
    """Open a TIFF of one row."""
    entries = [(256, 3, width), (257, 3, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    entries += [(277, 3, 1), (278, 3, 1), (279, 4, len(data)), (339, 3, sample_format)]
    start = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries.append((273, 4, start))
    body = b"".join(struct.pack("<HHIHH" if kind == 3 else "<HHII", tag, kind, 1, value, *([0] * (kind == 3)))
                    for tag, kind, value in sorted(entries))  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 0)
    return Image.open(io.BytesIO(head + data))


def test_a_tiff_of_12_bits_is_scaled_by_what_12_bits_can_hold():
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x10])
    values = [0x000, 0x800, 0xFFF, 0x010]
    image = tiff(12, 1, packed, width=4)
    assert np.asarray(image).tolist() == [values]
    assert np.asarray(to_rgb(tiff(12, 1, packed, width=4)))[0, :, 0].tolist() == [
        round(value * 255 / 4095) for value in values
    ]


@pytest.mark.parametrize(("bits", "kind"), [(8, "u1"), (16, "<u2")])
def test_a_tiff_that_counts_from_white_is_turned_round(bits, kind):
    white = 2**bits - 1
    data = np.array([0, white], kind).tobytes()
    assert np.asarray(to_rgb(tiff(bits, 0, data, width=2)))[0, :, 0].tolist() == [255, 0]
    assert np.asarray(to_rgb(tiff(bits, 1, data, width=2)))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.array([[0, 70_000]], np.int32)),
        Image.fromarray(np.array([[0.0, 0.5]], np.float32)),
    ],
    ids=["32 bits", "floats"],
)
def test_numbers_without_a_white_are_refused_and_not_guessed(image):
    with pytest.raises(ValueError, match="no format says where white is; convert it to 8 or 16 bits"):
        decoded(image, "TIFF")


def test_signed_numbers_are_refused():
    with pytest.raises(ValueError, match="signed"):
        to_rgb(tiff(16, 1, np.array([-5, 5], "<i2").tobytes(), width=2, sample_format=2))


def test_colour_of_16_bits_keeps_its_upper_byte():
    rows = np.array([[[0x1234, 0x80FF, 0xFFFF]]], np.uint16)
    assert np.asarray(to_rgb(png(2, 16, rows.reshape(1, 3)[:, None].reshape(1, 1, 3)))).tolist() == [
        [[0x12, 0x80, 0xFF]]
    ]


INKS = {
    "paper": ((0, 0, 0, 0), (255, 255, 255)),
    "cyan": ((255, 0, 0, 0), (0, 255, 255)),
    "red": ((0, 255, 255, 0), (255, 0, 0)),
    "black": ((0, 0, 0, 255), (0, 0, 0)),
}


@pytest.mark.parametrize(("ink", "colour"), INKS.values(), ids=INKS)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_printing_inks_become_their_colours(kind, ink, colour):
    pixels = decoded(Image.new("CMYK", (16, 16), ink), kind).astype(int)
    assert np.abs(pixels - colour).max() <= 2


def test_jpegs_hold_inks_inverted_as_adobe_does_and_that_is_undone():
    stream = io.BytesIO()
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(stream, "JPEG", quality=100)
    assert b"Adobe" in stream.getvalue()
    assert Image.open(io.BytesIO(stream.getvalue())).info["adobe"] == 100
    assert np.asarray(to_rgb(Image.open(io.BytesIO(stream.getvalue()))))[0, 0].tolist() == [0, 255, 255]


def test_a_palette_becomes_its_colours():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    for options in ({}, {"transparency": bytes([0, 255])}, {"transparency": 1}):
        assert decoded(image, "PNG", **options).tolist() == [[[10, 20, 30], [200, 100, 50]]], options


def test_transparency_is_dropped_as_timm_and_torchvision_drop_it():
    rgba = np.array([[[10, 20, 30, 0], [200, 100, 50, 128], [1, 2, 3, 255]]], np.uint8)
    assert decoded(Image.fromarray(rgba), "PNG").tolist() == rgba[:, :, :3].tolist()
    assert np.array_equal(
        decoded(Image.fromarray(rgba), "PNG"), np.asarray(Image.fromarray(rgba).convert("RGB"))
    )
    grey = np.array([[[40, 0], [90, 255]]], np.uint8)
    assert decoded(Image.fromarray(grey), "PNG").tolist() == [[[40] * 3, [90] * 3]]
    keyed = decoded(Image.fromarray(rgba[:, :, :3]), "PNG", transparency=(10, 20, 30))
    assert keyed.tolist() == rgba[:, :, :3].tolist()


def test_one_bit_becomes_black_and_white():
    image = Image.new("1", (3, 1))
    image.putdata([0, 255, 0])
    for kind in ("PNG", "TIFF"):
        assert decoded(image, kind)[0, :, 0].tolist() == [0, 255, 0]


CORNERS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 9, 9], [80, 80, 80], [200, 200, 200]]], np.uint8
)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_sets_a_picture_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(opened(Image.fromarray(CORNERS), "PNG", exif=exif)))
    assert np.array_equal(decoded(Image.fromarray(CORNERS), "PNG", exif=exif), upright)
    if orientation == 6:  # what a phone held upright writes: the first row is the right edge
        assert decoded(Image.fromarray(CORNERS), "PNG", exif=exif)[:, -1].tolist() == CORNERS[0].tolist()


def test_deep_pictures_are_set_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 3
    assert same_in_all_channels(decoded(Image.fromarray(DEEP), "PNG", exif=exif), SCALED[::-1, ::-1])


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0"])
def test_broken_exif_turns_nothing_and_loses_no_picture(exif):
    image = opened(Image.fromarray(CORNERS), "PNG", exif=exif)
    (pixels,) = decode_in_order(lambda _: image, [0], lambda image: np.asarray(to_rgb(image)))
    assert np.array_equal(pixels, CORNERS)


def test_of_several_frames_the_first_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "TIFF"):
        first = decoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(first[0, 0].astype(int) - [255, 0, 0]).max() <= 1, kind


def broken(kind: str, harm) -> bytes:
    stream = io.BytesIO()
    noise = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(noise).save(stream, kind)
    return harm(stream.getvalue())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is no image, or of a kind that is not read"),
        (b"<html>not found</html>", "is no image, or of a kind that is not read"),
        (bytes(3000), "is no image, or of a kind that is not read"),
        (broken("JPEG", lambda raw: raw[: len(raw) // 2]), "truncated"),
        (broken("JPEG", lambda raw: raw[:-40]), "truncated"),
        (broken("PNG", lambda raw: raw[: len(raw) // 2]), "truncated"),
        (broken("PNG", lambda raw: raw[:600] + bytes(600) + raw[1200:]), "broken"),
    ],
    ids=[
        "empty",
        "a web page",
        "zeros",
        "half a jpeg",
        "a jpeg without its end",
        "half a png",
        "a hole in a png",
    ],
)
def test_a_broken_file_is_unreadable_for_a_reason(raw, reason):
    (told,) = decode_in_order(lambda _: Image.open(io.BytesIO(raw)), [0], to_rgb)
    assert isinstance(told, Unreadable)
    assert reason in told.reason


@pytest.mark.parametrize("kind", ["EPS", "DDS", "SPIDER", "BLP", "PCX", "TGA", "WMF"])
def test_other_kinds_are_not_read_whatever_they_are_called(kind, tmp_path):
    file = tmp_path / "a.png"
    if kind == "EPS":
        file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")
    elif kind == "WMF":
        file.write_bytes(b"\xd7\xcd\xc6\x9a\0\0" + bytes(100))
    else:
        mode = {"SPIDER": "F", "BLP": "P"}.get(kind, "RGB")
        with (tmp_path / "image").open("wb") as stream:  # SPIDER takes the ending of a name for its own
            Image.new(mode, (9, 9)).save(stream, kind)
        (tmp_path / "image").rename(file)
    with guarded([tmp_path]) as seen:
        (told,) = decode_in_order(Files(tmp_path, ("a.png",)).open, [0], to_rgb)
    assert told == Unreadable("is no image, or of a kind that is not read")
    assert seen == []  # for EPS, Pillow would start a program


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_no_change_to_an_avif_file_is_more_than_an_unreadable_image():
    stream = io.BytesIO()
    Image.fromarray(np.arange(48 * 40 * 3, dtype=np.uint8).reshape(48, 40, 3)).save(stream, "AVIF")
    raw, rng = stream.getvalue(), random.Random(0)
    reasons = set()
    for _ in range(400):
        changed = bytearray(raw)
        for place in rng.sample(range(len(raw)), 4):
            changed[place] = rng.randrange(256)
        (told,) = decode_in_order(lambda _, raw=bytes(changed): open_image(io.BytesIO(raw)), [0], to_rgb)
        reasons.add(told.reason.partition(" (")[0] if isinstance(told, Unreadable) else "")
    assert "cannot be decoded" in reasons


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_the_place_of_an_image_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    files = Files(tmp_path, ("a.png",))
    (told,) = decode_in_order(files.open, [0], to_rgb)
    assert told == Unreadable("is no regular file")
    with pytest.raises(OSError, match="is no regular file"):
        files.digest(0)


def test_an_image_too_large_to_be_true_is_unreadable(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    stream = io.BytesIO()
    Image.new("L", (50, 50)).save(stream, "PNG")
    (told,) = decode_in_order(lambda _: Image.open(io.BytesIO(stream.getvalue())), [0], to_rgb)
    assert isinstance(told, Unreadable)
    assert told.reason == "is too large: Image size (2500 pixels) exceeds limit of 2000 pixels"


def test_pillows_limit_on_pixels_is_left_as_it_is():
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


def test_images_come_in_the_order_asked_and_few_are_open_at_once():
    began = set()

    def open_image(image):
        began.add(image)
        return Image.new("L", (1, 1), image % 256)

    asked = range(1000, 0, -1)
    pixels = decode_in_order(open_image, asked, lambda image: image.getpixel((0, 0)))
    for done, (image, pixel) in enumerate(zip(asked, pixels, strict=True)):
        assert pixel == image % 256
        assert len(began) <= done + 1 + 8 * (os.cpu_count() or 1)


def test_a_file_with_holes_that_is_too_long_for_an_image_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**40)
    files = Files(tmp_path, ("a.png",))
    reason = "has 1,099,511,627,776 bytes, and is no image: at most 4,294,967,296 are read"
    assert list(decode_in_order(files.open, [0], to_rgb)) == [Unreadable(reason)]
    with pytest.raises(OSError, match=reason):
        files.digest(0)


def test_a_file_is_hashed_a_block_at_a_time(tmp_path):
    raw = bytes(range(256)) * 2**19  # 128 MiB
    (tmp_path / "a.png").write_bytes(raw)
    with guarded([], memory=2**26):
        assert Files(tmp_path, ("a.png",)).digest(0) == hashlib.blake2b(raw, digest_size=16).hexdigest()


@pytest.mark.parametrize("side", [10, 100])
def test_so_many_pixels_are_decoded_at_a_time_and_a_larger_image_alone(side, monkeypatch):
    monkeypatch.setattr(decoding, "most_pixels", lambda: 250)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    under_way, most = [], []
    lock = threading.Lock()

    def decode(image):
        with lock:
            under_way.append(image)
            most.append(len(under_way))
        time.sleep(0.002)
        with lock:
            under_way.remove(image)

    list(decode_in_order(lambda _: Image.new("L", (side, side)), range(40), decode))
    assert max(most) == (2 if side == 10 else 1)


def test_the_largest_image_always_has_room_and_more_where_memory_is_free(monkeypatch):
    monkeypatch.setattr(decoding, "free_memory", lambda: 0)
    assert decoding.most_pixels() == 2 * Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(decoding, "free_memory", lambda: 24 * 10**9)
    assert decoding.most_pixels() == 10**9


def test_an_image_that_needs_more_memory_than_there_is_is_told_as_such():
    def decode(_):
        raise MemoryError

    assert list(decode_in_order(lambda _: Image.new("L", (1, 1)), [0], decode)) == [
        Unreadable("needs more memory than there is")
    ]


def test_what_pillow_logs_of_a_broken_file_does_not_reach_the_terminal(caplog):
    def decode(_):
        logging.getLogger("PIL.TiffImagePlugin").error("more samples than can be decoded")

    list(decode_in_order(lambda _: Image.new("L", (1, 1)), [0], decode))
    assert caplog.records == []
    assert logging.getLogger("PIL").level == logging.NOTSET


def test_an_error_that_is_no_fault_of_the_file_is_not_hidden():
    def fail(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(decode_in_order(lambda _: Image.new("L", (1, 1)), [0], fail))
    assert ZeroDivisionError not in UNREADABLE


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_process_without_handles_or_memory_makes_no_image_unreadable(number):
    def opened(_):
        raise OSError(number, os.strerror(number), "image.png")

    with pytest.raises(AutofreezeError, match=f"image.png: {os.strerror(number).lower()}; "):
        list(decode_in_order(opened, [0], np.asarray))


def test_a_file_on_a_broken_disk_is_unreadable():
    def opened(_):
        raise OSError(errno.EIO, "Input/output error", "image.png")

    [found] = decode_in_order(opened, [0], np.asarray)
    assert isinstance(found, Unreadable)
