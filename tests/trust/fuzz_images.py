# ruff: noqa: E501 - tables are read by line
"""Hostile images: real ones of every kind that is read, changed at random, and files that lie about their size.

Each is read as the product reads it: decoded for a model, looked at for a check, made a thumbnail of for a
page. What comes of it is pixels or one line that says why there are none.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trust import bytewise
from trust.check import Check, Effort, Outcome
from trust.finds import Finds
from trust.guard import guarded
from trust.numbers import in_process

HEIGHT, WIDTH = 40, 48
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
MEMORY = 3 << 30
"""Bytes by which images may make the process grow: what the largest that Pillow reads takes, with two copies."""


@cache
def originals() -> tuple[tuple[str, bytes], ...]:
    """Give images of every kind that is read, in all the ways that Pillow writes them."""
    image = Image.fromarray(PIXELS)
    grey, turned = image.convert("L"), image.rotate(9)
    deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 50
    frames = {"save_all": True, "append_images": [turned]}
    ways: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("PNG", image, {}), ("PNG", image.convert("P"), {}), ("PNG", image.convert("RGBA"), {}), ("PNG", deep, {}),
        ("PNG", image.convert("1"), {"exif": exif}), ("PNG", image, frames), ("PNG", grey, {"transparency": 3}),
        ("JPEG", image, {}), ("JPEG", image.convert("CMYK"), {}), ("JPEG", grey, {"exif": exif, "progressive": True}),
        ("WEBP", image, {"exif": exif}), ("WEBP", image.convert("RGBA"), {"lossless": True}), ("WEBP", image, frames),
        ("GIF", image, {}), ("GIF", image, frames), ("BMP", image, {}), ("BMP", image.convert("P"), {}), ("BMP", grey, {}),
        ("TIFF", image, {"exif": exif}), ("TIFF", image.convert("CMYK"), {}), ("TIFF", deep, {}), ("TIFF", image, frames),
        ("TIFF", image, {"compression": "tiff_lzw"}), ("TIFF", image, {"compression": "tiff_adobe_deflate"}),
        ("TIFF", image, {"compression": "jpeg"}), ("TIFF", image.convert("1"), {"compression": "group4"}),
        ("TIFF", Image.fromarray(PIXELS[..., 0].astype(np.float32)), {}), ("PPM", image, {}), ("PPM", grey, {}),
        ("PPM", image.convert("1"), {}), ("JPEG2000", image, {}), ("JPEG2000", image, {"no_jp2": True}),
        ("JPEG2000", deep, {}), ("AVIF", image, {"exif": exif}), ("AVIF", image.convert("RGBA"), {}), ("AVIF", image, frames),
    ]  # fmt: skip
    found = []
    for kind, one, options in ways:
        Image.init()
        if kind not in Image.SAVE:
            continue  # this Pillow was built without it
        stream = BytesIO()
        one.save(stream, kind, **options)
        found.append((kind, stream.getvalue()))
    return tuple(found)


def changed(rng: random.Random, original: bytes) -> bytes:
    """Change an image in some places; the checksums of a PNG are mostly right again afterwards."""
    raw = bytewise.changed(rng, original, [raw for _, raw in originals()])
    return with_checksums(raw) if rng.random() < 0.8 else raw


def with_checksums(raw: bytes) -> bytes:
    """Set the checksum of every chunk of a PNG right; of others nothing is changed."""
    if raw[:8] != PNG:
        return raw
    mended, at = bytearray(PNG), 8
    while at + 12 <= len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        if at + 12 + length > len(raw):
            break
        mended += chunk(raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length])
        at += 12 + length
    return bytes(mended) + raw[at:]


PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    """Give a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# Reading


@cache
def readers() -> dict[str, Callable[[Image.Image], object]]:
    """Give all that the product does with an image that was opened."""
    from autofreeze.decoding import image_decoder
    from autofreeze.pictures import thumbnail
    from autofreeze.preprocessing import Preprocessing
    from autofreeze.survey import _look

    half = (0.5, 0.5, 0.5)
    return {
        "decoded": image_decoder(Preprocessing(image_size=32, mean=half, std=half)),
        "looked at": _look,
        "made a thumbnail of": thumbnail,
    }


def read(what: str, sources: Sequence[Path | bytes]) -> list[object]:
    """Read images as the product does: what came of each, or an ``Unreadable``."""
    from autofreeze.decoding import decode_in_order
    from autofreeze.imagefile import open_image

    def opened(image: int) -> Image.Image:
        source = sources[image]
        return open_image(BytesIO(source) if isinstance(source, bytes) else source)

    return list(decode_in_order(opened, range(len(sources)), readers()[what]))


def _read_one(what: str, source: Path | bytes) -> object:
    return read(what, [source])[0]


def attempted(
    finds: Finds, what: str, kinds: Sequence[str], raws: Sequence[bytes], folder: Path
) -> list[object]:
    """Read images, together unless one of them goes wrong; what is wrong is kept with that image alone."""
    apart = Finds(memory=finds.memory)
    found = apart.attempt(what, None, lambda: read(what, raws), folder)
    if isinstance(found, list) and not apart.kinds:
        return found
    singles: list[object] = []
    for kind, raw in zip(kinds, raws, strict=True):
        own = finds.attempt(f"{kind} {what}", raw, partial(_read_one, what, raw), folder)
        singles.append(own)
    if not finds.kinds:
        finds.add(f"{what}, several at once: {list(apart.kinds)}", raws)
    return singles


def complaints(what: str, found: object) -> Iterator[str]:
    """Say what no reading may come to."""
    from autofreeze.decoding import Unreadable

    if found is None:
        yield f"{what}: ended the reading of all"
    elif isinstance(found, Unreadable):
        if not found.reason.strip() or not found.reason.isprintable():
            yield f"{what}: refused without plain words: {found.reason!r}"
        if "emory" in found.reason:
            yield f"{what}: {found.reason}"
    elif what == "decoded" and not (
        isinstance(found, np.ndarray) and found.shape == (32, 32, 3) and found.dtype == np.uint8
    ):
        yield f"{what}: to {getattr(found, 'shape', type(found).__name__)}"


AT_ONCE = 20
"""Images that are read by one call: threads are not started for each."""


def fuzz_images(effort: Effort) -> Outcome:
    """Read images that were changed at random; one that can be decoded gives the same pixels again."""
    finds, rng = Finds(memory=MEMORY), effort.rng
    decoded = 0
    while finds.tried < effort.times:
        chosen = [rng.choice(originals()) for _ in range(AT_ONCE)]
        kinds, raws = [kind for kind, _ in chosen], [changed(rng, raw) for _, raw in chosen]
        finds.tried += AT_ONCE
        found = {what: attempted(finds, what, kinds, raws, effort.folder) for what in readers()}
        again = attempted(finds, "decoded", kinds, raws, effort.folder)
        for place, (kind, raw) in enumerate(zip(kinds, raws, strict=True)):
            for what, own in found.items():
                for one in complaints(what, own[place]):
                    finds.add(f"{kind} {one}", raw)
            if isinstance(first := found["decoded"][place], np.ndarray):
                decoded += 1
                if not np.array_equal(first, np.asarray(again[place])):
                    finds.add(f"{kind}: other pixels when decoded again", raw)
    outcome = finds.outcome()
    note = f"{decoded:,} could be decoded, {finds.tried - decoded:,} were told"
    return Outcome(tried=outcome.tried, wrong=outcome.wrong, note=note)


# Bombs

SIDE = 100_000
BOMB_MEMORY = 256 << 20
"""Bytes by which a bomb may make the process grow."""


def bombs() -> dict[str, bytes]:
    """Give files that say that they are large, or come to be: what of each is unreadable, or small."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(1 << 28), 1)
    pixels = zlib.compress(bytes(64))
    small = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    gif = bytearray(_saved("GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    frame = bytearray(_saved("GIF"))
    at = frame.index(b"\x2c", 13 + 3 * 2 ** ((frame[10] & 7) + 1))
    frame[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    jpeg = bytearray(_saved("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    bmp = bytearray(_saved("BMP"))
    bmp[18:26] = struct.pack("<ii", SIDE, SIDE)
    upside = bytearray(bmp)
    upside[18:26] = struct.pack("<ii", SIDE, -SIDE)
    webp = b"VP8X" + struct.pack("<IB3x", 10, 2) + b"\xff\x3f\0\xff\x3f\0"
    jp2 = bytearray(_saved("JPEG2000", no_jp2=True)) if "JPEG2000" in Image.SAVE else bytearray()
    if jp2:
        at = jp2.index(b"\xff\x51")
        jp2[at + 6 : at + 14] = struct.pack(">II", SIDE, SIDE)
    return {
        "a PNG of 10^5 x 10^5": PNG + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""),
        "a small PNG whose data inflate to 256 MiB": PNG + chunk(b"IHDR", small) + chunk(b"IDAT", packed) + chunk(b"IEND", b""),
        "a PNG whose text inflates": _png_with(chunk(b"zTXt", b"a\0\0" + packed)),
        "a PNG whose long text inflates": _png_with(chunk(b"iTXt", b"a\0\1\0\0\0" + packed)),
        "a PNG whose profile inflates": _png_with(chunk(b"iCCP", b"a\0\0" + packed)),
        "a PNG of 20,000 texts": _png_with(chunk(b"tEXt", b"a\0" + b"x" * 100) * 20_000),
        "a PNG of 2^31 frames": _png_with(chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        "a GIF of 65,535 x 65,535": bytes(gif),
        "a GIF with a frame of 65,535 x 65,535": bytes(frame),
        "a GIF of 10^5 frames": _saved("GIF")[:-1] + b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0" * SIDE + b";",
        "a JPEG of 65,535 x 65,535": bytes(jpeg),
        "a BMP of 10^5 x 10^5": bytes(bmp),
        "a BMP of 10^5 x -10^5": bytes(upside),
        "a PPM of 10^5 x 10^5": b"P6 100000 100000 255\n" + bytes(1000),
        "a PPM of 10^5 x 10^5 in words": b"P3 100000 100000 255\n" + b"1 " * 1000,
        "a PPM with a long number": b"P6 " + b"9" * 10**6 + b" 1 255\n" + bytes(1000),
        "a TIFF of 10^5 x 10^5": tiff(SIDE, SIDE, packed),
        "a TIFF whose strip inflates": tiff(8, 8, packed),
        "a TIFF of one strip of 2^32 rows": tiff(8, 8, packed, rows=2**32 - 1),
        "a TIFF whose strip is longer than the file": tiff(8, 8, packed, length=2**32 - 1),
        "a TIFF whose pages lead in a circle": tiff(8, 8, pixels, after=8),
        "a TIFF with a tag of 2^32 numbers": tiff(8, 8, pixels, extra=(700, 1, 2**32 - 1, 8)),
        "a WebP of 16,384 x 16,384": b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp,
        "a JPEG 2000 of 10^5 x 10^5": bytes(jp2),
        "an image of 2^27 zeros": bytes(1 << 27),
    }  # fmt: skip


def _saved(kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(PIXELS).save(stream, kind, **options)
    return stream.getvalue()


def _png_with(extra: bytes) -> bytes:
    raw = _saved("PNG")
    return raw[:33] + extra + raw[33:]  # behind the header


def tiff(
    width: int,
    height: int,
    data: bytes,
    *,
    rows: int | None = None,
    length: int | None = None,
    after: int = 0,
    extra: tuple[int, int, int, int] | None = None,
) -> bytes:
    """Write a grey TIFF, deflated, in one strip.

    Args:
        width: Pixels.
        height: Pixels.
        data: Of the strip.
        rows: That the strip says to have.
        length: That the strip says to have, bytes.
        after: Where the next page stands.
        extra: One more entry: tag, type, count, value.
    """
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 200),
        (277, 3, 1, 1), (278, 4, 1, rows or height), (279, 4, 1, length or len(data)), *([extra] if extra else []),
    ]  # fmt: skip
    page = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *one) for one in entries)
    head = b"II*\0" + struct.pack("<I", 8) + page + struct.pack("<I", after)
    return head.ljust(200, b"\0") + data


def fuzz_bombs(effort: Effort) -> Outcome:
    """Read every bomb; then a folder with all of them is checked: all are told at once, and left out."""
    finds = Finds(memory=BOMB_MEMORY)
    given = {name: raw for name, raw in bombs().items() if raw}
    folder = effort.folder / "data" / "bombs"
    folder.mkdir(parents=True)
    bad = set()
    for number, (name, raw) in enumerate(given.items()):
        file = folder / f"{number:02}.png"
        file.write_bytes(raw)
        finds.tried += 1
        for what in readers():
            found = finds.attempt(f"{name} {what}", len(raw), partial(_read_one, what, file), effort.folder)
            for one in complaints(what, found):
                finds.add(one, name)
            if type(found).__name__ == "Unreadable":
                bad.add(file.name)
            elif any(word in name for word in ("10^5 x", "65,535 x", "16,384 x")):
                finds.add(f"{name} was {what}", found)
    other = effort.folder / "data" / "others"
    other.mkdir()
    for number in range(200):
        Image.fromarray(np.roll(PIXELS, number, 0)).save(other / f"{number}.png")
    with guarded([effort.folder], memory=BOMB_MEMORY) as seen:
        status, told = in_process(
            "check", effort.folder / "data", "--max-bad-images", "0.5", "--cache", effort.folder / "cache"
        )
    wrong = [f"check of a folder with bombs: {one}" for one in seen]
    if status or f"{len(bad)} of {200 + len(given)} images" not in told:
        wrong.append(f"check of a folder with bombs: status {status}: {told[-1500:]}")
    outcome = finds.outcome()
    note = f"{len(bad)} unreadable, {len(given) - len(bad)} small ones behind much"
    return Outcome(tried=finds.tried + 1, wrong=[*outcome.wrong, *wrong], note=note)


CHECKS: tuple[Check, ...] = (
    Check(
        name="fuzz-images", fault="images of nine kinds, changed at random: decoded, looked at, made a thumbnail of",
        run=fuzz_images, quick=200, long=30_000,
    ),
    Check(
        name="fuzz-image-bombs", fault="images of 10^5 × 10^5 pixels, chunks that inflate, pages in a circle", run=fuzz_bombs,
        quick=20, long=20,
    ),
)  # fmt: skip
"""All checks, in the order of the table."""
