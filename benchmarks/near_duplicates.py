"""How many bits may the hashes of near duplicates differ in? False alarms and misses, by threshold.

False alarms: in folders whose train/ and test/ are known to share no image, each test image that has a
training image within the threshold is counted (look at the pairs: some are the same scene after all).
Misses: training images are changed in ways that happen (coded again, scaled, brightened, cropped), and the
copies that lie beyond the threshold are counted.

    python benchmarks/near_duplicates.py FOLDER...
"""

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from autofreeze.data import open_dataset
from autofreeze.decoding import decode_in_order
from autofreeze.survey import _look, nearest, perceptual_hashes, survey

THRESHOLDS = (0, 2, 4, 6, 8, 10, 12)
COPIES = 150
"""Of each kind, from each folder."""

Change = Callable[[Image.Image], bytes]


def main(folders: Sequence[str]) -> None:
    """Print one table of false alarms and one of misses."""
    missed: dict[str, np.ndarray] = {kind: np.zeros(len(THRESHOLDS), int) for kind in CHANGES}
    copies = 0
    print("test images with a training image within so many bits")
    print(f"{'folder':<20}{'train':>7}{'test':>6}  " + "".join(f"{most:>6}" for most in THRESHOLDS))
    for folder in folders:
        dataset = open_dataset(folder)
        seen = survey(dataset)
        _, distances = nearest(seen.hashes, dataset.test, dataset.train)
        within = "".join(f"{(distances <= most).sum():>6}" for most in THRESHOLDS)
        print(f"{Path(folder).name:<20}{len(dataset.train):>7}{len(dataset.test):>6}  {within}")
        ids = np.random.Generator(np.random.PCG64(0)).permutation(dataset.train)[:COPIES]
        copies += len(ids)
        for kind, change in CHANGES.items():
            files = [change(dataset.open_image(image).convert("RGB")) for image in ids]
            looks = decode_in_order(
                lambda n, files=files: Image.open(io.BytesIO(files[n])), range(len(ids)), _look
            )
            hashes = perceptual_hashes(np.stack([look.thumbnail for look in looks]))
            apart = np.bitwise_count(hashes ^ seen.hashes[ids])
            missed[kind] += [(apart > most).sum() for most in THRESHOLDS]
    print(f"\nof {copies} copies, missed")
    for kind, counts in missed.items():
        print(f"{kind:<35}" + "".join(f"{count:>6}" for count in counts))


def _jpeg(quality: int) -> Change:
    def change(image: Image.Image) -> bytes:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return stream.getvalue()

    return change


def _png(change: Callable[[Image.Image], Image.Image]) -> Change:
    def changed(image: Image.Image) -> bytes:
        stream = io.BytesIO()
        change(image).save(stream, "PNG", compress_level=0)
        return stream.getvalue()

    return changed


def _scaled(by: float) -> Change:
    return _png(lambda i: i.resize((round(i.width * by), round(i.height * by)), Image.Resampling.BICUBIC))


def _cropped(share: float) -> Change:
    def crop(image: Image.Image) -> Image.Image:
        x, y = image.width * share / 2, image.height * share / 2
        return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))

    return _png(crop)


def _brightened(by: float) -> Change:
    return _png(lambda image: ImageEnhance.Brightness(image).enhance(by))


CHANGES: dict[str, Change] = {
    "JPEG, quality 90": _jpeg(90),
    "JPEG, quality 50": _jpeg(50),
    "JPEG, quality 20": _jpeg(20),
    "half the size": _scaled(0.5),
    "one and a half": _scaled(1.5),
    "224 px, square": _png(lambda image: image.resize((224, 224), Image.Resampling.BICUBIC)),
    "grey": _png(lambda image: image.convert("L")),
    "brightness x 0.7": _brightened(0.7),
    "brightness x 1.3": _brightened(1.3),
    "2 % cropped": _cropped(0.02),
    "5 % cropped": _cropped(0.05),
    "10 % cropped": _cropped(0.10),
}

if __name__ == "__main__":
    main(sys.argv[1:])
